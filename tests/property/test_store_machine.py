"""The acts of the store, in any order, from any worker however late: real scripts against a small model.

Hypothesis invents the histories; each act is done on the server and on `store_model.Session`, the answers are
compared, and after every act everything that the server holds is. Leases and waits run out when the machine says so
(see `store_lab`), so that no history waits.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from orchestrator.contracts.errors import KeyConflict, LeaseLost, NotWaiting, PayloadTooLarge, PhaseRefused, StoreError
from orchestrator.contracts.session import Post
from orchestrator.store.leases import Claimed, Commit
from tests.chaos.cluster import ClusterOfServers
from tests.property.store_checks import check_session
from tests.property.store_lab import APP, DIGEST, Lab, build_commit
from tests.property.store_model import DIRECTIVES, Place, Session

WORKERS = ("w1", "w2", "w3")
NUMBERS = st.integers(0, 10_000)
#: The ends that are drawn often, so that histories are long.
MOSTLY = ("continue", "continue", "ready", "waiting", "waiting", "waiting", "finalizing", *DIRECTIVES)


@dataclass(frozen=True)
class Handle:
    """What a worker holds in its hands, perhaps for much too long: it may use it at any time."""

    session_id: str
    fence: int
    rev: int
    holder: str


class StoreMachine(RuleBasedStateMachine):
    """Sessions, workers that forget nothing, and a scheduler."""

    def __init__(self, lab: Lab) -> None:
        super().__init__()
        self.lab = lab
        lab.flush()
        lab.register(APP)
        self.sessions: dict[str, Session] = {}
        self.keys: dict[str, tuple[str, str]] = {}
        self.handles: list[Handle] = []
        self.commits: list[tuple[Handle, Commit]] = []
        self.count = 0
        self.touched: set[str] = set()

    # --- choosing

    def session(self, number: int, *places: Place) -> Session:
        """Return one of the sessions, mostly one in these places; what is done to it is checked afterwards."""
        wanted = [one for one in self.sessions.values() if one.place in places] if number % 4 else []
        among = wanted or list(self.sessions.values())
        found = among[number // 4 % len(among)]
        self.touched.add(found.session_id)
        return found

    def handle(self, number: int) -> Handle:
        """Return what some worker holds: mostly one that is good, so that histories go on, often an old one."""
        good = [one for one in self.handles if self.is_good(one)] if number % 4 else []
        among = good or self.handles
        found = among[number // 4 % len(among)]
        self.touched.add(found.session_id)
        return found

    def is_good(self, handle: Handle) -> bool:
        """Say whether a commit with this handle may be accepted."""
        session = self.sessions[handle.session_id]
        return (handle.fence, handle.rev) == (session.fence, session.rev) and session.lease != "none"

    def unique(self, what: str) -> str:
        """Return a text that was not there before."""
        self.count += 1
        return f"{what}-{self.count}"

    def adopt_fence(self, session: Session) -> None:
        """Take the server's new fence over: the model knows only that it must grow."""
        fence = int(self.lab.snapshot(session.session_id).record["fence"])
        assert fence > session.fence
        session.fence = fence

    # --- acts of callers

    @initialize(count=st.integers(1, 2))
    def begin(self, count: int) -> None:
        """Have something to work on, whichever acts this history is made of."""
        for _ in range(count):
            self.submit(None, "")

    @rule(key=st.sampled_from([None, None, "k1", "k2"]), text=st.sampled_from(["", "please"]))
    @precondition(lambda self: len(self.sessions) < 5)
    def submit(self, key: str | None, text: str) -> None:
        known = self.keys.get(key) if key else None
        if known and known[1] != text:
            with pytest.raises(KeyConflict):
                self.lab.submit(text=text, key=key)
            return
        session_id = self.lab.submit(text=text, key=key)
        if known:
            assert session_id == known[0]
            return
        assert session_id not in self.sessions
        self.sessions[session_id] = Session(session_id, messages=1 if text else 0)
        self.touched.add(session_id)
        if key:
            self.keys[key] = session_id, text

    @rule(number=NUMBERS, kind=st.sampled_from(["signal", "right", "right", "wrong", "cancel", "at once", "again"]))
    @precondition(lambda self: self.sessions)
    def post(self, number: int, kind: str) -> None:
        self.post_to(self.session(number), kind, number)

    @rule(number=NUMBERS)
    @precondition(lambda self: any(session.wait_id for session in self.sessions.values()))
    def two_people_answer(self, number: int) -> None:
        session = self.session(number, "timed", "waits_for_post")
        for _ in range(2):
            self.post_to(session, "right", number)

    def post_to(self, session: Session, kind: str, number: int) -> None:
        post_id = self.unique("post")
        if kind == "again" and session.seen:
            post_id = sorted(session.seen)[number % len(session.seen)]
        answers = {"right": session.wait_id, "wrong": "another-wait"}.get(kind, "")
        cancel = "enough" if kind in {"cancel", "at once"} else ""
        post = Post(
            post_id=post_id,
            kind="cancel" if cancel else "input" if answers else "signal",
            actor="al",
            wait_id=answers or None,
            text=cancel,
            immediate=kind == "at once",
        )

        expected = session.post(post_id, answers, cancel, immediate=kind == "at once")

        act = self.lab.intake.post(session.session_id, post, answers=answers or None)
        refusals = {
            "settled": PhaseRefused,
            "full": PayloadTooLarge,
            "not_waiting": NotWaiting,
            "answered": NotWaiting,
        }
        if expected in refusals:
            with pytest.raises(refusals[expected]):
                self.lab.run(act)
        else:
            assert self.lab.run(act) is (expected == "posted")

    @rule(number=NUMBERS)
    @precondition(lambda self: any(session.phase == "dead" for session in self.sessions.values()))
    def replay(self, number: int) -> None:
        session = self.session(number, "settled")
        if session.replay() == "replayed":
            self.lab.run(self.lab.intake.replay(session.session_id, "al", "again"))
        else:
            with pytest.raises(PhaseRefused):
                self.lab.run(self.lab.intake.replay(session.session_id, "al"))

    # --- acts of workers

    @rule(
        number=NUMBERS,
        worker=st.sampled_from(WORKERS),
        knows=st.sampled_from([True] * 5 + [False]),
        alone=st.booleans(),
    )
    @precondition(lambda self: self.sessions)
    def claim(self, number: int, worker: str, *, knows: bool, alone: bool) -> None:
        session = self.session(number, "line", "timed")
        self.claim_as(session, self.unique(worker), knows=knows, alone=alone)

    @rule(number=NUMBERS)
    @precondition(lambda self: self.handles)
    def claim_again_after_a_lost_reply(self, number: int) -> None:
        handle = self.handle(number)
        self.claim_as(self.sessions[handle.session_id], handle.holder, knows=True, alone=True)

    def claim_as(self, session: Session, holder: str, *, knows: bool, alone: bool) -> None:
        before = session.holder, session.fence
        expected = session.claim(holder, knows=knows, alone=alone)

        digests = (DIGEST,) if knows else ("another",)
        answer = self.lab.run(self.lab.leases.claim(session.session_id, holder, digests, known=0, alone=alone))

        if expected != "claimed":
            assert not isinstance(answer, Claimed)
            assert getattr(answer, "answer", None) == expected
            if expected == "buried":
                self.adopt_fence(session)
            return
        assert isinstance(answer, Claimed)
        if before == (holder, answer.record.fence):
            assert answer.record.fence == session.fence, "the same claim again gets the same fence"
        else:
            self.adopt_fence(session)
        assert answer.record.fence == session.fence
        assert [post.post_id for post in answer.posts] == session.posts
        assert answer.context_length == session.messages
        self.handles.append(Handle(session.session_id, session.fence, session.rev, holder))

    @rule(
        number=NUMBERS,
        directive=st.sampled_from(MOSTLY),
        due=st.sampled_from([None, False, True]),
        keep=st.booleans(),
        messages=st.integers(0, 2),
    )
    @precondition(lambda self: self.sessions)
    def work_as_a_worker_does(
        self, number: int, directive: str, due: bool | None, messages: int, *, keep: bool
    ) -> None:
        """Claim and commit with what was just read: what makes histories long, and the other acts late."""
        session = self.session(number, "line", "timed")
        if directive in {"continue", "ready", "waiting", "finalizing"} and session.phase == "finalizing":
            directive = "ended"
        self.claim_as(session, self.unique("w0"), knows=True, alone=True)
        if session.lease != "alive":
            return
        held = Handle(session.session_id, session.fence, session.rev, session.holder)
        wait_id = self.unique("wait") if directive == "waiting" else ""
        taken = len(session.posts)
        commit = build_commit(
            self.count, directive, taken=taken, due=due, wait_id=wait_id, messages=messages, keep=keep
        )
        self.commit_as(held, commit)

    @rule(
        number=NUMBERS,
        directive=st.sampled_from(MOSTLY),
        take=st.sampled_from(["none", "all", "all", "all", "all", "too many"]),
        due=st.sampled_from([None, False, True]),
        messages=st.integers(0, 2),
        wrong_rev=st.sampled_from([0] * 9 + [1]),
        keep=st.booleans(),
    )
    @precondition(lambda self: self.handles)
    def commit(
        self, number: int, directive: str, take: str, due: bool | None, messages: int, wrong_rev: int, *, keep: bool
    ) -> None:
        handle = self.handle(number)
        session = self.sessions[handle.session_id]
        taken = {"none": 0, "all": len(session.posts), "too many": len(session.posts) + 1}[take]
        wait_id = self.unique("wait") if directive == "waiting" else ""
        commit = build_commit(
            self.count, directive, taken=taken, due=due, wait_id=wait_id, messages=messages, keep=keep
        )
        self.commit_as(Handle(handle.session_id, handle.fence, handle.rev + wrong_rev, handle.holder), commit)

    @rule(number=NUMBERS)
    @precondition(lambda self: self.commits)
    def commit_again_after_a_lost_reply(self, number: int) -> None:
        handle, commit = self.commits[-1 - (number % len(self.commits)) // 2]
        self.touched.add(handle.session_id)
        self.commit_as(handle, commit)

    def commit_as(self, handle: Handle, commit: Commit) -> None:
        session = self.sessions[handle.session_id]
        waits = commit.directive == "waiting"
        expected = session.commit(
            handle.fence,
            handle.rev,
            commit.directive,
            taken=commit.taken,
            due=None if commit.due_at is None else commit.due_at == 1,
            wait_id=commit.fields["wait_id"] if waits else "",
            status=commit.status,
            messages=len(commit.messages),
            keep=commit.keep,
            settles=commit.settles,
        )

        act = self.lab.leases.commit(handle.session_id, handle.fence, handle.rev, commit)
        if expected in {"committed", "replay"}:
            done = self.lab.run(act)
            assert done.replayed is (expected == "replay")
            assert (done.phase, done.posts) == (session.phase, len(session.posts))
        else:
            with pytest.raises(LeaseLost if expected == "stale" else StoreError):
                self.lab.run(act)
        if expected == "committed":
            self.commits.append((handle, commit))
            if commit.directive == "continue" or commit.keep:
                self.handles.append(Handle(handle.session_id, handle.fence, session.rev, handle.holder))
            if commit.directive == "dead":
                self.adopt_fence(session)

    @rule(number=NUMBERS)
    @precondition(lambda self: self.handles)
    def renew(self, number: int) -> None:
        handle = self.handle(number)
        if self.sessions[handle.session_id].renew(handle.fence) == "renewed":
            session = self.sessions[handle.session_id]
            told = (session.cancel, session.immediate) if session.cancel else None
            assert self.lab.run(self.lab.leases.renew(handle.session_id, handle.fence)) == told
        else:
            with pytest.raises(LeaseLost):
                self.lab.run(self.lab.leases.renew(handle.session_id, handle.fence))

    @rule(number=NUMBERS)
    @precondition(lambda self: self.handles)
    def release(self, number: int) -> None:
        handle = self.handle(number)
        expected = self.sessions[handle.session_id].release(handle.fence)

        assert self.lab.run(self.lab.leases.release(handle.session_id, handle.fence)) is (expected == "released")

    # --- time, and the scheduler

    @rule(number=NUMBERS)
    @precondition(lambda self: any(session.lease == "alive" for session in self.sessions.values()))
    def let_a_lease_run_out(self, number: int) -> None:
        session = self.session(number, "leased")
        if session.lease == "alive":
            session.lease = "over"
        self.lab.expire_lease(session.session_id)

    @rule(number=NUMBERS)
    @precondition(lambda self: any(session.wait == "timed" for session in self.sessions.values()))
    def let_a_wait_fall_due(self, number: int) -> None:
        session = self.session(number, "timed")
        if session.wait == "timed":
            session.wait = "due"
        self.lab.pass_due(session.session_id)

    @rule(number=NUMBERS)
    @precondition(lambda self: self.sessions)
    def rescue(self, number: int) -> None:
        session = self.session(number, "leased")
        expected = session.rescue()

        assert self.lab.run(self.lab.due.rescue(session.session_id)) is (expected == "rescued")
        if expected == "rescued":
            self.adopt_fence(session)

    @rule(number=NUMBERS)
    @precondition(lambda self: self.sessions)
    def wake(self, number: int) -> None:
        session = self.session(number, "timed")

        assert self.lab.run(self.lab.due.wake(session.session_id)) is (session.wake() == "woken")

    @rule()
    @precondition(lambda self: self.sessions)
    def tick(self) -> None:
        sessions = self.sessions.values()
        ticks = [self.lab.run(self.lab.due.tick(number, [APP], most=99, each=99)) for number in range(2)]

        assert {one for tick in ticks for one in tick.expired} == {s.session_id for s in sessions if s.lease == "over"}
        assert {one for tick in ticks for one in tick.due} == {s.session_id for s in sessions if s.wait == "due"}
        in_line = [one.session_id for tick in ticks for one in tick.in_line]
        assert sorted(in_line) == sorted(s.session_id for s in sessions if s.place == "line")
        assert sum(tick.busy[APP] for tick in ticks) == sum(s.phase == "running" for s in sessions)

    # --- what must hold after every act

    @invariant()
    def the_server_holds_what_the_model_says(self) -> None:
        touched, self.touched = self.touched, set()
        for session_id in touched:
            check_session(self.lab, self.sessions[session_id])

    def teardown(self) -> None:
        """Nothing is lost: every session is still in one of its places, and its id still means it."""
        for session in self.sessions.values():
            check_session(self.lab, session)


@pytest.fixture
def lab(store_url: str) -> Iterator[Lab]:
    """Lend a store with two partitions."""
    made = Lab(store_url)
    yield made
    made.close()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_every_history_of_acts_is_what_the_model_says(lab: Lab) -> None:
    """One holder, nothing lost, committed once, settled once: whatever comes in whatever order."""
    run_state_machine_as_test(
        lambda: StoreMachine(lab),  # type: ignore[arg-type]  # it calls what it is given, whatever makes the machine
        settings=settings.get_profile("ci"),
    )


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_every_history_on_a_cluster_is_what_the_model_says_too(empty_cluster: ClusterOfServers) -> None:
    """The same acts where keys lie on several masters, a quarter as often: none of them is refused for where its keys are."""
    lab = Lab(empty_cluster.url)
    try:
        run_state_machine_as_test(
            lambda: StoreMachine(lab),  # type: ignore[arg-type]  # as above
            settings=settings(settings.get_profile("ci"), max_examples=20),
        )
        errors = lab.run(empty_cluster.errors())
    finally:
        lab.close()

    assert not {"CROSSSLOT", "MOVED"} & errors.keys()
