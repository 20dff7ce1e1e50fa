"""An answer reaches the question that was looked at, and no other that goes by its name.

Both would be believed: an uncertain call that nobody has looked at would be made a third time, and what a person allowed would be
something that they never saw.
"""

from pathlib import Path

import pytest
from mcp_types import ElicitResult

from orchestrator.contracts.errors import NotWaiting
from orchestrator.contracts.session import Record, Wait
from orchestrator.interfaces.mcp.questions import apply_response
from tests.stage import Stage, play
from workers.executor import Executor


async def until_asked(on: Stage, executor: Executor, session_id: str) -> Wait:
    """Run a session until it asks a person, its pauses between tries left out."""
    record: Record = await on.run(executor, session_id)
    while record.wait is not None and record.wait.kind == "retry":
        await on.skip_to_due(session_id)
        record = await on.run(executor, session_id)
    assert record.wait is not None
    return record.wait


def test_a_word_about_an_uncertain_call_is_none_about_its_repetition(store_url: str, ledger: Path) -> None:
    """Two people look; one lets it be made again, which is uncertain, too; the other's word is about the first time."""

    async def scene(on: Stage) -> None:
        worker = on.worker()
        session_id = await on.submit(plan="strike_slowly")
        first = await until_asked(on, worker, session_id)
        await on.client.answer(session_id, actor="ada", verdict="retry", wait_id=first.wait_id)
        second = await until_asked(on, worker, session_id)
        assert (first.kind, second.kind) == ("uncertain", "uncertain")

        with pytest.raises(NotWaiting, match="look again"):
            await on.client.answer(session_id, actor="grace", verdict="retry", wait_id=first.wait_id)

        await on.run(worker, session_id)
        assert len(ledger.read_text().splitlines()) == 2

    play(store_url, scene)


def test_a_form_about_an_uncertain_call_is_none_about_its_repetition(store_url: str, ledger: Path) -> None:
    """The same as an MCP client answers: somebody else was quicker between the look at its task and the answer's arrival."""

    async def scene(on: Stage) -> None:
        worker = on.worker()
        session_id = await on.submit(plan="strike_slowly")
        await until_asked(on, worker, session_id)
        looked_at = await on.client.show(session_id)
        await on.client.answer(session_id, actor="ada", verdict="retry")
        await until_asked(on, worker, session_id)

        said = ElicitResult(action="accept", content={"verdict": "retry"})
        with pytest.raises(NotWaiting, match="look again"):
            await apply_response(on.client, looked_at, said, actor="grace")

        await on.run(worker, session_id)
        assert len(ledger.read_text().splitlines()) == 2

    play(store_url, scene)


async def copy_keys(on: Stage, session_id: str, *, suffix: str) -> None:
    """Keep what the store has of a session under other names."""
    for key in await on.store.command("KEYS", f"*{session_id}*"):
        await on.store.command("COPY", key, f"{key}{suffix}")


async def put_back(on: Stage, session_id: str, *, suffix: str) -> None:
    """Let the store have of a session what was kept, and nothing since: as after a power cut, but for the last moments."""
    for key in await on.store.command("KEYS", f"*{session_id}*"):
        if not str(key).endswith(suffix):
            await on.store.command("DEL", key)
    for key in await on.store.command("KEYS", f"*{session_id}*{suffix}"):
        await on.store.command("RENAME", key, str(key).removesuffix(suffix))
    for name in ("due", "leases"):
        await on.store.command("ZREM", on.store.keys.of_session(name, session_id), session_id)


def test_an_approval_is_none_of_what_is_asked_under_its_number_after_a_power_cut(store_url: str, ledger: Path) -> None:
    """The store has lost the question that was seen; the model, asked anew, wants something else."""

    async def scene(on: Stage) -> None:
        session_id = await on.submit(plan="danger")
        await copy_keys(on, session_id, suffix=":kept")
        seen = await until_asked(on, on.worker(), session_id)
        await put_back(on, session_id, suffix=":kept")
        spec = on.specs["everything"]
        words = spec.model_dump_json().replace('\\"target\\":\\"x\\"', '\\"target\\":\\"all\\"')
        other = type(spec).model_validate_json(words.replace('"target":"x"', '"target":"all"'))
        worker = on.worker(specs={"everything": other})
        asked = await until_asked(on, worker, session_id)
        assert seen.call is not None
        assert asked.call is not None
        assert (asked.call.call_id, asked.call.args) == (seen.call.call_id, {"target": "all"})

        with pytest.raises(NotWaiting):
            await on.client.decide(session_id, allow=True, actor="ada", wait_id=seen.wait_id)

        await on.run(worker, session_id)
        assert ledger.read_text() == ""

    play(store_url, scene)
