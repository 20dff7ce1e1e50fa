"""The reference's conformance rows about sessions: store, leases, resume, retry and finalising, over a real store.

The rows are data (rows/sessions.yaml): what the source does, what is observed here, and for each deliberate difference
the ADR that says why. A scene plays one situation and returns what it saw.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.contracts.errors import BatonError, LeaseLost
from orchestrator.contracts.ids import check_session_id
from orchestrator.contracts.session import Record
from orchestrator.store.leases import Claimed, ClaimRefused, Commit
from tests.property.store_lab import entry
from tests.stage import Stage, stage

ROWS: list[dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "rows" / "sessions.yaml").read_text())["rows"]
Row = dict[str, Any]
Scene = Callable[[Stage, Row], Awaitable[dict[str, Any]]]


@pytest.mark.parametrize("row", ROWS, ids=[row["id"] for row in ROWS])
def test_a_session_does_what_its_row_says(store_url: str, ledger: Path, row: Row) -> None:
    """Whoever comes from the source finds what is the same, and what is not, with its reason."""

    async def play() -> dict[str, Any]:
        async with stage(store_url) as on:
            return await SCENES[row["scene"]](on, {**row, "ledger": ledger})

    seen = asyncio.run(play())

    assert {name: seen.get(name) for name in row["out"]} == row["out"], seen


def test_every_row_of_the_reference_is_here() -> None:
    """A row that is left out would be a difference without a name."""
    families = {row["id"].split("-")[0] for row in ROWS}

    assert families == {"S1", "L1", *(f"R{n}" for n in range(1, 10)), "T1", *(f"F{n}" for n in range(16, 22))}


# --- what scenes are made of


def claim(on: Stage, session_id: str, holder: str) -> Awaitable[Any]:
    """Claim as a worker that has the app."""
    if not on.hosts:
        on.worker()
    host = on.hosts[-1]
    return host.leases.claim(session_id, holder, host.digests)


async def held(on: Stage, session_id: str, holder: str = "w:1") -> Record:
    """Claim for sure."""
    claimed = await claim(on, session_id, holder)
    assert isinstance(claimed, Claimed), claimed
    return claimed.record


async def refused_by(act: Awaitable[object]) -> str | None:
    """Return the class of the error with which an act is refused, or None."""
    try:
        await act
    except BatonError as error:
        return next(one.__name__ for one in type(error).__mro__ if one.__name__ != "NotPermitted")
    return None


def answer_of(claimed: object) -> str:
    """Return how a claim was answered."""
    return claimed.answer if isinstance(claimed, ClaimRefused) else "claimed"


async def ends(on: Stage, session_id: str) -> int:
    """Count the entries that settle a session."""
    return [told.step async for told in on.client.events(session_id)].count("finalize")


async def paging(on: Stage, session_id: str) -> list[dict[str, Any]]:
    """Return the calls of the escalation tool that the journal has: as which tool, for which session and team, with what outcome."""
    calls = [call async for told in on.client.events(session_id) for call in told.calls if call.tool.endswith(":page")]
    return [
        {
            "tool": call.tool,
            "own": call.args["session"] == session_id,
            "team": call.args["team"],
            "outcome": call.outcome,
            "skill": call.skill,
        }
        for call in calls
    ]


def look(record: Record, row: Row) -> dict[str, Any]:
    """Return what rows say of a session."""
    lines = row["ledger"].read_text().splitlines()
    return {
        "phase": record.phase,
        "status": record.status,
        "reason": record.reason,
        "asks": record.wait is not None,
        "fields": record.fields,
        "paged": [line.split()[1] for line in lines if line.startswith("page")],
    }


# --- S1, L1


async def created(on: Stage, row: Row) -> dict[str, Any]:
    """Submit."""
    return {"rev": (await on.client.show(await on.submit("nap"))).rev}


async def committed(on: Stage, row: Row) -> dict[str, Any]:
    """Commit one step."""
    session_id = await on.submit("nap")
    record = await held(on, session_id)
    await on.hosts[-1].leases.commit(session_id, record.fence, record.rev, Commit("ready", {}, (entry(),)))
    return {"before": record.rev, "after": (await on.client.show(session_id)).rev}


async def stale_revision(on: Stage, row: Row) -> dict[str, Any]:
    """Commit on a revision that is not the newest."""
    session_id = await on.submit("nap")
    record = await held(on, session_id)
    leases = on.hosts[-1].leases
    await leases.commit(session_id, record.fence, record.rev, Commit("continue", {"text": "a"}, (entry(),)))
    late = leases.commit(session_id, record.fence, record.rev + 5, Commit("continue", {"text": "b"}, (entry(),)))
    return {"refused": await refused_by(late), "rev": (await on.client.show(session_id)).rev}


async def second_claim(on: Stage, row: Row) -> dict[str, Any]:
    """Claim what another holds."""
    session_id = await on.submit("nap")
    await held(on, session_id)
    return {"answer": answer_of(await claim(on, session_id, "w:2"))}


async def two_sessions(on: Stage, row: Row) -> dict[str, Any]:
    """Claim two sessions for one holder."""
    return {"answers": [answer_of(await claim(on, await on.submit("nap"), "w:1")) for _ in range(2)]}


async def same_claim_again(on: Stage, row: Row) -> dict[str, Any]:
    """Claim twice as the same holder, as after a lost reply."""
    session_id = await on.submit("nap")
    first, again = await held(on, session_id), await held(on, session_id)
    return {"same_fence": first.fence == again.fence, "attempts": again.attempts}


async def release_after_two_claims(on: Stage, row: Row) -> dict[str, Any]:
    """Claim twice, release twice."""
    session_id = await on.submit("nap")
    await held(on, session_id)
    record = await held(on, session_id)
    leases = on.hosts[-1].leases
    first, second = [await leases.release(session_id, record.fence) for _ in range(2)]
    return {"first": first, "second": second}


async def unknown_claim(on: Stage, row: Row) -> dict[str, Any]:
    """Claim what is not there."""
    answer = answer_of(await claim(on, "EVERY-20260101-404", "w:1"))
    return {"answer": answer, "keys": await on.store.command("DBSIZE")}


# --- R1 to R9


async def at_gate(on: Stage) -> str:
    """Return a session that waits at a gate, with too little confidence."""
    session_id = await on.submit(plan="gate")
    record = await on.run(on.worker(), session_id)
    assert record.wait is not None
    return session_id


async def gate(on: Stage, row: Row) -> dict[str, Any]:
    """Answer a gate, and let a worker go on; with `default_team`, one whose app has that team in place of its own default."""
    session_id = await at_gate(on)
    spec = on.specs["everything"]
    team = row.get("default_team", spec.escalate_action_default_team)
    specs = {"everything": spec.model_copy(update={"escalate_action_default_team": team})}
    refused = await refused_by(on.client.answer(session_id, actor="ada", **row["answer"]))
    executor = on.worker("worker", specs)
    record = await on.run(executor, session_id) if refused is None else await on.client.show(session_id)
    return {"refused": refused, "recorded": await paging(on, session_id), **look(record, row)}


async def settled_gate(on: Stage, row: Row) -> dict[str, Any]:
    """Answer a gate that was answered, and its session settled."""
    session_id = await at_gate(on)
    await on.client.answer(session_id, actor="ada", text="trust it")
    before = await on.run(on.worker(), session_id)
    refused = [await refused_by(on.client.answer(session_id, actor="ada", **answer)) for answer in row["answers"]]
    await on.worker().run_slice(session_id)
    after = await on.client.show(session_id)
    return {
        "refused": refused,
        "unchanged": after == before,
        "ends": await ends(on, session_id),
        **look(after, row),
    }


async def failed_resume(on: Stage, row: Row) -> dict[str, Any]:
    """Answer with what cannot be done."""
    session_id = await at_gate(on)
    await on.client.answer(session_id, actor="ada", verdict="escalate", team="day")  # nobody is there by day
    return look(await on.run(on.worker(), session_id), row)


async def restarted_gate(on: Stage, row: Row) -> dict[str, Any]:
    """Answer from another process, and go on in a third."""
    session_id = await at_gate(on)
    async with stage(on.store.url) as other:
        await other.client.answer(session_id, actor="ada", **row["answer"])
        return look(await other.run(other.worker("another"), session_id), row)


# --- T1


async def dead(on: Stage, path: Path) -> str:
    """Return a dead letter whose step will work the next time."""
    spec = on.specs["everything"]
    strict = spec.model_copy(update={"retry_policy": spec.retry_policy.model_copy(update={"max_retries": 0})})
    session_id = await on.submit("flaky", ledger=str(path))
    record = await on.run(on.worker("strict", {"everything": strict}), session_id)
    assert record.phase == "dead", record
    return session_id


async def replay_settled(on: Stage, row: Row) -> dict[str, Any]:
    """Send a settled session again."""
    session_id = await on.submit("sum", total=1)
    await on.run(on.worker(), session_id)
    return {"refused": await refused_by(on.client.replay([session_id], actor="ada"))}


async def replay_unknown(on: Stage, row: Row) -> dict[str, Any]:
    """Send again what is not there."""
    return {"refused": await refused_by(on.client.replay(["EVERY-20260101-404"], actor="ada"))}


async def replay_dead(on: Stage, row: Row) -> dict[str, Any]:
    """Send a dead letter again, and let it end."""
    session_id = await dead(on, row["ledger"].with_name("once"))
    await on.client.replay([session_id], actor="ada", note="the other side is back")
    record = await on.run(on.worker(), session_id)
    kinds = [told.kind async for told in on.client.events(session_id)]
    return {"replays": record.replays, "failures_kept": "buried" in kinds, **look(record, row)}


async def replay_twice(on: Stage, row: Row) -> dict[str, Any]:
    """Send a dead letter again from two places at once."""
    session_id = await dead(on, row["ledger"].with_name("once"))
    both = await asyncio.gather(*(refused_by(on.client.replay([session_id], actor=name)) for name in ("ada", "bob")))
    return {"started": both.count(None), "refused": both.count("PhaseRefused")}


# --- F16 to F21


async def finalise_waiting(on: Stage, row: Row) -> dict[str, Any]:
    """Wake a session that waits."""
    session_id = await at_gate(on)
    answer = answer_of(await claim(on, session_id, "w:1"))
    return {"answer": answer, **look(await on.client.show(session_id), row)}


async def finalise_ended(on: Stage, row: Row) -> dict[str, Any]:
    """Wake a session that is settled."""
    session_id = await on.submit("sum", total=1)
    before = await on.run(on.worker(), session_id)
    answer = answer_of(await claim(on, session_id, "w:1"))
    return {"answer": answer, "unchanged": await on.client.show(session_id) == before}


async def finalise_dead(on: Stage, row: Row) -> dict[str, Any]:
    """Wake a dead letter."""
    session_id = await dead(on, row["ledger"].with_name("once"))
    answer = answer_of(await claim(on, session_id, "w:1"))
    return {"answer": answer, **look(await on.client.show(session_id), row)}


async def no_calls(on: Stage, row: Row) -> dict[str, Any]:
    """Let a session end in which no tool was called."""
    session_id = await on.submit("ask_shortly")
    await on.run(on.worker(), session_id)
    await on.skip_to_due(session_id)
    return look(await on.run(on.worker(), session_id), row)


async def finalising(on: Stage) -> tuple[str, int]:
    """Return a session that is to be settled, and its revision."""
    session_id = await on.submit("sum", total=1)
    executor = on.worker()
    await executor.run_slice(session_id)
    record = await on.client.show(session_id)
    assert record.phase == "finalizing", record
    return session_id, record.rev


async def finalise_twice(on: Stage, row: Row) -> dict[str, Any]:
    """Deliver the finaliser twice."""
    session_id, rev = await finalising(on)
    for _ in range(2):
        await on.worker().run_slice(session_id)
    return {"ends": await ends(on, session_id), "rev_raised": (await on.client.show(session_id)).rev - rev}


async def finalise_at_once(on: Stage, row: Row) -> dict[str, Any]:
    """Deliver the finaliser to two workers at once."""
    session_id, _ = await finalising(on)
    answers = await asyncio.gather(*(on.worker().run_slice(session_id) for _ in range(2)))
    return {"ends": await ends(on, session_id), "answers": sorted(answers)}


async def finalise_stale(on: Stage, row: Row) -> dict[str, Any]:
    """Let another writer be quicker than the finaliser."""
    session_id, _ = await finalising(on)
    executor = on.worker()
    leases = on.hosts[-1].leases

    async def late(*_: object) -> object:
        raise LeaseLost(session_id, 1)

    leases.commit = late  # type: ignore[assignment]
    return {"slice": await executor.run_slice(session_id), "ends": await ends(on, session_id)}


async def no_words(on: Stage, row: Row) -> dict[str, Any]:
    """End a session of an app that declares no statuses."""
    bare: dict[str, Any] = {
        "statuses": {},
        "terminal_tools": (),
        "default_terminal_status": None,
        "cancelled_status": None,
    }
    wordless = {"everything": on.specs["everything"].model_copy(update=bare)}
    session_id = await on.submit("sum", total=1)
    return look(await on.run(on.worker("wordless", wordless), session_id), row)


async def finalise_unknown(on: Stage, row: Row) -> dict[str, Any]:
    """Wake what is not there."""
    return {"slice": await on.worker().run_slice("EVERY-20260101-404")}


async def malformed(on: Stage, row: Row) -> dict[str, Any]:
    """Name what cannot be a session."""

    async def check() -> None:
        check_session_id("every 1")

    return {"refused": await refused_by(check())}


SCENES: dict[str, Scene] = {name: value for name, value in globals().items() if name in {row["scene"] for row in ROWS}}
