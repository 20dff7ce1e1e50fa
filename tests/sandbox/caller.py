"""A process that runs one plugin which would rather stay: what dies around it is for the test to choose. SIGUSR1 cancels the run.

Arguments: a folder, the tier, `warm` or `cold`, how many processes the plugin makes beside its own, and `go` where it shall not stay.
"""

import signal
import sys
from pathlib import Path
from typing import Final

from plugin_sandbox.conversation import Stop
from plugin_sandbox.host import Sandbox
from plugin_sandbox.manifest import digest_of, read_manifest
from plugin_sandbox.model import Call, PluginRecord
from plugin_sandbox.settings import SandboxSettings

_MANIFEST: Final = """\
name: stays
version: "1"
api_version: "1"
supported_extensions: []
isolation: {{processes: {processes}, timeout_seconds: 300}}
"""
_CODE: Final = """\
import os, signal
from plugin_sandbox.api import Plugin as Base

class Plugin(Base):
    def can_handle(self, path, variables):
        return True

    def transform(self, path, ctx):
        path.write_text("changed")
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)
        for _ in range(ctx.variables["processes"]):
            if os.fork() == 0:
                os.setsid()
                while True:
                    signal.pause()
        while ctx.variables["stays"]:
            signal.pause()
"""


def main(home: Path, tier: str, mode: str, processes: int, *, stays: bool) -> None:
    """Run it, and say how it ended."""
    package, workspace = home / "package", home / "workspace"
    for folder in (package, workspace):
        folder.mkdir(exist_ok=True)
    (package / "manifest.yml").write_text(_MANIFEST.format(processes=processes))
    (package / "__init__.py").write_text(_CODE)
    (workspace / "data.txt").write_text("as it was")
    lacks = ("disk_quota", "uts_namespace") if tier == "standard" else ()
    settings = SandboxSettings.model_validate(
        {"tier": tier, "allow_degraded": lacks, "state_dir": home / "state", "slots": 1, "warm": mode == "warm"}
    )
    call = Call(
        plugin=PluginRecord(manifest=read_manifest(package, settings), path=package, digest=digest_of(package)),
        workspace=workspace,
        files=("data.txt",),
        variables={"processes": processes, "stays": stays},
    )
    sandbox, halt = Sandbox(settings, force_tier=settings.tier), Stop()
    signal.signal(signal.SIGUSR1, lambda *_: halt.set())
    entry = sandbox.run_blocking(call, halt).entry
    sandbox.close()
    sys.stdout.write(entry.status if entry is not None else "asked")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]), stays=sys.argv[5:] != ["go"])
