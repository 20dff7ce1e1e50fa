"""The OpenAPI description: what FastAPI knows of the routes, and of each its role and the problems that it may answer with."""

import json
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from orchestrator import __version__
from orchestrator.interfaces.http.parts import ROLE_KEY
from orchestrator.interfaces.http.problems import MEDIA_TYPE, Problem

#: What any operation may answer beside its own, by status.
_ALWAYS: Final = {
    422: "The request does not fit.",
    500: "It failed on our side.",
    503: "The store cannot be reached, or too much is asked at once; see Retry-After.",
}
_GUARDED: Final = {
    401: "No credentials, or wrong ones.",
    403: "Without the role, or not on the roster.",
    429: "Too often.",
}
_BODY: Final = {
    400: "The body cannot be read.",
    408: "The body came too slowly.",
    409: "Where the session is does not allow it.",
    413: "Too large.",
}
_ABOUT: Final = (
    "Durable agent sessions: submit, follow, answer, operate. Every error is problem+json with a stable `type`. "
    "Times are ISO 8601 in UTC. Which role an operation needs is in its `x-baton-role`."
)


def describe(app: FastAPI) -> dict[str, Any]:
    """Return the description, made once."""
    if app.openapi_schema is None:
        schema = get_openapi(title="Baton", version=__version__, description=_ABOUT, routes=app.routes)
        components = schema.setdefault("components", {})
        schemas = components.setdefault("schemas", {})
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(problem.pop("$defs", {}))
        schemas["Problem"] = problem
        components["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer"},
            "signature": {"type": "apiKey", "in": "header", "name": "webhook-signature"},
        }
        for path, operations in schema["paths"].items():
            for method, operation in operations.items():
                _add_problems(path, method, operation)
        app.openapi_schema = schema
    return app.openapi_schema


def _add_problems(path: str, method: str, operation: dict[str, Any]) -> None:
    is_guarded = ROLE_KEY in operation or operation.get("security")
    possible = dict(_ALWAYS)
    if is_guarded:
        possible |= _GUARDED
        operation.setdefault("security", [{"bearer": []}])
    if method == "post":
        possible |= _BODY
    if "{" in path or path.startswith("/v1/triggers"):
        possible[404] = "There is no such thing."
    for status, text in sorted(possible.items()):
        found = operation["responses"].get(str(status))
        if found is None or "HTTPValidationError" in json.dumps(found):
            reference = {"schema": {"$ref": "#/components/schemas/Problem"}}
            operation["responses"][str(status)] = {"description": text, "content": {MEDIA_TYPE: reference}}


def render_description(app: FastAPI) -> str:
    """Return the description as the text of its file."""
    return json.dumps(describe(app), indent=2, sort_keys=True) + "\n"
