"""What operators' views stand on: rates, pages, tallies, pauses."""

import asyncio
from typing import Any

import pytest

from orchestrator.client import Client
from orchestrator.contracts.access import Token
from orchestrator.contracts.errors import InputError
from orchestrator.operations import Operations, Query
from orchestrator.store.access import Audit, Rates, Tokens
from orchestrator.store.keys import AUDIT, PAUSED, TOKENS
from orchestrator.store.listing import Listing, Place
from orchestrator.store.pauses import Pauses
from tests.property.store_lab import DyingServer, Lab
from tests.stage import Stage, stage


@pytest.mark.parametrize("revoked", [False, True])
def test_a_token_that_was_made_or_revoked_stays_so(lab: Lab, monkeypatch: pytest.MonkeyPatch, *, revoked: bool) -> None:
    """A failover between that and its answer must not bring back what opens nothing any more."""
    tokens = Tokens(lab.store)
    token = Token(name="me", sha256="a" * 64, roles=("viewer",))
    if revoked:
        lab.run(tokens.put(token))
    server = DyingServer(lab, *(("HSET", TOKENS, token.sha256, token.to_json()) if revoked else ("DEL", TOKENS)))
    monkeypatch.setattr(lab.store, "_confirmer", server)

    lab.run(tokens.remove(token.sha256) if revoked else tokens.put(token))

    assert lab.run(tokens.every()) == ([] if revoked else [token])
    assert server.asked == 2


@pytest.mark.parametrize("ended", [False, True])
def test_a_pause_that_was_made_or_ended_stays_so(lab: Lab, monkeypatch: pytest.MonkeyPatch, *, ended: bool) -> None:
    """Whoever paused a queue goes on to mend what its sessions would meet."""
    pauses = Pauses(lab.store)
    if ended:
        lab.run(pauses.put("queue:steps", actor="ada"))
    server = DyingServer(lab, *(("HSET", PAUSED, "queue:steps", "{}") if ended else ("DEL", PAUSED)))
    monkeypatch.setattr(lab.store, "_confirmer", server)

    assert lab.run(pauses.remove("queue:steps") if ended else pauses.put("queue:steps", actor="ada"))
    assert lab.run(pauses.targets()) == (set() if ended else {"queue:steps"})
    assert server.asked == 2


def test_a_rate_gives_its_burst_then_its_pace(lab: Lab) -> None:
    """Exactly the burst at once; then the wait that is told is the one that helps."""
    rates = Rates(lab.store)

    async def take() -> list[tuple[bool, float]]:
        return [await rates.take("me", per_second=0.01, burst=4) for _ in range(6)]

    found = lab.run(take())

    assert [allowed for allowed, _ in found] == [True] * 4 + [False] * 2
    assert all(50 < seconds <= 100 for allowed, seconds in found if not allowed)
    assert lab.run(rates.take("another", per_second=0.01, burst=4))[0]


def test_a_rate_that_is_not_used_is_forgotten(lab: Lab) -> None:
    """A million callers of yesterday must not fill the store."""
    rates = Rates(lab.store)
    for number in range(20):
        lab.run(rates.take(f"c{number}", per_second=100_000, burst=1))

    for number in range(lab.store.keys.partitions):
        left = ["?"]
        for _ in range(100):  # the store's clock has moved by a millisecond long before
            lab.run(lab.store.act_on_partition("limit", number, "late", 1, 1))
            left = lab.run(lab.store.command("ZRANGE", lab.store.keys.of_partition("limits", number), 0, -1))
            if set(left) <= {"late"}:
                break
        assert set(left) <= {"late"}


def test_bad_arguments_are_refused(lab: Lab) -> None:
    """Before anything is written."""
    for args in (("n", "x", 1), ("n", 1, 0), ("n", -1, 1)):
        assert lab.run(lab.store.act_on_partition("limit", 0, *args))[0] == "malformed"
    assert lab.run(lab.store.act_on_partition("page", 0, "", "", "x", "", "", 1))[0] == "malformed"
    assert lab.run(lab.store.act_on_partition("take_deliveries", 0, "x", 1))[0] == "malformed"


def test_pages_go_through_apps_ranks_and_partitions_in_the_order_of_time(lab: Lab) -> None:
    """Whatever the page's size, each session once; one that comes meanwhile does not push another out."""
    listing = Listing(lab.store)
    made = [lab.submit(app=f"app{number % 3}", priority=("high", "normal", "low")[number % 2]) for number in range(40)]

    async def walk(limit: int, **query: Any) -> list[str]:
        seen: list[str] = []
        before: Place | None = None
        while rows := await listing.page(before=before, limit=limit, **query):
            seen += [row.session_id for row in rows]
            before = Place(rows[-1].since_at, rows[-1].session_id)
        return seen

    walks = [lab.run(walk(limit)) for limit in (1, 7, 40, 100)]
    late = lab.submit(app="app0")
    one = lab.run(walk(5, app="app0", bucket="ready"))

    assert all(sorted(walked) == sorted(made) and len(walked) == 40 for walked in walks)
    assert walks[0] == walks[1] == walks[2] == walks[3]
    assert late in one and set(one) - {late} == set(made[::3])
    assert lab.run(walk(5, app="app", bucket="")) == []
    assert lab.run(walk(5, bucket="ended")) == []


def test_a_tally_counts_each_group_with_its_oldest(lab: Lab) -> None:
    """One look at a partition says what stands where, however many sessions there are."""
    for app in ("a", "a", "b"):
        lab.submit(app=app)

    groups = lab.run(Listing(lab.store).tally())

    assert [(one.app, one.bucket, one.count, one.queue) for one in groups] == [
        ("a", "ready", 2, "steps"),
        ("b", "ready", 1, "steps"),
    ]
    assert all(one.oldest_at > 1_700_000_000_000 for one in groups)


async def _paused(on: Stage) -> tuple[str, int, str]:
    """Pause in the middle of a slice, and see where the session comes to rest."""
    worker = on.worker()
    session_id = await on.submit()
    on.hosts[0].paused = frozenset({"app:everything"})
    on.woken.clear()
    await worker.run_slice(session_id)
    record = await on.client.show(session_id)
    return record.phase, record.cursor.serial, ",".join(on.woken)


def test_a_paused_app_stops_after_its_step(store_url: str) -> None:
    """What runs comes to the end of its step, stays in line, and nobody is woken for it."""

    async def run() -> tuple[str, int, str]:
        async with stage(store_url) as on:
            return await _paused(on)

    phase, serial, woken = asyncio.run(run())

    assert (phase, serial, woken) == ("ready", 1, "")


def test_pauses_are_kept_with_who_and_why(store_url: str) -> None:
    """Once, until somebody lets it go on."""

    async def run() -> None:
        async with stage(store_url) as on:
            operations = Operations(Client(on.store, on.specs))
            assert await operations.pause("app:everything", actor="ada", reason="r")
            assert not await operations.pause("app:everything", actor="bob")
            [pause] = await operations.pauses()
            assert (pause.actor, pause.reason) == ("ada", "r")
            assert await Pauses(on.store).targets() == {"app:everything"}
            assert await operations.unpause("app:everything", actor="bob")
            assert not await operations.unpause("app:everything", actor="bob")
            for wrong in ("app:unknown", "queue:unknown", "steps", ""):
                with pytest.raises(InputError):
                    await operations.pause(wrong, actor="ada")

    asyncio.run(run())


def test_a_filtered_page_looks_at_a_bounded_number_and_says_where_it_stopped(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A filter that finds nothing must not read a million sessions in one request."""
    monkeypatch.setattr("orchestrator.operations.SCAN_ROWS", 6)
    monkeypatch.setattr("orchestrator.operations.SCAN_STEP", 4)

    async def run() -> tuple[list[int], int]:
        async with stage(store_url) as on:
            for number in range(15):
                await on.client.submit("everything", actor="ada", text=f"t{number}")
            operations = Operations(on.client)
            sizes, found, before = [], 0, None
            while True:
                page = await operations.page(Query(text="t1"), before=before, limit=50)
                sizes.append(len(page.records))
                found += len(page.records)
                before = page.after
                if before is None:
                    return sizes, found

    sizes, found = asyncio.run(run())

    assert found == 6
    assert len(sizes) == 3


def test_a_pause_whose_answer_was_lost_is_our_own(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is told that it was paused before looks for somebody else, and the operators' log would not name them."""
    command = lab.store.command

    async def say_it_twice(*args: Any) -> Any:
        if args[0] == "HSETNX":
            await command(*args)
        return await command(*args)

    monkeypatch.setattr(lab.store, "command", say_it_twice)

    assert lab.run(Pauses(lab.store).put("app:a", actor="ada"))
    assert not lab.run(Pauses(lab.store).put("app:a", actor="bob"))


def test_a_line_of_the_log_whose_answer_was_lost_is_there_once(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who reads the log must not believe that something was done twice. What was done twice has two lines."""
    audit, wire = Audit(lab.store), lab.store.wire
    really = wire.command

    async def say_it_twice(*args: Any, **more: Any) -> Any:
        await really(*args, **more)
        return await really(*args, **more)

    monkeypatch.setattr(wire, "command", say_it_twice)

    async def run() -> list[tuple[str, str]]:
        for target in ("queue:steps", "queue:steps", "app:a"):
            await audit.write("pause", actor="ada", target=target)
        return [(one.actor, one.target) for one in await audit.read(limit=10)]

    assert lab.run(run()) == [("ada", "app:a"), ("ada", "queue:steps"), ("ada", "queue:steps")]


def test_a_line_of_the_log_is_known_among_the_last_hundred(one: Lab) -> None:
    """A repetition comes at once; nobody looks further back for it than a hundred lines."""

    def note(request: str) -> str:
        number: str = one.run(one.store.act_on_key("note", AUDIT, request, "{}", 10_000))[1]
        return number

    first = note("r0")
    for number in range(1, 100):
        note(f"r{number}")

    assert (note("r0"), one.run(one.store.command("XLEN", AUDIT))) == (first, 100)
    note("r100")
    assert note("r1") == one.run(one.store.command("XRANGE", AUDIT, "-", "+"))[1][0]
    assert (note("r0") == first, one.run(one.store.command("XLEN", AUDIT))) == (False, 102)


def test_a_line_of_the_log_without_a_name_or_a_number_is_refused(one: Lab) -> None:
    """The first could not be told from another one."""
    for words in (("", "{}", 9), ("r", "{}", "x"), ("r", "{}")):
        assert one.run(one.store.act_on_key("note", AUDIT, *words)) == ["malformed"]
    assert not one.run(one.store.command("EXISTS", AUDIT))
