"""`baton fork` and `baton replay` on a real stack."""

import json
from pathlib import Path

import pytest

from tests.commands import Baton

JOURNEY = Path(__file__).parent.parent / "apps" / "journey"

pytestmark = [pytest.mark.integration]


def test_a_session_is_forked_with_another_state_and_both_are_verified(stack: Baton, tmp_path: Path) -> None:
    """The fork's own worker takes it from there; the origin is as it was."""
    origin = stack.submit("--set", "plan=nothing")["session_id"]
    given = tmp_path / "state.json"
    given.write_text(json.dumps({"answer": "other"}))
    forked = stack("fork", origin, "--at", "1", "--with", str(given), "-o", "json").json("fork")
    stack("watch", forked["session_id"])
    shown = stack("show", forked["session_id"], "-o", "json").json("session")
    verified = stack("replay", origin, forked["session_id"], "--verify", "-o", "json").json("verified")

    assert (forked["parent"], forked["forked_at"], forked["created"]) == (origin, 1, True)
    assert (shown["status"], shown["fields"]["word"], shown["forked_at"]) == ("fine", "other", 1)
    assert [(one["ok"], one["differences"]) for one in verified] == [(True, []), (True, [])]
    assert f"forked from {origin} after entry" in stack("fork", origin).out
    assert f"{origin}, entry 1" in stack("show", forked["session_id"]).out


def test_a_recording_is_gone_through_with_a_version_of_its_app(stack: Baton) -> None:
    """The same version does the same; the exit code is for scripts that decide whether a version goes out."""
    origin = stack.submit("--set", "plan=look")["session_id"]
    (report,) = stack("replay", origin, "--against", str(JOURNEY), "-o", "json").json("rehearsed")

    assert (report["session_id"], report["differences"]) == (origin, [])
    assert report["steps"] > 2


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["replay", "TRIP-20260101-001"], "say --verify, or --against APP_DIR; to send a dead letter again, use `baton retry ID`"),
        (["fork", "TRIP-20260101-001", "--with", "{"], "option --with: not JSON"),
        (["fork", "TRIP-20260101-001", "--at", "0"], "0 is not in the range x>=1"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(baton: Baton, args: list[str], message: str) -> None:
    """Before anything is connected, with the way on."""
    assert message in baton.refuse(*args, code=2)
