"""The shared finalizer cases, through their adapter: how sessions end, as data."""

import json
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
CASES = json.loads((HERE / "rows" / "finalizer_cases.json").read_text(encoding="utf-8"))


def load_adapter() -> Any:
    """Import the adapter by its path: test directories are no packages."""
    spec = spec_from_file_location("finalizer_adapter", HERE / "finalizer_adapter.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ADAPTER = load_adapter()


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_a_case_settles_as_recorded(case: dict[str, Any]) -> None:
    """Other implementations of the same apps end their sessions the same way."""
    out = ADAPTER.settle(case["in"])

    # As JSON text, because to Python 0 is False and 1 is True.
    assert json.dumps(out, sort_keys=True) == json.dumps(case["out"], sort_keys=True)


def test_a_call_that_has_not_ended_is_no_call() -> None:
    """Somebody may still reject what waits for an approval: it must not end a session."""
    case_in = CASES[0]["in"]
    waiting = case_in | {"tool_calls": [case_in["tool_calls"][0] | {"outcome": "pending_approval"}]}

    assert ADAPTER.settle(waiting)["rule"] is None
