"""The edges of the acts on leases: what is counted, kept and indexed at exactly a limit, and one step beside it.

Most of these hold a fault that a mutation run had planted and that no test had noticed (docs/explanation/mutants.md).
"""

import json
from collections.abc import Iterator

import pytest

from orchestrator.contracts.errors import PayloadTooLarge
from orchestrator.contracts.session import PendingCall, Post, Wait
from orchestrator.store.leases import Claimed, ClaimRefused, Commit
from tests.property.store_lab import APP, DIGEST, SMALL, Lab, entry

SAID = '{"role":"user","content":"more"}'


@pytest.fixture
def tight(store_url: str) -> Iterator[Lab]:
    """Lend a store with room for three messages and four entries."""
    made = Lab(store_url, limits=SMALL.__class__(**{**vars_of(), "context_messages": 3, "journal_entries": 4}))
    yield made
    made.close()


def vars_of() -> dict[str, int]:
    """Return the small limits as keywords."""
    return {name: getattr(SMALL, name) for name in SMALL.__dataclass_fields__}


def claim(lab: Lab, session_id: str, holder: str = "w:1", *, known: int = 0) -> Claimed:
    """Claim for sure."""
    claimed = lab.run(lab.leases.claim(session_id, holder, (DIGEST,), known=known, alone=True))
    assert isinstance(claimed, Claimed), claimed
    return claimed


def commit(lab: Lab, held: Claimed, directive: str = "continue", entries: int = 1, **parts: object) -> object:
    """Commit a step."""
    made = Commit(directive, {}, tuple(entry() for _ in range(entries)), **parts)  # type: ignore[arg-type]
    return lab.commit(held.record.session_id, held.record.fence, held.record.rev, made)


def stat(lab: Lab, session_id: str, name: str) -> str | None:
    """Return one of the store's counters."""
    found: str | None = lab.run(lab.store.command("HGET", lab.key("stats", session_id), name))
    return found


@pytest.mark.parametrize(("known", "seen"), [(-1, 0), (0, 2), (1, 1), (2, 0), (9, 0)])
def test_a_claim_gets_exactly_the_messages_that_it_lacks(lab: Lab, known: int, seen: int) -> None:
    """All of them, the newest, or none; one too few would be a hole in what a model sees."""
    session_id = lab.submit(text="hello")
    commit(lab, claim(lab, session_id), "ready", messages=(SAID,))
    held = claim(lab, session_id, "w:2", known=known)

    assert (len(held.messages), held.context_length) == (seen, 2)
    assert held.messages[-1:] == ((SAID,) if seen else ())


def test_the_fence_grows_by_one_where_the_clock_is_behind(lab: Lab) -> None:
    """A server that was restored, or whose clock was set back: still newer, and no further than needed."""
    session_id, far = lab.submit(), 9_000_000_000_000
    lab.run(lab.store.command("HSET", lab.key("record", session_id), "fence", far))

    assert claim(lab, session_id).record.fence == far + 1
    lab.expire_lease(session_id)
    assert lab.run(lab.due.rescue(session_id))
    assert lab.snapshot(session_id).record["fence"] == str(far + 2)


def test_a_lost_holder_is_counted_and_told_once(lab: Lab) -> None:
    """By whoever finds it: the next to claim, or the scheduler."""
    claimed, rescued = lab.submit(), lab.submit()
    for session_id in (claimed, rescued):
        claim(lab, session_id)
        lab.expire_lease(session_id)
    before = [stat(lab, one, "orphaned") for one in (claimed, rescued)]
    claim(lab, claimed, "w:2")
    after_claim = stat(lab, claimed, "orphaned")
    lab.run(lab.due.rescue(rescued))

    assert before == [None, None]
    assert after_claim == "1"
    total = "2" if lab.key("stats", claimed) == lab.key("stats", rescued) else "1"
    assert stat(lab, rescued, "orphaned") == total
    for session_id in (claimed, rescued):
        assert [number for number, _ in lab.snapshot(session_id).journal] == ["1-0", "2-0"]
        assert lab.snapshot(session_id).record["seq"] == "2"


@pytest.mark.parametrize(("phase", "after"), [("finalizing", "finalizing"), ("ready", "ready")])
def test_a_rescued_session_goes_on_where_it_was(lab: Lab, phase: str, after: str) -> None:
    """What was to be settled must not be run again."""
    session_id = lab.submit()
    commit(lab, claim(lab, session_id), phase)
    claim(lab, session_id, "w:2")
    lab.expire_lease(session_id)

    assert lab.run(lab.due.rescue(session_id))
    assert lab.snapshot(session_id).record["phase"] == after


def test_a_context_is_full_at_its_limit_and_not_before(tight: Lab) -> None:
    """A step that says nothing is never too much, whatever the limit was lowered to."""
    session_id = tight.submit(text="one")
    held = claim(tight, session_id)
    commit(tight, held, "ready", messages=(SAID, SAID))
    held = claim(tight, session_id, "w:2")

    with pytest.raises(PayloadTooLarge, match="context messages: 4 bytes, over the limit of 3"):
        commit(tight, held, "ready", messages=(SAID,))
    tight.run(tight.store.command("RPUSH", tight.key("context", session_id), SAID, SAID))
    commit(tight, held, "ready", cleared=("nothing",))
    assert len(tight.snapshot(session_id).context) == 5


@pytest.mark.parametrize(("entries", "fits"), [(3, True), (4, False)])
def test_a_journal_is_full_at_its_limit_and_still_takes_the_end(tight: Lab, entries: int, fits: bool) -> None:
    """Nothing may keep a session from being settled or buried."""
    session_id = tight.submit()
    held = claim(tight, session_id)

    if fits:
        commit(tight, held, "ready", entries)
    else:
        with pytest.raises(PayloadTooLarge, match="journal: 5 bytes, over the limit of 4"):
            commit(tight, held, "ready", entries)
        commit(tight, held, "dead", entries)
    assert len(tight.snapshot(session_id).journal) == 1 + entries + (0 if fits else 1)


def test_a_journal_takes_what_only_advances_up_to_its_limit(tight: Lab) -> None:
    """The quicker act has the same limit: four entries, the submission's with them."""
    session_id = tight.submit()
    held = claim(tight, session_id)
    made = Commit("continue", {}, (entry(),))

    for rev in range(3):
        tight.commit(session_id, held.record.fence, rev, made)
    with pytest.raises(PayloadTooLarge, match="journal: 5 bytes, over the limit of 4"):
        tight.commit(session_id, held.record.fence, 3, made)

    assert len(tight.snapshot(session_id).journal) == 4


def test_each_intent_is_kept_under_its_own_call(lab: Lab) -> None:
    """After a crash they say which call may have acted, and with what."""
    session_id = lab.submit()
    bodies = {name: PendingCall(call_id=name, tool="t:put", args={"n": name}).to_json() for name in ("a", "b", "c")}
    commit(lab, claim(lab, session_id), "ready", intents=bodies)
    held = claim(lab, session_id, "w:2")
    commit(lab, held, "ready", cleared=("b",))

    assert {name: call.to_json() for name, call in held.intents.items()} == bodies
    assert lab.snapshot(session_id).intents == {name: bodies[name] for name in ("a", "c")}


@pytest.mark.parametrize("asks", ["approval", "input", "uncertain", ""])
def test_who_waits_for_a_person_is_listed_by_what_is_asked(lab: Lab, asks: str) -> None:
    """And by nothing once it goes on, or where it waits for no person."""
    session_id = lab.submit()
    commit(lab, claim(lab, session_id), "waiting", asks=asks)
    waiting = lab.snapshot(session_id).members
    lab.run(lab.intake.post(session_id, Post(post_id="p", kind="signal", actor="al", name="go")))

    buckets = sorted(member.split(":")[1] for member in waiting)
    assert buckets == (sorted(["waiting", f"asks/{asks}"]) if asks else ["waiting"])
    assert [member.split(":")[1] for member in lab.snapshot(session_id).members] == ["ready"]


def test_a_wake_up_that_is_on_its_way_is_marked_until_then(lab: Lab) -> None:
    """Until it is over the scheduler sends no second one."""
    session_id = lab.submit()
    held = claim(lab, session_id)
    commit(lab, held, "ready", sent_ms=60_000)
    unsent = lab.submit()
    commit(lab, claim(lab, unsent), "ready")
    sent = lab.snapshot(session_id).sent

    assert sent is not None
    assert sent >= held.claimed_at + 60_000
    assert lab.snapshot(unsent).sent is None


def test_an_end_is_counted_by_its_status_and_nothing_else_is(lab: Lab) -> None:
    """What dashboards and alerts are made of."""
    session_id = lab.submit()
    commit(lab, claim(lab, session_id), "finalizing", counters={"made": 3})
    after = stat(lab, session_id, f"ended:{APP}:done"), stat(lab, session_id, "made")
    commit(lab, claim(lab, session_id, "w:2"), "ended", status="done")

    assert after == (None, "3")
    assert stat(lab, session_id, f"ended:{APP}:done") == "1"
    assert [
        name for name in lab.run(lab.store.command("HKEYS", lab.key("stats", session_id))) if name[:6] == "ended:"
    ] == [f"ended:{APP}:done"]


def told(lab: Lab, session_id: str) -> list[str]:
    """Return the phases that webhooks are told of."""
    rows = lab.run(lab.store.command("XRANGE", lab.key("outbox", session_id), "-", "+"))
    return [flat[flat.index("phase") + 1] for _, flat in rows if "phase" in flat]


def test_webhooks_are_told_of_waits_and_ends_and_of_nothing_else(lab: Lab) -> None:
    """Where somebody wants to be told at all."""
    session_id = lab.submit()
    lab.run(lab.store.command("XADD", lab.key("outbox", session_id), "*", "begin", "1"))
    commit(lab, claim(lab, session_id), "ready")
    quiet = told(lab, session_id)
    commit(lab, claim(lab, session_id, "w:2"), "waiting")
    lab.run(lab.intake.post(session_id, Post(post_id="p", kind="signal", actor="al", name="go")))
    commit(lab, claim(lab, session_id, "w:3"), "finalizing", taken=1)
    commit(lab, claim(lab, session_id, "w:4"), "ended", status="done")

    assert quiet == []
    assert told(lab, session_id) == ["waiting", "ended"]


def test_only_the_newest_thousand_and_twenty_four_posts_are_known_again(lab: Lab) -> None:
    """A repeated one is harmless for so long; without an end the set would grow with the session."""
    session_id = lab.submit()
    old = [word for number in range(1_024) for word in (number, f"old-{number}")]
    lab.run(lab.store.command("ZADD", lab.key("seen", session_id), *old))
    lab.run(lab.intake.post(session_id, Post(post_id="new", kind="signal", actor="al", name="go")))
    seen = lab.snapshot(session_id).seen

    assert (len(seen), seen[0], seen[-1]) == (1_024, "old-1", "new")


def test_the_newest_post_is_not_the_one_that_is_forgotten_where_the_servers_clock_went_back(lab: Lab) -> None:
    """It has the lowest time then; were it forgotten in the act that takes it, the store's own repetition would count twice."""
    session_id = lab.submit()
    later = lab.run(lab.store.now_ms()) + 3_600_000
    old = [word for number in range(1_024) for word in (later + number // 2, f"old-{number:04}")]
    lab.run(lab.store.command("ZADD", lab.key("seen", session_id), *old))
    posts = [Post(post_id=name, kind="signal", actor="al", name="go") for name in ("b", "b", "a", "b", "a")]
    said = [lab.run(lab.intake.post(session_id, post)) for post in posts]
    now = lab.snapshot(session_id)

    assert said == [True, False, True, False, False]
    assert (len(now.mailbox), len(now.seen), now.seen[0], now.seen[-2:]) == (2, 1_024, "old-0002", ["b", "a"])


def test_a_cancel_takes_a_session_in_line_to_its_front_at_once(lab: Lab) -> None:
    """Its place in the index as well, and no wake-up counts as under way any more."""
    session_id = lab.submit()
    lab.run(lab.due.mark_sent([session_id], 9_000_000_000_000))
    lab.run(lab.intake.post(session_id, Post(post_id="c", kind="cancel", actor="al", text="enough")))
    now = lab.snapshot(session_id)

    assert (now.record["rank"], now.record["phase"], now.record["cancel"]) == ("!1", "ready", "enough")
    assert [member.split(":")[1:3] for member in now.members] == [["ready", "!1"]]
    assert now.sent is None


def test_a_cancel_of_what_is_being_settled_changes_no_order(lab: Lab) -> None:
    """It is too late, and its wake-up is the one that settles it."""
    session_id = lab.submit()
    commit(lab, claim(lab, session_id), "finalizing")
    lab.run(lab.due.mark_sent([session_id], 9_000_000_000_000))
    before = lab.snapshot(session_id)
    lab.run(lab.intake.post(session_id, Post(post_id="c", kind="cancel", actor="al")))
    after = lab.snapshot(session_id)

    assert (after.record["rank"], after.record["phase"]) == ("1", "finalizing")
    assert (after.members, after.sent) == (before.members, before.sent)


@pytest.mark.parametrize(("directive", "rank"), [("ready", "!1"), ("waiting", "!1"), ("finalizing", "p1")])
def test_a_step_that_asks_for_a_sandbox_leaves_a_cancelled_session_at_the_front(
    lab: Lab, directive: str, rank: str
) -> None:
    """Any worker can stop it. A wait with a post behind it is in line as well; what goes to its end is not."""
    session_id = lab.submit()
    held = claim(lab, session_id)
    lab.run(lab.intake.post(session_id, Post(post_id="c", kind="cancel", actor="al")))
    made = Commit(directive, {"rank": "p1"}, (entry(),))  # type: ignore[arg-type]
    lab.commit(session_id, held.record.fence, held.record.rev, made)

    assert lab.snapshot(session_id).record["rank"] == rank


@pytest.mark.parametrize("before", [(), ("reason",), ("reason", "catalogue"), ("reason", "catalogue", "spec")])
def test_a_new_line_is_found_wherever_a_commit_names_it(lab: Lab, before: tuple[str, ...]) -> None:
    """In line for those with a sandbox, in the index as in the record: else workers without one would be sent to it."""
    session_id = lab.submit()
    held = claim(lab, session_id)
    fields = {**dict.fromkeys(before, "x"), "rank": "p1"}

    lab.commit(session_id, held.record.fence, held.record.rev, Commit("ready", fields, (entry(),)))

    after = lab.snapshot(session_id)
    assert after.record["rank"] == "p1"
    assert [member.split(":")[1:3] for member in after.members] == [["ready", "p1"]]


def test_a_repeated_advance_is_answered_as_it_was(lab: Lab) -> None:
    """Without a cancel its reason is empty, with one it is there."""
    session_id = lab.submit()
    held = claim(lab, session_id)
    first, again = (commit(lab, held) for _ in range(2))
    lab.run(lab.intake.post(session_id, Post(post_id="c", kind="cancel", actor="al", text="enough")))

    assert (first.cancel, first.posts, first.replayed) == ("", 0, False)  # type: ignore[attr-defined]
    assert (again.cancel, again.posts, again.replayed) == ("", 0, True)  # type: ignore[attr-defined]
    third = commit(lab, held)
    assert (third.cancel, third.posts, third.replayed) == ("enough", 1, True)  # type: ignore[attr-defined]


def test_a_wait_that_was_answered_stands_nowhere_among_the_due(lab: Lab) -> None:
    """Its deadline would wake a session for nothing."""
    session_id = lab.submit()
    wait = Wait(wait_id="w", kind="input")
    made = Commit(
        "waiting", {"wait": wait.to_json(), "wait_id": "w", "answered": ""}, (entry(),), due_at=9_000_000_000_000
    )
    held = claim(lab, session_id)
    lab.commit(session_id, held.record.fence, held.record.rev, made)
    waiting = lab.snapshot(session_id).due
    lab.run(
        lab.intake.post(session_id, Post(post_id="p", kind="input", actor="al", wait_id="w", text="x"), answers="w")
    )

    assert waiting == 9_000_000_000_000
    assert lab.snapshot(session_id).due is None


@pytest.mark.parametrize("spent", [False, True])
def test_a_dead_letter_is_told_with_the_entry_that_says_so(lab: Lab, spent: bool) -> None:
    """Whoever is told reads on from there; the letter of a commit and that of a claim are told alike."""
    session_id = lab.submit()
    lab.run(lab.store.command("XADD", lab.key("outbox", session_id), "*", "begin", "1"))
    if spent:
        for number in range(3):
            claim(lab, session_id, f"w:{number}")
            lab.expire_lease(session_id)
        lab.run(lab.leases.claim(session_id, "w:9", (DIGEST,)))
    else:
        commit(lab, claim(lab, session_id), "dead")
    _, flat = lab.run(lab.store.command("XRANGE", lab.key("outbox", session_id), "-", "+"))[-1]
    number, last = lab.snapshot(session_id).journal[-1]

    assert (last.kind, flat[flat.index("phase") + 1]) == ("buried", "dead")
    assert f"{flat[flat.index('seq') + 1]}-0" == number
    assert json.loads(lab.snapshot(session_id).deadinfo or "{}")["attempts"] == (3 if spent else 1)


def test_a_session_that_waits_is_claimed_when_its_time_has_come_and_not_before(lab: Lab) -> None:
    """A wake-up that was sent twice must not end a wait; one without a deadline ends only by a post."""
    timed, open_end = lab.submit(), lab.submit()
    commit(lab, claim(lab, timed), "waiting", due_at=9_000_000_000_000)
    commit(lab, claim(lab, open_end), "waiting")
    early = [lab.run(lab.leases.claim(one, "w:2", (DIGEST,))) for one in (timed, open_end)]
    lab.pass_due(timed)

    assert [one.answer for one in early if isinstance(one, ClaimRefused)] == ["early", "early"]
    assert claim(lab, timed, "w:3").record.phase == "running"


@pytest.mark.parametrize("taken", [0, 1, 2, 3])
def test_a_step_takes_exactly_the_posts_that_it_read(lab: Lab, taken: int) -> None:
    """Those that came meanwhile are the next step's."""
    session_id = lab.submit()
    for name in ("a", "b", "c"):
        lab.run(lab.intake.post(session_id, Post(post_id=name, kind="signal", actor="al", name=name)))
    held = claim(lab, session_id)
    done = commit(lab, held, "ready", taken=taken)

    assert [post.post_id for post in held.posts] == ["a", "b", "c"]
    assert [Post.from_json(one).post_id for one in lab.snapshot(session_id).mailbox] == ["a", "b", "c"][taken:]
    assert (done.posts, lab.snapshot(session_id).record["posts"]) == (3 - taken, str(3 - taken))  # type: ignore[attr-defined]


def test_a_wait_whose_time_has_come_is_told_once_and_leaves_no_gap(lab: Lab) -> None:
    """Waking it again changes nothing: it is in line already."""
    session_id = lab.submit()
    commit(lab, claim(lab, session_id), "waiting", due_at=9_000_000_000_000)
    before = lab.run(lab.due.wake(session_id))
    lab.pass_due(session_id)
    woken, again = (lab.run(lab.due.wake(session_id)) for _ in range(2))
    now = lab.snapshot(session_id)

    assert (before, woken, again) == (False, True, False)
    assert [number for number, _ in now.journal] == ["1-0", "2-0", "3-0"]
    assert (now.record["seq"], now.record["phase"], now.due) == ("3", "ready", None)
    assert [member.split(":")[1] for member in now.members] == ["ready"]


@pytest.mark.parametrize(("phase", "after"), [("finalizing", "finalizing"), ("ready", "ready")])
def test_what_is_handed_back_stands_where_it_was(lab: Lab, phase: str, after: str) -> None:
    """It is counted, told, in line again under its phase, and no attempt was made; handing it back twice is too late."""
    session_id = lab.submit()
    commit(lab, claim(lab, session_id), phase)
    held = claim(lab, session_id, "w:2").record
    done, again = (lab.run(lab.leases.release(session_id, held.fence)) for _ in range(2))
    now = lab.snapshot(session_id)

    assert (done, again, stat(lab, session_id, "released")) == (True, False, "1")
    assert (now.record["phase"], now.record["attempts"], now.record["seq"], now.lease) == (after, "0", "3", None)
    assert [number for number, _ in now.journal] == ["1-0", "2-0", "3-0"]
    assert [member.split(":")[1] for member in now.members] == [after]
