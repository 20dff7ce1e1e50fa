"""How soon a cancel reaches what runs outside of a worker's own code: a model's connection, a tool server, a plugin's box.

Real processes, with leases so long that no heartbeat can have brought the word: within the time of a test only the call on the
channel can. What is measured, and printed, is seen from outside - the other end of the connection, the server's own file, the box's
processes - and so is the session's end in the store. Where nobody holds the machine up, it is a fraction of a second.
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil
import pytest

from orchestrator.client import Client
from orchestrator.embedded import RunningServer
from orchestrator.embedded_binary import bundled_path
from orchestrator.installed import load_installed_apps
from orchestrator.wiring import build_client
from tests.chaos.fleet import Fleet, Member, fleet_of, pause, quick_settings
from tests.halting import halting

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.skipif(bundled_path() is None, reason="no server is bundled for this platform"),
]

REACH = Path(__file__).parent / "reach"
#: What runs would go on for longer by itself, and no lease is renewed as soon.
WITHIN_SECONDS = 60.0
Until = Callable[[], bool]


class SilentModel:
    """A model's address behind which nobody answers; it sees when a request has come, and when the caller is gone."""

    def __init__(self) -> None:
        self.asked = self.gone = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take one connection."""
        if not await reader.read(65_536):
            return
        self.asked += 1
        while await reader.read(65_536):
            pass
        self.gone += 1
        writer.close()


async def until(test: Until) -> None:
    """Return once the test passes; the play's own time limits it."""
    while not test():
        await pause(0.01)


async def measure(client: Client, session_id: str, is_gone: Until, *, immediate: bool) -> dict[str, float]:
    """Cancel a session; return after how many seconds what ran was gone, and the session at its end."""
    began, told = time.monotonic(), {}
    await client.cancel(session_id, actor="ada", reason="enough", immediate=immediate)

    async def note(name: str, what: Awaitable[object]) -> None:
        await what
        told[name] = time.monotonic() - began

    await asyncio.gather(
        note("gone", until(is_gone)), note("ended", client.wait_for([session_id], seconds=WITHIN_SECONDS))
    )
    assert (await client.show(session_id)).status == "called_off"
    return told


def holders_of(member: Member, path: Path) -> list[int]:
    """Return the processes below a worker that have a file of that name open, in whatever box."""
    found = []
    for pid in member.pids():
        try:
            opened = [link.readlink().name for link in Path(f"/proc/{pid}/fd").iterdir()]
        except OSError:  # it ended while we looked
            continue
        if path.name in opened:
            found.append(pid)
    return found


@pytest.mark.parametrize(
    ("skill", "immediate"), [("model", False), ("model", True), ("mcp", True), ("plugin", False), ("plugin", True)]
)
def test_a_cancel_stops_what_runs_elsewhere_long_before_a_renewal(
    empty_server: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, skill: str, immediate: bool
) -> None:
    """The connection is closed, the server told, the box killed with all that is in it; and the session has ended."""
    held = tmp_path / "work" / "held-by-the-plugin.txt"
    held.parent.mkdir()
    held.write_text("as it was\n")
    slow_leases = {"seconds": 3_600.0, "renew_seconds": 1_200.0}
    settings = quick_settings(REACH, lease=slow_leases)
    workspaces = settings.apps.model_copy(update={"workspaces": (str(tmp_path),)})
    settings = settings.model_copy(update={"apps": workspaces})

    async def act(fleet: Fleet) -> None:
        model = SilentModel()
        listener = await asyncio.start_server(model.serve, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        monkeypatch.setenv("REACH_MODEL_URL", f"http://127.0.0.1:{port}/v1")
        monkeypatch.setenv("REACH_MODEL_KEY", "key")
        monkeypatch.setenv("REACH_PYTHON", sys.executable)
        monkeypatch.setenv("REACH_FOLDER", str(tmp_path))
        client = build_client(settings, fleet.store, load_installed_apps(settings))
        try:
            worker = fleet.start("worker", plugins=True, XDG_STATE_HOME=str(tmp_path / "state"))
            fleet.start("scheduler")
            is_begun: Until = {
                "model": lambda: model.asked > 0,
                "mcp": (tmp_path / "begun").exists,
                "plugin": lambda: bool(holders_of(worker, held)),
            }[skill]
            is_gone: Until = {
                "model": lambda: model.gone == model.asked,
                "mcp": (tmp_path / "stopped").exists,
                "plugin": lambda: not holders_of(worker, held),
            }[skill]
            made = await client.submit(
                "reach", text="go on", overrides={"folder": str(held.parent)}, actor="ada", entry_skill=skill
            )
            await until(is_begun)
            boxed = [psutil.Process(pid) for pid in holders_of(worker, held)]
            boxed += [child for process in boxed for child in process.children(recursive=True)]

            async with asyncio.timeout(WITHIN_SECONDS):
                told = await measure(client, made.session_id, is_gone, immediate=immediate)

            print(f"{skill}: " + ", ".join(f"{name} after {seconds:.3f} s" for name, seconds in sorted(told.items())))
            assert psutil.wait_procs(boxed, timeout=WITHIN_SECONDS)[1] == []
            assert held.read_text() == "as it was\n"
            assert model.asked == (1 if skill == "model" else 0)
        finally:
            listener.close()
            await client.aclose()

    async def run(fleet: Fleet) -> None:
        async with asyncio.timeout(300):
            await act(fleet)

    with fleet_of(empty_server.url, empty_server.broker_url, tmp_path, settings=settings) as fleet:
        asyncio.run(run(fleet))


def test_a_heartbeat_alone_brings_a_cancel_with_its_next_renewal(
    store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the channel is deaf, the next renewal of the lease says the same; a second between two is a setting."""
    monkeypatch.setenv("HALTING_LEDGER", str(tmp_path / "ledger"))

    async def run() -> None:
        async with halting(store_url, lease={"seconds": 120.0, "renew_seconds": 1.0}) as on:
            beating = asyncio.create_task(on.heartbeat.renew_forever())
            session_id = await on.submit(plan="strikes")
            running = asyncio.create_task(on.run(session_id))
            await on.tools.begun.get()
            await on.on.client.cancel(session_id, actor="ada", immediate=True)

            assert (await running).status == "called_off"

            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)

    asyncio.run(run())
