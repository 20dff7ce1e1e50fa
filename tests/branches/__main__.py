"""`python -m tests.branches`: branch coverage of contracts, kernel and plugin_sandbox by their own tests, held against allowed.txt.

It runs in an environment that has coverage beside what the tests need; `make coverage` makes one. Three runs:

    kernel, contracts   their unit tests, recorded rows, and the property tests that need no server
    plugin_sandbox      its unit tests and the host's cases
    inside              the box's tests again, with the sandbox's own processes measured; they are slower then, and whether
                        they pass is the second run's to say, not this one's

Contracts and kernel have to be covered whole. Of the sandbox what may be left is counted in allowed.txt, for the side of the
host. What runs inside of a box is told and not judged: a plugin's process cannot write its figures out of its box, and which
of it runs at all depends on what the host gives.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.branches.ratchet import find_gaps, find_slack, read_allowed, table

ROOT = Path(__file__).parents[2]
ALLOWED = Path(__file__).with_name("allowed.txt")
INSIDE = "plugin_sandbox/inner/"
KERNEL_TESTS = (
    "tests/unit/orchestrator/contracts",
    "tests/unit/orchestrator/kernel",
    "tests/conformance",
    "tests/property/test_rebuild.py",
    "orchestrator/contracts",
    "orchestrator/kernel",
)
#: Not the wheels': what this environment borrows by a .pth is not shown inside of a box.
HOST_TESTS = ("tests/unit/plugin_sandbox", "tests/sandbox/test_host_cases.py", "plugin_sandbox")
BOX_TESTS = ("tests/unit/plugin_sandbox/box",)


def main() -> int:
    """Measure, print what is left, and return 1 where a test fails or the ratchet is broken."""
    with tempfile.TemporaryDirectory(prefix="baton-coverage-") as name:
        folder = Path(name)
        folder.chmod(0o1777)  # the sandbox's processes are other users
        codes = [_run(folder, KERNEL_TESTS), _run(folder, HOST_TESTS)]
        _run_inside(folder)
        report = _report(folder)
    files = report["files"]
    left = {name: one["summary"]["missing_lines"] + one["summary"]["missing_branches"] for name, one in files.items()}
    sizes = {name: one["summary"]["num_statements"] + one["summary"]["num_branches"] for name, one in files.items()}
    inside = {name: count for name, count in left.items() if name.startswith(INSIDE)}
    judged = {name: count for name, count in left.items() if name not in inside}
    for name, count in sorted(left.items()):
        if count:
            lines = ", ".join(map(str, files[name]["missing_lines"]))
            ways = ", ".join(
                f"{one}->{other if other > 0 else 'exit'}" for one, other in files[name]["missing_branches"]
            )
            print(f"{name}: {count} left: {lines}{' | ' if lines and ways else ''}{ways}")
    print("", *table(judged, sizes, ("orchestrator/contracts/", "orchestrator/kernel/", "plugin_sandbox/")), sep="\n")
    print(*table(inside, sizes, (INSIDE,)), sep="\n")
    allowed = read_allowed(ALLOWED.read_text(encoding="utf-8"))
    gaps = find_gaps(judged, allowed)
    print("", *find_slack(judged, allowed), *gaps, sep="\n")
    return 1 if gaps or any(codes) else 0


def _run(folder: Path, tests: tuple[str, ...]) -> int:
    command = ["-m", "coverage", "run", f"--data-file={folder}/data", "-m", "pytest", "-q", "--no-header", *tests]
    return subprocess.run([sys.executable, *command], cwd=ROOT, check=False).returncode


def _run_inside(folder: Path) -> None:
    switch = Path(sys.prefix) / "inside.rc"
    switch.write_text(
        f"[run]\nbranch = true\nparallel = true\npatch = fork, _exit\nsource = {ROOT}/plugin_sandbox\n"
        f"omit = {ROOT}/plugin_sandbox/attacks/*\ndata_file = {folder}/data\n",
        encoding="utf-8",
    )
    try:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *BOX_TESTS]
        subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    finally:
        switch.unlink()


def _report(folder: Path) -> dict[str, dict[str, dict[str, dict[str, int]]]]:
    data, told = f"--data-file={folder}/data", folder / "report.json"
    for command in (["combine", "-q", data, str(folder)], ["json", "-q", data, "-o", str(told)]):
        # A process that was killed while it wrote its figures leaves half of them: that is told and passed over.
        made = subprocess.run(
            [sys.executable, "-m", "coverage", *command], cwd=ROOT, check=False, capture_output=True, text=True
        )
        if made.returncode != 0:
            raise SystemExit(f"coverage {command[0]}: {made.stdout}{made.stderr}")
    found: dict[str, dict[str, dict[str, dict[str, int]]]] = json.loads(told.read_text(encoding="utf-8"))
    return found


if __name__ == "__main__":
    sys.exit(main())
