"""The longest times that an app declares and a person writes: a hundred years, and not a second more."""

import click
import pytest
from pydantic import TypeAdapter, ValidationError

from orchestrator.contracts.base import LONGEST_SECONDS, Seconds
from orchestrator.interfaces.cli.options import parse_duration


@pytest.mark.parametrize("seconds", [LONGEST_SECONDS - 1, LONGEST_SECONDS])
def test_a_time_of_a_hundred_years_is_one(seconds: float) -> None:
    """What an app declares."""
    assert TypeAdapter(Seconds).validate_python(seconds) == seconds


@pytest.mark.parametrize("seconds", [LONGEST_SECONDS + 1, float("inf"), 0])
def test_a_time_that_no_clock_holds_is_refused(seconds: float) -> None:
    """Nor is none at all a time."""
    with pytest.raises(ValidationError):
        TypeAdapter(Seconds).validate_python(seconds)


def test_a_person_may_write_a_century_of_days() -> None:
    """With its leap days; a day more is a slip of the finger."""
    assert [parse_duration(f"{days}d") for days in (36_524, 36_525)] == [36_524 * 86_400.0, 36_525 * 86_400.0]
    with pytest.raises(click.BadParameter, match="over a hundred years"):
        parse_duration("36526d")
