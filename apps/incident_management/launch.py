"""Start a service's declared command detached from whoever asked, and record the new process.

    python -I launch.py DIRECTORY REASON

A program of its own, so that the service outlives the worker that restarted it and is no child of
it, and so that the record is written even if that worker dies meanwhile. Standard library and
psutil only. Prints the new pid. Trust in the directory was checked by the caller (service.py).
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "VIRTUAL_ENV")


def launch(folder: Path, reason: str) -> int:
    """Start the service, append to starts.jsonl, rewrite service.json; return the pid."""
    declared = json.loads((folder / "service.json").read_text("utf-8"))
    with (folder / "service.out").open("ab") as output:
        # Only what a service needs of this environment: a worker's may hold keys.
        process = subprocess.Popen(  # noqa: S603 - the declared command, from a directory that only we can write
            declared["command"],
            cwd=folder,
            env={name: os.environ[name] for name in _KEPT if name in os.environ},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    create_time = psutil.Process(process.pid).create_time()
    with (folder / "starts.jsonl").open("a", encoding="utf-8") as file:
        start = {"pid": process.pid, "create_time": create_time, "at": time.time(), "reason": reason}
        file.write(json.dumps(start) + "\n")
    write_atomically(folder / "service.json", {**declared, "pid": process.pid, "create_time": create_time})
    return process.pid


def write_atomically(path: Path, value: object) -> None:
    """Replace a JSON file in one step, so that no reader sees half of it."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".tmp")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    Path(name).replace(path)


if __name__ == "__main__":
    print(launch(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else ""))  # noqa: T201 - its one output
