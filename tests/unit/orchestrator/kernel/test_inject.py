"""Arguments that the runtime fills in."""

import pytest

from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.errors import ConfigError
from orchestrator.kernel.inject import InjectionNote, SessionView, accepted_args, check_path, fill, strip

VIEW = SessionView(id="S-1", state={"flag": True, "a": {"b": 1}})


def test_a_note_holds_both_values() -> None:
    """Who looks into an odd call has to see what the model tried."""
    _, notes = fill({"sid": "S-9"}, {"sid": "session.id"}, VIEW, {"sid"})

    assert notes == (InjectionNote(arg="sid", kind="overridden", given="S-9", value="S-1"),)


def test_true_and_1_are_different_values() -> None:
    """They are the same to Python and not to a tool."""
    args, notes = fill({"f": 1}, {"f": "session.state.flag"}, VIEW, {"f"})

    assert args["f"] is True
    assert [note.kind for note in notes] == ["overridden"]


def test_a_bad_path_is_refused_even_where_the_tool_does_not_take_the_argument() -> None:
    """A mistake in the app shows at the first call and not at the one that needs it."""
    with pytest.raises(ConfigError, match=r"injected_args\.x: 'env\.HOME' must start with 'session\.'"):
        fill({}, {"x": "env.HOME"}, VIEW, set())


@pytest.mark.parametrize("path", ["session.id", "session.text", "session.state.k", "session.state.k.deeper"])
def test_a_good_path_is_accepted(path: str) -> None:
    """The loader asks the same function as the call."""
    assert check_path("x", path) == path


@pytest.mark.parametrize(
    "path", ["", ".", "session", "session.", "session.id.x", "session.state.", "sessions.id", "Session.id"]
)
def test_every_other_path_is_refused(path: str) -> None:
    """A path that finds nothing would leave a tool without its argument in silence."""
    with pytest.raises(ConfigError):
        check_path("x", path)


def test_the_accepted_arguments_are_the_schemas_properties() -> None:
    """They are read from the full schema, not from the one that a model sees."""
    schema: JsonObject = {"properties": {"a": {}, "b": {}}}

    assert accepted_args(schema) == {"a", "b"}
    assert accepted_args({}) == set()


@pytest.mark.parametrize("schema", [{}, {"type": "object"}, {"properties": {"a": {}}, "required": ["a"]}])
def test_a_schema_without_the_arguments_stays_as_it_is(schema: JsonObject) -> None:
    """Most tools take none of them."""
    assert strip(schema, {"x"}) == schema
