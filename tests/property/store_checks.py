"""What must hold after every act: the server holds what the model says, in one place, and the journal says it too."""

from orchestrator.contracts.session import Post
from orchestrator.kernel.rebuild import find_differences, fold
from tests.property.store_lab import APP, Lab
from tests.property.store_model import Session


def check_session(lab: Lab, session: Session) -> None:
    """Read everything that the server holds of a session; fail where it is not what the model says."""
    now = lab.snapshot(session.session_id)
    record = now.record
    assert (record["phase"], record["status"], int(record["rev"])) == (session.phase, session.status, session.rev)
    assert (int(record["fence"]), int(record["attempts"])) == (session.fence, session.attempts)
    assert (record.get("cancel", ""), record.get("reason", "")) == (session.cancel, session.reason)
    assert (record.get("answered") == "1") is session.answered
    assert (record.get("immediate") == "1") is session.immediate

    assert [Post.from_json(post).post_id for post in now.mailbox] == session.posts
    assert int(record["posts"]) == len(session.posts)
    assert set(now.seen) == session.seen
    assert len(now.context) == session.messages

    # The journal: no number is missing, none is twice, and its entries are exactly the accepted acts.
    assert [number for number, _ in now.journal] == [f"{n}-0" for n in range(1, len(session.entries) + 1)]
    assert [told.kind for _, told in now.journal] == session.entries
    assert int(record["seq"]) == len(session.entries)

    # One place each: in line, leased, waiting with a time, waiting for a post, settled.
    assert (now.lease is not None) is (session.lease != "none")
    assert (now.due is not None) is (session.wait != "none")
    assert not (now.lease is not None and now.due is not None)
    assert (now.dead is not None) is (session.phase == "dead") is (now.deadinfo is not None)
    bucket = f"ended/{session.status}" if session.phase == "ended" else session.phase
    rank = ("!1" if session.front else "1") if session.phase in {"ready", "finalizing"} else "-"
    members = [f"{APP}:{bucket}:{rank}:{record['since']}:{session.session_id}"]
    if session.phase == "waiting" and record.get("wait_id"):  # it asks a person, and stands in the list of those too
        members.insert(0, f"{APP}:asks/input:-:{record['since']}:{session.session_id}")
    assert now.members == members

    if session.phase == "ended":
        told = session.settled_as or (session.phase, session.status)
        assert told == (session.phase, session.status), "a settled session changed"
        session.settled_as = told

    rebuilt = fold(lab.journal(session.session_id))
    stored = lab.run(lab.views.record(session.session_id))
    assert find_differences(stored, now.context, len(now.mailbox), rebuilt) == []
