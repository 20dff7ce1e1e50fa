"""`baton scale`: advice from a real store, and a load without one."""

import re

import pytest

from tests.commands import Baton

pytestmark = [pytest.mark.integration]


def test_advice_has_its_reasons(stack: Baton) -> None:
    """The number that an autoscaler follows can be asked for by a person."""
    advice = stack("scale", "advise", "--over", "100ms", "-o", "json").json("scale")
    told = stack("scale", "advise", "--over", "100ms").out

    # The stack is shared: what others left in line may need another worker.
    assert (advice["pool"], advice["workers"] >= 1) == ("steps", True)
    assert re.match(r"load: \d+ in line", advice["reasons"][0])
    assert "there is 1" in told


def test_a_load_is_played_without_a_store(baton: Baton) -> None:
    """Whoever plans has no fleet yet."""
    args = (
        "scale",
        "simulate",
        "--sessions",
        "2000",
        "--rate",
        "10",
        "--lanes",
        "5",
        "--workers",
        "2",
        "--within",
        "5s",
    )
    found = baton(*args, "-o", "json").json("simulation")
    told = baton(*args).out

    assert found["played"]["steps"] == 10_000
    assert found["fewest_workers"] > 2
    assert "99 of 100 in line for at most 5 s" in told
    assert "take fewer" in baton.refuse("scale", "simulate", "--sessions", "1000000", "--steps", "100", code=2)
