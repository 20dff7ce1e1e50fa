"""Child sessions: submitted by a supervisor, waited for without a worker, their ends handed up, within limits."""

from typing import Any, cast

import pytest

from orchestrator.contracts.base import dump_json
from orchestrator.contracts.budgets import BudgetSpec, SessionBudget
from orchestrator.contracts.session import Record
from orchestrator.contracts.skill import Supervisor
from tests.stage import Stage, play
from workers.executor import Executor


def worker(on: Stage, **changes: object) -> Executor:
    """Return a worker of the app with these changes of its supervisor `fan`."""
    for name, spec in on.specs.items():
        fan = cast("Supervisor", spec.skills["fan"]).model_copy(update=changes)
        on.specs = {name: spec.model_copy(update={"skills": {**spec.skills, "fan": fan}})}
    on.client.specs = on.specs
    return on.worker(specs=on.specs)


async def fan_out(on: Stage, executor: Executor, *items: object) -> tuple[str, Record, list[str]]:
    """Return a session that waits for a child for each item, and the children."""
    session_id = await on.submit(entry_skill="fan", items=list(items))
    record = await on.run(executor, session_id)
    return session_id, record, list(record.wait.children) if record.wait else []


async def keys_of_children(on: Stage, session_id: str) -> list[str]:
    """Return where the children of a session are known by their keys."""
    return [str(key) for key in await on.store.command("KEYS", f"baton:idem:*:child:{session_id}:*")]


def ends_of(record: Record) -> dict[str, Any]:
    """Return what the supervisor was told of its children."""
    return cast("dict[str, Any]", record.state["ends"])


def test_all_children_are_waited_for_without_a_worker(store_url: str) -> None:
    """The last end wakes the parent: no lease, no wake-up in between, and each end is there."""

    async def scene(on: Stage) -> None:
        executor = worker(on)
        session_id, waiting, children = await fan_out(on, executor, "a", "b", "bad")
        lease = await on.store.command("ZSCORE", on.store.keys.of_session("leases", session_id), session_id)
        for child in children:
            await on.run(executor, child)
        record = await on.run(executor, session_id)

        assert (waiting.phase, lease) == ("waiting", None)
        assert (record.phase, record.status) == ("ended", "fine")
        assert [ends_of(record)[child]["phase"] for child in children] == ["ended", "ended", "dead"]
        assert [ends_of(record)[child]["status"] for child in children] == ["fine", "fine", None]
        assert (await on.client.verify(session_id)).differences == ()

    play(store_url, scene)


def test_any_child_suffices_where_the_skill_says_so(store_url: str) -> None:
    """The first end is the result; the others go on and their ends change nothing any more."""

    async def scene(on: Stage) -> None:
        executor = worker(on, join="any")
        session_id, _, children = await fan_out(on, executor, "a", "b")
        await on.run(executor, children[1])
        record = await on.run(executor, session_id)
        await on.run(executor, children[0])

        assert list(ends_of(record)) == [children[1]]
        assert (await on.client.show(session_id)).seq == record.seq

    play(store_url, scene)


def test_a_word_of_a_child_that_was_lost_is_asked_for(store_url: str) -> None:
    """A finaliser may die between its word and its commit, a parent's mailbox may be full: the parent looks by itself."""

    async def scene(on: Stage) -> None:
        executor = worker(on)
        session_id, _, children = await fan_out(on, executor, "a")
        key = on.store.keys.of_session("record", children[0])
        await on.store.command("HSET", key, "parent", "")
        await on.run(executor, children[0])
        assert (await on.client.show(session_id)).phase == "waiting"
        await on.skip_to_due(session_id)

        assert ends_of(await on.run(executor, session_id))[children[0]]["status"] == "fine"

    play(store_url, scene)


def test_there_are_not_more_children_than_the_skill_allows(store_url: str) -> None:
    """A list that grew by mistake must not become a thousand sessions."""

    async def scene(on: Stage) -> None:
        executor = worker(on, max_children=2)
        _, record, _ = await fan_out(on, executor, 1, 2, 3)

        assert (record.phase, await on.client.views.count("everything", "ready")) == ("dead", 0)

    play(store_url, scene)


def test_children_do_not_stand_deeper_than_the_skill_allows(store_url: str) -> None:
    """A supervisor whose children are supervisors would go on for ever; forks stand where their origin stood."""

    async def scene(on: Stage) -> None:
        executor = worker(on, subordinates=("fan",), max_dispatch_depth=2)
        session_id, _, children = await fan_out(on, executor, "a")
        first = await on.client.show(children[0])
        key = on.store.keys.of_session("record", children[0])
        grown = {**first.state, "items": ["b"]}
        fork = await on.client.fork(children[0], state=grown, actor="ada")
        forked = await on.run(executor, fork.session_id)
        assert forked.wait is not None
        (grandchild,) = forked.wait.children
        deepest = await on.client.fork(grandchild, state=grown, actor="ada")
        ended = await on.run(executor, deepest.session_id)
        told = [entry.data async for entry in on.client.events(deepest.session_id) if entry.step == "dispatch"]

        assert [first.level, forked.level, ended.level] == [1, 1, 2]
        assert (first.parent, await on.store.command("HGET", key, "level")) == (session_id, "1")
        assert (ended.phase, told) == ("ended", [{"error": "fan: dispatch depth 3 is over 2"}])

    play(store_url, scene)


@pytest.mark.parametrize("how", ["newer", "damaged", "damaged and dead"])
def test_a_child_that_cannot_be_read_takes_its_parent_along_in_no_case(store_url: str, how: str) -> None:
    """A newer Baton's child is waited for; a damaged one is a dead letter, of which its parent is told what there is."""

    async def scene(on: Stage) -> None:
        executor = worker(on)
        session_id, _, (child,) = await fan_out(on, executor, "a")
        key = on.store.keys.of_session("record", child)
        cursor = '{"skill":"a","mood":"fine"}' if how == "newer" else "{"
        before = await on.store.command("HGET", key, "cursor")
        await on.store.command("HSET", key, "cursor", cursor, "format", "99" if how == "newer" else "1")
        if how == "damaged and dead":
            await executor.run_slice(child)
        await on.skip_to_due(session_id)
        record = await on.run(executor, session_id)
        if how == "damaged and dead":
            assert ends_of(record) == {child: {"status": None, "phase": "dead", "fields": {}, "reason": "unreadable"}}
            return
        assert record.phase == "waiting"

        await on.store.command("HSET", key, "cursor", before, "format", "1")
        await on.run(executor, child)

        assert ends_of(await on.run(executor, session_id))[child]["status"] == "fine"

    play(store_url, scene)


def test_a_child_that_is_gone_counts_as_dead_and_its_parent_goes_on(store_url: str) -> None:
    """A failover may take a child back that its parent knows of already: nobody waits for it for ever, and nobody dies of it."""

    async def scene(on: Stage) -> None:
        executor = worker(on)
        session_id, _, (gone, good) = await fan_out(on, executor, "a", "b")
        keys = on.store.keys
        for name in ("record", "journal", "context"):
            await on.store.command("DEL", keys.of_session(name, gone))
        await on.run(executor, good)
        assert (await on.run(executor, session_id)).phase == "waiting"
        await on.skip_to_due(session_id)
        record = await on.run(executor, session_id)

        assert (record.phase, record.status) == ("ended", "fine")
        assert ends_of(record)[gone] == {"status": None, "phase": "dead", "fields": {}, "reason": "missing"}
        assert ends_of(record)[good]["status"] == "fine"
        assert (await on.client.verify(session_id)).differences == ()

    play(store_url, scene)


def test_a_fan_out_that_is_repeated_weeks_later_begins_no_child_twice(store_url: str) -> None:
    """Its step may be put off between a child and its commit, and a dead letter be sent again: keys outlast that."""

    async def scene(on: Stage) -> None:
        executor = worker(on)
        for host in on.hosts:
            host.client.intake._key_ttl_seconds = 60  # for how long callers' keys are known is another matter
        session_id, _, (child,) = await fan_out(on, executor, "a")
        (key,) = await keys_of_children(on, session_id)
        left = await on.store.command("TTL", key)

        assert str(await on.store.command("GET", key)).startswith(child)
        assert left > 20 * 86_400
        assert await on.store.command("HGET", on.store.keys.of_session("record", child), "key_seconds") == "2592000"

    play(store_url, scene)


def test_a_child_that_was_sent_again_tells_its_end_anew(store_url: str) -> None:
    """Its parent still waits for others: what it was told before of a dead letter is not how that child ended."""

    async def scene(on: Stage) -> None:
        executor = worker(on)
        session_id, _, (bad, good) = await fan_out(on, executor, "bad", "b")
        dead = await on.run(executor, bad)
        assert (dead.phase, (await on.run(executor, session_id)).phase) == ("dead", "waiting")
        mended = dump_json({**dead.state, "item": "a"})
        await on.store.command("HSET", on.store.keys.of_session("record", bad), "state", mended)

        await on.client.replay([bad], actor="ada")
        await on.run(executor, bad)
        await on.run(executor, good)

        ends = ends_of(await on.run(executor, session_id))
        assert [(ends[child]["phase"], ends[child]["status"]) for child in (bad, good)] == [("ended", "fine")] * 2

    play(store_url, scene)


def test_children_of_a_parent_whose_budget_is_spent_are_stopped(store_url: str) -> None:
    """Nobody waits for them any more, and what they would still spend is what the parent may not."""

    async def scene(on: Stage) -> None:
        executor = worker(on)
        session_id, _, children = await fan_out(on, executor, "a", "b")
        for name, spec in on.specs.items():
            on.specs = {name: spec.model_copy(update={"budget": BudgetSpec(session=SessionBudget(wall_seconds=60))})}
        key = on.store.keys.of_session("record", session_id)
        await on.store.command("HSET", key, "created", int(await on.store.command("HGET", key, "created")) - 61_000)
        await on.skip_to_due(session_id)

        record = await on.run(on.worker("later", specs=on.specs), session_id)

        assert (record.phase, record.reason) == ("ended", "over_budget")
        for child in children:
            told = await on.client.show(child)
            assert told.cancel is not None
            assert told.cancel.startswith("its parent was stopped: ")
            assert (await on.run(executor, child)).reason == "cancelled"

    play(store_url, scene)
