"""A failure record gives the same error back in another process, and never runs what a record names."""

import math
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from orchestrator.contracts import failures
from orchestrator.contracts.errors import ConfigError, ToolError, ToolTimeout, ToolUnavailable, UnknownApp
from orchestrator.contracts.failures import (
    MOST_MESSAGE_CHARS,
    FailureRecord,
    UnknownFailure,
    from_record,
    to_record,
)
from orchestrator.contracts.provider_errors import ERROR_CLASSES, InvalidToolCallError, LLMError, RateLimitError
from tests.property.shapes import values_of

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
WORD = st.none() | TEXT
NUMBER = st.floats(allow_nan=False, allow_infinity=False)


def model_errors() -> st.SearchStrategy[LLMError]:
    """Return any error of the tree, with any attributes that can be stored."""
    plain = {
        "provider": WORD,
        "model": WORD,
        "status_code": st.none() | st.integers(0, 999),
        "retryable": st.booleans(),
    }
    delays = {**plain, "retry_after": st.none() | NUMBER, "delay_multiplier": NUMBER}
    tool = {**plain, "tool_name": WORD, "raw_arguments": WORD}

    def build(made: type[LLMError]) -> st.SearchStrategy[LLMError]:
        fields = tool if issubclass(made, InvalidToolCallError) else delays
        return st.builds(
            lambda message, given: made(message, **given),
            TEXT,
            st.fixed_dictionaries({}, optional=fields),  # type: ignore[arg-type]
        )

    return st.sampled_from(list(ERROR_CLASSES.values())).flatmap(build)


@given(model_errors())
def test_a_model_error_comes_back_as_it_was(error: LLMError) -> None:
    """Through JSON, as the store keeps it: the same type, message and attributes."""
    record = FailureRecord.from_json(to_record(error).to_json())

    again = from_record(record)

    assert type(again) is type(error)
    assert again.args == error.args
    assert vars(again) == vars(error)
    assert to_record(again) == record


@given(values_of(FailureRecord))
def test_any_record_gives_an_error(record: FailureRecord) -> None:
    """A record that another version wrote, or that makes no sense, is still a failure, and what comes of it can be kept."""
    again = from_record(record)

    assert isinstance(again, Exception)
    assert FailureRecord.from_json(to_record(again).to_json()) == to_record(again)


@pytest.mark.parametrize(
    "error",
    [
        ConfigError("f: wrong; mend it"),
        ToolTimeout("t: slow; wait"),
        TimeoutError("slow"),
        ConnectionError("gone"),
        ValueError("x"),
    ],
)
def test_other_errors_that_a_message_makes_come_back_too(error: Exception) -> None:
    """What a step can end in is not a model's error alone."""
    again = from_record(to_record(error))

    assert (type(again), again.args) == (type(error), error.args)
    assert to_record(error).retryable is None


def test_an_error_that_needs_more_than_a_message_comes_back_as_its_base() -> None:
    """An UnknownApp without its `app`, or a ToolUnavailable that forgot whether it was sent, would lie."""
    found = [from_record(to_record(one)) for one in (UnknownApp("a", ["b"]), ToolUnavailable("t: away", is_sent=True))]

    assert [type(one).__name__ for one in found] == ["InputError", "ToolError"]
    assert to_record(UnknownApp("a", ["b"])).error == "UnknownApp"
    assert isinstance(found[1], ToolError)


class BurstLimit(RateLimitError):
    """A class that only one provider has."""


def test_a_class_that_nobody_else_knows_becomes_its_nearest_base() -> None:
    """The name stays for people; the type is one that everybody can catch."""
    record = to_record(BurstLimit("slow down", retry_after=3.0, provider="p"))

    again = from_record(record)

    assert (record.error, record.lineage[0]) == ("BurstLimit", "RateLimitError")
    assert type(again) is RateLimitError
    assert (again.retry_after, again.provider, again.retryable) == (3.0, "p", True)


def test_a_class_of_a_newer_version_becomes_its_nearest_base() -> None:
    """Workers of two versions run beside each other during a deploy."""
    record = FailureRecord(error="New", message="m", lineage=("New", "NetworkError", "LLMError"), retryable=True)

    assert type(from_record(record)) is ERROR_CLASSES["NetworkError"]


def test_a_foreign_class_that_shares_a_name_is_not_ours() -> None:
    """Many libraries have a RateLimitError; theirs says nothing that ours means."""
    foreign = type("RateLimitError", (RuntimeError,), {})("theirs")

    assert to_record(foreign).lineage == ("RuntimeError",)
    assert type(from_record(to_record(foreign))) is RuntimeError


def test_what_nobody_knows_is_an_unknown_failure_that_keeps_its_record() -> None:
    """It may go on to a third process that does know it."""
    record = FailureRecord(error="Weird", message="m")

    again = from_record(record)

    assert isinstance(again, UnknownFailure)
    assert to_record(again) is record
    assert str(again) == "Weird: m"


@pytest.mark.parametrize(
    "name", ["os.system", "subprocess.Popen", "SystemExit", "KeyboardInterrupt", "__import__", "eval"]
)
def test_a_name_in_a_record_is_looked_up_and_never_imported(name: str) -> None:
    """Whoever can write to the store must not choose what a worker makes."""
    before = set(sys.modules)

    again = from_record(FailureRecord(error=name, message="m", lineage=(name,)))

    assert type(again) is UnknownFailure
    assert set(sys.modules) == before


def test_another_process_makes_the_same_error() -> None:
    """The whole way: written here, read by a fresh interpreter."""
    text = to_record(ERROR_CLASSES["QuotaExceededError"]("spent", provider="p", retry_after=9.5)).to_json()
    code = (
        "import sys; from orchestrator.contracts.failures import *;"
        "print(repr(from_record(FailureRecord.from_json(sys.argv[1]))))"
    )

    done = subprocess.run([sys.executable, "-c", code, text], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout.strip() == "QuotaExceededError('spent', provider='p', retry_after=9.5)"


@pytest.mark.parametrize("nonsense", [math.nan, math.inf, -math.inf, "3", True, 10**400])
def test_numbers_that_say_nothing_are_left_out(nonsense: Any) -> None:
    """JSON has no word for them, and a wait of no length or of every length means nothing."""
    record = to_record(LLMError("m", retry_after=nonsense, delay_multiplier=nonsense, status_code="x"))  # type: ignore[arg-type]

    assert (record.retry_after, record.delay_multiplier, record.status_code) == (None, 1.0, None)
    assert FailureRecord.from_json(record.to_json()) == record


def test_a_message_is_bounded_and_can_always_be_stored() -> None:
    """A service's page-long error, or half a character, must not keep a session from being buried."""
    record = to_record(LLMError("\ud800" + "x" * 10_000, provider="\udfff"))

    assert len(record.message) == MOST_MESSAGE_CHARS
    assert (record.message[:2], record.provider) == ("?x", "?")
    assert FailureRecord.from_json(record.to_json()) == record


def test_a_record_is_frozen_and_closed() -> None:
    """It is a contract like every other."""
    record = to_record(LLMError("m"))

    with pytest.raises(ValidationError):
        record.message = "other"  # type: ignore[misc]
    with pytest.raises(ValidationError):
        FailureRecord.model_validate({"error": "E", "more": 1})


def test_data_leaves_out_what_is_usual() -> None:
    """The journal keeps what there is to say."""
    assert to_record(ValueError("x")).to_data() == {"error": "ValueError", "message": "x", "lineage": ["ValueError"]}


def test_every_known_class_is_made_from_its_message_alone() -> None:
    """What the table promises."""
    for made in failures._KNOWN.values():
        assert str(made("m")) == "m"
