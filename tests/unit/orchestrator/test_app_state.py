"""A session's state fits its app's schema, when it is submitted and after every step."""

from pathlib import Path
from typing import Any

import pytest

from orchestrator.app_loader import check_state, load_app, validate_state
from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.errors import InvalidOverrides, StateInvalid, ToolError
from tests.unit.orchestrator.app_folder import write_app

STATE = """\
from datetime import datetime
from pydantic import BaseModel, ConfigDict, Field, field_validator


class Odd(Exception):
    pass


class Inner(BaseModel):
    size: int = 0


class State(BaseModel):
    url: str
    at: datetime | None = None
    inner: Inner = Inner()
    kind: str = Field(default="x", alias="type")
    team: str = "blue"

    @field_validator("team")
    @classmethod
    def _team(cls, value: str) -> str:
        if value == "boom":
            raise KeyError(value)
        if value == "odd":
            raise Odd(value)
        if value == "stop":
            raise KeyboardInterrupt
        return value
"""


@pytest.fixture
def spec(tmp_path: Path) -> AppSpec:
    """Return an app with a state of every sort of field."""
    return load_app(write_app(tmp_path, {"state.py": STATE}), env={})


def without_schema() -> AppSpec:
    """Return an app that declares no state."""
    return AppSpec.model_validate({"name": "x", "entry_skill": "a", "skills": {}})


def test_overrides_become_a_state_with_the_defaults(spec: AppSpec) -> None:
    """What is stored is complete JSON, whichever way the caller wrote it."""
    state = validate_state(spec, {"url": "u", "at": "2026-11-20T00:00:00Z", "type": "y"})

    assert state == {"url": "u", "at": "2026-11-20T00:00:00Z", "inner": {"size": 0}, "kind": "y", "team": "blue"}
    assert check_state(spec, state) == state


def test_every_problem_is_told_with_its_key(spec: AppSpec) -> None:
    """A caller mends the whole request at once."""
    with pytest.raises(InvalidOverrides) as caught:
        validate_state(spec, {"ulr": "u", "inner": {"sise": 1, "size": "many"}})

    assert str(caught.value).splitlines() == [
        "state: url: required; add it",
        "state: inner.size: expected a whole number, got 'many'",
        "state: inner.sise: unknown key; did you mean 'size'?",
        "state: ulr: unknown key; did you mean 'url'?",
    ]


def test_a_schema_that_allows_more_keys_gets_them(tmp_path: Path) -> None:
    """The app's own word decides, at the level where it is said."""
    source = (
        "from pydantic import BaseModel, ConfigDict\n"
        "class State(BaseModel):\n    model_config = ConfigDict(extra='allow')\n    team: str = 'blue'\n"
    )
    spec = load_app(write_app(tmp_path, {"state.py": source}), env={})

    assert validate_state(spec, {"more": [1]}) == {"team": "blue", "more": [1]}


def test_without_a_schema_any_json_is_a_state() -> None:
    """C4 of the reference: an app that declares nothing restricts nothing."""
    assert validate_state(without_schema(), {"anything": "goes"}) == {"anything": "goes"}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {1, object()}])
def test_what_is_not_json_is_refused(value: Any) -> None:
    """It could not be stored, or would read back as something else."""
    with pytest.raises(InvalidOverrides, match="not plain JSON"):
        validate_state(without_schema(), {"x": value})


def test_a_state_that_a_step_broke_is_the_tools_error(spec: AppSpec) -> None:
    """The model is told and may do better; nothing is committed."""
    with pytest.raises(StateInvalid, match="state of sample: url: expected text, got a list") as caught:
        check_state(spec, {"url": []})

    assert isinstance(caught.value, ToolError)


def test_a_validator_that_fails_oddly_is_a_refusal(spec: AppSpec) -> None:
    """An app's own code may raise anything; a submission is refused all the same."""
    with pytest.raises(InvalidOverrides, match="raised KeyError"):
        validate_state(spec, {"url": "u", "team": "boom"})
    with pytest.raises(InvalidOverrides, match=r"^state: state\.py:State raised Odd: odd; mend the class"):
        validate_state(spec, {"url": "u", "team": "odd"})
    with pytest.raises(StateInvalid, match=r"^state of sample: state\.py:State raised Odd: odd; mend the class"):
        check_state(spec, {"url": "u", "team": "odd"})


def test_a_validator_does_not_keep_a_process_from_ending(spec: AppSpec) -> None:
    """What is no error of the app's passes: a person's ^C is heard wherever it comes."""
    with pytest.raises(KeyboardInterrupt):
        validate_state(spec, {"url": "u", "team": "stop"})
