"""How long the next try is waited for in one process."""

import math
import pickle
import warnings
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.kernel.backoff import RetryConfig, compute_delay, grow_delay, stretch_delay

STEADY = RetryConfig(jitter=False)


def test_delays_double_up_to_a_minute() -> None:
    """The defaults, without their spread."""
    assert [compute_delay(STEADY, n) for n in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert compute_delay(STEADY, 10_000) == 60


@pytest.mark.parametrize(
    ("multiplier", "delay"),
    [(None, 60), (1.0, 60), (10.0, 600), (0.5, 30), (0.0, 60), (-2.0, 60), (math.nan, 60), (math.inf, 60)],
)
def test_a_multiplier_goes_beyond_the_maximum_and_one_that_says_nothing_is_ignored(
    multiplier: float | None, delay: float
) -> None:
    """An overloaded service may ask for more patience than a config has."""
    assert compute_delay(STEADY, 10, None, multiplier) == delay


@pytest.mark.parametrize(
    ("retry_after", "delay"),
    [(None, 1), (0.0, 1), (-5.0, 1), (100.0, 100), (1e9, 1e9), (math.nan, 1), (math.inf, math.inf)],
)
def test_a_service_is_obeyed_where_it_asks_for_more(retry_after: float | None, delay: float) -> None:
    """No maximum caps it."""
    assert compute_delay(STEADY, 0, retry_after) == delay
    assert compute_delay(RetryConfig(jitter=False, honor_retry_after=False), 0, retry_after) == 1


def test_the_spread_comes_last_and_may_undercut_what_the_service_asked_for() -> None:
    """From half to one and a half; the durable path spreads upwards instead (kernel/retry.py)."""
    spread = RetryConfig()

    assert [compute_delay(spread, 0, 100.0, unit_random=unit) for unit in (0.0, 0.5, 1.0)] == [50, 100, 150]
    assert compute_delay(STEADY, 0, 100.0, unit_random=0.0) == 100


def test_a_negative_attempt_is_a_mistake() -> None:
    """Attempts are counted from 0 here."""
    with pytest.raises(OverflowError, match="count attempts from 0"):
        compute_delay(STEADY, -1)
    with pytest.raises(TypeError):
        compute_delay(STEADY, 1.0)  # type: ignore[arg-type]


def test_what_a_service_asks_for_stands_where_the_delay_is_no_number() -> None:
    """A configuration without a sensible maximum must not send a caller back at once."""
    config = RetryConfig(initial_delay=math.inf, backoff_factor=0.0, max_delay=math.nan, jitter=False)

    assert math.isnan(compute_delay(config, 1))
    assert compute_delay(config, 1, retry_after=5.0) == 5.0


@pytest.mark.parametrize(
    ("settings", "delays"),
    [
        ({"backoff_factor": 0.0}, [1, 0, 0, 0]),
        ({"backoff_factor": -2.0}, [1, -2, 4, 60]),
        ({"initial_delay": -1.0}, [-1, -2, -4, -math.inf]),
        ({"initial_delay": math.nan}, [60, 60, 60, 60]),
        ({"max_delay": math.inf}, [1, 2, 4, math.inf]),
        ({"max_delay": math.nan}, [1, 2, 4, math.inf]),
        ({"initial_delay": 0.0}, [0, 0, 0, 60]),
    ],
)
def test_odd_settings_do_what_the_arithmetic_says(settings: dict[str, Any], delays: list[float]) -> None:
    """As observed of the reference; nothing of it raises."""
    config = RetryConfig(jitter=False, **settings)

    assert [compute_delay(config, n) for n in (0, 1, 2, 5000)] == delays


finite = st.floats(0, 1e6)


@given(st.integers(0, 10**6), finite, finite, st.floats(1, 10), st.none() | finite, st.floats(0, 1, exclude_max=True))
def test_a_delay_stays_within_half_of_what_was_meant(
    attempt: int, initial: float, maximum: float, factor: float, retry_after: float | None, unit: float
) -> None:
    """The spread is the same part of every delay."""
    settings: dict[str, Any] = {"initial_delay": initial, "max_delay": maximum, "backoff_factor": factor}
    meant = compute_delay(RetryConfig(jitter=False, **settings), attempt, retry_after)

    spread = compute_delay(RetryConfig(**settings), attempt, retry_after, unit_random=unit)

    assert 0 <= meant <= max(maximum, retry_after or 0)
    assert meant * 0.5 <= spread <= meant * 1.5


@given(finite, st.integers(0, 300), finite)
def test_a_delay_never_shrinks_with_the_attempts(initial: float, attempt: int, maximum: float) -> None:
    """Each failure is a reason to wait at least as long."""
    assert grow_delay(initial, 2.0, attempt, maximum) <= grow_delay(initial, 2.0, attempt + 1, maximum)


def test_a_multiplier_of_one_changes_nothing() -> None:
    """It is the default of every error."""
    assert stretch_delay(7.0, 1.0) == 7.0


def test_a_config_reads_as_it_was_given() -> None:
    """Its jitter is given as a boolean and reads as a number, which older callers expect."""
    config = RetryConfig(5, 2, 30, 3, jitter=False, honor_retry_after=False)

    assert (config.max_retries, config.initial_delay, config.max_delay, config.backoff_factor) == (5, 2.0, 30.0, 3.0)
    assert (config.jitter, config.honor_retry_after) == (0.0, False)
    assert (RetryConfig().jitter, RetryConfig(jitter=None).jitter) == (0.2, 0.2)
    assert repr(RetryConfig()) == (
        "RetryConfig(max_retries=3, initial_delay=1, max_delay=60, backoff_factor=2, jitter=True, honor_retry_after=True)"
    )


def test_a_config_is_a_value() -> None:
    """Read-only, compared by what it holds, and the same after a pickle."""
    config = RetryConfig(max_retries=4, jitter=False)

    with pytest.raises(AttributeError, match="read-only"):
        config.max_retries = 5
    with pytest.raises(AttributeError, match="read-only"):
        del config.max_delay
    assert pickle.loads(pickle.dumps(config)) == config
    assert hash(RetryConfig()) == hash(RetryConfig())
    assert config != RetryConfig()
    assert config != "RetryConfig"


@pytest.mark.parametrize(
    ("given_", "attribute", "value"),
    [
        ({"min_delay": 2.0}, "initial_delay", 2.0),
        ({"min_delay": 2.0, "initial_delay": 3.0}, "initial_delay", 3.0),
        ({"backoff_multiplier": 5.0}, "backoff_factor", 5.0),
        ({"backoff_multiplier": 5.0, "backoff_factor": 3.0}, "backoff_factor", 3.0),
        ({"jitter": 0.3}, "jitter", 0.2),
        ({"jitter": 0}, "jitter", 0.0),
        ({"jitter": 0.0}, "jitter", 0.0),
    ],
)
def test_older_spellings_are_understood_with_a_warning(given_: dict[str, Any], attribute: str, value: float) -> None:
    """A newer spelling that says something else goes before them."""
    with pytest.warns(DeprecationWarning, match=r"RetryConfig\.\w+: .*deprecated; (use|give)") as caught:
        config = RetryConfig(**given_)

    assert getattr(config, attribute) == value
    assert {one.filename for one in caught} == {__file__}, "it has to name the line that is to be changed"


def test_a_jitter_of_another_type_is_taken_for_true_with_a_warning() -> None:
    """Failing here would take a session down for a spelling."""
    with pytest.warns(UserWarning, match="taken for True") as caught:
        assert RetryConfig(jitter="x").jitter == 0.2  # type: ignore[arg-type]
    assert not issubclass(caught[0].category, DeprecationWarning)
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("given_", "error"),
    [
        ({"max_retries": -1}, OverflowError),
        ({"max_retries": 1.5}, TypeError),
        ({"initial_delay": "x"}, TypeError),
        ({"max_delay": None}, TypeError),
        ({"honor_retry_after": 1}, TypeError),
    ],
)
def test_what_cannot_be_meant_is_refused(given_: dict[str, Any], error: type[Exception]) -> None:
    """A limit that is not understood is no limit."""
    with warnings.catch_warnings(), pytest.raises(error):
        RetryConfig(**given_)
