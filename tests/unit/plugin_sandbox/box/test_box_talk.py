"""What the host takes from a call's pipes and its monitor, and when; the far end is the test's, on real pipes and sockets."""

import contextlib
import fcntl
import json
import os
import socket
import threading
from collections.abc import Callable
from dataclasses import asdict

import pytest

from plugin_sandbox.conversation import Stop, Talk, _Drain, hold_talk
from plugin_sandbox.inner.box import Box, BoxLimits, Ended

CAP = 100_000
BOX = Box(
    call_id="t-0-1",
    tier="strict",
    limits=BoxLimits(
        memory_bytes=1 << 28,
        cpu_seconds=5,
        wall_seconds=60.0,
        processes=0,
        threads=8,
        open_files=64,
        file_bytes=1 << 20,
        disk_bytes=1 << 20,
        inodes=100,
        stderr_bytes=CAP,
        result_bytes=CAP,
    ),
    workspace="/",
    package="/",
    sys_path=(),
    binds=(),
)
FINE = Ended(exit_code=0, signal=0, bit=None, peak_memory_bytes=1, cpu_seconds=0.1)


def talk(play: Callable[[int, int, socket.socket], None], *, is_cancelled: bool = False) -> Talk:
    """Hold a talk whose far end - result, stderr, report - plays this before the host looks for the first time."""
    threads: list[threading.Thread] = []

    def send(_: bytes, fds: list[int]) -> None:
        *pipes, report = map(os.dup, fds)
        monitor = socket.socket(fileno=report)
        play(*pipes[1:], monitor)
        for descriptor in pipes:
            os.close(descriptor)
        threads.append(threading.Thread(target=leave, args=(monitor,)))
        threads[0].start()

    def leave(monitor: socket.socket) -> None:
        """As a monitor does: when the host has no more to say, the call is over."""
        with monitor:
            monitor.recv(1)

    with contextlib.closing(Stop()) as halt:
        if is_cancelled:
            halt.set()
        found = hold_talk(BOX, b"{}", send, halt)
    threads[0].join(60)
    return found


def end(report: socket.socket) -> None:
    """Say that the tree has ended well."""
    report.send(json.dumps({"event": "ended", **asdict(FINE)}).encode())


@pytest.mark.parametrize(("size", "over"), [(CAP, None), (CAP + 1, "output"), (CAP * 2, "output")])
def test_what_a_tree_left_in_its_pipe_counts_when_it_has_ended(size: int, over: str | None) -> None:
    """A pipe may hold more than is read at once; its end is in time, and still no way around the limit."""

    def play(result: int, _: int, report: socket.socket) -> None:
        fcntl.fcntl(result, fcntl.F_SETPIPE_SZ, 1 << 20)
        os.write(result, b"x" * size)
        end(report)

    found = talk(play)

    assert (len(found.result), found.over, found.ended) == (CAP, over, FINE)


def test_the_first_reason_to_end_a_call_is_the_one_that_is_told() -> None:
    """Both pipes flood and a person cancels, all in one moment: the entry names one limit, and the rest changes nothing."""

    def play(result: int, stderr: int, _: socket.socket) -> None:
        for descriptor in (result, stderr):
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, 1 << 20)
            os.write(descriptor, b"x" * (CAP * 2))

    found = talk(play, is_cancelled=True)

    assert found.over == "cancelled"
    assert (found.is_lost, found.ended) == (True, None)
    assert max(len(found.result), len(found.stderr)) <= CAP


def test_a_pipe_that_its_plugin_reads_itself_is_not_at_its_end() -> None:
    """It may open its own end for reading and be quicker than the host that was just told that something lies there."""
    read, write = os.pipe2(os.O_NONBLOCK)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        with contextlib.closing(Stop()) as halt, ours, theirs:
            drain = _Drain(BOX, read, -1, ours, halt)

            assert drain._take_chunk(read)  # nothing there
            os.write(write, b"x")
            assert drain._take_chunk(read)
            os.close(write)
            write = -1
            assert not drain._take_chunk(read)
    finally:
        for descriptor in {read, write} - {-1}:
            os.close(descriptor)


def test_a_tree_that_outlives_its_monitor_cannot_keep_the_host_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """It writes faster than anybody reads, and the call has to end all the same."""
    reads = 0

    def read(_: int) -> bytes:
        nonlocal reads
        reads += 1
        assert reads < 1_000
        return b"x" * 65_536

    monkeypatch.setattr("plugin_sandbox.conversation._read", read)

    held = talk(lambda *_: None, is_cancelled=True)

    assert (held.is_lost, len(held.result), len(held.stderr)) == (True, CAP, CAP)
