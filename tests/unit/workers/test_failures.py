"""What a failed step means: when it is tried again, and what a person reads who finds the dead letter."""

import asyncio

import pytest

from orchestrator import telemetry
from orchestrator.contracts.app import RetryPolicy
from orchestrator.contracts.errors import ToolUnavailable
from orchestrator.contracts.failures import MOST_MESSAGE_CHARS, from_record, to_record
from orchestrator.contracts.provider_errors import (
    AuthenticationError,
    InvalidToolCallError,
    LLMError,
    ProviderUnavailableError,
    RateLimitError,
)
from orchestrator.contracts.session import Cursor, Record
from orchestrator.store.leases import Claimed
from orchestrator.telemetry import Redactor
from tests.unit.workers.scenes import scene
from workers.failures import MOST_DETAIL_CHARS, bury, settle_failure

NOW = 1_000_000
RECORD = Record(session_id="PLN-20260101-001", app="plain", spec="d", phase="running", cursor=Cursor(skill="work"))


def settle(url: str, error: Exception, *, failures: int = 0, **policy: object) -> object:
    """Settle a failure with a worker's own settings."""

    async def play() -> object:
        async with scene(url) as on:
            spec = on.on.specs["plain"].model_copy(update={"retry_policy": RetryPolicy.model_validate(policy)})
            record = RECORD.model_copy(update={"cursor": RECORD.cursor.model_copy(update={"failures": failures})})
            return settle_failure(spec, record, error, NOW, on.host, trace="at the trace")

    return asyncio.run(play())


@pytest.mark.parametrize(
    "error", [ProviderUnavailableError("p"), ToolUnavailable("t"), TimeoutError("slow"), ConnectionError()]
)
def test_what_may_pass_waits_longer_each_time(store_url: str, error: Exception) -> None:
    """The back-off is a wait with a deadline, doubled and spread."""
    delays = []
    for failures in (0, 1):
        change = settle(store_url, error, failures=failures)
        assert (change.directive, change.outcome) == ("waiting", "snoozed")  # type: ignore[attr-defined]
        wait = change.record.wait  # type: ignore[attr-defined]
        assert wait.wait_id.endswith(f"-{failures + 1}")
        delays.append(wait.deadline_at - NOW)

    assert 800 <= delays[0] <= 1_200
    assert 1_600 <= delays[1] <= 2_400


@pytest.mark.parametrize("error", [ProviderUnavailableError("busy: key swordfish"), RuntimeError("at swordfish")])
def test_what_was_loaded_as_a_secret_gets_into_no_journal(
    store_url: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that answers with the key it was given would else have it read by everybody who may look at the session."""
    redactor = Redactor()
    redactor.hide(["swordfish", "at the trace"])
    monkeypatch.setattr(telemetry, "_redactor", redactor)

    change = settle(store_url, error)

    assert "[hidden]" in repr(change)
    assert "swordfish" not in repr(change)
    assert "at the trace" not in repr(change)


def test_a_secret_at_the_end_of_what_is_kept_is_not_cut_in_two(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The half of it that would be kept is known to nobody as a secret."""
    redactor = Redactor()
    redactor.hide(["swordfish"])
    monkeypatch.setattr(telemetry, "_redactor", redactor)

    change = settle(store_url, ProviderUnavailableError("x" * (MOST_MESSAGE_CHARS - 5) + "swordfish"))

    assert "xsword" not in repr(change)


@pytest.mark.parametrize(
    ("error", "policy", "failures", "reason"),
    [
        (AuthenticationError("no key"), {}, 0, "permanent_error"),
        (RuntimeError("?"), {}, 0, "permanent_error"),
        (ProviderUnavailableError("busy"), {}, 2, "max_retries_exceeded"),
        (ProviderUnavailableError("busy"), {"retry_on_transient": False}, 0, "transient_disabled"),
    ],
)
def test_what_will_not_pass_is_buried_with_its_reason(
    store_url: str, error: Exception, policy: dict[str, object], failures: int, reason: str
) -> None:
    """The reason is one word that a runbook can be found by."""
    change = settle(store_url, error, failures=failures, **policy)

    assert (change.directive, change.reason) == ("dead", reason)  # type: ignore[attr-defined]


def test_our_own_errors_speak_for_themselves_and_others_bring_their_trace(store_url: str) -> None:
    """`where: what; what to do` needs no stack; a bug does. Both are bounded."""
    ours = settle(store_url, AuthenticationError("p: no key; set it"))
    theirs = settle(store_url, KeyError("x" * 10_000))

    assert ours.detail == "p: no key; set it"  # type: ignore[attr-defined]
    assert theirs.detail.startswith("KeyError")  # type: ignore[attr-defined]
    assert len(theirs.detail) == MOST_DETAIL_CHARS  # type: ignore[attr-defined]


def test_the_wait_is_as_long_as_the_error_asks(store_url: str) -> None:
    """A service's seconds, and a stretched back-off; whichever is longer."""
    errors = [
        RateLimitError("p", retry_after=100.0),
        ProviderUnavailableError("p", delay_multiplier=50.0),
        RateLimitError("p", retry_after=100.0, delay_multiplier=50.0),
        RateLimitError("p", retry_after=float("inf"), delay_multiplier=float("nan")),
        RateLimitError("p", retry_after=1e300),
    ]
    waits = [settle(store_url, error).record.wait.deadline_at - NOW for error in errors]  # type: ignore[attr-defined]

    assert 100_000 <= waits[0] <= 150_000
    assert 25_000 <= waits[1] <= 75_000
    assert waits[2] >= 100_000
    assert waits[3] <= 1_500
    assert waits[4] == 2_592_000_000


def test_an_error_that_knows_better_than_its_class_is_believed(store_url: str) -> None:
    """A rate limit that is a spent quota; a refusal that will pass."""
    lasting = settle(store_url, RateLimitError("p", retryable=False))
    passing = settle(store_url, LLMError("p", retryable=True))

    assert [one.directive for one in (lasting, passing)] == ["dead", "waiting"]  # type: ignore[attr-defined]


def test_what_is_kept_of_a_failure_is_the_record_of_its_error(store_url: str) -> None:
    """In the session for whoever shows it, in the journal for whoever asks later."""
    error = InvalidToolCallError("p: odd; look", tool_name="t", raw_arguments="{", provider="p")
    change = settle(store_url, error)

    assert change.record.failure == to_record(error)  # type: ignore[attr-defined]
    assert from_record(change.record.failure).args == error.args  # type: ignore[attr-defined]
    assert change.data["tool_name"] == "t"  # type: ignore[attr-defined]
    assert change.data["lineage"][:2] == ["InvalidToolCallError", "LLMError"]  # type: ignore[attr-defined]


def test_a_burial_by_an_old_holder_changes_nothing(store_url: str) -> None:
    """Its lease is lost: what it thinks of the session is another holder's to decide."""

    async def play() -> None:
        async with scene(store_url) as on:
            session_id = await on.submit()
            held = await on.host.leases.claim(session_id, "w:1", on.host.digests)
            assert isinstance(held, Claimed)
            await on.on.lose_lease(session_id)

            await bury(on.host, session_id, held.record.fence, held.record.rev, "too_large", "state")

            assert (await on.on.client.show(session_id)).phase == "ready"

    asyncio.run(play())
