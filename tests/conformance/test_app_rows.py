"""The reference's conformance rows about loading: V, P, C2-C5, K1 and N1, as data.

Fragments are those of the reference; they stand after `file:line:col:`. What the reference accepts
silently, or can never boot, is in the rows under the words of this runtime.
"""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.app_loader import load_app, validate_state
from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.errors import AppInvalid, InvalidOverrides
from orchestrator.contracts.ids import is_session_id
from orchestrator.contracts.session import ToolCall
from orchestrator.contracts.skill import Monitor
from orchestrator.kernel.terminal import settle
from tests.unit.orchestrator.app_folder import write_app

ROWS: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "rows" / "loading.yaml").read_text(encoding="utf-8"))

ENDS: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "rows" / "terminal.yaml").read_text(encoding="utf-8"))
APPS = Path(__file__).parents[2] / "apps"

SCRIPTED = "model: {provider: scripted}"


def each(rows: list[dict[str, Any]]) -> pytest.MarkDecorator:
    """Run a test once for each row, under the row's id."""
    return pytest.mark.parametrize("row", rows, ids=[row["id"] for row in rows])


def meets(app: Path, fragments: list[str] | None) -> AppSpec | None:
    """Load an app; it must load, or one of its problems must hold every fragment and a place."""
    if fragments is None:
        return load_app(app, env={})
    with pytest.raises(AppInvalid) as caught:
        load_app(app, env={})
    problems = caught.value.problems
    assert any(all(fragment in problem for fragment in fragments) for problem in problems), problems
    assert all(re.match(r"\S+\.yaml:\d+:\d+: ", problem) for problem in problems)
    return None


@each(ROWS["vocabulary"])
def test_the_vocabulary_holds_together(tmp_path: Path, row: dict[str, Any]) -> None:
    """V1-V9: a status that nobody declared must not be what a session ends with."""
    meets(write_app(tmp_path, **row["blocks"]), row["refused"])


@pytest.mark.parametrize("prefix", ROWS["prefixes"]["accepted"])
def test_a_prefix_is_accepted_whose_ids_can_be_read_again(tmp_path: Path, prefix: str) -> None:
    """P1: what is minted is accepted, for every accepted prefix."""
    spec = meets(write_app(tmp_path, session_id_prefix=f"session_id_prefix: {prefix}"), None)

    assert spec is not None
    assert is_session_id(f"{spec.session_id_prefix}-20261120-042")


@pytest.mark.parametrize("prefix", ROWS["prefixes"]["refused"])
def test_a_prefix_is_refused_whose_ids_could_not_be_read_again(tmp_path: Path, prefix: str) -> None:
    """P1, and the holes of the reference: a hyphen or digit first, and a newline last."""
    quoted = yaml.safe_dump(prefix, default_style='"').strip()
    fragment = (
        f"session_id_prefix={prefix!r} must be 1-16 chars of alphanumerics and hyphens (no whitespace, no symbols)"
    )

    meets(write_app(tmp_path, session_id_prefix=f"session_id_prefix: {quoted}"), [fragment])


@each(ROWS["state_schema"])
def test_the_state_schema_leads_to_a_model(tmp_path: Path, row: dict[str, Any]) -> None:
    """C5: a wrong path is found when the app boots, not when a session is submitted."""
    meets(write_app(tmp_path, state_schema=f"state_schema: '{row['path']}'"), row["refused"])


@each(ROWS["overrides"])
def test_overrides_fit_the_state_schema(tmp_path: Path, row: dict[str, Any]) -> None:
    """C2, C3: an unknown key is refused before any record exists."""
    spec = load_app(write_app(tmp_path), env={})

    if "refused" in row:
        with pytest.raises(InvalidOverrides) as caught:
            validate_state(spec, row["given"])
        assert all(fragment in str(caught.value) for fragment in row["refused"])
    else:
        stored = validate_state(spec, row["given"])
        assert stored.items() >= row["stored"].items()


@each(ROWS["shipped"])
def test_overrides_fit_the_state_schema_of_a_shipped_app(row: dict[str, Any]) -> None:
    """C2, C3, as they are written: of these very apps."""
    spec = load_app(APPS / row["app"], env={})

    if "refused" in row:
        with pytest.raises(InvalidOverrides) as caught:
            validate_state(spec, row["given"])
        assert all(fragment in str(caught.value) for fragment in row["refused"])
    else:
        assert validate_state(spec, row["given"]).items() >= row["stored"].items()


@each([row for row in ENDS["rows"] if row["id"].startswith(("C1", "I1"))])
def test_a_shipped_app_ends_as_its_row_says(row: dict[str, Any]) -> None:
    """C1, I1, of these very apps; they may keep more fields of a call than the row names."""
    spec = load_app(APPS / {"incident": "incident_management", "review": "code_review"}[row["app"]], env={})
    calls = [
        ToolCall(call_id=str(n), tool=tool, args=args, result=result, outcome="executed")
        for n, (tool, args, result) in enumerate([*call, *[{}, None][len(call) - 1 :]] for call in row["calls"])
    ]

    end = settle(
        rules=spec.terminal_tools, statuses=spec.statuses, default_status=spec.default_terminal_status, calls=calls
    )

    assert end is not None
    assert [end.status, end.rule] == [row["out"][0], row["out"][2]]
    assert end.fields.items() >= row["out"][1].items()


def test_without_a_schema_anything_goes(tmp_path: Path) -> None:
    """C4."""
    spec = load_app(write_app(tmp_path, state_schema=""), env={})

    assert validate_state(spec, {"anything": "goes"}) == {"anything": "goes"}


@each(ROWS["skills"])
def test_a_skill_fits_its_kind(tmp_path: Path, row: dict[str, Any]) -> None:
    """K1: the matrix of kinds, and what the reference does not validate."""
    files: dict[str, str | None] = {"skills/look/config.yaml": row["config"] + "\n"}
    if "routes" not in row["config"] and "kind" not in row["config"]:
        files["skills/look/config.yaml"] = f"{row['config']}\nroutes: [{{when: default, next: __end__}}]\n"
    if "text" in row:
        files |= {"skills/look/a.md": None, "skills/look/b.md": None}

    meets(write_app(tmp_path, files, model=SCRIPTED), row["refused"])


def write_monitor(folder: Path, fields: dict[str, Any]) -> Path:
    """Write the sample app with one more skill, a monitor."""
    config = yaml.safe_dump({"kind": "monitor", **fields})
    return write_app(folder, {"skills/watch/config.yaml": config}, model=SCRIPTED)


def test_a_monitor_boots(tmp_path: Path) -> None:
    """In the source, routes are forbidden to a monitor by its kind and demanded by the validator."""
    spec = meets(write_monitor(tmp_path, ROWS["monitor"]["fields"]), None)

    assert spec is not None
    assert isinstance(spec.skills["watch"], Monitor)


@pytest.mark.parametrize("field", ROWS["monitor"]["required"])
def test_a_monitor_needs_all_its_fields(tmp_path: Path, field: str) -> None:
    """K1: one that never looks, or never starts anything, is no monitor."""
    fields = {name: value for name, value in ROWS["monitor"]["fields"].items() if name != field}

    meets(write_monitor(tmp_path, fields), [f"skills.watch.{field}: required; add it"])


@each(ROWS["monitor"]["refused"])
def test_a_monitor_holds_together(tmp_path: Path, row: dict[str, Any]) -> None:
    """What it speaks of exists."""
    fields = {**ROWS["monitor"]["fields"], row["field"]: row["value"]}

    meets(write_monitor(tmp_path, fields), [row["message"]])


@pytest.mark.parametrize("schedule", ROWS["monitor"]["cron"]["accepted"])
def test_a_cron_schedule_of_five_fields_is_accepted(tmp_path: Path, schedule: str) -> None:
    """K1."""
    meets(write_monitor(tmp_path, {**ROWS["monitor"]["fields"], "schedule": schedule}), None)


@pytest.mark.parametrize("schedule", ROWS["monitor"]["cron"]["refused"])
def test_any_other_schedule_is_refused(tmp_path: Path, schedule: str) -> None:
    """K1: a schedule that never comes round must not wait for a month to show it."""
    meets(write_monitor(tmp_path, {**ROWS["monitor"]["fields"], "schedule": schedule}), [f"schedule {schedule!r}: "])


@pytest.mark.parametrize("given", ROWS["injected"]["accepted"], ids=str)
def test_an_argument_may_be_injected_from_the_session(tmp_path: Path, given: dict[str, str]) -> None:
    """N1."""
    meets(write_app(tmp_path, injected_args=yaml.safe_dump({"injected_args": given})), None)


@each(ROWS["injected"]["refused"])
def test_an_argument_is_injected_from_nowhere_else(tmp_path: Path, row: dict[str, Any]) -> None:
    """N1: in the source this is found at the first call, with the session already running."""
    meets(write_app(tmp_path, injected_args=yaml.safe_dump({"injected_args": row["given"]})), [row["message"]])
