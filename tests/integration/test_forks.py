"""Forks: a session that begins where another one stood, and does from there on what is its own to do."""

import asyncio
from pathlib import Path

import pytest

from orchestrator.contracts.errors import (
    InputError,
    InvalidOverrides,
    KeyConflict,
    NotWaiting,
    PhaseRefused,
    SessionNotFound,
)
from orchestrator.contracts.session import Entry
from orchestrator.store import leases
from tests.archive_hall import Hall, hall
from tests.stage import Stage, play


async def journal(on: Stage, session_id: str) -> list[Entry]:
    """Return a session's whole journal."""
    return [entry async for entry in on.client.events(session_id)]


async def first(on: Stage, session_id: str, step: str) -> int:
    """Return the number of the first entry of a step kind."""
    return next(entry.seq for entry in await journal(on, session_id) if entry.step == step)


def test_a_fork_begins_where_its_origin_stood(store_url: str, ledger: Path) -> None:
    """State, context and cursor are those of that entry; the origin is only read."""

    async def scene(on: Stage) -> None:
        executor = on.worker()
        origin = await on.submit()
        ended = await on.run(executor, origin)
        before = await journal(on, origin)
        seen = await first(on, origin, "tool_calls")
        forked = await on.client.fork(origin, at=seen, actor="grace")
        record = await on.client.show(forked.session_id)
        told = (await journal(on, forked.session_id))[0]

        assert forked.created
        assert (record.parent, record.forked_at, record.actor, record.phase) == (origin, seen, "grace", "ready")
        assert record.state["seen"] == [1, 2]
        assert record.spec == ended.spec
        assert told.data == {"event": "session:fork", "parent": origin, "session_id": forked.session_id, "at": seen}
        whole = await on.client.context(origin)
        assert await on.client.context(forked.session_id) == whole[: len(await on.client.context(forked.session_id))]

        again = await on.run(executor, forked.session_id)
        assert (again.phase, again.status, again.state) == ("ended", "fine", ended.state)
        assert await journal(on, origin) == before
        assert sorted(ledger.read_text().splitlines()) == ["look 1", "look 2"]  # calls of one turn run at once
        assert (await on.client.verify(forked.session_id)).differences == ()

    play(store_url, scene)


def test_a_fork_may_have_another_state(store_url: str) -> None:
    """What if it had been asked something else: the keys that are given replace those that were."""

    async def scene(on: Stage) -> None:
        executor = on.worker()
        origin = await on.submit(plan="nothing")
        await on.run(executor, origin)
        forked = await on.client.fork(origin, at=1, state={"answer": "other"}, actor="ada")
        record = await on.run(executor, forked.session_id)
        told = (await journal(on, forked.session_id))[0]

        assert record.fields["word"] == "other"
        assert told.data["state"] == ["answer"]
        with pytest.raises(InvalidOverrides):
            await on.client.fork(origin, at=1, state={"total": "many"}, actor="ada")

    play(store_url, scene)


def test_every_entry_of_a_session_can_be_forked_until_its_end(store_url: str, ledger: Path) -> None:
    """From whatever entry, a fork comes to the same end; where nothing was left to do it is refused, with the last entry."""

    async def scene(on: Stage) -> None:
        executor = on.worker()
        origin = await on.submit()
        ended = await on.run(executor, origin)
        last = 0
        for seq in range(1, ended.seq + 1):
            try:
                forked = await on.client.fork(origin, at=seq, actor="ada")
            except PhaseRefused as error:
                assert f"fork it at {last} or before" in str(error)
                continue
            last = seq
            record = await on.run(executor, forked.session_id)
            assert (record.status, record.state) == (ended.status, ended.state)
            assert (await on.client.verify(forked.session_id)).differences == ()
        newest = await on.client.fork(origin, actor="ada")

        assert 1 < last < ended.seq
        assert (await on.client.show(newest.session_id)).forked_at == last

    play(store_url, scene)


def test_an_approval_was_given_to_the_origin_alone(store_url: str, ledger: Path) -> None:
    """Otherwise one approval would allow a call as often as somebody forks."""

    async def scene(on: Stage) -> None:
        executor = on.worker()
        origin = await on.submit(plan="danger")
        waiting = await on.run(executor, origin)
        await on.client.decide(origin, allow=True, actor="ada")
        posted = (await on.client.show(origin)).seq
        await on.run(executor, origin)
        assert ledger.read_text().splitlines() == ["danger x"]
        places = [waiting.seq, posted, posted + 1]
        for place in places:
            forked = (await on.client.fork(origin, at=place, actor="mallory")).session_id
            record = await on.run(executor, forked)
            if place == posted + 1:  # it was announced by then: nobody knows whether it acted
                assert (record.phase, record.wait and record.wait.kind) == ("waiting", "uncertain")
                continue
            assert record.wait is not None
            assert (record.wait.kind, record.wait.wait_id.split("/")[0]) == ("approval", forked)
            with pytest.raises(NotWaiting):
                await on.client.decide(forked, allow=True, actor="ada", wait_id=waiting.wait.wait_id)  # type: ignore[union-attr]

        assert ledger.read_text().splitlines() == ["danger x"]

    play(store_url, scene)


def test_a_call_that_was_not_announced_gets_a_key_of_its_own(store_url: str, ledger: Path) -> None:
    """The other side must not take the fork's call for a repetition of the origin's; an announced one must stay one."""

    async def scene(on: Stage) -> None:
        executor = on.worker()
        origin = await on.submit(plan="put")
        await on.run(executor, origin)
        turn = await first(on, origin, "agent_turn")
        announced = next(entry.seq for entry in await journal(on, origin) if "announced" in entry.data)
        own = (await on.client.fork(origin, at=turn, actor="ada")).session_id
        same = (await on.client.fork(origin, at=announced, actor="ada")).session_id
        await on.run(executor, own)
        await on.run(executor, same)
        keys = [line.split()[2].split("/")[0] for line in ledger.read_text().splitlines()]

        assert keys == [origin, own, origin]
        assert (await journal(on, same))[0].data["uncertain"] == ["call-0-0"]

    play(store_url, scene)


def test_a_fork_asks_and_waits_for_itself(store_url: str) -> None:
    """An answer to the origin is no answer to its fork, and the other way round."""

    async def scene(on: Stage) -> None:
        executor = on.worker()
        origin = await on.submit(entry_skill="ask_first")
        await on.run(executor, origin)
        await on.client.answer(origin, actor="ada", text="for the first")
        forked = (await on.client.fork(origin, actor="ada")).session_id
        waiting = await on.run(executor, forked)
        ended = await on.run(executor, origin)

        assert waiting.wait is not None
        assert waiting.wait.wait_id.startswith(forked)
        assert ended.fields["word"] == "for the first"
        await on.client.answer(forked, actor="ada", text="for the second")
        assert (await on.run(executor, forked)).fields["word"] == "for the second"

    play(store_url, scene)


def test_a_fork_has_children_of_its_own_and_tells_nobody_of_its_end(store_url: str) -> None:
    """A cancel of the fork must not reach the origin's children, nor its end the origin's wait."""

    async def scene(on: Stage) -> None:
        executor = on.worker()
        origin = await on.submit(entry_skill="fan", items=["a", "b"])
        waiting = await on.run(executor, origin)
        forked = (await on.client.fork(origin, actor="ada")).session_id
        again = await on.run(executor, forked)
        child = next(iter(waiting.wait.children))  # type: ignore[union-attr]
        of_child = (await on.client.fork(child, at=1, actor="ada")).session_id
        await on.run(executor, of_child)

        assert again.wait is not None
        assert len(again.wait.children) == 2
        assert not set(again.wait.children) & set(waiting.wait.children)  # type: ignore[union-attr]
        assert (await on.client.show(origin)).seq == waiting.seq

    play(store_url, scene)


def test_a_dead_letter_is_forked_with_its_failures_forgotten(store_url: str, tmp_path: Path) -> None:
    """Mend the cause in the fork's state, and look whether it would have gone on."""

    async def scene(on: Stage) -> None:
        executor = on.worker()
        origin = await on.submit(entry_skill="broken")
        dead = await on.run(executor, origin)
        forked = (await on.client.fork(origin, actor="ada")).session_id
        record = await on.client.show(forked)

        assert dead.phase == "dead"
        assert (record.phase, record.failure, record.cursor.failures) == ("ready", None, 0)

    play(store_url, scene)


def test_a_cancel_is_not_taken_over(store_url: str) -> None:
    """Whoever cancelled, cancelled that session."""

    async def scene(on: Stage) -> None:
        executor = on.worker()
        origin = await on.submit(entry_skill="nap")
        await on.run(executor, origin)
        await on.client.cancel(origin, actor="ada")
        forked = (await on.client.fork(origin, actor="ada")).session_id
        await on.run(executor, origin)

        assert (await on.run(executor, forked)).phase == "waiting"

    play(store_url, scene)


def test_a_fork_by_key_is_one_fork(store_url: str) -> None:
    """A client that repeats itself after a lost reply makes no second session."""

    async def scene(on: Stage) -> None:
        origin = await on.submit()
        one = await on.client.fork(origin, actor="ada", key="once")
        two = await on.client.fork(origin, actor="ada", key="once")

        assert (one.session_id, one.created, two.created) == (two.session_id, True, False)
        with pytest.raises(KeyConflict):
            await on.client.fork(origin, at=1, actor="ada", key="once")

    play(store_url, scene)


def test_the_version_is_the_origins_or_the_one_that_is_named(store_url: str) -> None:
    """`current` is what this caller has; a version that nobody has is refused."""

    async def scene(on: Stage) -> None:
        origin = await on.submit()
        old = (await on.client.show(origin)).spec
        on.client.specs = {name: spec.model_copy(update={"max_turns": 3}) for name, spec in on.specs.items()}
        same = await on.client.fork(origin, actor="ada")
        other = await on.client.fork(origin, version="current", actor="ada")
        other_spec = (await on.client.show(other.session_id)).spec

        assert (await on.client.show(same.session_id)).spec == old
        assert other_spec == on.client.spec("everything").digest() != old
        assert (await journal(on, other.session_id))[0].data["version"] == {"was": old, "is": other_spec}
        with pytest.raises(InputError, match="no worker has it"):
            await on.client.fork(origin, version="deadbeef", actor="ada")

    play(store_url, scene)


def test_what_is_not_there_cannot_be_forked(store_url: str) -> None:
    """An entry below the first, one that is not written yet, a session that nobody knows."""

    async def scene(on: Stage) -> None:
        origin = await on.submit()
        with pytest.raises(InputError, match="numbered from 1"):
            await on.client.fork(origin, at=0, actor="ada")
        with pytest.raises(InputError, match="no entry 99 yet"):
            await on.client.fork(origin, at=99, actor="ada")
        with pytest.raises(SessionNotFound):
            await on.client.fork("EVERY-20260101-999", at=3, actor="ada")

    play(store_url, scene)


def test_a_mark_says_what_the_journal_says(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Marks only shorten the way: every fork is the same with them and without."""
    monkeypatch.setattr(leases, "MARK_EVERY", 2)

    async def scene(on: Stage) -> None:
        executor = on.worker()
        origin = await on.submit(plan="put")
        ended = await on.run(executor, origin)
        marks = on.store.keys.of_session("marks", origin)
        assert int(await on.store.command("XLEN", marks)) >= 2

        async def forks() -> list[object]:
            found: list[object] = []
            for seq in range(1, ended.seq + 1):
                try:
                    record = await on.client.show((await on.client.fork(origin, at=seq, actor="ada")).session_id)
                except PhaseRefused as error:
                    found.append(str(error))
                else:
                    calls = [call.model_copy(update={"key": "", "args": {}}) for call in record.cursor.calls]
                    intents = await on.client.intents(record.session_id)
                    found.append((record.cursor.model_copy(update={"calls": calls}), record.state, sorted(intents)))
            return found

        with_marks = await forks()
        await on.store.command("DEL", marks)
        without = await forks()

        assert [one for one in with_marks if isinstance(one, tuple)] == [
            one for one in without if isinstance(one, tuple)
        ]
        assert len(with_marks) == len(without)

    play(store_url, scene)


def test_an_archived_session_can_be_forked(store_url: str, tmp_path: Path, ledger: Path) -> None:
    """A question about last month's session is asked when its record has long left the store."""

    async def go() -> None:
        async with hall(store_url, f"sqlite:///{tmp_path}/deep/archive.db") as at:
            await scene(at)

    async def scene(at: Hall) -> None:
        origin = await at.ended()
        at_turn = next(entry.seq for entry in [e async for e in at.client.events(origin)] if entry.step == "tool_calls")
        expected = await at.client.context(origin)
        await at.archiver.run_once("ada")
        forked = (await at.client.fork(origin, at=at_turn, actor="ada")).session_id
        record = await at.client.show(forked)
        context = await at.client.context(forked)

        assert record.parent == origin
        assert context == expected[: len(context)]
        assert (await at.client.verify(origin)).differences == ()
        assert (await at.client.verify(forked)).differences == ()

    asyncio.run(go())
