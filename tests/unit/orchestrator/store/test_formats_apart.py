"""Two versions of Baton on one store: what the newer one has touched, the older one leaves alone."""

import pytest

from orchestrator.contracts.errors import StoreUnfit, Unreadable
from orchestrator.contracts.formats import FORMAT
from orchestrator.contracts.session import Post
from orchestrator.store.fitness import check_store
from orchestrator.store.forks import create_fork
from orchestrator.store.intake import Intake
from orchestrator.store.keys import META
from orchestrator.store.leases import Claimed, ClaimRefused, Leases
from orchestrator.store.store import Store
from tests.property.store_lab import DIGEST, PREFIX, SMALL, Lab, draft
from tests.unit.orchestrator.store.test_lease_acts import claim, kinds, step

NEWER = FORMAT + 1


class Newer:
    """What a newer Baton acts with on the same store."""

    def __init__(self, lab: Lab) -> None:
        self.store = Store(lab.store.url, partitions=lab.store.keys.partitions, limits=SMALL, session_format=NEWER)
        self.intake = Intake(self.store)
        self.leases = Leases(self.store, lease_seconds=60, max_attempts=3)


@pytest.fixture
def newer(lab: Lab) -> Newer:
    """Lend a newer Baton."""
    return Newer(lab)


def written(lab: Lab, session_id: str) -> str | None:
    """Return the format that a record carries."""
    return lab.snapshot(session_id).record.get("format")


def claim_late(lab: Lab, session_id: str) -> ClaimRefused:
    """Return what the older Baton is answered."""
    answer = lab.run(lab.leases.claim(session_id, "old:9", (DIGEST,), alone=True, adopt=True))
    assert isinstance(answer, ClaimRefused), answer
    return answer


@pytest.mark.parametrize("how", ["claimed", "posted", "submitted", "forked", "replayed"])
def test_what_a_newer_baton_has_touched_is_left_to_it(lab: Lab, newer: Newer, how: str) -> None:
    """It is not buried, keeps its place and every word; its wake-up is sent again soon, to reach one who can."""
    intake = newer.intake if how == "submitted" else lab.intake
    session_id = lab.run(intake.submit(draft(), PREFIX)).session_id
    if how == "forked":
        fork = draft().model_copy(update={"session_id": "SES-20260101-001"})
        parts = {"rank": "1", "intents": {}, "messages": (), "data": {}, "stamp": "s"}
        assert lab.run(create_fork(newer.store, fork, **parts))  # type: ignore[arg-type]
        session_id = fork.session_id
    if how == "claimed":
        held = lab.run(newer.leases.claim(session_id, "new:1", (DIGEST,)))
        assert isinstance(held, Claimed)
        assert lab.run(newer.leases.release(session_id, held.record.fence))
    if how == "posted":
        post = Post(post_id="p", kind="signal", actor="ada", name="go")
        assert lab.run(newer.intake.post(session_id, post))
    if how == "replayed":
        record = claim(lab, session_id, "old:1").record
        lab.commit(session_id, record.fence, record.rev, step("dead", reason="why"))
        lab.run(newer.intake.replay(session_id, "ada"))
    lab.run(lab.store.command("ZADD", lab.key("sent", session_id), 9_999_999_999_999, session_id))
    before, before_ms = lab.snapshot(session_id), lab.run(lab.store.now_ms())

    refused = claim_late(lab, session_id)

    assert (refused.answer, refused.detail) == ("newer", str(NEWER))
    after = lab.snapshot(session_id)
    assert (after.record, after.journal, after.mailbox, after.dead) == (
        before.record,
        before.journal,
        before.mailbox,
        None,
    )
    assert after.sent is not None
    assert 400 <= after.sent - before_ms <= 500 + lab.run(lab.store.now_ms()) - before_ms
    assert isinstance(lab.run(newer.leases.claim(session_id, "new:2", (DIGEST,), alone=True)), Claimed)
    lab.run(newer.store.aclose())


def test_what_no_newer_baton_has_touched_is_everybodys(lab: Lab, newer: Newer) -> None:
    """Old workers go on during an upgrade; a new one reads what they wrote."""
    session_id = lab.submit()
    record = claim(lab, session_id, "old:1").record
    lab.commit(session_id, record.fence, record.rev, step("ready"))
    assert written(lab, session_id) == str(FORMAT)

    assert isinstance(lab.run(newer.leases.claim(session_id, "new:1", (DIGEST,))), Claimed)

    assert written(lab, session_id) == str(NEWER)
    assert kinds(lab, session_id) == ["submitted", "step"]
    lab.run(newer.store.aclose())


def test_an_older_holder_ends_its_step_while_a_newer_one_writes(lab: Lab, newer: Newer) -> None:
    """A post takes no lease away: the commit is its holder's, and the session's next holder is a newer one."""
    session_id = lab.submit()
    record = claim(lab, session_id, "old:1").record
    lab.run(newer.intake.post(session_id, Post(post_id="p", kind="signal", actor="ada", name="go")))

    assert lab.commit(session_id, record.fence, record.rev, step("ready")).phase == "ready"

    assert claim_late(lab, session_id).answer == "newer"
    lab.run(newer.store.aclose())


def test_a_record_that_a_newer_baton_wrote_is_told_as_that(lab: Lab) -> None:
    """Not as damage: replaying or removing it would be the wrong advice."""
    session_id = lab.submit()
    key = lab.key("record", session_id)
    lab.run(lab.store.command("HSET", key, "cursor", '{"skill":"a","mood":"fine"}'))

    with pytest.raises(Unreadable, match="replay or remove it"):
        lab.run(lab.views.record(session_id))
    lab.run(lab.store.command("HSET", key, "format", NEWER))
    with pytest.raises(
        Unreadable, match=rf"a newer Baton wrote it \(format {NEWER}, this one reads {FORMAT}\): use that one"
    ):
        lab.run(lab.views.record(session_id))


def test_a_store_remembers_the_newest_baton_that_worked_on_it(lab: Lab, newer: Newer) -> None:
    """Whoever starts an older one hears of it, and what to do."""
    before = lab.run(check_store(lab.store))
    assert lab.run(check_store(newer.store)) == before

    [told] = set(lab.run(check_store(lab.store))) - set(before)

    assert f"a newer Baton has worked on it (format {NEWER}, this one reads {FORMAT})" in told
    assert lab.run(lab.store.command("HGET", META, "format")) == str(NEWER)
    lab.run(newer.store.aclose())


def test_another_layout_is_refused(lab: Lab) -> None:
    """Scripts that do not agree on the keys would lose sessions without a word."""
    lab.run(check_store(lab.store))
    lab.run(lab.store.command("HSET", META, "layout", 2))

    with pytest.raises(
        StoreUnfit, match="its keys are of layout 2, this Baton works with 1; use the Baton that made it"
    ):
        lab.run(check_store(lab.store))
