"""`python -m workers.rehearsal APP_DIR`: go through recorded sessions with another version of their app, and report.

Each recorded step is done again by the very code that workers run, from the session as it stood before that step, and with the
outside world as it was recorded: models say what they said, tools answer what they answered, people and children as they did. What
would be committed is compared with what was (kernel/rehearsing.py), and the next step begins from the recording again: so every
place is found where the version would do something else, not only the first.

Nothing acts: no model is asked, no tool called, no session submitted, no store opened. An app's compute functions do run, for they
have no effects outside. Steps whose world is not in the journal are left out and counted: plugin passes, compactions, failed tries.

Standard input is a list of {session_id, app, entries}, standard output one of {session_id, steps, left_out, differences}.
"""

import asyncio
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, cast

from pydantic import JsonValue

from orchestrator.app_loader import load_app
from orchestrator.client import Client
from orchestrator.contracts.base import JsonObject, dump_json, load_json
from orchestrator.contracts.errors import BatonError, ConfigError, InputError, ToolError, ToolTimeout
from orchestrator.contracts.messages import Message, ModelRequest, ModelResponse, ToolSchema
from orchestrator.contracts.session import Entry, Record
from orchestrator.contracts.tool_questions import ToolAnswers
from orchestrator.kernel.change import Change
from orchestrator.kernel.delivery import deliver
from orchestrator.kernel.rehearsing import Tape, compare, describe_failure, is_recorded_whole
from orchestrator.settings import load_settings
from orchestrator.settings_model import ModelsSettings
from orchestrator.store.codec import decode_record
from orchestrator.store.intake import Submitted
from workers.composition import build_app
from workers.models import Models, Route
from workers.steps.performing import perform_step
from workers.steps.world import AppRuntime, World

FAILED: Final = 1


class RecordedModel:
    """Says what the model said in the step that is gone through."""

    def __init__(self, entry: Entry) -> None:
        self._entry = entry

    async def complete(self, request: ModelRequest) -> ModelResponse:
        """Return the recorded answer; raise InputError where none was recorded."""
        del request
        data = self._entry.data
        if self._entry.step == "dispatch":
            return ModelResponse(content=str(data.get("target", "")))
        said = [Message.from_json(text) for text in self._entry.messages]
        for message in reversed(said):
            if message.role == "assistant":
                told: JsonObject = {name: data[name] for name in ("signal", "confidence", "rationale") if name in data}
                answer = ModelResponse(
                    content=message.content, tool_calls=message.tool_calls, reasoning=message.reasoning
                )
                return ModelResponse.model_validate({**answer.model_dump(), **told, "model": data.get("model", "")})
        raise InputError(f"entry {self._entry.seq}: the model was not asked here; it would be")

    async def aclose(self) -> None:
        """Do nothing: there is no connection."""


def _recorded(entry: Entry) -> Models:
    """Return the model of one step: it is no service, so nothing stands before its calls."""
    return Models([Route(RecordedModel(entry), "scripted", "")], ModelsSettings())


class RecordedTools:
    """Answers calls as they were answered in the step that is gone through; lists what the version's servers offer."""

    def __init__(self, entry: Entry, catalogue: Mapping[str, ToolSchema]) -> None:
        self._left = list(entry.calls)
        self._catalogue = catalogue

    async def catalogue(self) -> Mapping[str, ToolSchema]:
        """Return the tools of the version's own servers."""
        return self._catalogue

    def accepts(self, tool: str, argument: str) -> bool:
        """Say whether a tool's schema names this argument."""
        found = self._catalogue.get(tool)
        properties = found.parameters.get("properties") if found else None
        return isinstance(properties, dict) and argument in properties

    async def call(
        self, tool: str, args: JsonObject, *, timeout_seconds: float, answers: ToolAnswers | None = None
    ) -> JsonValue:
        """Return the recorded result; raise as the call failed, or InputError where it was not made."""
        del timeout_seconds, answers
        made = next((one for one in self._left if one.tool == tool and dump_json(one.args) == dump_json(args)), None)
        made = made or next((one for one in self._left if one.tool == tool), None)
        if made is None:
            raise InputError(f"{tool}: it was not called here; it would be, with {dump_json(args)[:300]}")
        self._left.remove(made)
        if made.outcome in {"failed", "timeout"}:
            told = made.result.get("error") if isinstance(made.result, dict) else made.result
            raise (ToolTimeout if made.outcome == "timeout" else ToolError)(str(told))
        return made.result

    async def aclose(self) -> None:
        """Do nothing: there is no connection."""


class RecordedClient:
    """Takes submissions of children and monitors and makes none; answers with the ids that were given then."""

    store = None

    def __init__(self, before: Record, entry: Entry) -> None:
        wait = load_json(entry.set["wait"]) if entry.set.get("wait") else {}
        known = wait.get("children") if isinstance(wait, dict) else None
        self._ids = [str(one) for one in known] if isinstance(known, dict) else []
        self._ids += [str(entry.data["session"])] if "session" in entry.data else []
        self._prefix = before.session_id.rsplit("-", 2)[0]
        self.taken = 0

    async def submit(self, app: str, **request: object) -> Submitted:
        """Return the id of then, or one that says that there was none."""
        del app, request
        self.taken += 1
        known = (
            self._ids[self.taken - 1] if self.taken <= len(self._ids) else f"{self._prefix}-00000000-{self.taken:03d}"
        )
        return Submitted(known, created=True)


class Rehearsal:
    """One recording under one version of its app."""

    def __init__(self, app: AppRuntime, catalogue: Mapping[str, ToolSchema], session_id: str) -> None:
        self._app = app
        self._catalogue = catalogue
        self._session_id = session_id
        self._tape = Tape()
        self.steps = self.left_out = 0
        self.differences: list[JsonObject] = []

    async def run(self, entries: Sequence[Entry]) -> JsonObject:
        """Go through all entries; return the report."""
        for entry in entries:
            if entry.kind == "step":
                await self._step(entry)
            self._tape.take(entry)
        return {
            "session_id": self._session_id,
            "steps": self.steps,
            "left_out": self.left_out,
            "differences": list(self.differences),
        }

    async def _step(self, entry: Entry) -> None:
        before = decode_record(self._session_id, self._tape.fields())
        if not is_recorded_whole(before, entry):
            self.left_out += 1
            return
        self.steps += 1
        skill = before.cursor.skill
        if skill not in self._app.spec.skills:
            self.record(entry, "skill", skill, None)
            return
        # Whatever the app's own code raises is what would happen with it, and goes into the report.
        (made,) = await asyncio.gather(self._perform(before, entry), return_exceptions=True)
        if isinstance(made, Exception):
            self.record(entry, "fails", None, describe_failure(made))
            return
        if isinstance(made, BaseException):
            raise made
        for what, was, now in compare(before, entry, made):
            self.record(entry, what, was, now)

    async def _perform(self, before: Record, entry: Entry) -> Change:
        now = self._tape.time_of(before, entry)
        delivery = deliver(self._app.spec, before, self._tape.posts(entry.taken), now)
        world = World(
            app=replace(self._app, models=_recorded(entry), toolbox=RecordedTools(entry, self._catalogue)),
            client=cast("Client", RecordedClient(before, entry)),
            claimed_at=now,
            started=time.monotonic(),
            load_context=self._context,
            load_catalogue=self._load_catalogue,
            intents=dict(self._tape.intents(before)),
            announced=self._tape.announced_under(entry.fence),
            delivered=delivery.messages,
        )
        change = await perform_step(world, delivery.record)
        return change._replace(messages=(*delivery.messages, *change.messages))

    async def _context(self) -> tuple[Message, ...]:
        return self._tape.messages()

    async def _load_catalogue(self, record: Record) -> tuple[str, Mapping[str, ToolSchema]]:
        return record.catalogue, self._catalogue

    def record(self, entry: Entry, what: str, was: JsonValue, now: JsonValue) -> None:
        """Note a difference."""
        self.differences.append(
            {"seq": entry.seq, "step": entry.step, "skill": entry.skill, "what": what, "was": was, "now": now}
        )


async def rehearse(folder: Path, recordings: Sequence[JsonObject]) -> list[JsonObject]:
    """Return a report of each recording; raise ConfigError where the app cannot be loaded, or is another one."""
    spec = load_app(folder)
    spec = spec.model_copy(update={"model": spec.model.model_copy(update={"stream": False})})  # nobody watches
    app = build_app(spec, load_settings())
    try:
        catalogue = await app.toolbox.catalogue() if spec.mcp_servers else {}
        reports = []
        for recording in recordings:
            if recording["app"] != spec.name:
                raise ConfigError(
                    f"session {recording['session_id']}: it is one of {recording['app']}, not of {spec.name}; name its app"
                )
            entries = [Entry.model_validate(body) for body in cast("list[JsonObject]", recording["entries"])]
            reports.append(await Rehearsal(app, catalogue, str(recording["session_id"])).run(entries))
        return reports
    finally:
        await app.models.aclose()
        await app.toolbox.aclose()


def main(argv: Sequence[str]) -> int:
    """Print the reports; return 1 where the app cannot be used."""
    try:
        reports = asyncio.run(rehearse(Path(argv[0]), cast("list[JsonObject]", load_json(sys.stdin.read()))))
    except BatonError as error:
        sys.stderr.write(f"{error}\n")
        return FAILED
    sys.stdout.write(dump_json(reports) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
