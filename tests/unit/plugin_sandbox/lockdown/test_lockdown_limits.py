"""Limits of a locked-down process: as the box says, and to the last one."""

import mmap
import os
import resource
import threading
from pathlib import Path
from typing import Any

import pytest

from plugin_sandbox.inner.box import LAYERS, Box
from tests.unit.plugin_sandbox.lockdown.users import SLOT, MiB, as_root, as_users, uid_of, user_of


def _limits(_: Box) -> dict[str, tuple[int, int]]:
    names = ("CPU", "NOFILE", "FSIZE", "CORE", "MEMLOCK", "STACK")
    found = {name: resource.getrlimit(getattr(resource, "RLIMIT_" + name)) for name in names}
    return {**found, "SIGPENDING": resource.getrlimit(11), "MSGQUEUE": resource.getrlimit(12)}


@as_users()
def test_limits_are_what_the_box_says(who: str, make_box: Any, run_child: Any) -> None:
    """CPU time is the monitor's to end; the kernel's limit stands a little behind it."""
    found = run_child(make_box(**user_of(who)), _limits, user=uid_of(who))

    assert found["CPU"] == [6, 6]
    assert (found["NOFILE"], found["FSIZE"]) == ([64, 64], [MiB, MiB])
    assert found["CORE"] == [1, 1]  # one byte is for no file, and no dump is piped to a program
    assert found["MEMLOCK"] == found["MSGQUEUE"] == [0, 0]
    assert 0 < found["SIGPENDING"][1] <= 64
    assert 0 < found["STACK"][1] <= 8 * MiB


def test_a_limit_cannot_be_raised(make_box: Any, run_child: Any) -> None:
    """Not even as root, whose capability is gone."""

    def work(_: Box) -> str:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (65, 65))
        except ValueError:  # what the module makes of EPERM
            return "refused"
        return "raised"

    assert run_child(make_box(), work) == "refused"
    assert run_child(make_box(off=LAYERS), work) == "raised"


@pytest.mark.parametrize(("size", "wanted"), [(MiB - 1, 0), (MiB, 0), (MiB + 1, 27)])
def test_a_file_ends_at_its_limit(size: int, wanted: int, make_box: Any, run_child: Any) -> None:
    """One byte more is EFBIG."""

    def work(box: Box) -> int:
        with (Path(box.work) / "big").open("wb", buffering=0) as file:
            try:
                file.truncate(size)
            except OSError as error:
                return error.errno or -1
        return 0

    assert run_child(make_box(), work) == wanted


@pytest.mark.parametrize(("megabytes", "wanted"), [(200, "got"), (300, "MemoryError")])
def test_memory_ends_at_its_limit(megabytes: int, wanted: str, make_box: Any, run_child: Any) -> None:
    """256 MiB on top of what the interpreter has; shared anonymous memory counts too."""

    def work(_: Box) -> list[str]:
        found = []
        for take in (lambda: bytearray(megabytes * MiB), lambda: mmap.mmap(-1, megabytes * MiB)):
            try:
                take()
                found.append("got")
            except (MemoryError, OSError):
                found.append("MemoryError")
        return found

    assert run_child(make_box(), work) == [wanted] * 2


@as_root
@pytest.mark.parametrize(("count", "wanted"), [(14, "started"), (15, "started"), (16, "refused")])
def test_threads_end_at_their_limit(count: int, wanted: str, make_box: Any, run_child: Any) -> None:
    """16 in all: the first is the process's own."""

    def work(_: Box) -> str:
        go = threading.Event()
        threading.stack_size(512 * 1024)
        threads = [threading.Thread(target=go.wait, daemon=True) for _ in range(count)]
        try:
            for thread in threads:
                thread.start()
        except RuntimeError:
            return "refused"
        finally:
            go.set()
        return "started"

    assert run_child(make_box(uid=SLOT, gid=SLOT, memory_bytes=4096 * MiB), work) == wanted


def test_open_files_end_at_their_limit(make_box: Any, run_child: Any) -> None:
    """64 numbers in all, 0 to 63."""

    def work(_: Box) -> tuple[int, int]:
        highest = 0
        try:
            while highest < 200:
                highest = os.open("/dev/null", os.O_RDONLY)
        except OSError as error:
            return highest, error.errno or -1
        return highest, 0

    assert run_child(make_box(), work) == [63, 24]
