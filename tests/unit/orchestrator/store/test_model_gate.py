"""The gate before a model service: rates, circuit and holds, as all workers of a store share them."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from orchestrator.contracts.rates import Bucket
from orchestrator.kernel.rates import make_bucket
from orchestrator.store.keys import model_key
from orchestrator.store.model_gate import Admitted, Charge, ModelGate, NotNow
from orchestrator.store.store import Store

SERVICE = "p/m"
MINUTE = 60_000


def play(url: str, scene: Callable[[ModelGate, Store], Awaitable[None]]) -> None:
    """Run a scene on a gate of its own."""

    async def run() -> None:
        store = Store(url)
        try:
            await scene(ModelGate(store), store)
        finally:
            await store.aclose()

    asyncio.run(run())


async def admit(gate: ModelGate, *charges: Charge, mark: str = "a", reserve: bool = False) -> Admitted | NotNow:
    """Ask once."""
    return await gate.admit("p", SERVICE, charges, mark=mark, probe_ms=MINUTE, reserve=reserve)


async def fail(gate: ModelGate, signature: str = "Down:503") -> bool:
    """Report a failure; say whether the circuit is open."""
    return (await gate.report("p", SERVICE, "failed", signature=signature, threshold=3, open_ms=MINUTE)).is_open


async def let_pass(store: Store, field: str) -> None:
    """Let a time that is kept be over, as it would be later."""
    key, name = model_key("p"), f"{field}:{SERVICE}"
    value = await store.command("HGET", key, name)
    assert value is not None
    rest = f"|{value.split('|')[1]}" if "|" in value else ""
    await store.command("HSET", key, name, f"1{rest}")


def test_a_rate_lets_its_burst_through_and_then_one_at_a_time(store_url: str) -> None:
    """What may go at once after a rest is a share of the minute; then each must wait for its place."""

    async def scene(gate: ModelGate, store: Store) -> None:
        one = Charge(make_bucket(SERVICE, "requests", 6, 0.5), 1)
        said = [await admit(gate, one) for _ in range(4)]

        assert [type(answer) for answer in said] == [Admitted, Admitted, Admitted, NotNow]
        assert isinstance(said[3], NotNow)
        assert MINUTE / 12 < said[3].wait_ms <= MINUTE / 4

    play(store_url, scene)


def test_reserved_places_follow_each_other(store_url: str) -> None:
    """A thousand sessions that must wait are each told a time of their own, and none comes back only to wait again."""

    async def scene(gate: ModelGate, store: Store) -> None:
        one = Charge(make_bucket(SERVICE, "requests", 1, 0.0), 1)
        await admit(gate, one)
        said = [await admit(gate, one, reserve=True) for _ in range(5)]

        waits = [answer.wait_ms for answer in said if isinstance(answer, NotNow) and answer.reserved]
        assert [round(wait / MINUTE) for wait in waits] == [1, 2, 3, 4, 5]

    play(store_url, scene)


def test_a_shared_rate_is_not_taken_by_one_models_long_line(store_url: str) -> None:
    """What waits for its own model's rate takes of the provider's what it takes, and no time that others could use."""

    async def scene(gate: ModelGate, store: Store) -> None:
        own = Charge(make_bucket("p/slow", "requests", 1, 0.0), 1)
        shared = Charge(make_bucket("p", "requests", 6, 0.0, shared=True), 1)
        for _ in range(5):
            await admit(gate, own, shared, reserve=True)

        other = await admit(gate, Charge(make_bucket("p/quick", "requests", 600, 1.0), 1), shared)
        assert isinstance(other, NotNow)
        assert other.wait_ms <= MINUTE

    play(store_url, scene)


def test_a_call_that_needs_more_than_a_bucket_holds_goes_alone(store_url: str) -> None:
    """A context that is longer than the burst must not wait for ever."""

    async def scene(gate: ModelGate, store: Store) -> None:
        bucket = make_bucket(SERVICE, "tokens", 100, 0.1)

        assert isinstance(await admit(gate, Charge(bucket, 500)), Admitted)
        after = await admit(gate, Charge(bucket, 1))
        assert isinstance(after, NotNow)
        assert after.wait_ms > 4 * MINUTE

    play(store_url, scene)


def test_tokens_that_were_charged_and_not_used_are_given_back(store_url: str) -> None:
    """An estimate is mended by what the service says; a call that used more costs the next ones."""

    async def scene(gate: ModelGate, store: Store) -> None:
        charge = Charge(make_bucket(SERVICE, "tokens", 100, 1.0), 100)
        await admit(gate, charge)
        assert isinstance(await admit(gate, charge), NotNow)

        await gate.report("p", SERVICE, "answered", used=[(charge, 10)])
        assert isinstance(await admit(gate, Charge(charge.bucket, 80)), Admitted)
        await gate.report("p", SERVICE, "answered", used=[(Charge(charge.bucket, 80), 1000)])
        said = await admit(gate, Charge(charge.bucket, 1))
        assert isinstance(said, NotNow)
        assert said.wait_ms > 5 * MINUTE

    play(store_url, scene)


def test_the_same_failure_often_enough_opens_the_circuit(store_url: str) -> None:
    """Another failure in between begins the count anew: only what repeats itself speaks against the service."""

    async def scene(gate: ModelGate, store: Store) -> None:
        assert [await fail(gate), await fail(gate), await fail(gate, "Slow")] == [False, False, False]
        assert isinstance(await admit(gate), Admitted)
        assert [await fail(gate), await fail(gate), await fail(gate)] == [False, False, True]

        said = await admit(gate)
        assert isinstance(said, NotNow)
        assert (said.why, said.wait_ms > MINUTE / 2) == ("circuit", True)

    play(store_url, scene)


def test_one_call_at_a_time_tries_a_service_again(store_url: str) -> None:
    """Half-open: the first one goes, the others wait for what it finds; its own repeated question is known."""

    async def scene(gate: ModelGate, store: Store) -> None:
        for _ in range(3):
            await fail(gate)
        await let_pass(store, "open")

        assert await admit(gate, mark="a") == Admitted(probing=True, failures=3)
        second = await admit(gate, mark="b")
        assert isinstance(second, NotNow)
        assert second.why == "probing"
        assert isinstance(await admit(gate, mark="a"), Admitted)

        assert await fail(gate)
        assert isinstance(await admit(gate, mark="b"), NotNow)
        await let_pass(store, "open")
        assert isinstance(await admit(gate, mark="b"), Admitted)
        await gate.report("p", SERVICE, "answered")
        assert [await admit(gate, mark=mark) for mark in "cd"] == [Admitted(probing=False, failures=0)] * 2

    play(store_url, scene)


def test_a_probe_that_says_nothing_holds_up_nobody_for_ever(store_url: str) -> None:
    """Its worker died, or its session was cancelled."""

    async def scene(gate: ModelGate, store: Store) -> None:
        for _ in range(3):
            await fail(gate)
        await let_pass(store, "open")
        await admit(gate, mark="a")
        await gate.report("p", SERVICE, "unknown")
        assert isinstance(await admit(gate, mark="b"), Admitted)

        await let_pass(store, "probe")
        assert isinstance(await admit(gate, mark="c"), Admitted)

    play(store_url, scene)


def test_what_a_service_asks_for_is_kept_by_everybody(store_url: str) -> None:
    """Retry-After is told to one session, and is never undercut by any; a shorter one later does not shorten it."""

    async def scene(gate: ModelGate, store: Store) -> None:
        await gate.report("p", SERVICE, "unknown", hold_ms=40_000)
        await gate.report("p", SERVICE, "unknown", hold_ms=1_000)

        said = await admit(gate)
        assert isinstance(said, NotNow)
        assert (said.why, 10_000 < said.wait_ms <= 40_000) == ("asked", True)
        assert isinstance(await gate.admit("p", "p/other", mark="a", probe_ms=1), Admitted)

    play(store_url, scene)


@pytest.mark.parametrize(("per_minute", "burst"), [(1, 0.0), (7, 0.5), (60, 0.1), (60, 1.0), (1000, 0.25), (3, 0.9)])
def test_no_minute_lets_more_through_than_the_rate(per_minute: int, burst: float) -> None:
    """The promise of a rate, for the worst that can happen: calls that come as soon as they may."""
    bucket = make_bucket("m", "requests", per_minute, burst)
    times, arrival, now = [], 0, 0
    for _ in range(4 * per_minute + 8):
        now = max(now, arrival - (bucket.capacity - 1) * bucket.interval_us)
        times.append(now)
        arrival = max(arrival, now) + bucket.interval_us

    assert isinstance(bucket, Bucket)
    assert max(sum(1 for other in times if one <= other < one + 60_000_000) for one in times) <= per_minute
