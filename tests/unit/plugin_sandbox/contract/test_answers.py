"""What a person answers a plugin: each field by its type, defaults for what is left out."""

import pytest

from plugin_sandbox.model import Json, Prompt, PromptField
from plugin_sandbox.outcome import AnswerInvalid, check_answers


def prompt(**field: object) -> Prompt:
    """Return a question of one field."""
    return Prompt(prompt_id="q", plugin="p", reason="", fields=(PromptField.model_validate({"id": "a", **field}),))


@pytest.mark.parametrize(
    ("field", "fits", "wrong"),
    [
        ({"type": "string"}, ["", "x"], [1, True, ["x"]]),
        ({"type": "integer"}, [0, -3], ["1", 1.5, True]),
        ({"type": "number"}, [0, 1.5], ["1", False]),
        ({"type": "boolean"}, [True, False], [0, "true"]),
        ({"type": "choice", "choices": ("x", "y")}, ["x"], ["z", 1, "X"]),
    ],
)
def test_a_value_fits_its_type_or_is_refused(field: Json, fits: list[object], wrong: list[object]) -> None:
    """A number is no truth and a text is no number, for the plugin was promised its type."""
    for value in fits:
        assert check_answers(prompt(**field), {"a": value}) == {"a": value}
    for value in wrong:
        with pytest.raises(AnswerInvalid, match="does not fit"):
            check_answers(prompt(**field), {"a": value})


def test_what_is_left_out_is_the_default_or_is_asked_for() -> None:
    """Nobody is asked again for what the plugin can do without."""
    assert check_answers(prompt(type="string", default="d"), {}) == {"a": "d"}
    assert check_answers(prompt(type="string", required=False), {}) == {}
    with pytest.raises(AnswerInvalid, match="missing"):
        check_answers(prompt(type="string", required=True), {})
    with pytest.raises(AnswerInvalid, match="not asked for"):
        check_answers(prompt(type="string"), {"b": 1})
