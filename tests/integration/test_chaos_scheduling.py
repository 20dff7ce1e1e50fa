"""Who is woken, and when: real schedulers on a real store, with a broker that only takes down what it is sent.

Order, fairness and limits are decided late, from everything that is in line; whatever number of schedulers decides.
"""

import asyncio

import pytest

from orchestrator.scheduler import LEAST_SLOTS, Round, Scheduler
from orchestrator.store.fleet import WorkerInfo
from orchestrator.store.keys import WORKER_INFO, WORKERS, leader_key
from orchestrator.store.leases import Commit
from tests.line import Taken, line
from tests.property.store_lab import entry


async def settle_leads(*schedulers: Scheduler) -> None:
    """Let every scheduler know of the others, so that each leads its share."""
    for _ in range(2):
        for one in schedulers:
            await one._look()


def test_a_high_priority_goes_first_and_age_decides_among_equals(store_url: str) -> None:
    """Priority is of use only when it is looked at after everybody is in line."""

    async def play() -> None:
        async with line(store_url, a={}) as on:
            low = await on.submit("a", 3, "low")
            normal = await on.submit("a", 3)
            high = await on.submit("a", 3, "high")
            broker = Taken()

            await on.scheduler("s", broker).round()

            assert broker.sent == [*high, *normal, *low]

    asyncio.run(play())


def test_a_latecomer_with_a_high_priority_overtakes_a_long_line(store_url: str) -> None:
    """The broker's list is kept short, so that what lies in it does not decide for what comes later."""

    async def play() -> None:
        async with line(store_url, a={}) as on:
            crowd = await on.submit("a", 60, "low")
            broker = Taken()
            scheduler = on.scheduler("s", broker)
            await scheduler.round()
            assert broker.sent == crowd[: 2 * LEAST_SLOTS]

            [urgent] = await on.submit("a", 1, "high")
            for session_id in broker.sent[:2]:
                await on.work(session_id)
            await scheduler.round()

            assert broker.sent[2 * LEAST_SLOTS] == urgent

    asyncio.run(play())


def test_a_small_app_is_not_held_up_by_a_large_one(store_url: str) -> None:
    """Fairness: a thousand sessions of one app and three of another: the three are served now."""

    async def play() -> None:
        async with line(store_url, large={}, small={}) as on:
            await on.submit("large", 50)
            few = await on.submit("small", 3)
            broker = Taken()

            await on.scheduler("s", broker).round()

            assert set(few) <= set(broker.sent[:7])
            assert len(broker.sent) == 2 * LEAST_SLOTS

    asyncio.run(play())


@pytest.mark.parametrize("count", [1, 2, 3])
def test_no_more_than_max_running_of_an_app_are_under_way(store_url: str, count: int) -> None:
    """A limit is the app's, not each scheduler's: whatever their number, and all of them rung by the same bell."""

    async def play() -> None:
        async with line(store_url, narrow={"max_running": 3}, wide={}) as on:
            broker = Taken()
            schedulers = [on.scheduler(f"s{number}", broker) for number in range(count)]
            await settle_leads(*schedulers)
            narrow = set(await on.submit("narrow", 20))
            wide = set(await on.submit("wide", 4))

            await asyncio.gather(*(one.round() for one in schedulers))
            await asyncio.gather(*(one.round() for one in schedulers))

            assert wide <= set(broker.sent)
            assert len(narrow & set(broker.sent)) == 3
            at_work = [await on.work(session_id) for session_id in broker.sent if session_id in narrow]
            await asyncio.gather(*(one.round() for one in schedulers))
            assert len(narrow & set(broker.sent)) == 3

            await on.end(at_work[0])
            await asyncio.gather(*(one.round() for one in schedulers))
            assert len(narrow & set(broker.sent)) == 4  # one more may run; settling the ended one is never limited
            assert broker.sent.count(at_work[0].record.session_id) == 2

    asyncio.run(play())


def test_every_partition_is_led_once_and_taken_over_when_its_leader_goes(store_url: str) -> None:
    """Schedulers share the work; a stopped one gives up its share at once."""

    async def play() -> None:
        async with line(store_url, a={}) as on:
            broker = Taken()
            one, two = on.scheduler("one", broker), on.scheduler("two", broker)
            await settle_leads(one, two)
            shares = [set(one._led), set(two._led)]
            assert shares[0] | shares[1] == set(range(64))
            assert not shares[0] & shares[1]
            assert all(10 < len(share) < 54 for share in shares)

            await on.client.fleet.yield_lead("two", two._led)
            await on.client.fleet.leave("two")
            await settle_leads(one)

            assert set(one._led) == set(range(64))

    asyncio.run(play())


def test_the_broker_gets_no_more_than_twice_the_slots(store_url: str) -> None:
    """What lies there already counts, also what nobody has taken for long."""

    async def play() -> None:
        async with line(store_url, a={}) as on:
            await on.slots(12)
            await on.submit("a", 40)
            broker = Taken(lying=10)  # in each of its two lists

            first = await on.scheduler("s", broker).round()

            assert (len(first.sent), first.in_line) == (4, 40)

    asyncio.run(play())


def test_a_wake_up_that_nobody_answers_is_sent_again(store_url: str) -> None:
    """It was lost, or the worker that took it died: after its time it counts as never sent, and not before."""

    async def play() -> None:
        async with line(store_url, a={}) as on:
            [session_id] = await on.submit("a", 1)
            broker = Taken()
            scheduler = on.scheduler("s", broker)
            for _ in range(3):
                await scheduler.round()
            assert broker.sent == [session_id]

            await on.store.command("ZADD", on.store.keys.of_session("sent", session_id), "XX", 1, session_id)
            for _ in range(3):
                await scheduler.round()

            assert broker.sent == [session_id] * 2

    asyncio.run(play())


def test_a_broker_that_is_away_stops_no_scheduler(store_url: str) -> None:
    """Sessions stay in line in the store, and orphans are still rescued; nothing is marked as sent that was not."""

    async def play() -> None:
        async with line(store_url, a={}) as on:
            [orphan, other] = await on.submit("a", 2)
            await on.work(orphan)
            key = on.store.keys.of_session("leases", orphan)
            await on.store.command("ZADD", key, "XX", 1, orphan)
            broker = Taken(away=True)
            scheduler = on.scheduler("s", broker)

            done: Round = await scheduler.round()

            assert (done.rescued, done.sent) == (1, [])
            broker.away = False
            again = await scheduler.round()
            assert sorted(again.sent) == sorted([orphan, other])

    asyncio.run(play())


def test_one_unreadable_session_holds_up_nobody(store_url: str) -> None:
    """Its rescue fails for ever; the others of the same round must not wait for it, nor the scheduler end."""

    async def play() -> None:
        async with line(store_url, a={}) as on:
            broken, orphan = await on.submit("a", 2)
            for session_id in (broken, orphan):
                await on.work(session_id)
                await on.store.command("ZADD", on.store.keys.of_session("leases", session_id), "XX", 1, session_id)
            await on.store.command("HSET", on.store.keys.of_session("record", broken), "seq", "x")
            broker = Taken()

            done = await on.scheduler("s", broker).round()

            assert (done.rescued, done.sent) == (1, [orphan])
            [(dead, info)] = await on.client.dead_letters()
            assert (dead, info["reason"]) == (broken, "unreadable")

    asyncio.run(play())


def test_a_store_where_nobody_works_says_when_to_look_again(store_url: str) -> None:
    """Rounds are rare only while nothing can change that does not ring: no lease, no wake-up, and no wait that ends."""

    async def play() -> None:
        async with line(store_url, a={}) as on:
            [session_id] = await on.submit("a", 1)
            number = on.store.keys.partition(session_id)
            due = on.scheduler("s", Taken())._due

            async def look() -> tuple[int, int | None]:
                tick = await due.tick(number, ["a"], most=9, each=9)
                return tick.now, tick.next_at

            assert (await look())[1] is None
            await due.mark_sent([session_id], 2**42)
            now, next_at = await look()
            assert next_at == now
            claimed = await on.work(session_id)
            now, next_at = await look()
            assert next_at == now
            until = now + 5_000
            commit = Commit("waiting", {}, (entry(),), due_at=until)
            await on.leases.commit(session_id, claimed.record.fence, claimed.record.rev, commit)
            assert (await look())[1] == until

    asyncio.run(play())


def test_a_server_whose_clock_went_back_keeps_nobody_for_longer_than_a_lease(store_url: str) -> None:
    """By NTP, or by a failover to a server that is behind. Leads and leases that were set before look an hour long then."""

    async def play() -> None:
        async with line(store_url, a={}) as on:
            [session_id] = await on.submit("a", 1)
            await on.work(session_id)
            leases, hour = on.store.keys.of_session("leases", session_id), 3_600_000
            await on.store.command("ZADD", leases, "XX", await on.store.now_ms() + hour, session_id)
            fleet, scheduler = on.client.fleet, on.scheduler("s", Taken())
            partitions = range(on.store.keys.partitions)
            await fleet.lead("who died then", [*partitions], 3_600)
            await fleet.beat(WorkerInfo(name="w", slots=8, lease_seconds=300.0))

            await scheduler.round()
            lead = await on.store.command("PTTL", leader_key(0))
            for number in partitions:
                await fleet.yield_lead("who died then", [number])
            await scheduler._look()
            await scheduler.round()
            ends, now = int(await on.store.command("ZSCORE", leases, session_id)), await on.store.now_ms()

            assert lead <= scheduler._settings.scheduler.leader_seconds * 1000
            assert ends <= now + 300_000  # as it was given

    asyncio.run(play())


def test_who_died_before_the_servers_clock_went_back_leads_nothing_for_longer_than_a_beat(store_url: str) -> None:
    """Who counts as alive gets a share of the partitions, and nobody would wake anybody there for as long as the step."""

    async def play() -> None:
        async with line(store_url, a={}) as on:
            fleet, scheduler, hour = on.client.fleet, on.scheduler("s", Taken()), 3_600_000
            dead = WorkerInfo(name="who died then", kind="scheduler")
            await fleet.beat(dead)
            later = dead.model_copy(update={"beat_at": await on.store.now_ms() + hour})
            await on.store.command("HSET", WORKER_INFO, dead.name, later.to_json())
            await on.store.command("ZADD", WORKERS, later.beat_at + 20_000, dead.name)

            await scheduler._look()
            led = len(scheduler._led)
            near = int(await on.store.command("ZSCORE", WORKERS, dead.name)) - await on.store.now_ms()
            await scheduler._look()
            still = int(await on.store.command("ZSCORE", WORKERS, dead.name)) - await on.store.now_ms()
            await on.store.command("ZADD", WORKERS, "XX", await on.store.now_ms() - 1, dead.name)  # that time is over
            await scheduler._look()

            assert led < on.store.keys.partitions
            assert still <= near <= 20_000  # as it was told, once
            assert len(scheduler._led) == on.store.keys.partitions

    asyncio.run(play())
