"""Pages, tallies and figures of any index are what a plain sort of its members says.

The index is written as the scripts write it, member by member: with ties of time, names that begin alike, several partitions.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from orchestrator.store.gauges import Gauges, measure
from orchestrator.store.listing import Group, Listing, Place, Row
from tests.property.store_lab import Lab

APPS = ("app", "app_b", "b")
BUCKETS = ("ready", "running", "waiting", "finalizing", "ended/done", "ended/done_late", "ended/x", "dead")
ASKS = ("asks/approval", "asks/input", "asks/uncertain")
RANKS = ("0", "1", "2", "p0", "p1", "!1")
#: A few times, so that many sessions came where they are at the same millisecond.
TIMES = tuple(range(1_700_000_000_000, 1_700_000_000_004))

many = settings.get_profile("ci")

_Place: TypeAlias = tuple[int, str]


@dataclass(frozen=True)
class Member:
    """One member of the index."""

    app: str
    bucket: str
    rank: str
    since_at: int
    session_id: str

    @property
    def text(self) -> str:
        """Return it as it is stored."""
        return f"{self.app}:{self.bucket}:{self.rank}:{self.since_at}:{self.session_id}"

    @property
    def place(self) -> _Place:
        """Return where it stands in a list."""
        return self.since_at, self.session_id


@pytest.fixture
def lab(store_url: str) -> Iterator[Lab]:
    """Lend a store of three partitions."""
    made = Lab(store_url, partitions=3)
    yield made
    made.close()


@st.composite
def indexes(draw: st.DrawFn) -> list[Member]:
    """Draw an index: each session in one bucket, and where it waits perhaps among what asks as well."""
    found = []
    for number in range(draw(st.integers(0, 40))):
        app, bucket = draw(st.sampled_from(APPS)), draw(st.sampled_from(BUCKETS))
        rank = draw(st.sampled_from(RANKS)) if bucket in {"ready", "finalizing"} else "-"
        since, prefix = draw(st.sampled_from(TIMES)), draw(st.sampled_from(("A", "A1", "AB")))
        found.append(Member(app, bucket, rank, since, f"{prefix}-20260101-{number:03d}"))
        if bucket == "waiting" and draw(st.booleans()):
            found.append(Member(app, draw(st.sampled_from(ASKS)), "-", since, found[-1].session_id))
    return found


def is_wanted(member: Member, app: str, bucket: str) -> bool:
    """Say whether a list of an app and a bucket shows a member."""
    kind, slash, _ = member.bucket.partition("/")
    fits = member.bucket == bucket or (bool(slash) and kind == bucket) or (bucket == "" and kind != "asks")
    return fits and app in {"", member.app}


async def store(lab: Lab, members: list[Member]) -> None:
    """Let the store hold this index and nothing else."""
    await lab.store.command("FLUSHDB")
    for one in members:
        await lab.store.command("ZADD", lab.store.keys.of_session("by", one.session_id), 0, one.text)


async def walk(lab: Lab, app: str, bucket: str, since_at: int | None, limit: int) -> list[list[Row]]:
    """Go through a list page by page, to its end."""
    pages, before = [], None
    while True:
        page = await Listing(lab.store).page(app=app, bucket=bucket, since_at=since_at, before=before, limit=limit)
        pages.append(page)
        if len(page) < limit:
            return pages
        before = Place(page[-1].since_at, page[-1].session_id)


@many
# Below what is wanted there is more of the same app, in the same partition: it is not entered a second time.
@example(
    members=[
        Member(APPS[0], bucket, "-" if bucket == "running" else "0", TIMES[0], f"A-20260101-00{number}")
        for number, bucket in enumerate(("ready", "ready", "running"))
    ],
    app="",
    bucket="running",
    since_at=None,
    limit=2,
)
@given(
    members=indexes(),
    app=st.sampled_from(("", *APPS, "ap", "zzz")),
    bucket=st.sampled_from(("", "ended", "asks", *BUCKETS, *ASKS, "end", "waiting/x")),
    since_at=st.sampled_from((None, *TIMES)),
    limit=st.sampled_from((1, 2, 3, 7, 50)),
)
def test_the_pages_of_a_list_together_are_all_that_is_wanted_in_order(
    lab: Lab, members: list[Member], app: str, bucket: str, since_at: int | None, limit: int
) -> None:
    """Each session once, whatever else came at the same time, and however small the pages are."""
    lab.run(store(lab, members))
    wanted = sorted(
        (one for one in members if is_wanted(one, app, bucket) and one.since_at >= (since_at or 0)),
        key=lambda one: one.place,
        reverse=True,
    )

    pages = lab.run(walk(lab, app, bucket, since_at, limit))

    assert [row for page in pages for row in page] == [
        Row(one.session_id, one.app, one.bucket, one.since_at) for one in wanted
    ]


@many
@given(members=indexes(), moved=st.data())
def test_what_moves_between_two_pages_pushes_nothing_else_out(
    lab: Lab, members: list[Member], moved: st.DataObject
) -> None:
    """A cursor holds its place while sessions go on: what stays where it is comes once, what moved is newer."""
    sessions = [one for one in members if not one.bucket.startswith("asks/")]
    lab.run(store(lab, sessions))
    first = lab.run(Listing(lab.store).page(limit=4))
    going = moved.draw(st.lists(st.sampled_from(sessions), unique=True)) if sessions else []

    async def go_on() -> None:
        for one in going:
            key = lab.store.keys.of_session("by", one.session_id)
            await lab.store.command("ZREM", key, one.text)
            await lab.store.command("ZADD", key, 0, Member(one.app, "running", "-", TIMES[-1] + 1, one.session_id).text)

    async def rest() -> list[str]:
        found, page = [], first
        while len(page) == 4:
            before = Place(page[-1].since_at, page[-1].session_id)
            page = await Listing(lab.store).page(before=before, limit=4)
            found += [row.session_id for row in page]
        return found

    lab.run(go_on())
    seen = [row.session_id for row in first] + lab.run(rest())

    assert len(seen) == len(set(seen))
    assert {one.session_id for one in sessions} - {one.session_id for one in going} <= set(seen)


@many
@given(members=indexes())
def test_tallies_and_figures_are_what_the_index_holds(lab: Lab, members: list[Member]) -> None:
    """What metrics, overviews and queues are told is counted from the groups, and must not miss one."""
    lab.run(store(lab, members))

    groups = lab.run(Listing(lab.store).tally())
    figures = lab.run(measure(lab.store, APPS))

    assert _counts(groups) == Counter((one.app, one.bucket) for one in members)
    for app in APPS:
        check_figures(figures, app, [one for one in members if one.app == app])


def _counts(groups: list[Group]) -> Counter[tuple[str, str]]:
    total: Counter[tuple[str, str]] = Counter()
    for one in groups:
        total[one.app, one.bucket] += one.count
    return total


def check_figures(figures: Gauges, app: str, mine: list[Member]) -> None:
    """Compare an app's figures with its members."""
    found = figures.apps[app]
    lines: dict[str, list[int]] = {"steps": [], "plugins": [], "finalize": []}
    for one in mine:
        if one.bucket == "ready":
            lines["plugins" if one.rank.startswith("p") else "steps"].append(one.since_at)
        elif one.bucket == "finalizing":
            lines["finalize"].append(one.since_at)
    asks = {kind: [one.since_at for one in mine if one.bucket == f"asks/{kind}"] for kind in found.asks}
    assert found.phases == {phase: sum(one.bucket.partition("/")[0] == phase for one in mine) for phase in found.phases}
    assert found.first_in_line == {line: min(times, default=0) for line, times in lines.items()}
    assert found.asks == {kind: len(times) for kind, times in asks.items()}
    assert found.first_asks == {kind: min(times, default=0) for kind, times in asks.items()}
