"""Turn `baton submit incident_management --service-dir PATH …` into one submission.

The options are this app's own; the form is that of `orchestrator.contracts.demo`. The service
directory is read here, so that a wrong one is refused before there is a session.
"""

from collections.abc import Mapping
from typing import Final

from pydantic import ValidationError

from orchestrator.contracts.demo import Submission
from orchestrator.contracts.errors import InputError, suggest

from .service import Service, ServiceError, load_service
from .state import IncidentState

OPTIONS: Final = {
    "service_dir": "the service directory: the folder with service.json",
    "text": "what was observed (default: a sentence with the service's name)",
    "environment": "production, staging, dev or local",
    "severity": "high, medium, low or an alias such as sev1 or p3",
}


def submissions(options: Mapping[str, str]) -> list[Submission]:
    """Return the one submission; raise InputError."""
    for name in options:
        if name not in OPTIONS:
            raise InputError(f"option --{name.replace('_', '-')}: not one of this app's; {suggest(name, OPTIONS)}")
    if not options.get("service_dir"):
        raise InputError("option --service-dir: missing; give the folder that holds the service's service.json")
    try:
        service = load_service(options["service_dir"])
    except ServiceError as error:
        raise InputError(str(error)) from error
    text = options.get("text") or f"{service.name}: something is wrong; find out what, and mend it."
    return [submission(service, text=text, environment=options.get("environment"), severity=options.get("severity"))]


def submission(service: Service, *, text: str, environment: str | None, severity: str | None) -> Submission:
    """Return the submission of an incident of this service; raise InputError for a wrong value."""
    given = {"service_dir": str(service.folder), "environment": environment, "severity": severity}
    try:
        state = IncidentState.model_validate({key: value for key, value in given.items() if value})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InputError(f"option --{first['loc'][0]}: {first['msg']}; {OPTIONS[str(first['loc'][0])]}") from error
    return Submission(text=text, overrides=state.model_dump(exclude_unset=True), title=text[:100])
