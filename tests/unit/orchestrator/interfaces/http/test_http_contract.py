"""The API keeps what its description says, for requests that nobody thought of."""

import json
from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import ignored_auth, positive_data_acceptance

from orchestrator.embedded import RunningServer
from tests.api_stage import SECRETS, Served, served
from tests.architecture.source_tree import ROOT

#: Requests for each operation and mode: all of them together take some twenty seconds.
EACH = 5
#: A request that fits its schema may still be refused by what is there: an unknown app, a session that does not wait.
#: What each role may do is a table of its own (test_http_roles.py).
NOT_CHECKED = [positive_data_acceptance, ignored_auth]


@pytest.fixture(scope="module")
def api(temporary_server: RunningServer) -> Iterator[Served]:
    """The API on a port, with sessions in it."""
    with served(temporary_server.url) as made:
        stage = made.stage
        assert stage is not None

        async def fill() -> None:
            session_id = await stage.submit()
            await stage.run(stage.worker(), session_id)
            await stage.run(stage.worker(), await stage.submit("broken"))
            await stage.submit()

        made.run(fill())
        yield made


@pytest.fixture(scope="module")
def description(api: Served) -> schemathesis.BaseSchema:
    """The description, as the API gives it."""
    return schemathesis.openapi.from_url(f"{api.base}/v1/openapi.json")


def list_operations() -> list[str]:
    """Return every operation of the description, but those whose answers do not end."""
    paths = json.loads((ROOT / "docs" / "reference" / "openapi.json").read_text(encoding="utf-8"))["paths"]
    return sorted(
        f"{method.upper()} {path}"
        for path, ways in paths.items()
        for method in ways
        if not path.endswith(("/events", "/stream"))
    )


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["fitting", "unfitting"])
@pytest.mark.parametrize("label", list_operations())
def test_requests_that_nobody_thought_of_are_answered_as_described(
    api: Served, description: schemathesis.BaseSchema, label: str, mode: GenerationMode
) -> None:
    """Statuses, types and shapes of the answers are the described ones, whatever is asked; nothing fails on our side."""
    operation = description.find_operation_by_label(label)
    assert operation is not None
    headers = {"Authorization": f"Bearer {SECRETS['operator']}"}

    @settings(
        max_examples=EACH,
        deadline=None,
        database=None,
        derandomize=True,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: schemathesis.Case) -> None:
        case.call_and_validate(headers=headers, timeout=60, excluded_checks=NOT_CHECKED)

    try:
        ask()
    except Unsatisfiable:
        pytest.skip("nothing unfitting can be asked of it")
