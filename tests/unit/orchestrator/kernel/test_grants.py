"""What is allowed for good: exactly the call that was shown, for the asker who asked, in this session."""

import pytest

from orchestrator.contracts.hooks import MOST_GRANTS, Grant, HookMemory
from orchestrator.contracts.session import Cursor, PendingCall, Record, Wait
from orchestrator.kernel.grants import GATEWAY, apply_grants, asker_of, find_grant, remember

CALL = PendingCall(call_id="call-3-0", tool="srv:close", args={"n": 1}, risk="high", action="approve")
WAIT = Wait(wait_id="w", kind="approval", call=CALL)


def a_record(*calls: PendingCall, hooks: HookMemory | None = None) -> Record:
    """Return a session with these calls in line."""
    cursor = Cursor(skill="s", stage="tools", calls=calls)
    return Record(session_id="S-1", app="a", spec="d", phase="running", cursor=cursor, hooks=hooks)


def granted(wait: Wait = WAIT) -> HookMemory:
    """Return the memory after a grant for good."""
    memory, _ = remember(None, wait, "ada", 5)
    assert memory is not None
    return memory


def test_a_grant_says_who_allowed_what_and_when() -> None:
    """People read it in `show`."""
    (grant,) = granted().grants

    assert (grant.asked_by, grant.tool, grant.actor, grant.at) == (GATEWAY, "srv:close", "ada", 5)
    assert (grant.risk, grant.shown) == ("high", '{"n":1}')


@pytest.mark.parametrize(
    ("changes", "asked_by", "found"),
    [
        ({"call_id": "call-9-1", "key": "other"}, GATEWAY, True),
        ({"args": {"n": 1, "idempotency_key": "k2"}}, GATEWAY, True),
        ({"args": {"n": 2}}, GATEWAY, False),
        ({"args": {"n": 1, "m": None}}, GATEWAY, False),
        ({"args": {"n": 1.0}}, GATEWAY, False),
        ({"tool": "other:close"}, GATEWAY, False),
        ({"risk": "medium"}, GATEWAY, False),
        ({}, "hook:guard@tool:pre", False),
    ],
)
def test_a_grant_is_never_wider_than_what_was_asked(changes: dict[str, object], asked_by: str, *, found: bool) -> None:
    """One bit of difference asks again; the call's own key is none."""
    call = CALL.model_copy(update=changes)

    assert (find_grant(granted(), asked_by, call) is not None) is found


def test_a_hooks_question_is_remembered_for_that_hook_and_event() -> None:
    """What one hook was told says nothing to another, nor to the gateway."""
    wait = WAIT.model_copy(update={"hook": "guard", "reason": "tool:pre"})
    memory = granted(wait)

    assert asker_of(wait) == "hook:guard@tool:pre"
    assert find_grant(memory, "hook:guard@tool:pre", CALL) is not None
    assert find_grant(memory, "hook:guard@tool:post", CALL) is None
    assert find_grant(memory, GATEWAY, CALL) is None


def test_the_same_grant_is_kept_once() -> None:
    """Saying it twice must not fill the record."""
    memory, said = remember(granted(), WAIT, "grace", 9)

    assert memory is not None
    assert (len(memory.grants), said) == (1, "allowed always before")


def test_there_is_no_end_of_asking_but_one_of_remembering() -> None:
    """Beyond the limit a grant holds once, and the journal says so."""
    full = HookMemory(
        grants=tuple(Grant(asked_by=GATEWAY, tool="t", digest=str(n), actor="ada") for n in range(MOST_GRANTS))
    )

    memory, said = remember(full, WAIT, "ada", 5)

    assert memory is full
    assert said.startswith("allowed once")


def test_what_is_no_call_is_not_remembered() -> None:
    """A prompt does not come again as the same one."""
    memory, said = remember(None, WAIT.model_copy(update={"call": None, "hook": "guard"}), "ada", 5)

    assert memory is None
    assert said.startswith("allowed once")


def test_calls_that_the_gateway_asks_about_go_through() -> None:
    """Only those that match, and that nobody has decided yet."""
    other = CALL.model_copy(update={"call_id": "call-3-1", "args": {"n": 2}})
    denied = CALL.model_copy(update={"call_id": "call-3-2", "verdict": "rejected"})

    after = apply_grants(a_record(CALL, other, denied, hooks=granted()))

    assert [call.verdict for call in after.cursor.calls] == ["approved", None, "rejected"]
    assert (after.cursor.calls[0].approver, after.cursor.calls[0].rationale) == ("ada", "allowed always")


@pytest.mark.parametrize("hooks", [None, HookMemory(), HookMemory(started=True)])
def test_a_session_without_grants_stays_as_it_is(hooks: HookMemory | None) -> None:
    """The very same record: nothing to compare, nothing to write."""
    record = a_record(CALL, hooks=hooks)

    assert apply_grants(record) is record


def test_grants_that_fit_none_of_the_calls_change_nothing() -> None:
    """The very same record, also where there is something to compare with."""
    record = a_record(CALL.model_copy(update={"args": {"n": 2}}), hooks=granted())

    assert apply_grants(record) is record
