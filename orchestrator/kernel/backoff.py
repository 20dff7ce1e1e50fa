"""Decide how long to wait before the next try.

    initial * factor ** attempt    at most the maximum
    * delay_multiplier             what the error asks for; may go beyond the maximum
    at least retry_after           what the service asks for; no maximum caps it
    * 0.5 to 1.5                   spread, so that those who failed together do not come back together

Pure: the random number comes in. Waiting is kernel/live/retrying.py in one process, and a due entry
of the store for a session (kernel/retry.py), which spreads a service's `retry_after` upwards only.
"""

import math
import warnings
from operator import index
from typing import Final

_INITIAL_SECONDS: Final = 1.0
_FACTOR: Final = 2.0
#: What `RetryConfig.jitter` reads where the spread is on; the spread itself is ±50 %.
_JITTER_ON: Final = 0.2


class RetryConfig:
    """How often and how soon a failed call is tried again; read-only, delays in seconds.

    `max_retries` counts tries after the first. `jitter` is given as a boolean and reads 0.2 or 0.0.
    Older spellings are understood with a DeprecationWarning: `min_delay`, `backoff_multiplier` (each
    only where the newer one keeps its default) and a number for `jitter`. Raises OverflowError for a
    negative `max_retries`, TypeError for a value of another type.
    """

    __slots__ = ("backoff_factor", "honor_retry_after", "initial_delay", "is_spread", "max_delay", "max_retries")

    max_retries: int
    initial_delay: float
    max_delay: float
    backoff_factor: float
    honor_retry_after: bool
    is_spread: bool

    def __init__(
        self,
        max_retries: int = 3,
        initial_delay: float = _INITIAL_SECONDS,
        max_delay: float = 60.0,
        backoff_factor: float = _FACTOR,
        jitter: bool | float | None = None,  # noqa: FBT001 - a field of the value
        honor_retry_after: bool = True,  # noqa: FBT001, FBT002 - a field of the value
        min_delay: float | None = None,
        backoff_multiplier: float | None = None,
    ) -> None:
        if index(max_retries) < 0:
            raise OverflowError(f"RetryConfig.max_retries: {max_retries}; give 0 or more")
        initial, factor = _real("initial_delay", initial_delay), _real("backoff_factor", backoff_factor)
        if min_delay is not None:
            _warn("min_delay", "initial_delay")
            initial = _real("min_delay", min_delay) if initial == _INITIAL_SECONDS else initial
        if backoff_multiplier is not None:
            _warn("backoff_multiplier", "backoff_factor")
            factor = _real("backoff_multiplier", backoff_multiplier) if factor == _FACTOR else factor
        if not isinstance(honor_retry_after, bool):
            raise TypeError(f"RetryConfig.honor_retry_after: {honor_retry_after!r} is no boolean; give True or False")
        values = {
            "max_retries": index(max_retries),
            "initial_delay": initial,
            "max_delay": _real("max_delay", max_delay),
            "backoff_factor": factor,
            "honor_retry_after": honor_retry_after,
            "is_spread": _read_jitter(jitter),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def jitter(self) -> float:
        """0.2 where delays are spread, else 0.0; the spread is ±50 % of the delay."""
        return _JITTER_ON if self.is_spread else 0.0

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"RetryConfig.{name}: read-only; make a new RetryConfig")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"RetryConfig.{name}: read-only; make a new RetryConfig")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RetryConfig) and self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())

    def __repr__(self) -> str:
        return (
            f"RetryConfig(max_retries={self.max_retries}, initial_delay={self.initial_delay:g}, "
            f"max_delay={self.max_delay:g}, backoff_factor={self.backoff_factor:g}, jitter={self.is_spread}, "
            f"honor_retry_after={self.honor_retry_after})"
        )

    def __reduce__(self) -> tuple[type["RetryConfig"], tuple[object, ...]]:
        return RetryConfig, self._values()

    def _values(self) -> tuple[int, float, float, float, bool, bool]:
        return (
            self.max_retries,
            self.initial_delay,
            self.max_delay,
            self.backoff_factor,
            self.is_spread,
            self.honor_retry_after,
        )


def grow_delay(initial_seconds: float, factor: float, attempt: int, maximum_seconds: float) -> float:
    """Return the delay that grows with each attempt, counted from 0, up to the maximum.

    >>> [grow_delay(1, 2, n, 60) for n in (0, 1, 5, 6, 5000)]
    [1.0, 2.0, 32.0, 60.0, 60.0]
    """
    delay = initial_seconds * _raise(float(factor), attempt)
    if math.isnan(maximum_seconds):
        return delay
    return float(min(maximum_seconds, delay))  # in this order the maximum for a NaN too


def _raise(base: float, exponent: int) -> float:
    """Return a power by repeated squaring: beyond every float it is infinite, where `**` would raise OverflowError."""
    power = 1.0
    while exponent:
        if exponent & 1:
            power *= base
        base *= base
        exponent >>= 1
    return power


def stretch_delay(delay: float, multiplier: float | None) -> float:
    """Return the delay as an error's `delay_multiplier` stretches it; one that says nothing is ignored.

    >>> stretch_delay(60.0, 10.0), stretch_delay(60.0, 0.0), stretch_delay(60.0, None)
    (600.0, 60.0, 60.0)
    """
    if multiplier is None or not math.isfinite(multiplier) or multiplier <= 0:
        return delay
    return delay * multiplier


def compute_delay(
    config: RetryConfig,
    attempt: int,
    retry_after: float | None = None,
    delay_multiplier: float | None = None,
    *,
    unit_random: float = 0.5,
) -> float:
    """Return the seconds to wait after the attempt with this number, counted from 0.

    `unit_random`, from 0 up to 1, places the delay in its spread; 0.5 leaves it where it is. Because
    the spread comes last it may undercut `retry_after`. Raises OverflowError for a negative attempt.

    >>> [compute_delay(RetryConfig(), n) for n in (0, 1, 2, 50)]
    [1.0, 2.0, 4.0, 60.0]
    >>> compute_delay(RetryConfig(), 0, retry_after=100, unit_random=0.0)
    50.0
    """
    if index(attempt) < 0:
        raise OverflowError(f"compute_delay: attempt {attempt}; count attempts from 0")
    delay = grow_delay(config.initial_delay, config.backoff_factor, attempt, config.max_delay)
    delay = stretch_delay(delay, delay_multiplier)
    if config.honor_retry_after and retry_after is not None:
        asked = float(retry_after)
        delay = asked if math.isnan(delay) else max(delay, asked)  # in this order a NaN is ignored
    return delay * (0.5 + unit_random) if config.is_spread else delay


def _real(name: str, value: object) -> float:
    if not isinstance(value, int | float):
        raise TypeError(f"RetryConfig.{name}: {value!r} is no number; give seconds or a factor")
    return float(value)


def _read_jitter(jitter: object) -> bool:
    match jitter:
        case None:
            return True
        case bool():
            return jitter
        case int() | float():
            warnings.warn("RetryConfig.jitter: a number is deprecated; give a bool", DeprecationWarning, stacklevel=3)
            return jitter != 0
        case _:
            message = f"RetryConfig.jitter: {type(jitter).__name__} is not understood and taken for True; give a bool"
            warnings.warn(message, UserWarning, stacklevel=3)
            return True


def _warn(old: str, new: str) -> None:
    warnings.warn(f"RetryConfig.{old}: deprecated; use {new}", DeprecationWarning, stacklevel=3)
