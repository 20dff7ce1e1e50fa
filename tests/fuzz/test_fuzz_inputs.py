"""Readers of what others wrote meet bytes that nobody meant: they answer, or refuse in their own words."""

import pytest
from hypothesis import HealthCheck, given, settings

from tests.fuzz.mutating import mutated
from tests.fuzz.targets import TARGETS, seeds

#: How many inputs each reader gets; those that write files get fewer.
EXAMPLES = {"app": 60, "manifest": 60, "cron": 80}


@pytest.mark.parametrize("name", TARGETS)
def test_every_seed_of_the_corpus_is_taken_or_refused(name: str) -> None:
    """The corpus holds what once broke a reader: each of it, for ever."""
    assert seeds(name)

    for data in seeds(name):
        TARGETS[name](data)


@pytest.mark.parametrize("name", TARGETS)
def test_input_that_nobody_meant_is_taken_or_refused(name: str) -> None:
    """A reader that raises what it does not declare is a crash, and in a worker a crash loop."""

    @settings(
        max_examples=EXAMPLES.get(name, 150),
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(mutated(seeds(name)))
    def read(data: bytes) -> None:
        TARGETS[name](data)

    read()
