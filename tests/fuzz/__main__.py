"""`python -m tests.fuzz NAME|all --seconds N`: a reader of targets.py under atheris, which steers by what the code does.

The corpus is read and not written. An input that breaks a reader is kept below `.runtime/fuzz/NAME`, where its name is printed;
it belongs into the corpus once it is mended. `all` takes one reader after another, goes on after a finding, and prints a
table. Without atheris it says so and does nothing: `make fuzz` makes an environment that has it.
"""

import argparse
import importlib.util
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path

from tests.fuzz.mutating import TOKENS

CORPUS = Path(__file__).parent / "corpus"
ROOT = Path(__file__).parents[2]
#: Where what breaks a reader is kept.
FOUND = ROOT / ".runtime" / "fuzz"
#: Every module is instrumented before the first input; a reader that is over its time by more than this hangs.
_START_SECONDS = 120


def main() -> int:
    """Fuzz for some seconds; return 0 where nothing was found, or where atheris is missing."""
    names = sorted(path.name for path in CORPUS.iterdir())
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("name", choices=[*names, "all"])
    parser.add_argument("--seconds", type=int, default=60, help="for each reader")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if importlib.util.find_spec("atheris") is None:
        print("skipped: atheris is not installed here; `make fuzz` makes an environment that has it")
        return 0
    if given.inside is not None:
        fuzz(given.name, given.seconds, given.inside)
    codes = [run(name, given.seconds) for name in (names if given.name == "all" else [given.name])]
    return 1 if any(codes) else 0


def run(name: str, seconds: int) -> int:
    """Fuzz one reader in a process of its own, for atheris ends its process; print what came of it, return its exit code."""
    before, begun = _kept(name), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        command = [sys.executable, "-m", "tests.fuzz", name, "--seconds", str(seconds), "--inside", folder]
        try:
            ran = subprocess.run(
                command, cwd=ROOT, capture_output=True, text=True, errors="replace", timeout=seconds + _START_SECONDS, check=False
            )  # fmt: skip
        except subprocess.TimeoutExpired as late:
            print(f"{name:<12} did not end within {late.timeout:.0f} s; on an idle machine that is a hang", flush=True)
            return 1
    told = ran.stderr.splitlines()
    counts = [int(line[1:].split()[0]) for line in told if line[:1] == "#" and line[1:2].isdigit()]
    found = ", ".join(sorted(_kept(name) - before)) or "nothing found"
    print(f"{name:<12} {max(counts, default=0):>9} inputs {time.monotonic() - begun:>5.0f} s  {found}", flush=True)
    if ran.returncode != 0:
        print("\n".join([*(line for line in told if not line.startswith(("#", "INFO: "))), ran.stdout]), flush=True)
    return ran.returncode


def fuzz(name: str, seconds: int, folder: Path) -> None:
    """Fuzz one reader in this process. Does not return: it ends with 0, or with 77 where something was found."""
    import atheris

    with atheris.instrument_imports(include=["orchestrator", "plugin_sandbox"]):
        targets = import_module("tests.fuzz.targets").TARGETS
    (FOUND / name).mkdir(parents=True, exist_ok=True)
    # What it makes of the corpus goes to a folder of its own: the first one is written to, the others are only read.
    grown, words = folder / "corpus", folder / "words"
    grown.mkdir()
    words.write_text("".join(_word(token) for token in TOKENS if len(token) <= 64))
    options = [f"-max_total_time={seconds}", "-max_len=4096", "-timeout=10", f"-dict={words}"]
    kept = f"-artifact_prefix={FOUND / name}/"
    atheris.Setup([sys.argv[0], *options, kept, str(grown), str(CORPUS / name)], targets[name])
    atheris.Fuzz()


def _word(token: bytes) -> str:
    """Return a token as a line of libFuzzer's dictionary."""
    return '"' + "".join(rf"\x{byte:02x}" for byte in token) + '"\n'


def _kept(name: str) -> set[str]:
    return {str(path.relative_to(ROOT)) for path in (FOUND / name).glob("*")}


if __name__ == "__main__":
    sys.exit(main())
