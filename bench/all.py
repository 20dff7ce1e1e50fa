"""Every bench, one after the other: its table as it comes, its JSON object in a file, and all targets together at the end.

`./baton bench all --quick` takes under ten minutes, the whole some twenty-five: nothing else should run meanwhile. Files are named after
the benches, in the folder `--out` (bench/out), with all targets as a Markdown table in targets.md; those of an earlier run are replaced. A bench that fails is told at
the end, the others run all the same; ends with 1 then, with 0 otherwise, whether targets are met or not.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

HERE = Path(__file__).resolve().parent


def find_benches() -> dict[str, Path]:
    """Return the benches by name, but for this one."""
    return {path.stem: path for path in sorted(HERE.glob("[!_]*.py")) if path.stem != Path(__file__).stem}


def tell_targets(name: str, read: Mapping[str, Mapping[str, Mapping[str, float | bool]]]) -> list[str]:
    """Return a line for each target of one bench's object.

    >>> tell_targets("speed", {"targets": {"ratio": {"at_least": 2, "measured": 3.5, "met": True}}})
    ['speed     ratio                              3.50  >= 2        met']
    """
    lines = []
    for figure, target in read["targets"].items():
        side = "at_least" if "at_least" in target else "at_most"
        sign, verdict = ">=" if side == "at_least" else "<=", "met" if target["met"] else "MISSED"
        lines.append(f"{name:<10}{figure:<28}{target['measured']:>11.2f}  {sign} {target[side]:<8g} {verdict}")
    return lines


def render_targets(reads: Mapping[str, Mapping[str, Mapping[str, Mapping[str, float | bool]]]]) -> str:
    """Return a Markdown table of all targets: of each bench's object, by the bench's name, `targets` and `machine`.

    >>> print(render_targets({"speed": {"targets": {"ratio": {"at_least": 2, "measured": 3.5, "met": True}}, "machine": {"load_before": 0.5}}}))
    | bench | target | measured | wanted | | load before it |
    |---|---|---|---|---|---|
    | `speed` | `ratio` | 3.50 | at least 2 | met | 0.5 |
    <BLANKLINE>
    """
    rows = ["| bench | target | measured | wanted | | load before it |", "|---|---|---|---|---|---|"]
    for bench, read in reads.items():
        for figure, target in read["targets"].items():
            side = "at_least" if "at_least" in target else "at_most"
            wanted, verdict = f"{side.replace('_', ' ')} {target[side]:g}", "met" if target["met"] else "**missed**"
            load = read.get("machine", {}).get("load_before", "-")
            rows.append(f"| `{bench}` | `{figure}` | {target['measured']:,.2f} | {wanted} | {verdict} | {load} |")
    return "\n".join(rows) + "\n"


def main() -> int:
    """Run them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds and smaller numbers; under 45 s each")
    parser.add_argument("--out", type=Path, default=HERE / "out", metavar="DIR", help="where the objects go")
    given = parser.parse_args()
    try:
        given.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"--out {given.out}: {error.strerror}; name a folder that you may write to")
    targets: list[str] = []
    reads = {}
    failed: list[str] = []
    for name, path in find_benches().items():
        file = given.out.resolve() / f"{name}.json"
        file.unlink(missing_ok=True)
        words = [sys.executable, "-P", str(path), *(["--quick"] if given.quick else []), "--json", str(file)]
        code = subprocess.run(words, check=False).returncode
        if code or not file.exists():
            failed.append(f"{name} failed with {code}")
        else:
            reads[name] = json.loads(file.read_text(encoding="utf-8"))
            targets += tell_targets(name, reads[name])
        print(flush=True)
    (given.out / "targets.md").write_text(render_targets(reads), encoding="utf-8")
    print("\n".join(["all targets", *targets, *failed]))
    print(f"objects: {given.out}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
