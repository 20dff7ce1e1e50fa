"""What a person answers a plugin: each field by its type, defaults for what is left out."""

from pathlib import Path

import pytest

from plugin_sandbox.model import Call, Json, Manifest, PluginRecord, Prompt, PromptField
from plugin_sandbox.outcome import AnswerInvalid, check_answers, make_prompt
from plugin_sandbox.protocol import Question

RECORD = PluginRecord(
    manifest=Manifest(name="p", version="1", api_version="1", supported_extensions=()), path=Path("/p"), digest=""
)


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


def test_a_question_is_shown_without_what_draws() -> None:
    """Its words are a stranger's, and go to somebody's terminal."""
    asked = PromptField(id="a", label="\x1b[2Junit\u202e")
    call = Call(plugin=RECORD, workspace=Path("/w"), files=())

    (field,) = make_prompt(call, Question(fields=[asked], reason="why\n")).fields

    assert field.label == "\\x1b[2Junit\\u202e"


def test_a_question_of_what_must_be_written_out_is_cut_and_still_one() -> None:
    """An escape is longer than what it stands for, and an answer of allowed length must not break the host that shows it."""
    asked = PromptField(id="a", label="\u2028" * 200)
    call = Call(plugin=RECORD, workspace=Path("/w"), files=())

    made = make_prompt(call, Question(fields=[asked], reason="\n" * 1_000))

    assert (made.reason, made.fields[0].label) == ("\\n" * 500, ("\\u2028" * 34)[:200])
    assert Prompt.model_validate_json(made.model_dump_json()) == made


@pytest.mark.parametrize(
    ("kind", "default", "kept"), [("integer", "5", None), ("integer", 5, 5), ("choice", "z", None)]
)
def test_a_default_that_is_no_answer_is_none(kind: str, default: object, kept: object) -> None:
    """Else whoever leaves it out is told that what they never said does not fit."""
    asked = PromptField.model_validate({"id": "a", "type": kind, "choices": ("x",), "default": default})
    call = Call(plugin=RECORD, workspace=Path("/w"), files=())

    assert make_prompt(call, Question(fields=[asked])).fields[0].default == kept
