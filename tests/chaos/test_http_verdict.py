"""What is planted into answers over HTTP and into event streams is found; and so is an API that is broken on purpose.

The first half forges values. The second half lets a caller and a follower ask a real API on a port, over a network that loses answers
and a stream, with one thing of the product broken: the same judges have to say so, and to say nothing where nothing is broken.
"""

import asyncio
from collections.abc import Callable
from typing import Any, TypeAlias

import httpx2
import pytest

from orchestrator.client import Client
from orchestrator.contracts.session import Cursor, Entry, Record
from orchestrator.embedded import RunningServer
from orchestrator.interfaces.cli.shapes import entry_shape
from orchestrator.interfaces.http import answers, sessions, streams
from orchestrator.store.store import Store
from tests.api_stage import Served, api_settings, served
from tests.chaos.caller import Caller, Exchange, Try, count_exchanges
from tests.chaos.driver import bare
from tests.chaos.fleet import pause
from tests.chaos.follower import Followed, Follower, Shown, judge_follower
from tests.chaos.http_verdict import judge_answers, judge_kept, judge_keys, judge_reads
from tests.chaos.visitors import Stayed, Visit, judge_visits

SID = "LED-1"
SECONDS = 60


def post(seq: int, post_id: str) -> Entry:
    """Return the entry of a post."""
    return Entry(kind="posted", actor="driver", seq=seq, data={"post": {"post_id": post_id, "kind": "signal"}})


def said(what: str, key: str, began: float, ended: float, *statuses: int, new: bool = True, seq: int = 0) -> Exchange:
    """Return an act whose tries took this long in all, and were answered so."""
    tries = [Try(began, ended, status) for status in statuses or (202,)]
    return Exchange(what, SID, key, f"count {key}", seq, new, tries)


def read(began: float, seq: int) -> Exchange:
    """Return a read that was told of so many entries."""
    return said("read", "", began, began + 1, 200, seq=seq)


JOURNAL = [Entry(kind="submitted", actor="driver", seq=1), post(2, "signal:driver:m1"), post(3, "signal:driver:m2")]
TOLD = [said("signal", "m1", 10, 20), read(30, 2), said("signal", "m2", 40, 50, 0, 202), read(60, 3)]


def test_a_run_over_http_in_which_nothing_went_wrong_is_clean() -> None:
    """Else every test below would prove nothing; a read that was asked for before the answer may know or not know."""
    assert judge_reads([*TOLD, read(45, 2)], {SID: JOURNAL}, {}) == []
    assert judge_kept(TOLD, {SID: JOURNAL}, {}, is_safe=True) == ([], [])
    assert judge_keys([said("submit", "a", 1, 2)], {"count a": [SID]}) == []
    assert judge_answers(TOLD) == []


def test_a_read_that_is_older_than_what_was_acknowledged_is_found() -> None:
    """And one that is older than an earlier read; unless the store went back in between."""
    old, back = [*TOLD, read(70, 2)], [read(30, 3), read(40, 2)]

    assert judge_reads(old, {SID: JOURNAL}, {}) == [
        f"{SID}: a read was told of 2 entries, after a signal m2 that was answered at entry 3"
    ]
    assert judge_reads(back, {SID: JOURNAL}, {}) == [
        f"{SID}: a read was told of 2 entries, after a read that was answered at entry 3"
    ]
    assert judge_reads(old, {SID: JOURNAL}, {SID: [(65.0, 10.0)]}) == []
    assert judge_reads(old, {SID: JOURNAL}, {SID: [(25.0, 10.0)]}) != []
    assert judge_reads([*old, read(90, 1)], {SID: JOURNAL}, {SID: [(80.0, 5.0)]}) != []


@pytest.mark.parametrize("at", [0, 2])
def test_what_was_acknowledged_and_is_not_in_the_journal_is_found(at: int) -> None:
    """As an API leaves it that answers before the store has it."""
    kept = [entry for entry in JOURNAL if entry is not JOURNAL[1 + at // 2]]
    line = f"signal {TOLD[at].key} of {SID}"
    around: dict[str, list[tuple[float, float]]] = {SID: [(TOLD[at].tries[-1].began + 1, 1.0)]}

    assert judge_kept(TOLD, {SID: kept}, {}, is_safe=False) == (
        [],
        [f"acknowledged over HTTP and not in the journal: {line}"],
    )
    assert judge_kept(TOLD, {SID: kept}, around, is_safe=False) == ([line], [])
    assert judge_kept(TOLD, {SID: kept}, around, is_safe=True)[1] != []


def test_what_was_acknowledged_and_is_new_again_was_forgotten() -> None:
    """A repetition that came while the first was under way is none of these."""
    again, overlapping = said("signal", "m1", 70, 80), said("signal", "m1", 15, 80)

    assert judge_kept([*TOLD, again], {SID: JOURNAL}, {}, is_safe=False) == (
        [],
        [f"acknowledged over HTTP and forgotten: signal m1 of {SID}"],
    )
    assert judge_kept([*TOLD, overlapping], {SID: JOURNAL}, {}, is_safe=False) == ([], [])


def test_a_submission_is_forgotten_with_its_session_or_with_its_key() -> None:
    """Each may lie in another part of a cluster; another key's part explains nothing, and nothing what is said into a session."""
    asked = [said(what, "a", 10, 20) for what in ("submit", "signal")]
    again = [said(what, "a", 70, 80) for what in ("submit", "signal")]
    cut = [(19.0, 5.0)]
    journals = {SID: [*JOURNAL, post(4, "signal:driver:a")]}
    told = [f"{what} a of {SID}" for what in ("submit", "signal")]
    wrong = [f"acknowledged over HTTP and forgotten: {line}" for line in told]

    assert judge_kept([*asked, *again], journals, {}, is_safe=False) == ([], wrong)
    assert judge_kept([*asked, *again], journals, {SID: cut}, is_safe=False) == (told, [])
    assert judge_kept([*asked, *again], journals, {}, {"a": cut}, is_safe=False) == (told[:1], wrong[1:])
    assert judge_kept([*asked, *again], journals, {}, {"b": cut}, is_safe=False) == ([], wrong)
    assert judge_kept([*asked, *again], journals, {}, {"a": cut}, is_safe=True) == ([], wrong)


def test_one_key_and_two_sessions_are_found() -> None:
    """As an API leaves it that does not look at the key; and one that was acknowledged and is nowhere."""
    asked = [said("submit", "a", 1, 2, 0, 202), said("submit", "b", 1, 2)]

    assert judge_keys(asked, {"count a": [SID, "LED-2"], "count b": ["LED-3"]}) == [
        f"the submission of 'count a' made 2 sessions: ['{SID}', 'LED-2']"
    ]
    assert judge_keys(asked, {"count a": [SID, "LED-2"], "count b": ["LED-3"]}, {"a": [(1.5, 1.0)]}) == []
    assert judge_keys(asked, {"count a": [SID, "LED-2"], "count b": ["LED-3"]}, {"b": [(1.5, 1.0)]}) != []
    assert judge_keys(asked, {"count a": [SID]}) == ["the submission of 'count b' was acknowledged, and there is none"]


def test_an_answer_of_500_is_a_defect() -> None:
    """Also where another try was answered with 202."""
    assert judge_answers([said("signal", "m1", 1, 2, 500, 202)]) == [f"{SID}: signal m1 was answered with 500"]


def follow(*numbers: int, other: int = 0) -> Followed:
    """Return what somebody was shown."""
    shown = [Shown(number, dict(entry_shape(JOURNAL[number - 1])), 1.0) for number in numbers]
    if other:
        shown[other - 1].entry["actor"] = "somebody else"
    return Followed(SID, shown, has_ended=True)


@pytest.mark.parametrize(
    ("followed", "found"),
    [
        (follow(1, 2, 3), []),
        (follow(1, 2, 2, 3), [f"{SID}: a follower was shown entries twice: [2]"]),
        (follow(1, 3, 2), [f"{SID}: a follower was shown entries out of order: [(3, 2)]"]),
        (follow(1, 3), [f"{SID}: a follower was never shown entries [2]"]),
        (follow(1, 2, 3, other=2), [f"{SID}: a follower was shown entries that the journal has otherwise: [2]"]),
        (Followed(SID, follow(1, 2, 3).shown), [f"{SID}: a follower was never told that the session has ended"]),
    ],
)
def test_what_a_follower_must_not_see_is_found(followed: Followed, found: list[str]) -> None:
    """Each entry once, in order, as it is, to the end."""
    assert judge_follower(followed, JOURNAL) == found


def test_what_a_follower_was_shown_and_is_gone_needs_a_cut() -> None:
    """It goes on behind what is kept; what it was shown before anything may be gone was lost by a defect."""

    async def act() -> Followed:
        follower = Follower(Caller("http://localhost:9").http, SID)
        follower.found.shown = [
            Shown(one.number, one.entry, at) for one, at in zip(follow(1, 2, 3).shown, (5, 6, 7), strict=True)
        ]
        await follower.go_back(JOURNAL[:1], since=6.5)
        await follower.stop()
        await follower.http.aclose()
        return follower.found

    found = asyncio.run(act())

    assert [one.number for one in found.shown] == [1]
    assert (found.forgotten, found.unexplained) == (2, ["entry 2 was shown and is gone"])


def stay(*posts: str, phase: Any = "ended", cancel: str | None = "over", ends: int = 1) -> Stayed:
    """Return a visited session."""
    record = Record(
        session_id=SID, app="ledger", spec="s", phase=phase, status="done", cancel=cancel, cursor=Cursor(skill="a")
    )
    ended = [Entry(kind="step", actor="w", seq=90 + one, set={"phase": "ended"}) for one in range(ends)]
    return Stayed(record, [*(post(2 + at, name) for at, name in enumerate(posts)), *ended])


POSTS = ("signal:driver:m1", "signal:driver:m2", "cancel:driver:over")


@pytest.mark.parametrize(
    ("stayed", "words"),
    [
        (stay(*POSTS), ""),
        (stay(*POSTS, POSTS[2]), "said once, and posted twice"),
        (stay(POSTS[1], POSTS[0], POSTS[2]), "posted in another order"),
        (stay(*POSTS, phase="waiting"), "cancelled, and is waiting"),
        (stay(*POSTS, cancel=None), "cancelled, and is ended"),
        (stay(*POSTS, ends=2), "it was settled 2 times"),
    ],
)
def test_what_is_wrong_with_a_visit_is_found(stayed: Stayed, words: str) -> None:
    """A visit is over once, by its cancel."""
    wrong = judge_visits([Visit("v1", SID, has_ended=True)], {SID: stayed})

    assert [words in line for line in wrong] == ([True] if words else [])


def test_a_visit_that_is_gone_is_found() -> None:
    """Its session was seen to its end, and is not there."""
    assert judge_visits([Visit("v1", SID, has_ended=True)], {}) == [
        f"{SID}: visited as v1 until it had ended, and is not there"
    ]


def test_exchanges_are_counted() -> None:
    """For the report: what was asked, and what it took."""
    told = [*TOLD, said("answer", "a1", 1, 2, 503, 409), read(90, 3)]

    assert count_exchanges(told) == {
        "requests": 8,
        "asked": 3,
        "acknowledged": 2,
        "refused": 1,
        "repeated": 2,
        "unanswered": 1,
        "reads": 3,
        "status_200": 3,
        "status_202": 2,
        "status_409": 1,
        "status_503": 1,
    }


@pytest.mark.parametrize("post_id", ["m7", "signal:driver:m7"])
def test_a_post_has_the_same_name_whichever_way_it_came(post_id: str) -> None:
    """The ledger compares what the driver called it."""
    assert bare(post_id) == "m7"
    assert bare("answer:w1:driver:m7") != "m7"


# --- an API that is broken on purpose

Break: TypeAlias = Callable[[pytest.MonkeyPatch], None]


def nothing(_: pytest.MonkeyPatch) -> None:
    """Break nothing."""


def drop_the_key_of_posts(patch: pytest.MonkeyPatch) -> None:
    """Let the API not look at the Idempotency-Key of a signal."""
    patch.setattr(answers._Saying, "post_id", None)


def drop_the_key_of_submissions(patch: pytest.MonkeyPatch) -> None:
    """Let the API not look at the Idempotency-Key of a submission."""
    submit = Client.submit

    async def without_key(self: Client, *args: Any, key: str | None = None, **named: Any) -> Any:
        del key
        return await submit(self, *args, **named)

    patch.setattr(Client, "submit", without_key)


def answer_too_early(patch: pytest.MonkeyPatch) -> None:
    """Let the API answer 202 to what the store does not have yet; then its process is killed."""

    async def signal(*_: object, **__: object) -> bool:
        return True

    patch.setattr(Client, "signal", signal)


def ignore_the_last_event(patch: pytest.MonkeyPatch) -> None:
    """Let the API begin every stream with the first entry."""
    entries = streams._entries
    patch.setattr(streams, "_entries", lambda *args: entries(*args[:-1], 0))


def skip_one(patch: pytest.MonkeyPatch) -> None:
    """Let a stream that goes on behind a number leave out the next one."""
    entries = streams._entries
    patch.setattr(streams, "_entries", lambda *args: entries(*args[:-1], args[-1] + bool(args[-1])))


def read_what_was(patch: pytest.MonkeyPatch) -> None:
    """Let the API show a session as it first was, as a cache or a replica that lags would."""
    shape, first = sessions.shapes.session_shape, dict[str, Any]()
    patch.setattr(
        sessions.shapes,
        "session_shape",
        lambda record: first.setdefault(record.session_id, shape(record)),
    )


class Losing(httpx2.AsyncBaseTransport):
    """A network on which an answer is lost when `loses` says so: the act is done."""

    def __init__(self) -> None:
        self._inner = httpx2.AsyncHTTPTransport()
        self.loses = False

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request."""
        answer = await self._inner.handle_async_request(request)
        if self.loses:
            self.loses = False
            await answer.aclose()
            raise httpx2.ReadError("the answer was lost", request=request)
        return answer

    async def aclose(self) -> None:
        """Close it."""
        await self._inner.aclose()


async def act_and_judge(api: Served) -> list[str]:
    """Submit, signal, read and follow, while answers and a stream are lost; return what is wrong with that."""
    caller, network, stage = Caller(api.base), Losing(), api.stage
    assert stage is not None
    await caller.http.aclose()
    caller.http = httpx2.AsyncClient(base_url=api.base, transport=network, timeout=SECONDS)
    control = Store(api._url)
    client = Client(control, {})
    try:
        network.loses = True
        made = await caller.submit("everything", text="count 0", overrides={}, actor="driver", key="s0")
        sid = made.session_id
        follower = Follower(caller.http, sid)
        follower.start()
        while not follower.found.shown:
            await pause(0.01)
        await follower.stop()
        network.loses = True
        await caller.signal(sid, "message", actor="driver", post_id="m1")
        await caller.show(sid)
        await caller.signal(sid, "message", actor="driver", post_id="m2")
        await caller.show(sid)
        follower.start()
        await caller.cancel(sid, reason="enough", post_id="over")
        await asyncio.to_thread(api.run, stage.run(stage.worker(), sid))
        await follower.until_over()
        await follower.stop()
        journal = [entry async for entry in client.events(sid)]
        texts: dict[str, list[str]] = {}
        for listed in (await client.list_sessions(app="everything", limit=100)).listed:
            texts.setdefault(listed.record.text, []).append(listed.record.session_id)
        return [
            *judge_reads(caller.exchanges, {sid: journal}, {}),
            *judge_kept(caller.exchanges, {sid: journal}, {}, is_safe=True)[1],
            *judge_keys(caller.exchanges, texts),
            *judge_answers(caller.exchanges),
            *judge_follower(follower.found, journal),
        ]
    finally:
        await caller.aclose()
        await client.aclose()


@pytest.mark.integration
@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (nothing, []),
        (
            drop_the_key_of_posts,
            ["not in the journal: signal m1", "not in the journal: signal m2", "not in the journal: cancel"],
        ),
        (drop_the_key_of_submissions, ["the submission of 'count 0' made 2 sessions"]),
        (answer_too_early, ["not in the journal: signal m1", "not in the journal: signal m2"]),
        (read_what_was, ["a read was told of"]),
        (ignore_the_last_event, ["was shown entries twice"]),
        (skip_one, ["was never shown entries [2]"]),
    ],
)
def test_an_api_that_is_broken_on_purpose_is_found(
    empty_server: RunningServer, monkeypatch: pytest.MonkeyPatch, break_it: Break, words: list[str]
) -> None:
    """Each break is told by its own line, and no break by none."""
    break_it(monkeypatch)

    async def run(api: Served) -> list[str]:
        async with asyncio.timeout(SECONDS):
            return await act_and_judge(api)

    with served(empty_server.url, api_settings(), open_actor="driver", tokens=()) as api:
        wrong = asyncio.run(run(api))

    assert [word for word in words if not any(word in line for line in wrong)] == [], wrong
    assert bool(wrong) == bool(words), wrong
