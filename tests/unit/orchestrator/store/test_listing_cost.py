"""What a page of the list takes of the server does not follow from how many sessions there are."""

from collections.abc import Callable

import pytest

from orchestrator.contracts.errors import SessionNotFound
from orchestrator.contracts.session import ToolCall
from orchestrator.store.fitness import parse_info
from orchestrator.store.listing import Listing, Place
from tests.property.store_lab import Lab

FEW, MANY, PAGE = 400, 20_000, 20
GROUPS = ("waiting:-", "asks/input:-", "ended/done:-", "ready:1")


async def fill(lab: Lab, numbers: range) -> None:
    """Put sessions into the index: a third each has ended, is ready, and waits for a person."""
    members: dict[str, list[str | int]] = {}
    for number in numbers:
        session_id = f"SES-20260101-{number:07d}"
        for place in (GROUPS[:2], GROUPS[2:3], GROUPS[3:])[number % 3]:
            key = lab.store.keys.of_session("by", session_id)
            members.setdefault(key, []).extend((0, f"app:{place}:{1_700_000_000_000 + number}:{session_id}"))
    for key, words in members.items():
        for start in range(0, len(words), 4_000):
            await lab.store.command("ZADD", key, *words[start : start + 4_000])


async def cost(lab: Lab, before: Place | None, bucket: str) -> tuple[int, int]:
    """Return the commands that a page took, those inside its scripts too, and the bytes of their answers."""

    async def count() -> tuple[int, int]:
        stats = parse_info(str(await lab.store.command("INFO", "commandstats")))
        calls = sum(int(row.partition(",")[0].partition("=")[2]) for name, row in stats.items() if "_zr" in name)
        net = parse_info(str(await lab.store.command("INFO", "stats")))
        return calls, int(net["total_net_output_bytes"])

    calls, _ = await count()
    _, output = await count()
    _, again = await count()
    rows = await Listing(lab.store).page(before=before, bucket=bucket, limit=PAGE)
    after, told = await count()
    assert len(rows) == PAGE
    return after - calls, told - again - (again - output)


def test_a_page_takes_as_many_looks_among_many_sessions_as_among_few(lab: Lab) -> None:
    """A list of a million is read as fast as one of a thousand only if it looks no further."""
    cases: list[Callable[[int], tuple[Place | None, str]]] = [
        lambda _: (None, ""),
        lambda count: (Place(1_700_000_000_000 + count - 100, ""), ""),
        lambda _: (None, "ended"),
        lambda _: (None, "waiting"),
    ]
    found: dict[int, list[tuple[int, int]]] = {}
    done = 0

    for count in (FEW, MANY):
        lab.run(fill(lab, range(done, count)))
        done = count
        found[count] = [lab.run(cost(lab, *case(count))) for case in cases]

    assert [calls for calls, _ in found[FEW]] == [calls for calls, _ in found[MANY]]
    assert all(many <= few * 1.2 + 500 for (_, few), (_, many) in zip(found[FEW], found[MANY], strict=True))


def test_a_list_leaves_large_states_where_they_are(lab: Lab) -> None:
    """Fifty sessions of a quarter of a megabyte each: a page of the console would read twelve, to show a line of each."""
    session_id = lab.submit(text="what was asked")
    key = lab.key("record", session_id)
    large = '{"pad":"' + "x" * 200_000 + '"}'
    call = ToolCall(call_id="c", tool="s:t", outcome="executed").to_json()
    lab.run(lab.store.command("HSET", key, "state", large, "fields", large, "terminal", call))

    async def count() -> int:
        net = parse_info(str(await lab.store.command("INFO", "stats")))
        return int(net["total_net_output_bytes"])

    whole, before = lab.run(lab.views.record(session_id)), lab.run(count())
    outline, after = lab.run(lab.views.outline(session_id)), lab.run(count())

    assert outline == whole.model_copy(update={"state": {}, "fields": {}, "terminal_call": None})
    assert outline.text == "what was asked"
    assert after - before < 50_000


def test_an_outline_of_nothing_is_not_found(lab: Lab) -> None:
    """Removed between the index and the record: the list goes on without it."""
    with pytest.raises(SessionNotFound):
        lab.run(lab.views.outline("SES-20260101-404"))


@pytest.mark.parametrize("far", [10**14 - 1, 10**14, 10**15 - 1])
def test_times_that_nobody_comes_to_are_times_all_the_same(lab: Lab, far: int) -> None:
    """Somebody asks for what came since the year 7380: nothing did. And all that there is stands before it."""
    session_id = lab.submit()
    listing = Listing(lab.store)

    assert lab.run(listing.page(since_at=far, limit=5)) == []
    assert [row.session_id for row in lab.run(listing.page(before=Place(far, "Z"), limit=5))] == [session_id]
