"""Tests of the state folder where several come to it at once."""

import fcntl
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from orchestrator.contracts.errors import ConfigError, StoreUnreachable
from orchestrator.embedded_folder import MARKER, claim_folder, kill_server, locked, try_lock
from orchestrator.embedded_watch import is_alive


def claim_with(home: Path, line: int, meanwhile: Callable[[], None]) -> bool:
    """Claim a folder, and let something happen before the line of that number; return whether there was such a line."""
    lines = [0]

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        """Count the lines of claim_folder alone."""
        if frame.f_code is not claim_folder.__code__:
            return None
        lines[0] += event == "line"
        if event == "line" and lines[0] == line:
            sys.settrace(None)
            meanwhile()
            sys.settrace(trace)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        assert claim_folder(home) == home.resolve()
    finally:
        sys.settrace(before)
    return lines[0] >= line


def test_another_may_make_the_folder_its_own_between_any_two_lines(tmp_path: Path) -> None:
    """Of several who start at once, the one that is a moment later must not take what the first put there for strange files."""

    def come_first() -> None:
        """Be the other one, up to its turn to start the server."""
        held = try_lock(claim_folder(home) / "start.lock")
        assert held is not None
        os.close(held)

    line, homes = 0, iter(range(1000))
    while True:
        line, home = line + 1, tmp_path / f"state{next(homes)}"
        if not claim_with(home, line, come_first):
            break
        assert {one.name for one in home.iterdir()} == {MARKER, "start.lock"}

    assert line > 5


@pytest.mark.parametrize(("name", "said"), [(".baton-server-9", "another version"), ("thesis.txt", "something else")])
def test_a_folder_of_others_is_refused_and_left_as_it_is(tmp_path: Path, name: str, said: str) -> None:
    """A mistyped path must not become ours by being looked at."""
    (tmp_path / name).touch()

    with pytest.raises(ConfigError, match=said):
        claim_folder(tmp_path)
    assert [one.name for one in tmp_path.iterdir()] == [name]


def test_a_turn_is_waited_for_as_long_as_there_is_a_reason(tmp_path: Path) -> None:
    """Whoever has it may be waiting for a server that reads its data back."""
    lock = tmp_path / "lock"
    held = try_lock(lock)
    assert held is not None
    reasons = iter([True, True])

    with (
        pytest.raises(StoreUnreachable, match="starting or stopping"),
        locked(lock, 0, unless=lambda: next(reasons, False)),
    ):
        pass
    os.close(held)
    with locked(lock, 0):
        assert try_lock(lock) is None
    assert next(reasons, None) is None


def test_those_who_look_do_not_take_each_other_for_a_server(tmp_path: Path) -> None:
    """A look takes the lock for a moment."""
    looking = os.open(tmp_path / "alive.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(looking, fcntl.LOCK_SH)
    looked = [is_alive(tmp_path)]
    os.close(looking)
    held = try_lock(tmp_path / "alive.lock")
    assert held is not None

    looked.append(is_alive(tmp_path))
    os.close(held)
    looked.append(is_alive(tmp_path))

    assert looked == [False, True, False]


@pytest.mark.parametrize("said", ["", "garbage\n", "4194304999\n", "1\n", None])
def test_a_process_that_is_not_the_server_is_not_killed(tmp_path: Path, said: str | None) -> None:
    """A full disk leaves the number's file empty, and a machine that was switched off leaves that of another process."""
    home = claim_folder(tmp_path / "state")
    if said is not None:
        (home / "server.pid").write_text(said)
    held = try_lock(home / "alive.lock")
    assert held is not None
    try:
        with pytest.raises(StoreUnreachable, match=r"is not the server .*; end it by hand"):
            kill_server(home)
    finally:
        os.close(held)
