"""The lease and its fence, by example: what the histories of tests/property find, told one by one."""

import pytest

from orchestrator.contracts.errors import LeaseLost, PhaseRefused, StoreError, Unsettled
from orchestrator.contracts.failures import FailureRecord
from orchestrator.contracts.session import Post
from orchestrator.store import leases
from orchestrator.store.leases import Claimed, ClaimRefused, Commit
from tests.property.store_lab import DIGEST, Lab, entry


def claim(lab: Lab, session_id: str, holder: str, *digests: str, adopt: bool = False) -> Claimed:
    """Claim for sure."""
    claimed = lab.run(lab.leases.claim(session_id, holder, digests or (DIGEST,), known=0, adopt=adopt, alone=True))
    assert isinstance(claimed, Claimed), claimed
    return claimed


def step(directive: str = "continue", **parts: object) -> Commit:
    """Return the commit of a step that changes nothing else."""
    return Commit(directive, {}, (entry(),), **parts)  # type: ignore[arg-type]


def kinds(lab: Lab, session_id: str) -> list[str]:
    """Return the kinds of a journal's entries."""
    return [told.kind for told in lab.journal(session_id)]


def test_a_paused_holder_comes_back_too_late(lab: Lab) -> None:
    """Invariant 1: a holder that was stopped for longer than its lease finds another at work, and changes nothing."""
    session_id = lab.submit()
    paused = claim(lab, session_id, "w1:1").record
    lab.expire_lease(session_id)
    other = claim(lab, session_id, "w2:1").record

    with pytest.raises(LeaseLost):
        lab.commit(session_id, paused.fence, paused.rev, step())

    assert other.fence > paused.fence
    assert lab.commit(session_id, other.fence, other.rev, step("ready")).phase == "ready"


def test_a_lease_that_ran_out_without_a_successor_harms_nobody(lab: Lab) -> None:
    """A slow step whose session nobody took meanwhile is not done twice for nothing."""
    session_id = lab.submit()
    held = claim(lab, session_id, "w1:1").record
    lab.expire_lease(session_id)

    assert lab.commit(session_id, held.fence, held.rev, step("ready")).phase == "ready"


def test_a_session_that_is_put_back_in_line_waits_for_no_time_any_more(lab: Lab) -> None:
    """Nobody has claimed it since: its holder may still commit, and what was to wake it is gone with the wait."""
    session_id = lab.submit()
    held = claim(lab, session_id, "w1:1").record
    lab.commit(session_id, held.fence, held.rev, step("waiting", due_at=9_999_999_999_999))

    assert lab.commit(session_id, held.fence, held.rev + 1, step("ready")).phase == "ready"

    assert lab.snapshot(session_id).due is None


def test_a_rescued_session_is_lost_to_its_holder_at_once(lab: Lab) -> None:
    """Once `orphaned` stands in the journal, no word of the old holder comes after it."""
    session_id = lab.submit()
    held = claim(lab, session_id, "w1:1").record
    lab.expire_lease(session_id)
    assert lab.run(lab.due.rescue(session_id))

    with pytest.raises(LeaseLost):
        lab.commit(session_id, held.fence, held.rev, step("ready"))

    assert kinds(lab, session_id) == ["submitted", "orphaned"]


@pytest.mark.parametrize("directive", ["ready", "continue", "waiting", "dead"])
def test_a_paused_holder_cannot_bring_back_a_dead_letter(lab: Lab, directive: str) -> None:
    """Only a person's replay may: a session is buried because its step kills workers, not to be run again unseen."""
    session_id = lab.submit()
    for number in range(3):
        held = claim(lab, session_id, f"w{number}:1").record
        lab.expire_lease(session_id)
    refused = lab.run(lab.leases.claim(session_id, "w9:1", (DIGEST,)))
    assert isinstance(refused, ClaimRefused)
    assert refused.answer == "buried"

    with pytest.raises(LeaseLost):
        lab.commit(session_id, held.fence, held.rev, step(directive))

    now = lab.snapshot(session_id)
    assert (now.record["phase"], now.dead is not None) == ("dead", True)


def test_attempts_count_claims_without_a_commit(lab: Lab) -> None:
    """A step that killed its workers is buried; one that commits has all its attempts again."""
    session_id = lab.submit()
    for number in range(2):
        held = claim(lab, session_id, f"w{number}:1").record
        lab.expire_lease(session_id)
    lab.commit(session_id, held.fence, held.rev, step())
    for number in range(3):
        lab.expire_lease(session_id)
        assert claim(lab, session_id, f"v{number}:1").record.attempts == number + 1
    lab.expire_lease(session_id)

    refused = lab.run(lab.leases.claim(session_id, "w9:1", (DIGEST,)))

    assert isinstance(refused, ClaimRefused)
    assert refused.answer == "buried"
    letters = lab.run(lab.views.dead_letters(limit=5))
    assert [(one, info["reason"]) for one, info in letters] == [(session_id, "attempts")]
    assert "error" not in letters[0][1]


@pytest.mark.parametrize(
    ("kept", "error"),
    [
        ('{"error":"StreamError","message":"\\u00e9\\"","lineage":["StreamError"]}', "StreamError"),
        ("", None),
        ("{broken", None),
        ("[1]", None),
        ('{"error":7}', None),
    ],
)
def test_a_letter_has_the_failure_that_the_record_keeps(lab: Lab, kept: str, error: str | None) -> None:
    """As it is; what cannot be read is left out, for a letter that cannot be read helps nobody."""
    session_id = lab.submit()
    held = claim(lab, session_id, "w1:1").record

    commit = Commit("dead", {"failure": kept}, (entry(),), reason="permanent_error", status="why")
    lab.commit(session_id, held.fence, held.rev, commit)

    [(_, info)] = lab.run(lab.views.dead_letters(limit=5))
    assert info.get("error") == error
    assert ("failure" in info) is (error is not None)
    if error is not None:
        assert FailureRecord.model_validate(info["failure"]) == FailureRecord.from_json(kept)
    assert lab.journal(session_id)[-1].data.get("error") == error


def test_a_session_that_two_holders_died_with_is_claimed_alone(lab: Lab) -> None:
    """What ran beside the step that kills its workers must not be buried with it."""
    session_id = lab.submit()
    for number in range(2):
        claim(lab, session_id, f"w{number}:1")
        lab.expire_lease(session_id)
        assert lab.run(lab.due.rescue(session_id))
    before = lab.snapshot(session_id)

    refused = lab.run(lab.leases.claim(session_id, "w8:1", (DIGEST,)))

    assert isinstance(refused, ClaimRefused)
    assert refused.answer == "suspect"
    assert lab.snapshot(session_id) == before
    assert claim(lab, session_id, "w9:1").record.attempts == 3


def test_what_is_handed_back_does_not_count_as_an_attempt(lab: Lab) -> None:
    """A deploy that drains workers buries nothing, however often it comes."""
    session_id = lab.submit()

    for number in range(10):
        held = claim(lab, session_id, f"w{number}:1").record
        assert lab.run(lab.leases.release(session_id, held.fence))

    assert claim(lab, session_id, "w:last").record.attempts == 1


def test_a_commit_whose_reply_was_lost_is_answered_again(lab: Lab) -> None:
    """Invariant 3: repeated over a new connection, it is recognised and not done twice."""
    session_id = lab.submit()
    held = claim(lab, session_id, "w1:1").record
    commit = step("waiting", due_at=9_999_999_999_999)

    first = lab.commit(session_id, held.fence, held.rev, commit)
    again = lab.commit(session_id, held.fence, held.rev, commit)

    assert (first.replayed, again.replayed, again.phase) == (False, True, "waiting")
    assert kinds(lab, session_id) == ["submitted", "step"]


def test_a_claim_whose_reply_was_lost_is_answered_again(lab: Lab) -> None:
    """It is one attempt, and one fence."""
    session_id = lab.submit()

    first, again = claim(lab, session_id, "w1:1").record, claim(lab, session_id, "w1:1").record

    assert (first.fence, first.attempts) == (again.fence, again.attempts)
    busy = lab.run(lab.leases.claim(session_id, "w1:2", (DIGEST,)))
    assert isinstance(busy, ClaimRefused)
    assert busy.answer == "busy"


def test_the_fence_grows_over_a_server_that_lost_its_last_second(lab: Lab) -> None:
    """After a failover the record may be older than what a holder has seen: server time keeps the fence ahead."""
    session_id = lab.submit()
    held = claim(lab, session_id, "w1:1").record
    key = lab.key("record", session_id)
    lab.run(lab.store.command("HSET", key, "fence", 5, "phase", "ready"))
    lab.run(lab.store.command("ZREM", lab.key("leases", session_id), session_id))
    while lab.run(lab.store.now_ms()) <= held.fence:  # no server comes back within the same millisecond
        pass

    after = claim(lab, session_id, "w2:1").record

    assert after.fence > held.fence


def test_a_worker_without_the_version_leaves_the_session_to_others(lab: Lab) -> None:
    """A session is pinned to its app's version until nobody has that any more; then it is adopted."""
    session_id = lab.submit()

    foreign = lab.run(lab.leases.claim(session_id, "w1:1", ("other",)))

    assert isinstance(foreign, ClaimRefused)
    assert (foreign.answer, foreign.detail) == ("foreign", DIGEST)
    assert lab.snapshot(session_id).record["attempts"] == "0"
    assert claim(lab, session_id, "w1:2", "other", adopt=True).record.spec == DIGEST


def test_a_post_during_a_step_is_not_left_until_the_deadline(lab: Lab) -> None:
    """The session asks to wait for an hour, but what it waits for came while it asked."""
    session_id = lab.submit()
    held = claim(lab, session_id, "w1:1").record
    from orchestrator.contracts.session import Post

    lab.run(lab.intake.post(session_id, Post(post_id="p1", kind="signal", actor="al", name="go")))

    done = lab.commit(session_id, held.fence, held.rev, step("waiting", due_at=9_999_999_999_999))

    assert (done.phase, done.posts) == ("ready", 1)
    assert lab.snapshot(session_id).due is None


def test_nothing_follows_an_end(lab: Lab) -> None:
    """Invariant 9: settled once; whoever comes later is told so."""
    session_id = lab.submit()
    held = claim(lab, session_id, "w1:1").record
    lab.commit(session_id, held.fence, held.rev, step("finalizing"))
    held = claim(lab, session_id, "w1:2").record
    lab.commit(session_id, held.fence, held.rev, step("ended", status="done"))
    before = lab.snapshot(session_id)

    for directive in ("continue", "ready", "ended", "dead"):
        with pytest.raises(Exception, match=r"refused|lease"):
            lab.commit(session_id, held.fence, held.rev + 1, step(directive, status="other"))
    refused = lab.run(lab.leases.claim(session_id, "w2:1", (DIGEST,)))
    with pytest.raises(PhaseRefused):
        lab.run(lab.intake.replay(session_id, "al"))

    assert isinstance(refused, ClaimRefused)
    assert refused.answer == "settled"
    assert lab.snapshot(session_id) == before


@pytest.mark.parametrize(("keep", "is_held"), [(True, True), (False, False)])
def test_a_holder_keeps_what_it_finalizes_only_where_it_says_so(lab: Lab, keep: bool, is_held: bool) -> None:
    """Who settles a session itself needs no second claim; who does not must leave it to others."""
    session_id = lab.submit()
    mine = claim(lab, session_id, "w1:1").record

    lab.commit(session_id, mine.fence, mine.rev, step("finalizing", keep=keep))

    assert (lab.snapshot(session_id).lease is not None) is is_held


@pytest.mark.parametrize("directive", ["ready", "waiting", "continue", "dead"])
def test_only_what_is_finalized_can_be_kept(lab: Lab, directive: str) -> None:
    """A lease that stays behind with a session in line would hold it back until it runs out."""
    session_id = lab.submit()
    mine = claim(lab, session_id, "w1:1").record
    values = ["keep", "", "", "400", "99", "0", "1", "0", "0", "0", "0", "0", entry()]

    reply = lab.run(lab.store.act("commit", session_id, mine.fence, mine.rev, directive, "-1", *values))

    assert reply[0] == "malformed"
    assert lab.snapshot(session_id).record["rev"] == "0"


def test_the_last_step_and_the_settling_are_one_write(lab: Lab) -> None:
    """Two entries and two revisions at once; the session is settled, its lease is free, and a lost reply is answered again."""
    session_id = lab.submit()
    mine = claim(lab, session_id, "w1:1").record
    both = step("ended", status="done", settles=True)._replace(entries=(entry(), entry()))

    done = [lab.commit(session_id, mine.fence, mine.rev, both) for _ in range(2)]

    after = lab.snapshot(session_id)
    assert [(one.phase, one.replayed) for one in done] == [("ended", False), ("ended", True)]
    assert (after.record["rev"], after.record["seq"], after.record["status"], after.lease) == ("2", "3", "done", None)


@pytest.mark.parametrize(("before", "marks"), [(1, 0), (2, 1), (3, 1), (4, 1)])
def test_two_steps_of_one_write_pass_no_mark_by(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, before: int, marks: int
) -> None:
    """Looking back reads what follows the last mark: every fourth step here has one, or the write that went past it."""
    monkeypatch.setattr(leases, "MARK_EVERY", 4)
    session_id = lab.submit()
    mine = claim(lab, session_id, "w1:1").record
    for rev in range(before):
        lab.commit(session_id, mine.fence, rev, step())

    lab.commit(session_id, mine.fence, before, step("ended", settles=True)._replace(entries=(entry(), entry())))

    assert lab.run(lab.store.command("XLEN", lab.key("marks", session_id))) == marks


@pytest.mark.parametrize("is_taken", [True, False])
@pytest.mark.parametrize("kind", ["signal", "cancel"])
def test_nothing_is_settled_along_once_somebody_has_spoken(lab: Lab, kind: str, is_taken: bool) -> None:
    """What came has to be folded in, and who cancelled too late has to be told so: the holder does that in a step of its own."""
    session_id = lab.submit()
    mine = claim(lab, session_id, "w1:1").record
    lab.run(lab.intake.post(session_id, Post(post_id="p", kind=kind, actor="al")))  # type: ignore[arg-type]
    before = lab.snapshot(session_id)
    both = step("ended", status="done", settles=True, taken=int(is_taken))._replace(entries=(entry(), entry()))

    if kind == "signal" and is_taken:
        assert lab.commit(session_id, mine.fence, mine.rev, both).phase == "ended"
        return
    with pytest.raises(Unsettled):
        lab.commit(session_id, mine.fence, mine.rev, both)

    assert lab.snapshot(session_id) == before
    assert lab.commit(session_id, mine.fence, mine.rev, step("finalizing", taken=1)).phase == "finalizing"


@pytest.mark.parametrize("directive", ["ready", "waiting", "continue", "dead", "finalizing"])
def test_only_an_end_is_settled_along(lab: Lab, directive: str) -> None:
    """Nothing else brings a second step with it."""
    session_id = lab.submit()
    mine = claim(lab, session_id, "w1:1").record

    with pytest.raises(StoreError, match="malformed"):
        lab.commit(session_id, mine.fence, mine.rev, step(directive, settles=True, messages=("{}",)))

    assert lab.snapshot(session_id).record["rev"] == "0"


def test_only_a_cancel_moves_a_session_to_the_front(lab: Lab) -> None:
    """Whoever is asked to stop goes first; everybody else stays where their priority is."""
    plain, asked = lab.submit(), lab.submit()
    for session_id, cancel in ((plain, False), (asked, True)):
        mine = claim(lab, session_id, f"w:{session_id}").record
        if cancel:
            lab.run(lab.intake.post(session_id, Post(post_id="c", kind="cancel", actor="al")))
        lab.commit(session_id, mine.fence, mine.rev, step("ready"))

    assert [lab.snapshot(one).record["rank"] for one in (plain, asked)] == ["1", "!1"]


def test_a_release_gives_back_one_attempt(lab: Lab) -> None:
    """Handing back is no failure; the attempts before it stay counted."""
    session_id = lab.submit()
    claim(lab, session_id, "w1:1")
    lab.expire_lease(session_id)
    lab.run(lab.due.rescue(session_id))
    second = claim(lab, session_id, "w2:1").record

    lab.run(lab.leases.release(session_id, second.fence))

    assert lab.snapshot(session_id).record["attempts"] == "1"
