"""What is done with a hook's answer, in which order, and what is never done."""

import asyncio
import logging
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.contracts.errors import ApprovalTimeoutError, InjectionRefused
from orchestrator.contracts.hook_result import HookResult
from orchestrator.kernel.live.processing import process_hook_result

AT = datetime(2030, 1, 2, tzinfo=UTC)
INJECT = HookResult(action="inject_context", context_injection="abcdefgh", user_message="um", suppress_output=True)
ASK = HookResult(action="ask_user", approval_prompt="P" * 201, context_injection="zzzz", user_message="um", reason="r")


class World:
    """A coordinator's place: one log of everything that is done, in order."""

    injection_size_limit: Any = None
    injection_budget_per_turn: Any = None

    def __init__(self, reply: Any = None, **limits: Any) -> None:
        self.current_turn_injections = 0
        self.log: list[Any] = []
        self.reply = reply
        self.context: Any = SimpleNamespace(add_message=self.add_message)
        self.display_system: Any = SimpleNamespace(show_message=lambda *shown: self.log.append(("shown", *shown)))
        self.approval_system: Any = SimpleNamespace(request_approval=self.request_approval)
        vars(self).update(limits)

    def get(self, mount_point: str) -> Any:
        return self.context if mount_point == "context" else None

    async def add_message(self, message: Any) -> None:
        self.log.append(("added", message["content"]))

    async def request_approval(self, *asked: Any) -> Any:
        self.log.append(("asked", *asked))
        if isinstance(self.reply, BaseException):
            raise self.reply
        return self.reply


def process(world: World, result: Any, **options: Any) -> Any:
    """Process an answer of the hook "hk" to "tool:pre"."""
    return asyncio.run(process_hook_result(world, result, "tool:pre", "hk", clock=lambda: AT, **options))


# --- injections


def test_an_injection_is_charged_its_message_shown_and_then_stored() -> None:
    """The answer itself comes back: whoever emitted still has to see its action."""
    world = World()

    assert process(world, INJECT) is INJECT

    assert world.log == [("shown", "um", "info", "hook:hk"), ("added", "abcdefgh")]
    assert world.current_turn_injections == 2


@pytest.mark.parametrize("context", [None, object()])
def test_an_injection_is_charged_where_nothing_stores_it(context: object) -> None:
    """The model may be shown it all the same."""
    world = World(context=context, display_system=None)

    assert process(world, INJECT) is INJECT

    assert (world.log, world.current_turn_injections) == ([], 2)


def test_an_ephemeral_injection_is_charged_and_not_stored() -> None:
    """It is for one request only."""
    world = World(display_system=None)

    process(world, HookResult(action="inject_context", context_injection="abcdefgh", ephemeral=True))

    assert (world.log, world.current_turn_injections) == ([], 2)


def test_a_context_may_be_plain() -> None:
    """And one that fails says so: what was charged stays charged, what was shown stays shown."""
    plain: list[Any] = []
    world = World(context=SimpleNamespace(add_message=plain.append), display_system=None)

    process(world, INJECT)

    assert plain[0]["metadata"]["timestamp"] == "2030-01-02T00:00:00.000000+00:00"

    def fail(message: Any) -> None:
        raise KeyError("full")

    failing = World(context=SimpleNamespace(add_message=fail))
    with pytest.raises(KeyError):
        process(failing, INJECT)
    assert (failing.current_turn_injections, len(failing.log)) == (2, 1)


def test_a_text_over_its_size_is_refused_before_anything_is_done(caplog: pytest.LogCaptureFixture) -> None:
    """Not even its message is shown, and nothing is charged."""
    world = World(injection_size_limit=4)

    with pytest.raises(InjectionRefused, match=r"^Context injection exceeds 4 characters$"):
        process(world, INJECT)

    assert (world.log, world.current_turn_injections) == ([], 0)
    assert [(r.levelno, r.message) for r in caplog.records] == [
        (logging.ERROR, "Hook injection too large: hk (chars=8, limit=4)")
    ]


def test_what_is_deleted_does_not_count() -> None:
    """The model sees the rest only; a text of which nothing is left is an empty message."""
    world = World(injection_size_limit=4, display_system=None)

    process(world, HookResult(action="inject_context", context_injection="12\x0034\ud800\x85"))
    process(world, HookResult(action="inject_context", context_injection="\x00\x01"))

    assert (world.log, world.current_turn_injections) == ([("added", "1234"), ("added", "")], 1)


def test_a_budget_only_warns(caplog: pytest.LogCaptureFixture) -> None:
    """Texts that a policy needs are not lost because others came first; an audit line tells of each."""
    caplog.set_level(logging.INFO)
    world = World(injection_budget_per_turn=2, current_turn_injections=1, display_system=None)

    process(world, INJECT)

    assert world.current_turn_injections == 3
    assert [(r.levelno, r.message) for r in caplog.records] == [
        (logging.WARNING, "Warning: Hook injection budget exceeded (hook=hk, current=1, attempted=2, budget=2)"),
        (
            logging.INFO,
            "Hook context injection (hook=hk, event=tool:pre, chars=8, role=system, tokens=2, ephemeral=false)",
        ),
    ]


@pytest.mark.parametrize("sanitise", [lambda text: None, lambda text: b"x", lambda text: 1 / 0])
def test_a_sanitiser_that_fails_lets_nothing_through(sanitise: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A text that could not be cleaned must not reach the model."""
    world = World()

    with pytest.raises(ValueError, match=r"^Context injection rejected: content sanitization function unavailable$"):
        process(world, INJECT, sanitise=sanitise)

    assert (world.log, world.current_turn_injections) == ([], 0)
    assert caplog.records[-1].message.startswith(
        "SECURITY: Sanitization unavailable for hook 'hk' — rejecting injection"
    )


@pytest.mark.parametrize(("limit", "error"), [("4", TypeError), (4.0, TypeError), (-1, OverflowError)])
@pytest.mark.parametrize("name", ["injection_size_limit", "injection_budget_per_turn"])
def test_a_limit_that_is_none_stops_every_answer(name: str, limit: object, error: type[Exception]) -> None:
    """A mistake in the configuration shows at once, not at the first injection."""
    with pytest.raises(error):
        process(World(**{name: limit}), HookResult())


def test_limits_are_read_anew_for_each_answer() -> None:
    """An operator who lowers one need not start anything again."""
    world = World(display_system=None)
    process(world, INJECT)
    world.injection_size_limit = 0

    with pytest.raises(InjectionRefused):
        process(world, INJECT)


# --- messages


@pytest.mark.parametrize("action", ["continue", "deny", "modify"])
def test_a_message_is_shown_whole_with_any_action(action: Any) -> None:
    """And nothing else is done."""
    world = World()
    result = HookResult(action=action, user_message="m" * 300, user_message_level="error", context_injection="ignored")

    assert process(world, result) is result

    assert (world.log, world.current_turn_injections) == ([("shown", "m" * 300, "error", "hook:hk")], 0)


def test_without_a_display_a_message_goes_to_the_log_and_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    """A log is not a screen."""
    caplog.set_level(logging.DEBUG)

    process(World(display_system=None), HookResult(user_message="m" * 201, suppress_output=True))

    assert [record.message for record in caplog.records if record.name.startswith("orchestrator")] == [
        f"Hook message (info): {'m' * 200}...[truncated] (hook=hk)",
        "Hook 'hk' requested output suppression",
    ]


def test_a_display_that_fails_loses_only_the_message(caplog: pytest.LogCaptureFixture) -> None:
    """What the hook decided holds."""

    def fail(*shown: Any) -> None:
        raise ValueError("no screen")

    world = World(display_system=SimpleNamespace(show_message=fail))

    assert process(world, INJECT) is INJECT
    assert world.log == [("added", "abcdefgh")]
    assert caplog.records[-1].message == "Error calling display_system: ValueError: no screen"


# --- questions


@pytest.mark.parametrize("reply", ["allow", "Allow once", "ALLOW ALWAYS"])
def test_a_grant_is_a_fresh_continue(reply: str) -> None:
    """Nothing of the question goes on with it: no reason, no data, no text for the model."""
    world = World(reply)

    assert process(world, ASK) == HookResult()
    assert world.log == [("asked", "P" * 201, ["Allow", "Deny"], 300.0, "deny")]


@pytest.mark.parametrize(("reply", "is_odd"), [("deny", False), ("DENY", False), ("approve", True), ("", True)])
def test_everything_else_denies_and_an_odd_word_is_logged(
    reply: str, is_odd: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody who wanted to grant finds out why it was not granted."""
    result = process(World(reply), ASK)

    assert result == HookResult(action="deny", reason=f"User denied: {'P' * 200}...[truncated]")
    expected = f"Approval system returned unexpected decision '{reply}' for hook 'hk' — treating as deny (fail-closed)"
    assert [record.message for record in caplog.records] == ([expected] if is_odd else [])


def test_an_approval_system_may_be_plain() -> None:
    """A terminal that asks need not be async."""
    system = SimpleNamespace(request_approval=lambda *asked: "allow")

    assert process(World(approval_system=system), ASK) == HookResult()


def test_without_an_approval_system_a_question_denies_whatever_its_default(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody was asked; the default is for silence of somebody who was."""
    caplog.set_level(logging.INFO)

    result = process(World(approval_system=None), HookResult(action="ask_user", approval_default="allow"))

    assert result == HookResult(action="deny", reason="No approval system available")
    assert [record.message for record in caplog.records] == [
        "Approval requested (hook=hk, prompt=Allow this operation?, timeout=300, default=allow)",
        "Approval requested but no approval system provided (hook=hk)",
    ]


class TimedOut(ApprovalTimeoutError):
    """A system's own kind of it."""


@pytest.mark.parametrize("error", [ApprovalTimeoutError("t"), TimedOut()])
def test_silence_is_answered_by_the_default(error: Exception) -> None:
    """Only the error that says so counts as silence."""
    allowed = process(World(error), HookResult(action="ask_user", approval_default="allow"))
    denied = process(World(error), HookResult(action="ask_user"))

    assert allowed == HookResult()
    assert denied.reason == "Approval timeout - denied by default: Allow this operation?"


@pytest.mark.parametrize("error", [TimeoutError("t"), RuntimeError("appr"), asyncio.CancelledError()])
def test_any_other_error_goes_to_the_caller(error: BaseException) -> None:
    """Who takes it for a denial; a default of allow must not turn a failure into a grant."""
    with pytest.raises(type(error)):
        process(World(error), HookResult(action="ask_user", approval_default="allow"))


@pytest.mark.parametrize("reply", [True, {"allow": True}, 5, b"allow"])
def test_a_reply_that_is_no_text_is_an_error(reply: object) -> None:
    """True is no word."""
    with pytest.raises(TypeError, match="approval of hook 'hk'"):
        process(World(reply), ASK)


def test_every_question_is_asked() -> None:
    """To allow always is remembered by the approval system or by nobody."""
    world = World("allow always")
    for _ in range(3):
        process(world, ASK)

    assert len(world.log) == 3


# --- what is no HookResult


@pytest.mark.parametrize("result", [None, {"action": "deny"}, SimpleNamespace(action="deny")])
def test_what_lacks_the_fields_of_an_answer_is_an_error(result: object) -> None:
    """It says nothing, and nothing must not mean yes."""
    with pytest.raises(AttributeError):
        process(World(), result)


def duck(**fields: Any) -> SimpleNamespace:
    """Return an object that has an answer's attributes and is none."""
    return SimpleNamespace(**{**HookResult().model_dump(), **fields})


def test_an_object_with_the_attributes_is_taken_for_an_answer() -> None:
    """With an action that nobody knows it does nothing and comes back."""
    world = World()
    unknown = duck(action="whatever")

    assert process(world, unknown) is unknown
    process(world, duck(action="inject_context", context_injection="text"))

    assert world.log == [("added", "text")]


@pytest.mark.parametrize(
    "fields",
    [{"action": 5}, {"action": "inject_context", "context_injection": 5}, {"ephemeral": "x"}, {"user_message": 5}],
)
def test_an_attribute_of_another_kind_is_an_error(fields: dict[str, Any]) -> None:
    """Before anything is done."""
    world = World()

    with pytest.raises(TypeError, match="hook result: "):
        process(world, duck(**fields))

    assert world.log == []
