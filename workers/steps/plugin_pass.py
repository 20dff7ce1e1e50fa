"""A plugin pass's step: run the plugin at the cursor's place once, and let the kernel say what follows.

One plugin's run is one step: its entry is committed before the next begins. A worker that dies in the middle leaves a
workspace that is whole, because publishing is; whoever claims the session runs that one plugin again, unless it was published
already: then the sandbox tells what came of it. A session that is
cancelled, or a lease that is lost, stops the run, and it publishes nothing; where it was published already when the word came,
the journal says so.
"""

import asyncio
import logging
from pathlib import Path
from typing import cast

from pydantic import JsonValue, ValidationError

from orchestrator.contracts.base import JsonObject, dump_json, load_json
from orchestrator.contracts.errors import AppCodeFailed, ConfigError, ToolError
from orchestrator.contracts.plugins import PluginOutcome
from orchestrator.contracts.session import Record
from orchestrator.contracts.skill import PluginPass
from orchestrator.kernel.advance import current_skill, leave
from orchestrator.kernel.change import Change
from orchestrator.kernel.expressions import ExpressionError, resolve
from orchestrator.kernel.plugin_pass import (
    JOURNAL_CHARS,
    CheckState,
    abort,
    cut_entry,
    keep_first,
    place_of,
    settle_outcome,
)
from orchestrator.tracing import span
from plugin_sandbox.model import Call, Outcome
from plugin_sandbox.registry import choose_files
from workers.file_sets import match_files
from workers.plugins import PluginHost, PluginNotAccepted
from workers.steps.world import World

log = logging.getLogger(__name__)

#: Of what a plugin says and changes, how many lines and how many characters go into the journal.
LOG_LINES = 50
LOG_CHARS = 16_384
CHANGES = 200
CHANGES_CHARS = 262_144


async def perform(world: World, record: Record) -> Change:
    """Run one plugin, or end a pass whose question nobody will answer."""
    skill = cast("PluginPass", current_skill(world.spec, record))
    place = place_of(record)
    plugins = world.plugins
    if place.aborted:
        return abort(world.spec, skill, record, _version(plugins, record, skill), world.now(), _checked(world, skill))
    if place.plugin >= len(skill.plugins):  # another version of the app may name fewer
        return leave(world.spec, record, "plugin_pass", world.now(), "failed" if place.failed else "success")
    if plugins is None:
        raise ConfigError(f"skill {skill.name}: this worker has no sandbox; this is a defect, report it")
    name = skill.plugins[place.plugin]
    try:
        plugin = plugins.find(record.app, name)
    except PluginNotAccepted as error:
        outcome = PluginOutcome(entry=_refused(name, str(error)))
    else:
        async with plugins.slot():
            folder = await asyncio.to_thread(_workspace, skill, record, plugins.workspaces)
            every = await asyncio.to_thread(match_files, folder, _globs(skill, record))
            files = choose_files(plugin, every)
            call = _call(skill, record, Call(plugin=plugin, workspace=folder, files=files))
            with span(f"plugin {name}") as traced:
                outcome = to_json_outcome(await _run(plugins, call, world))
                traced.note(plugin_status=str((outcome.entry or {}).get("status", "asks")))
    return settle_outcome(world.spec, skill, record, outcome, world.now(), _checked(world, skill))


def to_json_outcome(outcome: Outcome) -> PluginOutcome:
    """Return what crosses into the session: JSON, with what may be long cut."""
    body = load_json(outcome.model_dump_json(exclude_none=True))
    told = cast("JsonObject", body)
    entry = told.get("entry")
    if isinstance(entry, dict):
        isolation = entry.get("isolation")
        if isinstance(isolation, dict):
            isolation.setdefault("tier", None)
    return PluginOutcome.model_validate(
        {
            "entry": entry,
            "prompt": told.get("prompt"),
            "changes": keep_first(cast("list[JsonValue]", told.get("changes") or [])[:CHANGES], CHANGES_CHARS),
            "logs": _newest(cast("list[JsonObject]", told.get("logs") or [])),
        }
    )


async def _run(plugins: PluginHost, call: Call, world: World) -> Outcome:
    """Run a call to its end, also when the step is cancelled: what it came to by then is left for the journal."""
    stop = asyncio.Event()
    work = asyncio.create_task(plugins.run(call, stop))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        stop.set()
        await asyncio.wait([work])
        if not work.cancelled() and work.exception() is None:
            ended = to_json_outcome(work.result()).entry
            if ended is not None:
                world.last_words = {"plugin": cut_entry(ended, JOURNAL_CHARS)}
        raise


def _call(skill: PluginPass, record: Record, call: Call) -> Call:
    """Complete a call with what the app says; raise AppCodeFailed for words that a call does not take."""
    names: JsonObject = {"state": record.state, "text": record.text}
    try:
        variables = resolve(cast("JsonValue", dict(skill.variables)), names)
        context = resolve(cast("JsonValue", dict(skill.context)), names)
        dry = resolve(skill.dry_run, names) if isinstance(skill.dry_run, str) else skill.dry_run
        about = {name: "" if value is None else str(value) for name, value in cast("JsonObject", context).items()}
        body = {
            **{name: getattr(call, name) for name in ("plugin", "workspace", "files")},
            "variables": variables,
            "answers": dict(place_of(record).answers),
            "dry_run": bool(dry),
            "run": _run_name(record),
            **about,
        }
        return Call.model_validate(body)
    except (ExpressionError, ValidationError) as error:
        raise AppCodeFailed(f"skill {skill.name}: {error}; mend variables, context or dry_run") from error


def _run_name(record: Record) -> str:
    """Return the name of this one run, the same whoever does it again: the sandbox publishes it once."""
    place = place_of(record)
    return f"{record.session_id}/{record.created_at}/{place.began}/{place.plugin}/{len(place.answers)}"


def _workspace(skill: PluginPass, record: Record, allowed: tuple[Path, ...]) -> Path:
    """Return the folder of the pass; raise AppCodeFailed where there is none, or where plugins may not work there."""
    where = f"skill {skill.name}: workspace {skill.workspace!r}"
    value = _value(skill, "workspace", skill.workspace, record)
    if not isinstance(value, str) or not value.startswith("/"):
        raise AppCodeFailed(f"{where} is {dump_json(value)[:200]}; put an absolute path there before this step")
    path = Path(value).resolve()
    if not path.is_dir():
        raise AppCodeFailed(f"{where}: {path} is no folder of this machine; make it before this step")
    if path == Path(path.anchor):
        raise AppCodeFailed(f"{where}: the root of everything is no workspace; name a folder")
    if allowed and not any(path.is_relative_to(one) for one in allowed):
        raise AppCodeFailed(f"{where}: {path} is not below apps.workspaces; use a folder that is, or add it there")
    return path


def _globs(skill: PluginPass, record: Record) -> tuple[str, ...]:
    if not isinstance(skill.files, str):
        return skill.files
    value = _value(skill, "files", skill.files, record)
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise AppCodeFailed(f"skill {skill.name}: files {skill.files!r} is no list of texts; put one there")
    return tuple(cast("list[str]", value))


def _value(skill: PluginPass, field: str, word: str, record: Record) -> JsonValue:
    """Return what a state key holds, or what an expression comes to."""
    if not word.startswith("="):
        return record.state.get(word)
    try:
        return resolve(word, {"state": record.state, "text": record.text})
    except ExpressionError as error:
        raise AppCodeFailed(f"skill {skill.name}: {field}: {error}; mend the expression") from error


def _checked(world: World, skill: PluginPass) -> CheckState:
    """Return what checks a state; what its schema refuses is the app's to mend."""

    def check(state: JsonObject) -> None:
        try:
            world.app.check_state(state)
        except ToolError as error:
            where = f"skill {skill.name}: into {skill.into!r}"
            raise AppCodeFailed(f"{where}: {error}; let the state_schema take a list of objects there") from error

    return check


def _version(plugins: PluginHost | None, record: Record, skill: PluginPass) -> str:
    try:
        return plugins.find(record.app, skill.plugins[place_of(record).plugin]).manifest.version if plugins else ""
    except PluginNotAccepted:
        return ""


def _refused(name: str, error: str) -> JsonObject:
    """Return the entry of a plugin that the worker did not accept."""
    isolation: JsonObject = {"duration_ms": 0, "exit_code": 3, "peak_memory_mb": 0, "cpu_seconds": 0, "tier": None}
    return {
        "plugin": name,
        "version": "",
        "files_affected": [],
        "status": "failed",
        "isolation": isolation,
        "error": error[:2_000],
    }


def _newest(logs: list[JsonObject]) -> list[JsonObject]:
    """Return the last lines that fit."""
    kept: list[JsonObject] = []
    chars = 0
    for line in reversed(logs[-LOG_LINES:]):
        chars += len(dump_json(line))
        if chars > LOG_CHARS:
            break
        kept.append(line)
    return kept[::-1]
