"""What crosses from a plugin's run into its session: values that a session takes, and no more than its journal holds."""

from pathlib import Path

from orchestrator.contracts.base import dump_json
from plugin_sandbox.model import (
    Call,
    FileChange,
    IsolationReport,
    Manifest,
    Outcome,
    PluginRecord,
    PromptField,
    ResultEntry,
)
from plugin_sandbox.outcome import make_prompt
from plugin_sandbox.protocol import Question
from workers.steps.plugin_pass import CHANGES, CHANGES_CHARS, to_json_outcome

RECORD = PluginRecord(
    manifest=Manifest(name="p", version="1", api_version="1", supported_extensions=()), path=Path("/p"), digest=""
)
NOTHING = IsolationReport(duration_ms=0, exit_code=0, peak_memory_mb=0, cpu_seconds=0, tier=None)
ENTRY = ResultEntry(plugin="p", version="1", files_affected=(), status="skipped", isolation=NOTHING)


def test_of_what_a_dry_run_describes_only_what_a_journal_holds_goes_on() -> None:
    """Each may be as long as an answer; an entry that the store refuses would make a dead letter of the session."""
    many = tuple(FileChange(path=str(number), kind="modify") for number in range(CHANGES + 1))
    long = tuple(FileChange(path=str(number), kind="modify", summary="x" * 100_000) for number in range(9))

    few, cut = (to_json_outcome(Outcome(entry=ENTRY, changes=changes)).changes for changes in (many, long))

    assert [one["path"] for one in few] == [str(number) for number in range(CHANGES)]
    assert [one["path"] for one in cut] == ["0", "1"]
    assert len(dump_json(cut)) <= CHANGES_CHARS


def test_a_question_that_had_to_be_written_out_is_one_that_a_session_takes() -> None:
    """What the sandbox lets through and the session refuses would be the worker's failure, and tried for ever."""
    fields = [PromptField(id="a", label="\n" * 200)]
    asked = make_prompt(
        Call(plugin=RECORD, workspace=Path("/w"), files=()), Question(fields=fields, reason="\n" * 1_000)
    )

    taken = to_json_outcome(Outcome(entry=None, prompt=asked)).prompt

    assert taken is not None
    assert (taken.reason, taken.fields[0].label) == (asked.reason, asked.fields[0].label)
