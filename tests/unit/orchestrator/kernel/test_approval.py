"""What grants, who may grant, and what a grant is bound to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.contracts.session import PendingCall, Post, Wait, args_digest
from orchestrator.kernel.approval import ALLOW, DENY, GRANTING, Denied, Granted, Stray, check_decision, is_granted

CALL = PendingCall(call_id="c1", tool="srv:act", args={"n": 1})
DIGEST = args_digest(CALL.tool, CALL.args)
WAIT = Wait(wait_id="w1", kind="approval", call=CALL, digest=DIGEST, roster=("ann", "bo"))


def decision(**changes: object) -> Post:
    """Build a grant by ann of exactly this call, with changes."""
    fields = {"post_id": "p", "kind": "decision", "actor": "ann", "wait_id": "w1", "verdict": ALLOW, "digest": DIGEST}
    return Post.model_validate(fields | changes)


@pytest.mark.parametrize(
    "verdict", ["approve", "yes", "ok", "true", " allow", "allow ", "allow\n", "allow  once", "", None]
)
def test_every_other_word_denies(verdict: str | None) -> None:
    """An answer that is not understood must never let a call through."""
    assert not is_granted(verdict)


@given(st.text())
def test_no_other_text_grants(verdict: str) -> None:
    """The vocabulary is closed."""
    assert is_granted(verdict) == (verdict.lower() in GRANTING)


def test_a_grant_names_who_gave_it_and_why() -> None:
    """The journal has to say who let the call through."""
    assert check_decision(WAIT, decision(text="looks right")) == Granted(actor="ann", rationale="looks right")


@pytest.mark.parametrize("verdict", [DENY, "approve", "", None])
def test_a_decision_without_a_grant_denies(verdict: str | None) -> None:
    """Denying needs no digest: what is refused need not be known exactly."""
    assert isinstance(check_decision(WAIT, decision(verdict=verdict, digest="")), Denied)


@pytest.mark.parametrize(
    ("verdict", "reason"),
    [(DENY, "denied"), ("approve", "verdict 'approve' grants nothing"), (None, "verdict None grants nothing")],
)
def test_a_model_reads_whether_a_person_denied_or_was_not_understood(verdict: str | None, reason: str) -> None:
    """A word that is none of the vocabulary is somebody's slip, and is told as one; a denial is told as meant."""
    denied = check_decision(WAIT, decision(verdict=verdict, text="not yet"))

    assert denied == Denied(actor="ann", reason=reason, rationale="not yet")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"wait_id": "w0"}, "other_wait"),
        ({"wait_id": None}, "other_wait"),
        ({"wait_id": None, "verdict": DENY}, "other_wait"),
        ({"actor": "eve"}, "not_on_roster"),
        ({"actor": "eve", "verdict": DENY}, "not_on_roster"),
        ({"actor": "Ann"}, "not_on_roster"),
        ({"digest": ""}, "other_arguments"),
        ({"digest": args_digest("srv:act", {"n": 2})}, "other_arguments"),
        ({"kind": "input"}, "not_a_decision"),
    ],
)
def test_a_post_that_is_no_answer_decides_nothing(changes: dict[str, object], reason: str) -> None:
    """Neither an outsider nor a late or mistaken message may grant or deny."""
    assert check_decision(WAIT, decision(**changes)) == Stray.model_validate({"reason": reason})


def test_an_empty_roster_lets_anyone_answer() -> None:
    """An app that names no approvers trusts whoever may post."""
    assert isinstance(check_decision(WAIT.model_copy(update={"roster": ()}), decision(actor="eve")), Granted)


@pytest.mark.parametrize(
    "changes",
    [
        {"call": CALL.model_copy(update={"args": {"n": 2}})},
        {"call": None},
        {"digest": ""},
    ],
)
def test_a_wait_whose_call_is_not_what_was_shown_grants_nothing(changes: dict[str, object]) -> None:
    """What is made has to be what the person saw."""
    wait = WAIT.model_copy(update=changes)

    assert check_decision(wait, decision(digest=wait.digest)) == Stray(reason="other_arguments")
