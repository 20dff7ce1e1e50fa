"""`python -m tests.fuzz NAME --seconds N`: a reader of targets.py under atheris, which steers by what the code does.

The corpus is read and not written: what is found is printed with its bytes, and belongs into the corpus once it is mended.
Without atheris it says so and does nothing: `uv pip install atheris`, in an environment of your own.
"""

import argparse
import importlib.util
import sys
import tempfile
from importlib import import_module
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"


def main() -> int:
    """Fuzz one reader for some seconds; return 0 where nothing was found, or where atheris is missing."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("name", choices=sorted(path.name for path in CORPUS.iterdir()))
    parser.add_argument("--seconds", type=int, default=60)
    given = parser.parse_args()
    if importlib.util.find_spec("atheris") is None:
        print("skipped: atheris is not installed here; `uv pip install atheris` in an environment of your own")
        return 0
    import atheris

    with atheris.instrument_imports(include=["orchestrator", "plugin_sandbox"]):
        targets = import_module("tests.fuzz.targets").TARGETS
    with tempfile.TemporaryDirectory(prefix="fuzz-") as found:
        # What it finds goes to a folder of its own: the first one is written to, the others are only read.
        options = [f"-max_total_time={given.seconds}", "-max_len=4096", "-timeout=10", f"-artifact_prefix={found}/"]
        atheris.Setup([sys.argv[0], *options, found, str(CORPUS / given.name)], targets[given.name])
        atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
