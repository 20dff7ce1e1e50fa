"""Write deploy/observability/dashboard.json, the Grafana dashboard: `python -m docs.render_dashboard`.

The table below is the dashboard: rows of panels, each with a title, what it asks Prometheus, a unit and a sentence. Several
exporters tell the same figures, so every question folds over them instead of adding them up.
"""

import json
from pathlib import Path
from typing import Any, Final, NamedTuple

TARGET: Final = Path(__file__).resolve().parents[1] / "deploy" / "observability" / "dashboard.json"

SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
FOLD: Final = "max without (instance, pod)"
APP: Final = 'app=~"$app"'


class Panel(NamedTuple):
    """One panel: `asks` are pairs of a question and its legend."""

    title: str
    asks: tuple[tuple[str, str], ...]
    unit: str = "short"
    says: str = ""
    kind: str = "timeseries"
    width: int = 8
    #: Of a single figure: from which value on it is orange, and red.
    bounds: tuple[float, float] | None = None
    stacked: bool = False


def rate(metric: str) -> str:
    """Return the rate of a counter, folded over the exporters."""
    return f"{FOLD} (rate({metric}[$__rate_interval]))"


def quantile(share: float, metric: str, by: str) -> str:
    """Return a quantile of a histogram, by a label."""
    return f"histogram_quantile({share}, sum by (le, {by}) ({rate(f'{metric}_bucket')}))"


ROWS: Final[tuple[tuple[str, tuple[Panel, ...]], ...]] = (
    (
        "Now",
        (
            Panel(
                "Store",
                (("min without (instance, pod) (baton_store_up)", ""),),
                kind="stat",
                width=3,
                says="1: it answers.",
            ),
            Panel("Running", ((f'sum({FOLD} (baton_sessions{{{APP},phase="running"}}))', ""),), kind="stat", width=3),
            Panel(
                "Oldest in line",
                ((f"max({FOLD} (baton_line_oldest_seconds{{{APP}}}))", ""),),
                "s",
                "How long the first of any line stands there.",
                "stat",
                3,
                (30, 60),
            ),
            Panel(
                "Asking a person",
                ((f"sum({FOLD} (baton_waits_for_people{{{APP}}}))", ""),),
                kind="stat",
                width=3,
                says="Approvals, questions, uncertain calls.",
            ),
            Panel(
                "Oldest question",
                ((f"max({FOLD} (baton_waits_for_people_oldest_seconds{{{APP}}}))", ""),),
                "s",
                "",
                "stat",
                3,
                (1800, 3600),
            ),
            Panel("Dead letters", ((f"{FOLD} (baton_dead_letters)", ""),), kind="stat", width=3, bounds=(1, 10)),
            Panel("Workers", ((f'{FOLD} (baton_processes{{kind="worker"}})', ""),), kind="stat", width=3),
            Panel("Schedulers", ((f'{FOLD} (baton_processes{{kind="scheduler"}})', ""),), kind="stat", width=3),
        ),
    ),
    (
        "Sessions",
        (
            Panel(
                "Submitted and settled",
                (
                    (f"sum({rate(f'baton_sessions_submitted_total{{{APP}}}')})", "submitted"),
                    (f"sum by (app, status) ({rate(f'baton_sessions_ended_total{{{APP}}}')})", "{{app}} {{status}}"),
                ),
                "ops",
                "Where the second stays below the first, work piles up.",
            ),
            Panel(
                "By phase",
                ((f'sum by (phase) ({FOLD} (baton_sessions{{{APP},phase!="ended"}}))', "{{phase}}"),),
                stacked=True,
                says="Sessions that are not settled, and dead letters.",
            ),
            Panel(
                "Asking a person",
                ((f"sum by (app, kind) ({FOLD} (baton_waits_for_people{{{APP}}}))", "{{app}} {{kind}}"),),
                stacked=True,
            ),
        ),
    ),
    (
        "Lines",
        (
            Panel(
                "First in line",
                ((f"max by (app, line) ({FOLD} (baton_line_oldest_seconds{{{APP}}}))", "{{app}} {{line}}"),),
                "s",
                "How long the first stands there: over some seconds, workers are missing.",
            ),
            Panel(
                "Time in line",
                (
                    (quantile(0.5, "baton_line_seconds", "line"), "{{line}} p50"),
                    (quantile(0.99, "baton_line_seconds", "line"), "{{line}} p99"),
                ),
                "s",
                "How long sessions stood in line before a worker claimed them.",
            ),
            Panel(
                "Slots",
                (
                    (f"{FOLD} (baton_worker_slots)", "{{line}} slots"),
                    (f"{FOLD} (baton_worker_running)", "{{line}} taken"),
                ),
                says="All workers together.",
            ),
        ),
    ),
    (
        "Steps",
        (
            Panel(
                "Steps",
                ((f"sum by (kind, outcome) ({rate('baton_steps_seconds_count')})", "{{kind}} {{outcome}}"),),
                "ops",
                stacked=True,
            ),
            Panel(
                "How long they take",
                (
                    (quantile(0.5, "baton_steps_seconds", "kind"), "{{kind}} p50"),
                    (quantile(0.99, "baton_steps_seconds", "kind"), "{{kind}} p99"),
                ),
                "s",
            ),
            Panel(
                "Failures",
                ((f"sum by (error) ({rate('baton_step_failures_total')})", "{{error}}"),),
                "ops",
                "Of model services, of tools, of the apps' own code.",
                stacked=True,
            ),
            Panel(
                "Tool calls",
                ((f"sum by (outcome) ({rate('baton_tool_calls_total')})", "{{outcome}}"),),
                "ops",
                stacked=True,
            ),
            Panel(
                "Plugins",
                ((f"sum by (status) ({rate('baton_plugin_runs_total')})", "{{status}}"),),
                "ops",
                stacked=True,
            ),
            Panel(
                "Dead letters",
                ((f"sum by (reason) ({FOLD} (increase(baton_dead_letters_total[$__rate_interval])))", "{{reason}}"),),
                stacked=True,
            ),
        ),
    ),
    (
        "Fleet and store",
        (
            Panel(
                "Leases",
                (
                    (f"{FOLD} (baton_leases)", "held"),
                    (f"{FOLD} (baton_leases_expired)", "ended, not rescued"),
                    (f"{FOLD} (increase(baton_orphans_total[$__rate_interval]))", "orphaned"),
                    (f"{FOLD} (baton_wakeups_sent)", "wake-ups under way"),
                ),
            ),
            Panel(
                "Lag",
                (
                    (f"{FOLD} (baton_worker_loop_lag_seconds)", "slowest loop"),
                    (f"{FOLD} (baton_due_overdue_seconds)", "timers overdue"),
                    (f"{FOLD} (baton_clock_ahead_seconds)", "clocks, {{extreme}}"),
                ),
                "s",
            ),
            Panel(
                "Memory",
                (
                    (f"{FOLD} (baton_store_memory_bytes)", "store"),
                    (f"{FOLD} (baton_store_memory_limit_bytes) > 0", "store's limit"),
                    (f"{FOLD} (baton_worker_memory_bytes)", "workers, {{of}}"),
                ),
                "bytes",
            ),
            Panel(
                "Processes",
                ((f"{FOLD} (baton_processes)", "{{kind}}"), (f"{FOLD} (baton_workers_draining)", "draining")),
            ),
            Panel(
                "Versions of apps",
                ((f"{FOLD} (baton_app_versions{{{APP}}})", "{{app}}"),),
                says="More than 1 while a deploy goes on.",
            ),
            Panel(
                "Archive",
                (
                    (f"{FOLD} (increase(baton_archived_total[$__rate_interval]))", "archived"),
                    (f'sum({FOLD} (baton_sessions{{{APP},phase="ended"}}))', "ended, still in the store"),
                ),
            ),
        ),
    ),
)


def render() -> str:
    """Return the dashboard as Grafana imports it."""
    panels: list[dict[str, Any]] = []
    y = 0
    for title, row in ROWS:
        place = {"x": 0, "y": y, "w": 24, "h": 1}
        panels.append(
            {"id": len(panels) + 1, "type": "row", "title": title, "collapsed": False, "gridPos": place, "panels": []}
        )
        y += 1
        x, height = 0, 0
        for panel in row:
            if x + panel.width > 24:
                x, y = 0, y + height
            height = 4 if panel.kind == "stat" else 8
            panels.append(_panel(panel, len(panels) + 1, {"x": x, "y": y, "w": panel.width, "h": height}))
            x += panel.width
        y += height
    board = {
        "uid": "baton",
        "title": "Baton",
        "description": "Sessions, lines, steps, fleet and store. Made by docs/render_dashboard.py.",
        "tags": ["baton"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": _variables()},
        "annotations": {"list": []},
        "panels": panels,
    }
    return json.dumps(board, indent=1, ensure_ascii=False) + "\n"


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0}
    if panel.kind == "stat":
        steps = [{"color": "green", "value": None}]
        for color, value in zip(("orange", "red"), panel.bounds or (), strict=False):
            steps.append({"color": color, "value": value})  # type: ignore[dict-item]
        defaults |= {"color": {"mode": "thresholds"}, "thresholds": {"mode": "absolute", "steps": steps}}
        options: dict[str, Any] = {
            "reduceOptions": {"calcs": ["lastNotNull"]},
            "colorMode": "value",
            "graphMode": "area",
        }
    else:
        stacking = {"mode": "normal" if panel.stacked else "none", "group": "A"}
        defaults["custom"] = {"fillOpacity": 20 if panel.stacked else 0, "stacking": stacking, "showPoints": "never"}
        options = {
            "legend": {"displayMode": "list", "placement": "bottom"},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.says,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": [
            {"refId": chr(ord("A") + index), "datasource": SOURCE, "expr": question, "legendFormat": legend or "__auto"}
            for index, (question, legend) in enumerate(panel.asks)
        ],
    }


def _variables() -> list[dict[str, Any]]:
    return [
        {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
        {
            "name": "app",
            "label": "App",
            "type": "query",
            "datasource": SOURCE,
            "query": "label_values(baton_sessions, app)",
            "refresh": 2,
            "includeAll": True,
            "multi": True,
            "allValue": ".*",
            "current": {"text": "All", "value": "$__all"},
        },
    ]


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
