"""What confinement costs: a plugin through the warm zygote, through a cold start, and through a bare spawn that confines nothing.

    noop, pydantic   one file, nothing changed; the second plugin makes a pydantic model
    paused           the same no-op 50 ms after the call before it, as calls of sessions come, not of benches
    bare             what a host without a sandbox does: a fresh interpreter, its imports, rlimits, pipes, in the same run
    bubblewrap       the same as bare behind bwrap's namespaces and read-only binds, where it is installed
    publish          a plugin that changes ten files, published
    diff             the same no-op over workspaces of 100 and of 10,000 files
    callers          calls a second with 1, 2 and 4 callers at once
    memory           what a running plugin adds to the host, by proportional set sizes

Everything is the whole call as a host makes it: digest checked, workspace locked, box built, answer read, changes judged. Contenders
take turns, so that what disturbs the machine disturbs all of them.
"""

import asyncio
import contextlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from statistics import median

import psutil

from bench._harness import Report, Target, parse_options, percentile, say
from plugin_sandbox.conversation import Stop
from plugin_sandbox.copies import remove_tree
from plugin_sandbox.host import Sandbox
from plugin_sandbox.manifest import digest_of, read_manifest
from plugin_sandbox.model import Call, PluginRecord
from plugin_sandbox.settings import SandboxSettings

TARGETS = (
    Target("noop_warm_p50_ms", 10.0, "at_most"),
    Target("noop_paused_p50_ms", 10.0, "at_most"),
    Target("pydantic_warm_p50_ms", 12.0, "at_most"),
    Target("bare_to_warm", 8.0, "at_least"),
    Target("bubblewrap_to_warm", 1.0, "at_least"),
    Target("diff_10000_to_100", 1.3, "at_most"),
)
_MANIFEST = 'name: p\nversion: "1"\napi_version: "1"\nsupported_extensions: [.txt]\n'
_NOOP = """
from plugin_sandbox.api import Plugin as Base
class Plugin(Base):
    def can_handle(self, path, variables): return True
    def transform(self, path, ctx): pass
"""
_PYDANTIC = _NOOP.replace(
    "class Plugin", "from pydantic import BaseModel\nclass M(BaseModel):\n    x: int\nclass Plugin"
).replace("pass", "M(x=1)")
_PUBLISH = _NOOP.replace("pass", "[(ctx.dst_root / f'{n}.txt').write_text('x' * n) for n in range(10)]")
#: What a host without a sandbox starts for each call.
_BARE = """
import json, logging, logging.handlers, inspect, dataclasses, resource, sys
import pydantic
resource.setrlimit(resource.RLIMIT_CPU, (60, 60)); resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
request = json.loads(sys.stdin.read())
print(json.dumps({"result": "success"}))
"""


_HOLD = _NOOP.replace("pass", "import time; time.sleep(30)")
_PAUSE_SECONDS = 0.05


class Lab:
    """Plugins and workspaces in a folder, and a sandbox."""

    def __init__(self, home: Path, *, warm: bool) -> None:
        self._home = home
        self._settings = SandboxSettings(state_dir=home / "state", warm=warm)
        self.sandbox = Sandbox(self._settings)

    def call(self, name: str, code: str, *, files: int = 1) -> Call:
        """Return a call of a plugin over a new workspace of so many files."""
        package, workspace = self._home / f"{name}_plugin", self._home / f"{name}-{files}-{time.monotonic_ns()}"
        package.mkdir(exist_ok=True)
        workspace.mkdir()
        (package / "manifest.yml").write_text(_MANIFEST)
        (package / "__init__.py").write_text(code)
        for number in range(files):
            (workspace / f"f{number}.txt").write_text("x" * 4096)
        manifest = read_manifest(package, self._settings)
        record = PluginRecord(manifest=manifest, path=package, digest=digest_of(package))
        return Call(plugin=record, workspace=workspace, files=("f0.txt",))

    def time_ms(self, call: Call, status: str = "skipped") -> float:
        """Run a call; return how long it took."""
        began = time.perf_counter()
        outcome = self.sandbox.run_blocking(call)
        took = (time.perf_counter() - began) * 1000
        if outcome.entry is None or outcome.entry.status != status:
            raise RuntimeError(f"bench: the call ended as {outcome.entry}: {outcome.logs}")
        return took


def bare_ms() -> float:
    """Start what confines nothing; return how long it took."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", _BARE], input=b"{}", capture_output=True, check=True)
    return (time.perf_counter() - began) * 1000


def bubblewrap_ms(bwrap: str) -> float:
    """Start the same interpreter and imports as `bare` behind bubblewrap; return how long it took."""
    seen = sorted(
        {sys.prefix, sys.base_prefix, "/usr", "/lib", "/lib64"} | {str(Path(sys.executable).resolve().parents[1])}
    )
    binds = [word for path in seen if Path(path).exists() for word in ("--ro-bind", path, path)]
    began = time.perf_counter()
    inside = ("--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp")  # noqa: S108 - a mount of its own, below what is bound
    subprocess.run(
        [bwrap, "--unshare-all", "--die-with-parent", *inside, *binds, sys.executable, "-c", _BARE],
        input=b"{}",
        capture_output=True,
        check=True,
    )
    return (time.perf_counter() - began) * 1000


def memory_mb(lab: Lab) -> float:
    """Return what one running plugin adds: its process and its monitor's, pages that are shared counted in part."""
    call, halt = lab.call("hold", _HOLD), Stop()
    work = threading.Thread(target=lambda: lab.sandbox.run_blocking(call, halt))
    work.start()
    deadline = time.monotonic() + 10
    try:
        while time.monotonic() < deadline:
            running: dict[str, psutil.Process] = {}
            for process in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):  # a spare that has just been spent
                    running[process.name()] = process
            if {"plugin", "plugin-monitor"} <= running.keys() and running["plugin"].status() == psutil.STATUS_SLEEPING:
                return sum(running[name].memory_full_info().pss for name in ("plugin", "plugin-monitor")) / 2**20
        raise RuntimeError("bench: the plugin did not start; run the call alone to see why")
    finally:
        halt.set()
        work.join()
        halt.close()


def measure(report: Report, home: Path, *, quick: bool) -> None:
    """Fill the report."""
    rounds = 20 if quick else 100
    warm, cold = Lab(home, warm=True), Lab(home, warm=False)
    try:
        calls = {"noop": warm.call("noop", _NOOP), "pydantic": warm.call("pydantic", _PYDANTIC)}
        for call in calls.values():
            warm.time_ms(call)
        say("warm, cold and bare in turns")
        names = ("noop", "paused", "pydantic", "cold", "bare", "bubblewrap", "publish")
        taken: dict[str, list[float]] = {name: [] for name in names}
        bwrap = shutil.which("bwrap")
        for number in range(rounds):
            taken["noop"].append(warm.time_ms(calls["noop"]))
            taken["pydantic"].append(warm.time_ms(calls["pydantic"]))
            taken["publish"].append(warm.time_ms(warm.call("publish", _PUBLISH), "success"))
            time.sleep(_PAUSE_SECONDS)
            taken["paused"].append(warm.time_ms(calls["noop"]))
            if number % 4 == 0:
                if bwrap:
                    taken["bubblewrap"].append(bubblewrap_ms(bwrap))
                taken["cold"].append(cold.time_ms(calls["pydantic"]))
                taken["bare"].append(bare_ms())
        report.put("latency_ms", "noop_warm_p50_ms", median(taken["noop"]))
        report.put("latency_ms", "noop_warm_p99_ms", percentile(taken["noop"], 0.99))
        report.put("latency_ms", "noop_paused_p50_ms", median(taken["paused"]))
        report.put("latency_ms", "pydantic_warm_p50_ms", median(taken["pydantic"]))
        report.put("latency_ms", "publish_ten_p50_ms", median(taken["publish"]))
        report.put("latency_ms", "pydantic_cold_p50_ms", median(taken["cold"]))
        report.put("latency_ms", "bare_spawn_p50_ms", median(taken["bare"]))
        report.put("ratios", "bare_to_warm", median(taken["bare"]) / median(taken["pydantic"]))
        if bwrap:
            report.put("latency_ms", "bubblewrap_p50_ms", median(taken["bubblewrap"]))
            report.put("ratios", "bubblewrap_to_warm", median(taken["bubblewrap"]) / median(taken["pydantic"]))
        report.put("memory_mb", "running_plugin_mb", memory_mb(warm))
        say("workspaces of 100 and 10,000 files")
        small, large = warm.call("noop", _NOOP, files=100), warm.call("noop", _NOOP, files=10_000)
        pairs = [(warm.time_ms(small), warm.time_ms(large)) for _ in range(rounds)]
        report.put("ratios", "diff_10000_to_100", median(after / before for before, after in pairs))
        say("several callers")
        for callers in (1, 2, 4):
            report.put("rates", f"calls_per_s_{callers}", asyncio.run(_rate(warm, callers, 2.0 if quick else 8.0)))
    finally:
        warm.sandbox.close()
        cold.sandbox.close()


async def _rate(lab: Lab, callers: int, seconds: float) -> float:
    calls = [lab.call("noop", _NOOP) for _ in range(callers)]
    until = time.monotonic() + seconds

    async def caller(call: Call) -> int:
        count = 0
        while time.monotonic() < until:
            await lab.sandbox.run(call)
            count += 1
        return count

    return sum(await asyncio.gather(*map(caller, calls))) / seconds


def main() -> None:
    """Run the bench."""
    options = parse_options(__doc__ or "")
    report = Report("sandbox", options.quick, TARGETS)
    report.method = {"tier": "strict", "counted": "the whole call as a host makes it"}
    home = Path(tempfile.mkdtemp(prefix="baton-bench-"))
    try:
        measure(report, home, quick=options.quick)
    finally:
        remove_tree(home)
    report.write(options)


if __name__ == "__main__":
    main()
