"""What a slice counts: every figure of the metrics begins here."""

from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.counters import duration_bucket
from orchestrator.contracts.session import Cursor, Record, ToolCall
from orchestrator.kernel.change import Change
from orchestrator.store.leases import Claimed
from workers.counting import count_claim, count_step


def record(**parts: object) -> Record:
    """Return a session that runs."""
    return Record.model_validate(
        {
            "session_id": "S-20260101-001",
            "app": "a",
            "spec": "d",
            "phase": "running",
            "cursor": Cursor(skill="s"),
            **parts,
        }
    )


def failed(**data: object) -> dict[str, int]:
    """Return what a failed step is counted as, beside its time."""
    told: JsonObject = {"decision": "auto_retry", **data}  # type: ignore[dict-item]
    counters: dict[str, int] = {}
    count_step(counters, Change(record=record(), step="wait", outcome="snoozed", data=told), 0.0)
    return {name: number for name, number in counters.items() if name.startswith("failed:")}


def test_a_duration_is_counted_in_its_bucket() -> None:
    """The exporter reads bounds from the counters' names."""
    assert [duration_bucket(seconds) for seconds in (0.0, 0.001, 0.0011, 120.0, 121.0)] == [
        "1",
        "1",
        "5",
        "120000",
        "inf",
    ]


def test_steps_add_up_to_a_histogram_with_its_sum() -> None:
    """An average needs the time that was spent, not only the buckets."""
    counters: dict[str, int] = {}
    for seconds in (0.004, 0.004, 0.3):
        count_step(counters, Change(record=record(), step="compute"), seconds)

    assert counters == {
        "step:compute:succeeded:5": 2,
        "step:compute:succeeded:500": 1,
        "spent:compute:succeeded": 308_000,
    }


def test_calls_and_plugins_are_counted_by_what_came_of_them() -> None:
    """A plugin that always times out must show without reading journals."""
    counters: dict[str, int] = {}
    calls = (ToolCall(call_id="1", tool="t", outcome="executed"), ToolCall(call_id="2", tool="t", outcome="failed"))
    change = Change(record=record(), step="plugin_pass", calls=calls, data={"plugin": {"status": "timeout"}})

    count_step(counters, change, 0.0)

    assert {name: counters[name] for name in ("call:executed", "call:failed", "plugin:timeout")} == dict.fromkeys(
        ("call:executed", "call:failed", "plugin:timeout"), 1
    )


def test_failures_have_few_names() -> None:
    """An app's own error classes must not become labels without end."""
    assert failed(error="NetworkError") == {"failed:NetworkError": 1}
    assert failed(error="ErrorOfAProvider", lineage=["RateLimitError", "LLMError"]) == {"failed:RateLimitError": 1}
    assert failed(error="SomethingOfAnApp") == {"failed:other": 1}


def test_a_step_that_only_says_error_has_not_failed() -> None:
    """A supervisor at its depth notes an error and goes on: that is no failure of the step."""
    counters: dict[str, int] = {}

    count_step(counters, Change(record=record(), step="dispatch", data={"error": "too deep"}), 0.0)

    assert not [name for name in counters if name.startswith("failed:")]


def test_a_claim_is_counted_by_how_long_the_session_stood_in_line() -> None:
    """What a session waits for a worker is what says that workers are missing."""
    counters: dict[str, int] = {}
    for one in (record(), record(phase="finalizing"), record(queue="plugins")):
        count_claim(counters, Claimed(one, (), {}, (), 0, claimed_at=5_000, ready_at=4_000))

    assert counters == {
        **{f"queued:{queue}:1000": 1 for queue in ("steps", "finalize", "plugins")},
        **{f"late:{queue}": 1_000_000 for queue in ("steps", "finalize", "plugins")},
    }
