"""`baton bench all`: one that fails neither stops the others nor goes unseen."""

import subprocess
import sys
from pathlib import Path

from bench._harness import ROOT

SOUND = """
import json, sys
path = sys.argv[sys.argv.index("--json") + 1]
targets = {"ratio": {"at_least": 2.0, "measured": 1.5, "met": False}}
open(path, "w").write(json.dumps({"bench": "sound", "quick": "--quick" in sys.argv, "targets": targets}))
"""


def test_all_of_them_run_and_what_came_of_each_is_told(tmp_path: Path) -> None:
    """Tables go by while one is away; the end must say everything. A target that is missed is a figure, not a failure."""
    benches = tmp_path / "bench"
    benches.mkdir()
    (benches / "all.py").write_text((ROOT / "bench" / "all.py").read_text())
    (benches / "_tools.py").write_text("raise SystemExit('it is no bench')")
    (benches / "broken.py").write_text("raise SystemExit(3)")
    (benches / "sound.py").write_text(SOUND)
    out = tmp_path / "out"
    out.mkdir()
    (out / "broken.json").write_text("of an earlier run")

    done = subprocess.run(
        [sys.executable, "-P", str(benches / "all.py"), "--quick", "--out", str(out)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert [line.split() for line in done.stdout.splitlines() if line.strip()] == [
        ["all", "targets"],
        ["sound", "ratio", "1.50", ">=", "2", "MISSED"],
        ["broken", "failed", "with", "3"],
        ["objects:", str(out)],
    ]
    assert sorted(path.name for path in out.iterdir()) == ["sound.json", "targets.md"]
    assert (out / "targets.md").read_text().splitlines()[2:] == [
        "| `sound` | `ratio` | 1.50 | at least 2 | **missed** | - |"
    ]


def test_a_folder_that_cannot_be_is_refused_before_anything_runs() -> None:
    """Not after the first bench of a dozen."""
    words = [sys.executable, "-P", str(ROOT / "bench" / "all.py"), "--out", "/proc/no/such"]

    done = subprocess.run(words, capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert "--out /proc/no/such: No such file or directory; name a folder that you may write to" in done.stderr
    assert done.stdout == ""
