"""Each alert goes off for its symptom, alone, and none goes off while all is well: Prometheus' own tool plays them."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.exporter import METRICS
from tests.architecture.source_tree import ROOT

RULES = ROOT / "deploy" / "observability" / "alerts.yaml"
ALERTS: dict[str, dict[str, Any]] = {
    rule["alert"]: rule
    for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
}
MINUTES = 180

#: What two exporters tell while all is well, for three hours: a value, and what it grows by each minute.
WELL = {
    "baton_store_up": "1+0x180",
    "baton_store_writable": "1+0x180",
    "baton_store_aof": "1+0x180",
    "baton_store_aof_ok": "1+0x180",
    "baton_store_memory_bytes": "50+0x180",
    "baton_store_memory_limit_bytes": "100+0x180",
    "baton_store_uptime_seconds": "100000+60x180",
    'baton_processes{kind="scheduler"}': "2+0x180",
    'baton_processes{kind="worker"}': "4+0x180",
    "baton_workers_draining": "1+0x180",
    'baton_line_oldest_seconds{app="a",line="steps"}': "2+0x180",
    'baton_line_oldest_seconds{app="a",line="plugins"}': "30+0x180",
    "baton_due_overdue_seconds": "1+0x180",
    "baton_leases_expired": "0+0x180",
    "baton_orphans_total": "5+0x180",
    'baton_dead_letters_total{reason="attempts"}': "3+0x180",
    'baton_dead_letters_total{reason="permanent_error"}': "3+0x180",
    'baton_dead_letters_total{reason="unreadable"}': "0+0x180",
    "baton_dead_letters_oldest_seconds": "600+0x180",
    'baton_waits_for_people_oldest_seconds{app="a",kind="approval"}': "600+0x180",
    'baton_waits_for_people{app="a",kind="uncertain"}': "0+0x180",
    'baton_step_failures_total{error="ProviderUnavailableError"}': "0+0.5x180",
    'baton_step_failures_total{error="RateLimitError"}': "0+1x180",
    'baton_step_failures_total{error="ToolUnavailable"}': "0+0.5x180",
    'baton_plugin_runs_total{status="timeout"}': "1+0x180",
    'baton_plugin_runs_total{status="sandbox_unavailable"}': "0+0x180",
    "baton_worker_loop_lag_seconds": "0.02+0x180",
    'baton_clock_ahead_seconds{extreme="most"}': "0.2+0x180",
    'baton_clock_ahead_seconds{extreme="least"}': "-0.2+0x180",
    'baton_app_versions{app="a"}': "1+0x180",
    "baton_archive_last_run_timestamp_seconds": "0+60x180",
}
#: Alert → the series that its symptom changes, and after how many minutes it must be firing.
SYMPTOMS: dict[str, tuple[dict[str, str], int]] = {
    "BatonStoreDown": ({"baton_store_up": "1x5 0x175"}, 10),
    "BatonStoreReadOnly": ({"baton_store_writable": "1x5 0x175"}, 10),
    "BatonStoreNotDurable": ({"baton_store_aof_ok": "0x180"}, 10),
    "BatonStoreMemoryHigh": ({"baton_store_memory_bytes": "90x180"}, 15),
    "BatonStoreRestarted": ({"baton_store_uptime_seconds": "100000+60x30 10+60x140"}, 33),
    "BatonNoScheduler": ({'baton_processes{kind="scheduler"}': "0x180"}, 5),
    "BatonNoWorkers": ({"baton_workers_draining": "4x180"}, 5),
    "BatonLineTooLong": ({'baton_line_oldest_seconds{app="a",line="steps"}': "10+10x180"}, 20),
    "BatonPluginLineTooLong": ({'baton_line_oldest_seconds{app="a",line="plugins"}': "400x180"}, 10),
    "BatonTimersLate": ({"baton_due_overdue_seconds": "0+20x180"}, 10),
    "BatonOrphanLeases": ({"baton_leases_expired": "3x180"}, 5),
    "BatonWorkersDie": ({"baton_orphans_total": "0+1x180"}, 20),
    "BatonPoisonSession": ({'baton_dead_letters_total{reason="attempts"}': "0x20 1x160"}, 30),
    "BatonDeadLettersGrow": ({'baton_dead_letters_total{reason="permanent_error"}': "0+1x180"}, 40),
    "BatonDeadLettersForgotten": ({"baton_dead_letters_oldest_seconds": "90000x180"}, 70),
    "BatonSessionUnreadable": ({'baton_dead_letters_total{reason="unreadable"}': "0x20 1x160"}, 30),
    "BatonApprovalWaits": ({'baton_waits_for_people_oldest_seconds{app="a",kind="approval"}': "4000x180"}, 10),
    "BatonCallUncertain": ({'baton_waits_for_people{app="a",kind="uncertain"}': "1x180"}, 10),
    "BatonProviderDown": ({'baton_step_failures_total{error="ProviderUnavailableError"}': "0+5x180"}, 20),
    "BatonProviderRateLimited": ({'baton_step_failures_total{error="RateLimitError"}': "0+5x180"}, 20),
    "BatonToolServerDown": ({'baton_step_failures_total{error="ToolUnavailable"}': "0+5x180"}, 20),
    "BatonPluginsTimeOut": ({'baton_plugin_runs_total{status="timeout"}': "0+1x180"}, 40),
    "BatonSandboxUnavailable": ({'baton_plugin_runs_total{status="sandbox_unavailable"}': "0x20 1x160"}, 25),
    "BatonLoopBlocked": ({"baton_worker_loop_lag_seconds": "2x180"}, 10),
    "BatonClockSkew": ({'baton_clock_ahead_seconds{extreme="least"}': "-30x180"}, 10),
    "BatonVersionsDiffer": ({'baton_app_versions{app="a"}': "2x180"}, 70),
    "BatonArchiveStands": ({"baton_archive_last_run_timestamp_seconds": "-30000+0x180"}, 20),
}


@pytest.fixture
def promtool() -> str:
    """Prometheus' own tool; without it these tests cannot be done."""
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not installed; it is in Debian's package prometheus")
    return found


def scene(changed: dict[str, str], minutes: int, firing: set[str]) -> dict[str, Any]:
    """Return a test of promtool's: these series, and which alerts fire then."""
    series = []
    for instance in ("one", "two"):  # several exporters tell the same
        for name, values in {**WELL, **changed}.items():
            metric, _, labels = name.partition("{")
            told = f'instance="{instance}",job="baton"' + (f",{labels}" if labels else "}")
            series.append({"series": f"{metric}{{{told}", "values": values})
    samples = [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in sorted(firing)]
    expression = 'count by (alertname) (ALERTS{alertstate="firing"})'
    return {
        "interval": "1m",
        "input_series": series,
        "promql_expr_test": [{"expr": expression, "eval_time": f"{minutes}m", "exp_samples": samples}],
    }


def run(promtool: str, tmp_path: Path, *scenes: dict[str, Any]) -> str:
    """Play scenes; return what promtool complains about."""
    path = tmp_path / "rules_test.yaml"
    path.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "tests": list(scenes)}), encoding="utf-8")
    done = subprocess.run([promtool, "test", "rules", str(path)], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_no_alert_goes_off_while_all_is_well(promtool: str, tmp_path: Path) -> None:
    """An alert that cries for nothing is switched off, and then it is missing."""
    assert run(promtool, tmp_path, *(scene({}, minutes, set()) for minutes in (5, 60, MINUTES - 1))) == ""


def test_each_alert_goes_off_for_its_symptom_alone(promtool: str, tmp_path: Path) -> None:
    """Who is woken must be woken by the cause, and once."""
    scenes = [scene(changed, minutes, {name}) for name, (changed, minutes) in SYMPTOMS.items()]

    assert run(promtool, tmp_path, *scenes) == ""


def test_silence_is_an_alert_too(promtool: str, tmp_path: Path) -> None:
    """Without an exporter nothing else can go off."""
    told = scene({}, 10, {"BatonMetricsMissing"})
    told["input_series"] = [{"series": "up", "values": "0x20"}]

    assert run(promtool, tmp_path, told) == ""


def test_every_alert_has_a_symptom_here() -> None:
    """A rule that nobody tried may never fire."""
    assert set(ALERTS) == {*SYMPTOMS, "BatonMetricsMissing"}


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_what_to_do(name: str) -> None:
    """Who is woken at night gets one page to follow, and a sentence that says what is the matter."""
    rule = ALERTS[name]

    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert {"summary", "description", "runbook_url"} == set(rule["annotations"])
    word = re.sub(r"(?<!^)(?=[A-Z])", "_", name.removeprefix("Baton")).lower()
    assert rule["annotations"]["runbook_url"] == f"deploy/runbooks/{word}.md"


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_asks_for_metrics_that_there_are(name: str) -> None:
    """A misspelt metric is an alert that never goes off."""
    asked = set(re.findall(r"\bbaton_\w+", ALERTS[name]["expr"]))

    assert asked
    assert asked <= set(METRICS)
