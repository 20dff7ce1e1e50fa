"""The dashboard is what its table says, asks for metrics that there are, and its questions are Prometheus'."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from docs.render_dashboard import TARGET, render
from orchestrator.exporter import METRICS

BOARD: dict[str, Any] = json.loads(TARGET.read_text(encoding="utf-8"))
QUESTIONS = [target["expr"] for panel in BOARD["panels"] for target in panel.get("targets", ())]


def test_the_dashboard_is_current() -> None:
    """`python -m docs.render_dashboard` writes it."""
    assert TARGET.read_text(encoding="utf-8") == render()


def test_every_question_is_about_a_metric_that_there_is() -> None:
    """A panel without data looks like a system without load."""
    known = {f"{name}{suffix}" for name in METRICS for suffix in ("", "_bucket", "_count", "_sum")}

    assert QUESTIONS
    assert {name for text in QUESTIONS for name in re.findall(r"\bbaton_\w+", text)} <= known


def test_panels_lie_beside_each_other() -> None:
    """Grafana moves panels that overlap, and the rows fall apart."""
    places = [(panel["id"], panel["gridPos"]) for panel in BOARD["panels"]]
    cells = [
        (x, y) for _, at in places for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])
    ]

    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


def test_prometheus_reads_every_question(tmp_path: Path) -> None:
    """A syntax error shows only to who opens the dashboard, and that is at night."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed; it is in Debian's package prometheus")
    plain = [text.replace("$__rate_interval", "5m").replace("$app", ".*") for text in QUESTIONS]
    rules = [{"record": f"question:{number}", "expr": text} for number, text in enumerate(plain)]
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}), encoding="utf-8")

    done = subprocess.run([promtool, "check", "rules", str(path)], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
