"""Decide what follows in a plugin pass: the next plugin, a question to a person, or the way out.

A pass runs its plugins in their order, one a step: each result entry is committed before the next plugin begins, so that
the cursor's place (contracts/plugins.py) is all that a worker needs to go on. A plugin that fails does not stop it. A
question suspends the session; the same plugin runs again with all answers so far, on an unchanged folder. A refusal, or a
deadline, aborts the pass: the asking plugin has failed, and those after it are not run.
Pure. Running a plugin is the step's work, and confining it the sandbox's.
"""

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from pydantic import JsonValue

from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.base import JsonObject, dump_json
from orchestrator.contracts.plugins import PASSED, PassPlace, PluginOutcome, PluginPrompt, Queue
from orchestrator.contracts.session import Record, Wait
from orchestrator.contracts.skill import PluginPass
from orchestrator.kernel.advance import leave
from orchestrator.kernel.change import Change, move, suspend

#: What a plugin's question offers: an answer, or the end of the pass.
PROMPT_OPTIONS: Final = ("resume_with_input", "stop")

#: Of one result entry, how much goes into the state; the journal has the rest, up to its own limit.
STATE_CHARS: Final = 16_384
JOURNAL_CHARS: Final = 262_144
_KEPT_FILES: Final = 50
_NAMES: Final = ("files_affected", "violations")
_COUNT_CHARS: Final = 40

#: Whether a state is what its app's schema allows; raises where it is not.
CheckState: TypeAlias = Callable[[JsonObject], None]


def queue_of(spec: AppSpec, record: Record) -> Queue:
    """Return which workers can take a session's next step: for a plugin's run, one with a sandbox."""
    cursor = record.cursor
    if cursor.stage != "enter" or cursor.stop is not None or record.phase == "finalizing":
        return "steps"
    skill = spec.skills.get(cursor.skill)
    if (
        skill is None or skill.kind != "plugin_pass"
    ):  # every step asks: looking for a model's class takes a hundredth of it
        return "steps"
    return "steps" if cursor.place is not None and cursor.place.aborted else "plugins"


def place_of(record: Record) -> PassPlace:
    """Return where the pass is; at its beginning if it has not begun."""
    return record.cursor.place or PassPlace(began=record.cursor.serial)


def settle_outcome(
    spec: AppSpec, skill: PluginPass, record: Record, outcome: PluginOutcome, now: int, check_state: CheckState
) -> Change:
    """Return what one plugin's outcome changes."""
    if outcome.prompt is not None:
        return _ask(skill, record, outcome.prompt, now)
    entry = outcome.entry or {}
    data: JsonObject = {"plugin": cut_entry(entry, JOURNAL_CHARS)}
    if outcome.changes:
        data["changes"] = list(outcome.changes)
    if outcome.logs:
        data["logs"] = list(outcome.logs)
    place = place_of(record)
    if entry.get("status") not in PASSED:
        place = place.model_copy(update={"failed": (*place.failed, skill.plugins[place.plugin])})
    place = place.model_copy(update={"plugin": place.plugin + 1, "answers": {}})
    state = _with_entry(skill, record, entry, is_first=place.plugin == 1, check_state=check_state)
    if place.plugin < len(skill.plugins):
        cursor = record.cursor.model_copy(update={"place": place, "failures": 0})
        after = move(record, cursor).model_copy(update={"state": state})
        return Change(record=after, step="plugin_pass", data=data)
    return _leave(spec, record, state, "failed" if place.failed else "success", now, data)


def abort(spec: AppSpec, skill: PluginPass, record: Record, version: str, now: int, check_state: CheckState) -> Change:
    """Return what ends a pass whose question nobody will answer: the asking plugin failed, the others are not run."""
    place = place_of(record)
    isolation: JsonObject = {"duration_ms": 0, "exit_code": 2, "peak_memory_mb": 0, "cpu_seconds": 0, "tier": None}
    entry: JsonObject = {
        "plugin": skill.plugins[place.plugin],
        "version": version,
        "files_affected": [],
        "status": "failed",
        "isolation": isolation,
    }
    state = _with_entry(skill, record, entry, is_first=place.plugin == 0, check_state=check_state)
    data: JsonObject = {"plugin": entry, "aborted": place.aborted}
    return _leave(spec, record, state, "aborted", now, data)


def cut_entry(entry: JsonObject, chars: int) -> JsonObject:
    """Return a result entry of at most about so many characters: what it says of each file goes first, then files, then connections.

    >>> cut_entry({"plugin": "p", "per_file": [{"path": "x" * 99}], "files_affected": ["a"]}, 80)
    {'plugin': 'p', 'files_affected': ['a']}
    """
    if len(dump_json(entry)) <= chars:
        return entry
    short = {name: value for name, value in entry.items() if name != "per_file"}
    for most in (_KEPT_FILES, 0):  # fifty long names may be too much, too
        for name in _NAMES:
            value, size = short.get(name), len(dump_json(short))
            if isinstance(value, list) and size > chars and len(value) > most:
                room = chars - size + len(dump_json(value)) - _COUNT_CHARS
                short[name] = value[:most] if most else keep_first(value, room)
                short.setdefault(f"{name}_count", len(value))
    isolation = short.get("isolation")
    if isinstance(isolation, dict) and "network" in isolation and len(dump_json(short)) > chars:
        short["isolation"] = {name: value for name, value in isolation.items() if name != "network"}
    return short


def keep_first(values: Sequence[JsonValue], chars: int) -> list[JsonValue]:
    """Return the first of some values, as many as fit into so many characters of JSON.

    >>> keep_first(["a", "b", "c"], 8)
    ['a', 'b']
    """
    kept: list[JsonValue] = []
    for value in values:
        chars -= len(dump_json(value)) + 1
        if chars < 0:
            break
        kept.append(value)
    return kept


def _ask(skill: PluginPass, record: Record, prompt: PluginPrompt, now: int) -> Change:
    """Let the session wait for a person's answer; nothing of the run has been published."""
    place = place_of(record)
    seconds = skill.input_timeout_seconds
    wait = Wait(
        wait_id=f"{record.session_id}/prompt-{place.began}-{prompt.prompt_id}",
        kind="input",
        since_at=now,
        deadline_at=None if seconds is None else now + int(seconds * 1000),
        prompt=f"{prompt.plugin}: {prompt.reason or 'needs input'}",
        options=PROMPT_OPTIONS,
        prompt_id=prompt.prompt_id,
        fields=prompt.fields,
        reason="plugin_input",
    )
    cursor = record.cursor.model_copy(update={"place": place, "failures": 0})
    data: JsonObject = {"wait": "input", "asks": prompt.plugin, "prompt": prompt.prompt_id}
    return suspend(record, wait, "plugin_pass", cursor=cursor, data=data)


def _with_entry(
    skill: PluginPass, record: Record, entry: JsonObject, *, is_first: bool, check_state: CheckState
) -> JsonObject:
    """Return the state with the entry at the end of the pass's list, which begins anew with each pass."""
    if skill.into is None:
        return record.state
    before = record.state.get(skill.into)
    told = cut_entry({name: value for name, value in entry.items() if name != "per_file"}, STATE_CHARS)
    entries: list[JsonValue] = [told] if is_first or not isinstance(before, list) else [*before, told]
    state: JsonObject = {**record.state, skill.into: entries}
    check_state(state)
    return state


def _leave(spec: AppSpec, record: Record, state: JsonObject, signal: str, now: int, data: JsonObject) -> Change:
    """Leave by the signal; what no route says of an aborted pass is said of a failed one."""
    routes = {route.when for route in spec.skills[record.cursor.skill].routes}
    chosen = "failed" if signal == "aborted" and "aborted" not in routes else signal
    cursor = record.cursor.model_copy(update={"place": None})
    after = record.model_copy(update={"cursor": cursor})
    return leave(spec, after, "plugin_pass", now, chosen, state=state, data={**data, "signal": signal})
