"""Which sessions in line are woken, when there is not room for all of them."""

import pytest

from orchestrator.contracts.session import InLine
from orchestrator.kernel.dispatching import plan_dispatch


def one(name: str, since_at: int, *, rank: int = 1, bucket: str = "ready") -> InLine:
    """Return a session in line; its app is the first letter of its name."""
    return InLine(session_id=name, app=name[0], bucket=bucket, rank=rank, since_at=since_at)


def woken(
    *line: InLine, room: int = 9, busy: dict[str, int] | None = None, limits: dict[str, int] | None = None
) -> str:
    """Return the names of those that are woken, in their order."""
    return " ".join(one.session_id for one in plan_dispatch(line, room=room, busy=busy or {}, limits=limits or {}))


def test_the_highest_rank_goes_first_and_then_the_oldest() -> None:
    """Among those that came at the same time the order is still one."""
    line = [one("a3", 5), one("a2", 5), one("a1", 9, rank=0), one("a4", 1, rank=2)]

    assert woken(*line) == "a1 a2 a3 a4"
    assert [woken(*line, room=room) for room in (0, 1, 3)] == ["", "a1", "a1 a2 a3"]


def test_apps_take_turns_and_the_less_busy_one_goes_first() -> None:
    """An app with a thousand in line does not keep another's one waiting."""
    line = [one(f"a{n}", n) for n in range(3)] + [one("b0", 9)]

    assert woken(*line) == "a0 b0 a1 a2"
    assert woken(*line, busy={"a": 1}) == "b0 a0 a1 a2"


def test_an_app_at_its_limit_waits_and_the_others_go_on() -> None:
    """What runs, and what is chosen here, both count; so does what was chosen at a higher rank."""
    line = [one("a0", 0), one("a1", 1), one("b0", 9), one("a2", 2, rank=0)]

    assert woken(*line, limits={"a": 2}) == "a2 b0 a0"
    assert woken(*line, limits={"a": 2}, busy={"a": 2}) == "b0"
    assert woken(*line, limits={"a": 2}, busy={"a": 5}) == "b0"


def test_what_ends_or_was_asked_to_stop_is_never_held_back() -> None:
    """It frees what the others wait for."""
    line = [one("a0", 0), one("a1", 7, bucket="finalizing"), one("a2", 3, bucket="finalizing"), one("a3", 9, rank=-1)]

    assert woken(*line, limits={"a": 1}, busy={"a": 1}) == "a2 a1 a3"
    assert woken(*line, room=1) == "a2"


@pytest.mark.parametrize(("bucket", "expected"), [("ready", ["a0", "a1"]), ("plugins", ["a2"])])
def test_the_line_for_plugins_is_planned_apart(bucket: str, expected: list[str]) -> None:
    """Their workers are others; whoever finalises is in the first line alone."""
    line = [one("a1", 1), one("a2", 2, bucket="plugins"), one("a0", 0, bucket="finalizing")]
    plan = plan_dispatch(line, room=9, busy={}, limits={}, bucket=bucket)  # type: ignore[arg-type]

    assert [one.session_id for one in plan] == expected
