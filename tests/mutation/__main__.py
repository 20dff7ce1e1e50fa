"""`python -m tests.mutation NAME …`: put small faults into sources, one at a time, and list those that no test notices.

    delivery live/session   modules of orchestrator/kernel (warm.py)
    scripts/claim           the store's Lua files (of_scripts.py); `scripts` alone is all of them

Every mutant of what is named runs, in a fork; nothing on disk is changed. Not part of any suite: survivors are judged by people,
in docs/explanation/mutants.md.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence

from orchestrator.store.scripts import FOLDER
from tests.mutation.warm import KERNEL

SCRIPTS = "scripts"


def split(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the kernel's modules and the store's scripts that are meant."""
    modules = [name for name in names if name.partition("/")[0] != SCRIPTS]
    scripts = [name.removeprefix(f"{SCRIPTS}/") for name in names if name.startswith(f"{SCRIPTS}/")]
    if SCRIPTS in names:
        scripts = sorted(str(path.relative_to(FOLDER).with_suffix("")) for path in FOLDER.rglob("*.lua"))
    return modules, scripts


def main() -> int:
    """Run the mutants of each kind in a process of its own, which begins by collecting its tests."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="+")
    modules, scripts = split(parser.parse_args().names)
    unknown = [name for name in modules if not (KERNEL / f"{name}.py").is_file()]
    unknown += [f"{SCRIPTS}/{name}" for name in scripts if not (FOLDER / f"{name}.lua").is_file()]
    if unknown:
        parser.error(f"{', '.join(unknown)}: no such source; modules lie in {KERNEL}, scripts in {FOLDER}")
    codes = [
        subprocess.run([sys.executable, "-m", f"tests.mutation.{tool}", *names], check=False).returncode
        for tool, names in (("warm", modules), ("of_scripts", scripts))
        if names
    ]
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
