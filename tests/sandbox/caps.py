"""Every limit of a manifest, tried one below, at, and one above: run as a program by whichever user, or from a test.

Prints one JSON object a try: cap, amount, what was expected, what was found. Nothing here takes more than a machine can spare.
"""

import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from plugin_sandbox.conversation import Stop
from plugin_sandbox.copies import remove_tree
from plugin_sandbox.host import Sandbox
from plugin_sandbox.manifest import digest_of, read_manifest
from plugin_sandbox.model import Call, PluginRecord
from plugin_sandbox.settings import SandboxSettings

_MANIFEST: Final = """\
name: caps
version: "1"
api_version: "1"
supported_extensions: []
isolation: {isolation}
"""
_CODE: Final = """\
import json, os, resource, signal, threading, time
from plugin_sandbox.api import Plugin as Base, PluginInputRequired

MB = 1 << 20
FRAME = '{"result": "success", "per_file": []'

def memory_mb(amount):
    return len(bytearray(int(amount * MB)))

# A watchdog looks every few milliseconds, where the machine lets it: what is gone before has not been there.
def linger(seconds):
    signal.sigtimedwait([signal.SIGUSR1], seconds)

def children(count, work):
    seen, told = os.pipe()
    for _ in range(count):
        if os.fork() == 0:
            held = work()
            os.write(told, b".")
            while True:
                signal.pause()
    for _ in range(count):
        os.read(seen, 1)

def memory_of_a_tree(amount):
    children(3, lambda: bytearray(b"x") * int(amount * MB / 3))
    linger(20 if amount > 96 else 0.1)

def cpu_seconds(amount):
    while time.process_time() < amount:
        pass

def timeout_seconds(amount):
    signal.sigtimedwait([signal.SIGUSR1], amount)

def processes(amount):
    children(amount, lambda: None)
    linger(20 if amount > 3 else 0.1)

def threads(amount):
    go = threading.Event()
    for _ in range(amount - 1):
        threading.Thread(target=go.wait, args=(30,), daemon=True).start()
    go.set()

def open_files(amount):
    held = [os.open("/dev/null", os.O_RDONLY)]
    while held[-1] < amount - 1:
        held.append(os.open("/dev/null", os.O_RDONLY))
    for one in held:
        os.close(one)

def file_mb(amount):
    with open("one", "wb", buffering=0) as file:
        file.truncate(amount)
    os.unlink("one")

def disk_mb(amount):
    with open("big", "wb", buffering=0) as file:
        while amount:
            amount -= file.write(bytes(min(amount, 65536)))
    os.unlink("big")

def inodes(amount):
    for number in range(amount):
        open(f"f{number}", "wb").close()
    for number in range(amount):
        os.unlink(f"f{number}")

def stderr_kb(amount):
    os.write(2, b"x" * amount)

def stdout_kb(amount):
    os.write(1, b"x" * amount)

def result_kb(amount):
    os.write(3, FRAME.encode() + b" " * (amount - len(FRAME) - 1) + b"}")
    os._exit(0)

def prompts(amount):
    raise PluginInputRequired([{"id": "unit"}], "which unit")

class Plugin(Base):
    def can_handle(self, path, variables):
        return True

    def transform(self, path, ctx):
        globals()[ctx.variables["cap"]](ctx.variables["amount"])
"""

Amount = float | int


@dataclass(frozen=True)
class Try:
    """One run: how much of what is taken, and how that has to end: status, and the limit that bit."""

    cap: str
    isolation: str
    amount: Amount
    status: str
    limit: str | None = None


def _around(cap: str, isolation: str, within: tuple[Amount, ...], over: tuple[Amount, ...], status: str) -> list[Try]:
    limit = {"stdout_kb": "stderr_kb", "memory_of_a_tree": "memory_mb"}.get(cap, cap)
    fine = "prompt" if cap == "prompts" else "skipped"
    return [
        *(Try(cap, isolation, amount, fine) for amount in within),
        *(Try(cap, isolation, amount, status, limit) for amount in over),
    ]


#: Memory is counted beside what the interpreter holds, which grows and shrinks by some MiB meanwhile: the tries keep that distance.
#: Time is no number that can be met, only passed.
TRIES: Final = (
    *_around("memory_mb", "{memory_mb: 64}", (56,), (72,), "memory_limit"),
    *_around("memory_of_a_tree", "{memory_mb: 96, processes: 3}", (45,), (150,), "memory_limit"),
    *_around("cpu_seconds", "{cpu_seconds: 1}", (0.8,), (1.3,), "cpu_limit"),
    *_around("timeout_seconds", "{timeout_seconds: 7}", (1.0,), (7.1, 7.4), "timeout"),
    *_around("processes", "{processes: 3}", (2, 3), (4,), "process_limit"),
    *_around("threads", "{threads: 8}", (7, 8), (9,), "process_limit"),
    *_around("open_files", "{open_files: 32}", (31, 32), (33,), "failed"),
    *_around("file_mb", "{file_mb: 1}", (2**20 - 1, 2**20), (2**20 + 1,), "disk_limit"),
    *_around("disk_mb", "{disk_mb: 2}", (2**21 - 1, 2**21), (2**21 + 1,), "disk_limit"),
    *_around("inodes", "{inodes: 20}", (19, 20), (21,), "disk_limit"),
    *_around("stderr_kb", "{stderr_kb: 4}", (4095, 4096), (4097,), "output_limit"),
    *_around("stdout_kb", "{stderr_kb: 4}", (4095, 4096), (4097,), "output_limit"),
    *_around("result_kb", "{result_kb: 4}", (4095, 4096), (4097,), "output_limit"),
    *_around("prompts", "{prompts: 2}", (0, 1), (2,), "failed"),
)


def find(one: Try, sandbox: Sandbox, home: Path, settings: SandboxSettings) -> tuple[str, str | None]:
    """Run a try; return the status, and the limit that bit."""
    package, workspace = home / "package", home / "workspace"
    for folder in (package, workspace):
        folder.mkdir(exist_ok=True)
    (package / "manifest.yml").write_text(_MANIFEST.format(isolation=one.isolation))
    (package / "__init__.py").write_text(_CODE)
    (workspace / "data.txt").write_text("data\n")
    call = Call(
        plugin=PluginRecord(manifest=read_manifest(package, settings), path=package, digest=digest_of(package)),
        workspace=workspace,
        files=("data.txt",),
        variables={"cap": one.cap, "amount": one.amount},
        answers={str(n): {"unit": "mm"} for n in range(int(one.amount))} if one.cap == "prompts" else {},
    )
    halt = Stop()
    try:
        outcome = sandbox.run_blocking(call, halt)
    finally:
        halt.close()
    if outcome.entry is None:
        return "prompt", None
    return outcome.entry.status, outcome.entry.limit


def main() -> Iterator[dict[str, object]]:
    """Try everything; yield what was found."""
    home = Path(tempfile.mkdtemp(prefix="baton-caps-"))
    home.chmod(0o711)
    settings = SandboxSettings(state_dir=home / "state", slots=2)
    sandbox = Sandbox(settings)
    try:
        for one in TRIES:
            status, limit = find(one, sandbox, home, settings)
            yield {**asdict(one), "found": [status, limit]}
    finally:
        sandbox.close()
        remove_tree(home)


if __name__ == "__main__":
    for line in main():
        sys.stdout.write(json.dumps(line) + "\n")
