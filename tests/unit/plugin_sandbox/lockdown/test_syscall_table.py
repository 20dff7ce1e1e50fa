"""The table of system calls: complete, and each call judged once."""

import re
from pathlib import Path

import pytest

from plugin_sandbox.inner import syscalls
from plugin_sandbox.inner.syscall_table import ABSENT, ALLOWED, DENIED, EMPTIED, NUMBERS, RULED, UNSUPPORTED


def _judged() -> list[str]:
    tables = (ALLOWED, RULED, EMPTIED, ABSENT, UNSUPPORTED, DENIED)
    return [name for table in tables for text in table.values() for name in text.split()]


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_every_call_is_judged_exactly_once(machine: str) -> None:
    """A call that is in no list, or in two, was not thought about."""
    judged = _judged()

    assert [name for name in NUMBERS[machine] if judged.count(name) != 1] == []


def test_no_judgement_is_about_a_call_that_no_machine_has() -> None:
    """A misspelt name would be denied in the table and open, or missing, in the filter."""
    known = {name for numbers in NUMBERS.values() for name in numbers}

    assert set(_judged()) - known == set()


@pytest.mark.parametrize(
    ("machine", "name", "number"),
    [
        ("x86_64", "rseq", 334),
        ("x86_64", "uprobe", 336),
        ("x86_64", "pidfd_send_signal", 424),
        ("x86_64", "file_setattr", 469),
        ("aarch64", "accept4", 242),
        ("aarch64", "recvmmsg", 243),
        ("aarch64", "wait4", 260),
        ("aarch64", "kexec_file_load", 294),
        ("aarch64", "file_setattr", 469),
    ],
)
def test_the_runs_of_numbers_end_where_the_kernels_end(machine: str, name: str, number: int) -> None:
    """One name too many in a run would move every number behind it."""
    assert NUMBERS[machine][name] == number


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_no_number_has_two_names(machine: str) -> None:
    """Then one of them would be judged by the other's list."""
    numbers = list(NUMBERS[machine].values())

    assert len(numbers) == len(set(numbers))


def test_a_call_that_fails_says_which_it_was() -> None:
    """The refusal of a layer is made of this text."""
    with pytest.raises(OSError, match="close: Bad file descriptor"):
        syscalls.call("close", -1)


@pytest.mark.parametrize(
    ("machine", "gaps"),
    [("x86_64", {*range(337, 424)}), ("aarch64", {*range(244, 260), *range(295, 424)})],
)
def test_the_table_has_no_gap_but_the_kernels_own(machine: str, gaps: set[int]) -> None:
    """A number that is left out would be judged as a call of the future, whatever it does today."""
    assert set(range(470)) - set(NUMBERS[machine].values()) == gaps


_HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_numbers_are_those_of_the_kernels_own_headers(machine: str) -> None:
    """One call under another's number would be judged by the other's rule."""
    if not _HEADERS[machine].exists():
        pytest.skip(f"{_HEADERS[machine]} is not installed; it is in Debian's package linux-libc-dev")
    found = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", _HEADERS[machine].read_text())
    named = {_SAME.get(name, name): int(number) for name, number in found if int(number) not in _OF_32_BITS}

    assert {name: number for name, number in named.items() if NUMBERS[machine].get(name, number) != number} == {}
    assert named.keys() - NUMBERS[machine].keys() <= _NO_CALLS


#: Names that the generic header has for what other kernels call otherwise.
_SAME = {"fstatat": "newfstatat"}
#: Calls that only machines of 32 bits have.
_OF_32_BITS = range(403, 424)
#: What a header defines beside calls.
_NO_CALLS = {"arch_specific_syscall", "syscalls", "sync_file_range2", "fadvise64_64"}
