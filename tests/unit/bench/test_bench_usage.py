"""What a process uses is read from the system, and this very process is one."""

import os

from bench._usage import cpu_seconds, memory, read_pss, read_schedstat


def test_a_threads_time_is_in_nanoseconds() -> None:
    """The kernel's file has three numbers, of which the first is time on a processor."""
    assert read_schedstat("2500000000 17 4\n") == 2.5


def test_a_rollup_without_the_proportional_size_tells_none() -> None:
    """An old kernel is no reason to fail."""
    assert read_pss("Rss: 4 kB\n") is None


def test_work_takes_time_and_memory() -> None:
    """Whatever system this is."""
    before = cpu_seconds(os.getpid())
    while cpu_seconds(os.getpid()) <= before:
        sum(range(10_000))

    assert memory(os.getpid()).rss > 1_000_000
