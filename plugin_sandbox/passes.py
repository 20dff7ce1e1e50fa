"""A pass: plugins in order over the files of one workspace, each with its own entry.

One that fails does not stop the others. One that asks is run again with all answers so far, from the start and on the unchanged
workspace; without an answer the pass is aborted. Durable passes are made of the same pieces by whoever journals between them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from plugin_sandbox.host import Sandbox
from plugin_sandbox.model import Call, IsolationReport, Json, Prompt, ResultEntry
from plugin_sandbox.outcome import check_answers
from plugin_sandbox.registry import choose_files

#: Asked with a prompt; answers, or None: nobody will answer.
OnPrompt = Callable[[Prompt], Awaitable[Json | None]]


@dataclass(frozen=True)
class PassResult:
    """The entries in order. `aborted`: cancelled, or a question without an answer; what came after has no entry."""

    applied: tuple[ResultEntry, ...]
    aborted: bool = False


async def run_pass(
    sandbox: Sandbox, calls: Sequence[Call], on_prompt: OnPrompt, *, stop: asyncio.Event | None = None
) -> PassResult:
    """Run one call after the other; each call's files are narrowed to its plugin's extensions."""
    applied: list[ResultEntry] = []
    for call in calls:
        entry = await run_one(sandbox, call, on_prompt, stop=stop)
        applied.append(entry)
        if entry.status == "cancelled" or entry.error == UNANSWERED:
            return PassResult(tuple(applied), aborted=True)
    return PassResult(tuple(applied))


UNANSWERED = "it asked, and nobody answered"


async def run_one(
    sandbox: Sandbox, call: Call, on_prompt: OnPrompt, *, stop: asyncio.Event | None = None
) -> ResultEntry:
    """Run one plugin to its entry, through all its questions."""
    call = call.model_copy(update={"files": choose_files(call.plugin, call.files)})
    while True:
        outcome = await sandbox.run(call, stop=stop)
        if outcome.entry is not None or outcome.prompt is None:
            return outcome.entry or _unanswered(call)
        given = await on_prompt(outcome.prompt)
        if given is None:
            return _unanswered(call)
        answers = {**call.answers, outcome.prompt.prompt_id: check_answers(outcome.prompt, given)}
        call = call.model_copy(update={"answers": answers})


def _unanswered(call: Call) -> ResultEntry:
    nothing = IsolationReport(duration_ms=0, exit_code=2, peak_memory_mb=0.0, cpu_seconds=0.0, tier=None)
    manifest = call.plugin.manifest
    return ResultEntry(
        plugin=manifest.name,
        version=manifest.version,
        files_affected=(),
        status="failed",
        isolation=nothing,
        error=UNANSWERED,
    )
