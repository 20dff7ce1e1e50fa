"""An error as a record: what is kept of a failure where the error itself cannot go.

Another process, the journal and a dead letter get the record; `from_record` makes the same type of it
again, with the same attributes. A class is looked up by its name in a closed table, never imported: a
name that is not in it gives the nearest base that is. The record names the error's own class, for people,
and of its bases those that the table knows, so that a process of an older or newer version still finds one.

    lineage   names from this table alone, nearest first: a foreign class that shares a name is not among them

Whether a failure is tried again is decided by kernel/retry.py, from the error itself.
"""

import math
from collections.abc import Callable
from typing import Final

from orchestrator.contracts.base import Frozen, JsonObject
from orchestrator.contracts.errors import (
    AppCodeFailed,
    AppCodeInvalid,
    BatonError,
    ConfigError,
    InputError,
    InvalidOverrides,
    NotPermitted,
    NotWaiting,
    PhaseRefused,
    ProviderError,
    StateInvalid,
    StoreError,
    StoreUnfit,
    StoreUnreachable,
    ToolError,
    ToolTimeout,
    Unreadable,
)
from orchestrator.contracts.provider_errors import ERROR_CLASSES, InvalidToolCallError, LLMError

#: How much of an error's text is kept, and of a tool call's arguments.
MOST_MESSAGE_CHARS: Final = 4_000
MOST_WORD_CHARS: Final = 200


class FailureRecord(Frozen):
    """What is kept of an error.

    `error` is the name of its class, `lineage` the names of the known classes that it belongs to, nearest
    first. The rest is what a provider's error says of itself (contracts/provider_errors.py); `retryable` is
    None for an error that does not say. Numbers that are not finite are left out.
    """

    error: str
    message: str = ""
    lineage: tuple[str, ...] = ()
    provider: str | None = None
    model: str | None = None
    status_code: int | None = None
    retryable: bool | None = None
    retry_after: float | None = None
    delay_multiplier: float = 1.0
    tool_name: str | None = None
    raw_arguments: str | None = None

    def to_data(self) -> JsonObject:
        """Return plain JSON data without the fields that hold their defaults, as the journal keeps it."""
        found: JsonObject = self.model_dump(mode="json", exclude_defaults=True)
        return found


class UnknownFailure(BatonError):
    """A failure of another process whose class has no counterpart here; `record` says which."""

    def __init__(self, record: FailureRecord) -> None:
        self.record = record
        super().__init__(f"{record.error}: {record.message}")


#: Every class that can be made again from its message alone, or is an LLMError.
_KNOWN: Final[dict[str, type[Exception]]] = {
    **ERROR_CLASSES,
    **{
        error.__name__: error
        for error in (
            *(BatonError, ConfigError, AppCodeInvalid, AppCodeFailed, StoreUnfit),
            *(InputError, InvalidOverrides, NotWaiting, NotPermitted, PhaseRefused),
            *(StoreError, StoreUnreachable, Unreadable, ProviderError, ToolError, ToolTimeout, StateInvalid),
            *(
                OSError,
                TimeoutError,
                ConnectionError,
                ValueError,
                TypeError,
                LookupError,
                ArithmeticError,
                RuntimeError,
            ),
        )
    },
}


def to_record(error: BaseException, *, clean: Callable[[str], str] = str) -> FailureRecord:
    """Return the record of an error. It never fails, whatever an error of somebody else's carries.

    What it says goes through `clean` before it is cut: half a secret is one, too.

    >>> from orchestrator.contracts.provider_errors import QuotaExceededError
    >>> to_record(QuotaExceededError("spent", status_code=429)).lineage
    ('QuotaExceededError', 'RateLimitError', 'LLMError', 'ProviderError', 'BatonError')
    """
    if isinstance(error, UnknownFailure):
        return error.record
    record = FailureRecord(
        error=_cut(type(error).__name__, MOST_WORD_CHARS),
        message=_cut(clean(str(error)), MOST_MESSAGE_CHARS),
        lineage=tuple(one.__name__ for one in type(error).__mro__ if _KNOWN.get(one.__name__) is one),
    )
    if not isinstance(error, LLMError):
        return record
    multiplier = _number(error.delay_multiplier)
    said: dict[str, object] = {
        "provider": _text(error.provider, MOST_WORD_CHARS),
        "model": _text(error.model, MOST_WORD_CHARS),
        "status_code": error.status_code if isinstance(error.status_code, int) else None,
        "retryable": bool(error.retryable),
        "retry_after": _number(error.retry_after),
        "delay_multiplier": 1.0 if multiplier is None else multiplier,
    }
    if isinstance(error, InvalidToolCallError):
        said["tool_name"] = _text(error.tool_name, MOST_WORD_CHARS)
        said["raw_arguments"] = _text(error.raw_arguments, MOST_MESSAGE_CHARS)
    return record.model_copy(update=said)


def from_record(record: FailureRecord) -> Exception:
    """Return the error that a record describes: of its own class, or of the nearest base that is known here.

    Where none is known it is an UnknownFailure.

    >>> from_record(FailureRecord(error="BurstLimit", message="slow down", lineage=("BurstLimit", "RateLimitError")))
    RateLimitError('slow down', retryable=True)
    """
    known = next((_KNOWN[name] for name in record.lineage if name in _KNOWN), None)
    if known is None:
        return UnknownFailure(record)
    if not issubclass(known, LLMError):
        return known(record.message)
    if issubclass(known, InvalidToolCallError):
        return known(
            record.message,
            tool_name=record.tool_name,
            raw_arguments=record.raw_arguments,
            provider=record.provider,
            model=record.model,
            status_code=record.status_code,
            retryable=record.retryable,
        )
    return known(
        record.message,
        provider=record.provider,
        model=record.model,
        status_code=record.status_code,
        retryable=record.retryable,
        retry_after=record.retry_after,
        delay_multiplier=record.delay_multiplier,
    )


def _cut(text: str, most: int) -> str:
    """Return text that can be stored: a lone surrogate, which no encoding carries, becomes a question mark."""
    return text[:most].encode(errors="replace").decode()


def _text(value: object, most: int) -> str | None:
    return None if value is None else _cut(str(value), most)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:  # an int beyond every float
        return None
    return found if math.isfinite(found) else None
