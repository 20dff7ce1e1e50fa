"""What follows in a plugin pass: pure rules, from values to values."""

from collections.abc import Sequence

import pytest
from pydantic import JsonValue

from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.base import JsonObject, dump_json
from orchestrator.contracts.plugins import PassPlace, PluginOutcome, PluginPrompt, PromptField
from orchestrator.contracts.session import Cursor, Post, Record, Wait
from orchestrator.contracts.skill import PluginPass
from orchestrator.kernel.delivery import deliver
from orchestrator.kernel.plugin_pass import STATE_CHARS, abort, cut_entry, queue_of, settle_outcome
from orchestrator.kernel.prompts import check_answers, read_answer, read_texts

NOW = 1_000_000
UNIT = PromptField(id="unit", type="choice", choices=("mm", "in"))
PROMPT = PluginPrompt(prompt_id="abc", plugin="b", reason="which?", fields=(UNIT,))


def spec_of(*routes: tuple[str, str], into: str | None = "entries", plugins: Sequence[str] = ("a", "b")) -> AppSpec:
    """Return an app with one pass and a step for each way out."""
    ways = [{"when": when, "next": to} for when, to in (*routes, ("default", "__end__"))]
    passing: JsonObject = {"kind": "plugin_pass", "name": "work", "plugins": list(plugins), "workspace": "folder"}
    timers: JsonObject = {to: {"kind": "timer", "name": to, "seconds": 1} for _, to in routes}
    return AppSpec.model_validate(
        {
            "name": "sample",
            "entry_skill": "work",
            "skills": {"work": {**passing, "into": into, "input_timeout_seconds": 60, "routes": ways}, **timers},
        }
    )


def at(place: PassPlace | None = None, **more: object) -> Record:
    """Return a session at a place of the pass."""
    cursor = Cursor(skill="work", serial=7, place=place)
    base = {"session_id": "SES-20261121-001", "app": "sample", "spec": "0", "phase": "running", "cursor": cursor}
    return Record.model_validate({**base, **more})


def ended(plugin: str, status: str = "success", **more: object) -> PluginOutcome:
    """Return an outcome with an entry."""
    return PluginOutcome.model_validate({"entry": {"plugin": plugin, "status": status, "files_affected": [], **more}})


def skill_of(spec: AppSpec) -> PluginPass:
    """Return the app's pass."""
    skill = spec.skills["work"]
    assert isinstance(skill, PluginPass)
    return skill


def settle(spec: AppSpec, record: Record, outcome: PluginOutcome) -> Record:
    """Return the session after an outcome."""
    return settle_outcome(spec, skill_of(spec), record, outcome, NOW, lambda _: None).record


def test_one_plugin_after_the_other_then_the_way_out() -> None:
    """The place is all that the next worker needs, and it is gone when the pass is."""
    spec = spec_of(("success", "well"), ("failed", "badly"))
    first = settle(spec, at(), ended("a"))
    second = settle(spec, first, ended("b"))

    assert first.cursor.place == PassPlace(began=7, plugin=1)
    assert (second.cursor.skill, second.cursor.place) == ("well", None)
    assert [entry["plugin"] for entry in second.state["entries"]] == ["a", "b"]  # type: ignore[union-attr, index, call-overload]


@pytest.mark.parametrize("status", ["failed", "timeout", "policy_violation", "memory_limit", "sandbox_unavailable"])
def test_one_that_does_not_end_well_makes_the_pass_a_failed_one(status: str) -> None:
    """It stops nothing, and is not forgotten at the end."""
    spec = spec_of(("success", "well"), ("failed", "badly"))
    first = settle(spec, at(), ended("a", status))

    assert first.cursor.place is not None
    assert first.cursor.place.failed == ("a",)
    assert settle(spec, first, ended("b")).cursor.skill == "badly"


def test_a_question_is_a_wait_with_typed_fields_and_a_deadline() -> None:
    """Its id is the prompt's own within this pass, so that an answer to an earlier one is none to this."""
    spec = spec_of()
    change = settle_outcome(
        spec, skill_of(spec), at(PassPlace(began=3, plugin=1)), PluginOutcome(prompt=PROMPT), NOW, lambda _: None
    )
    wait = change.record.wait

    assert wait is not None
    assert wait.wait_id.startswith("SES-20261121-001/prompt-3-abc-")
    assert (change.directive, wait.prompt_id) == ("waiting", "abc")
    assert (wait.fields, wait.deadline_at, wait.prompt) == ((UNIT,), NOW + 60_000, "b: which?")


def asking(record: Record) -> Record:
    """Return a session that waits for the answer to the prompt."""
    spec = spec_of()
    return settle_outcome(spec, skill_of(spec), record, PluginOutcome(prompt=PROMPT), NOW, lambda _: None).record


def post(wait: Wait | None, **more: object) -> Post:
    """Return a post to a wait."""
    assert wait is not None
    return Post.model_validate({"post_id": "p", "kind": "input", "actor": "ada", "wait_id": wait.wait_id, **more})


def test_answers_of_one_plugin_accumulate_by_prompt() -> None:
    """The plugin runs again with all of them; the next plugin begins with none."""
    record = asking(at(PassPlace(began=3, plugin=0, answers={"earlier": {"x": 1}})))
    after = deliver(spec_of(), record, [post(record.wait, value={"unit": "mm"})], NOW).record

    assert after.wait is None
    assert after.cursor.place is not None
    assert after.cursor.place.answers == {"earlier": {"x": 1}, "abc": {"unit": "mm"}}
    assert settle(spec_of(), after, ended("a")).cursor.place == PassPlace(began=3, plugin=1)


@pytest.mark.parametrize("value", [{"unit": "km"}, {"unit": 1}, {}, {"unit": "mm", "more": 1}, [], "km", 5])
def test_an_answer_that_does_not_fit_leaves_the_question_open(value: object) -> None:
    """The journal says why."""
    record = asking(at())
    delivery = deliver(spec_of(), record, [post(record.wait, value=value)], NOW)

    assert delivery.record.wait == record.wait
    assert str(delivery.notes[0]["what"]).startswith("refused: ")


@pytest.mark.parametrize("verdict", ["allow", "escalate", "resume_with_input", "", None])
def test_only_stop_aborts(verdict: str | None) -> None:
    """Any other word is no answer."""
    record = asking(at())
    delivery = deliver(spec_of(), record, [post(record.wait, kind="decision", verdict=verdict)], NOW)

    assert delivery.record.wait is not None


@pytest.mark.parametrize(("plugin", "told"), [(0, ["a"]), (1, ["a", "b"])])
def test_an_aborted_pass_keeps_what_its_plugins_said_and_nothing_of_an_earlier_pass(
    plugin: int, told: list[str]
) -> None:
    """Work that is done is not forgotten, and work of another pass does not count as this one's."""
    spec = spec_of(("failed", "gone"))
    place = PassPlace(began=3, plugin=plugin, aborted="refused by ada")
    before: JsonObject = {"entries": [{"plugin": "a", "status": "success"}]}

    change = abort(spec, skill_of(spec), at(place, state=before), "1.0", NOW, lambda _: None)

    entries = change.record.state["entries"]
    assert isinstance(entries, list)
    assert [one["plugin"] for one in entries if isinstance(one, dict)] == told
    assert change.data["plugin"] == entries[-1]
    assert entries[-1] == {
        "plugin": told[-1],
        "version": "1.0",
        "files_affected": [],
        "status": "failed",
        "isolation": {"duration_ms": 0, "exit_code": 2, "peak_memory_mb": 0, "cpu_seconds": 0, "tier": None},
    }


@pytest.mark.parametrize("outcome", [ended("a"), PluginOutcome(prompt=PROMPT)], ids=["an entry", "a question"])
@pytest.mark.parametrize("plugin", [0, 1])
def test_failures_before_an_outcome_count_no_more(outcome: PluginOutcome, plugin: int) -> None:
    """The next plugin has all its tries, whatever the last one needed."""
    spec = spec_of(("success", "well"))
    place = PassPlace(began=3, plugin=plugin)

    after = settle(spec, at(cursor=Cursor(skill="work", serial=7, place=place, failures=2)), outcome)

    assert after.cursor.failures == 0


@pytest.mark.parametrize("routes", [(("aborted", "gone"),), (("failed", "gone"),)])
def test_an_aborted_pass_leaves_by_its_own_way_or_by_that_of_a_failed_one(routes: Sequence[tuple[str, str]]) -> None:
    """A pass that nobody answered must not go on as if it had ended well."""
    spec = spec_of(("success", "well"), *routes)
    record = asking(at(PassPlace(began=3, plugin=1)))
    stopped = deliver(spec, record, [post(record.wait, kind="decision", verdict="stop")], NOW).record
    change = abort(spec, skill_of(spec), stopped, "1.0", NOW, lambda _: None)

    assert change.record.cursor.skill == "gone"
    assert change.data["aborted"] == "refused by ada"
    entries = change.record.state["entries"]
    assert isinstance(entries, list)
    assert [(one["plugin"], one["status"]) for one in entries if isinstance(one, dict)] == [("b", "failed")]


def test_a_deadline_aborts() -> None:
    """As a refusal does."""
    record = asking(at())
    assert record.wait is not None
    after = deliver(spec_of(), record, [], NOW + 60_000).record

    assert after.cursor.place is not None
    assert after.cursor.place.aborted == "nobody answered in time"


@pytest.mark.parametrize(
    ("record", "queue"),
    [
        (at(), "plugins"),
        (at(PassPlace(plugin=1)), "plugins"),
        (at(PassPlace(plugin=1, aborted="late")), "steps"),
        (at(cursor=Cursor(skill="work", stage="route")), "steps"),
        (at(cursor=Cursor(skill="work", stage="end")), "steps"),
        (at(cursor=Cursor(skill="work", stop="cancelled")), "steps"),
        (at(cursor=Cursor(skill="gone")), "steps"),
        (at(phase="finalizing"), "steps"),
    ],
)
def test_only_a_plugins_run_needs_a_worker_with_a_sandbox(record: Record, queue: str) -> None:
    """What merely settles must not wait for one."""
    assert queue_of(spec_of(), record) == queue


def test_a_long_entry_is_cut_in_the_state_and_whole_in_the_journal() -> None:
    """A state is read at every step; thousands of names belong elsewhere."""
    names: list[object] = [f"folder/of/files/number-{number:06}.txt" for number in range(4_000)]
    outcome = ended("a", files_affected=names)
    spec = spec_of()
    change = settle_outcome(spec, skill_of(spec), at(), outcome, NOW, lambda _: None)

    entries = change.record.state["entries"]
    assert isinstance(entries, list)
    told = entries[0]
    assert isinstance(told, dict)
    assert (told["files_affected_count"], len(str(told)) < STATE_CHARS) == (4_000, True)
    assert change.data["plugin"] == outcome.entry
    assert cut_entry(outcome.entry or {}, 10**9) == outcome.entry


def test_an_entry_loses_no_more_than_it_must() -> None:
    """First what it says of each file, then files beyond fifty, each only where the entry is still too long."""
    names: list[JsonValue] = [f"{number:03}" for number in range(60)]
    entry: JsonObject = {"plugin": "p", "per_file": [1], "files_affected": names, "violations": names[:50]}
    short: JsonObject = {"plugin": "p", "files_affected": names, "violations": names[:50]}
    cut: JsonObject = {**short, "files_affected": names[:50], "files_affected_count": 60}

    told = [cut_entry(entry, len(dump_json(entry)) - less) for less in (0, 1)]
    tight = [cut_entry(entry, len(dump_json(short)) - less) for less in (0, 1)]

    assert told == [entry, short]
    assert tight == [short, cut]


def test_whatever_a_plugin_names_its_entry_has_an_end() -> None:
    """Fifty names may be long, and a hundred connections: in a state without room for them the session would die of one plugin."""
    names: list[JsonValue] = [f"{number:03}" + "x" * 2_000 for number in range(60)]
    uses: list[JsonValue] = [{"host": "h" * 253, "why": "w" * 300} for _ in range(100)]
    told: JsonObject = {"plugin": "p", "status": "policy_violation", "error": "e" * 2_000}
    entry: JsonObject = {
        **told,
        "files_affected": names,
        "violations": names,
        "isolation": {"tier": "strict", "network": uses},
    }

    made = {chars: cut_entry(entry, chars) for chars in (4_000, 30_000, 200_000)}

    assert all(len(dump_json(one)) <= chars for chars, one in made.items())
    assert all(one.items() >= told.items() for one in made.values())
    assert all((one["files_affected_count"], one["violations_count"]) == (60, 60) for one in made.values())
    assert (made[4_000]["violations"], made[30_000]["violations"]) == ([], [])
    kept = made[200_000]["files_affected"]
    assert isinstance(kept, list)
    assert kept == names[: len(kept)] != []
    assert made[200_000]["violations"] == names[:50]
    assert (made[4_000]["isolation"], made[200_000]["isolation"]) == ({"tier": "strict"}, entry["isolation"])


def test_without_a_place_in_the_state_the_journal_alone_has_the_entries() -> None:
    """An app need not keep what it does not read."""
    spec = spec_of(into=None)
    record = at(state={"folder": "/x"})

    assert settle(spec, record, ended("a")).state is record.state


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ({"type": "string"}, ["", "x", "é"], [1, True, None, [], "x" * 10_001]),
        ({"type": "integer"}, [0, -5], [1.0, True, "1", float("nan")]),
        ({"type": "number"}, [0, 1.5, -2], [True, "1", float("nan"), float("inf")]),
        ({"type": "boolean"}, [True, False], [0, 1, "true"]),
        ({"type": "choice", "choices": ["a", "b"]}, ["a", "b"], ["c", "", 1, ["a"]]),
    ],
)
def test_each_type_takes_its_own_values_and_no_others(field: JsonObject, good: list[object], bad: list[object]) -> None:
    """A person's word is checked before a plugin sees it."""
    asked = (PromptField.model_validate({"id": "x", **field}),)

    assert all(check_answers(asked, {"x": value}) == {"x": value} for value in good)  # type: ignore[dict-item]
    assert all(not isinstance(check_answers(asked, {"x": value}), dict) for value in bad)  # type: ignore[dict-item]


def test_defaults_are_filled_in_and_optional_fields_may_be_left_out() -> None:
    """What a plugin can do without, nobody is made to type."""
    asked = (
        PromptField(id="rows", type="integer", default=3),
        PromptField(id="note", required=False),
        PromptField(id="unit"),
    )

    assert check_answers(asked, {"unit": "mm"}) == {"rows": 3, "unit": "mm"}


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("integer", " 7 ", 7),
        ("number", "1e3", 1000.0),
        ("boolean", "No", False),
        ("string", " kept ", " kept "),
        ("integer", "seven", None),
        ("number", "nan", None),
        ("boolean", "perhaps", None),
    ],
)
def test_what_a_person_types_is_read_by_its_fields_type(kind: str, text: str, value: object) -> None:
    """`--field rows=7` gives a number, and what is none is refused as what it is."""
    read = read_texts((PromptField.model_validate({"id": "x", "type": kind}),), {"x": text})

    assert (read == {"x": value}) if value is not None else not isinstance(read, dict)


def test_a_plain_text_answers_a_question_of_one_field() -> None:
    """With more than one, nobody could say which is meant."""
    one = Wait(wait_id="w", kind="input", prompt_id="p", fields=(UNIT,))
    two = one.model_copy(update={"fields": (UNIT, PromptField(id="note"))})

    assert read_answer(one, post(one, text="mm")) == {"unit": "mm"}
    assert not isinstance(read_answer(two, post(two, text="mm")), dict)


def test_a_blank_answer_is_one_only_where_every_field_may_be_left_out() -> None:
    """A person who agrees with all defaults need not write anything."""
    rows = PromptField(id="rows", type="integer", default=3)
    note = PromptField(id="note", required=False)
    asked = [
        Wait(wait_id="w", kind="input", prompt_id="q", fields=fields) for fields in ((rows, note), (rows, UNIT), ())
    ]
    free, needed, nothing = (read_answer(wait, post(wait, text=" \n")) for wait in asked)

    assert free == {"rows": 3}
    assert not isinstance(needed, dict)
    assert "an answer is an object of fields; give rows, unit" in needed.reason
    assert nothing == {}


def test_what_a_plugin_changed_and_logged_is_told_where_there_is_some() -> None:
    """The journal is where a person looks for it afterwards."""
    spec = spec_of()
    quiet = settle_outcome(spec, skill_of(spec), at(), ended("a"), NOW, lambda _: None)
    loud = ended("a").model_copy(update={"changes": ({"path": "x"},), "logs": ({"message": "hm"},)})
    told = settle_outcome(spec, skill_of(spec), at(), loud, NOW, lambda _: None)

    assert set(quiet.data) == {"plugin"}
    assert (told.data["changes"], told.data["logs"]) == ([{"path": "x"}], [{"message": "hm"}])
