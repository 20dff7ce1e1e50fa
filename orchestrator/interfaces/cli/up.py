"""`baton up`: everything on one machine, in the foreground - server, scheduler, workers.

Ctrl-C, SIGTERM or a terminal that closes drains and stops what this command started, and nothing else; a second Ctrl-C does
not wait. A process that dies is started again, unless it dies at once. One `up` a state folder.
"""

import asyncio
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from orchestrator.contracts.base import JsonObject
from orchestrator.interfaces.cli.exits import FAILED, OK
from orchestrator.interfaces.cli.options import Form, output_option
from orchestrator.interfaces.cli.output import drop_output, is_terminal, make_console, many, print_json

if TYPE_CHECKING:
    from rich.live import Live

    from orchestrator.client import Client
    from orchestrator.embedded import StoreAddress
    from orchestrator.interfaces.cli.stack import Stack
    from orchestrator.settings import Settings

STATUS_SECONDS: Final = 1.0
#: A process that ended sooner than this would end again.
SHORTEST_LIFE_SECONDS: Final = 10.0
SHOWN_PHASES: Final = ("ready", "running", "waiting", "ended", "dead")
HOW_TO_STOP: Final = "Ctrl-C to stop"


@click.command("up")
@click.option("--workers", type=click.IntRange(1, 512), help="Worker processes. Default: worker.processes (2).")
@output_option
def up_command(*, workers: int | None, form: Form) -> int:
    """Run everything on this machine: server, scheduler, workers.

    Uses the server of BATON_REDIS_URL where that is set, the bundled one otherwise. With `-o json` it prints one
    object a line: {"up": …} once everything is ready, and {"stopped": …} at the end.
    """
    from orchestrator import embedded
    from orchestrator.interfaces.cli.connect import server_dir, settings, state_dir
    from orchestrator.interfaces.cli.stack import UpLock

    home, configured = state_dir(), settings()
    lock = UpLock(home)
    owns_server = False
    try:
        # Said before it is started: reading a large file back takes its time, and whoever ends us meanwhile leaves no server behind.
        owns_server = not configured.store.url and (
            lock.inherits_server or embedded.status(server_dir()).state == "stopped"
        )
        lock.write(owns_server=owns_server)
        address = embedded.find_store(configured.store.url, configured.queues.broker_url, state_dir=server_dir())
        owns_server = address.server is not None and (address.server.is_new or lock.inherits_server)
        lock.write(owns_server=owns_server)
        machine = Machine(
            home, configured, address, workers or configured.worker.processes, form, owns_server=owns_server
        )
        return asyncio.run(machine.run())
    finally:
        if owns_server:
            embedded.stop(server_dir())
        lock.release()


@dataclass
class Machine:
    """What runs on one machine, and what is told of it."""

    home: Path
    settings: "Settings"
    address: "StoreAddress"
    workers: int
    form: Form
    owns_server: bool
    _drawn: "Live | None" = None

    async def run(self) -> int:
        """Start, watch until a signal, stop; return the exit code."""
        from orchestrator.interfaces.cli.connect import archive_url, make_client
        from orchestrator.interfaces.cli.stack import ProcessFailed, Stack, ending_signals

        stop, hurry = asyncio.Event(), asyncio.Event()

        def end() -> None:
            (hurry if stop.is_set() else stop).set()

        loop = asyncio.get_running_loop()
        for number in ending_signals():
            loop.add_signal_handler(number, end)
        began = time.monotonic()
        stack = Stack(self.home / "logs", self.address, self.settings, archive_url=archive_url())
        client = make_client(self.address.url, {})
        code = OK
        try:
            self._say(self._server_line())
            stack.start(self.workers)
            if await _first(stack.wait_ready(client), stop):
                self._ready(stack, time.monotonic() - began)
                await self._watch(stack, client, stop)
        except ProcessFailed as error:
            sys.stderr.write(f"baton: {error}\n")
            code = FAILED
            if self.form == "json":
                body: JsonObject = {"type": type(error).__name__, "message": str(error), "exit_code": code}
                print_json("error", body, as_line=True)
        finally:
            self._say_unheard("stopping: workers finish or hand back what runs; again Ctrl-C to end them now")
            killed = await stack.stop(hurry)
            await client.aclose()
        self._stopped(killed, time.monotonic() - began)
        return code

    async def _watch(self, stack: "Stack", client: "Client", stop: asyncio.Event) -> None:
        """Tell what goes on, and start again what died, until `stop`."""
        keeper = asyncio.create_task(self._keep_server())
        try:
            await self._keep_children(stack, client, stop, keeper)
        finally:
            self._drawn = None
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)

    async def _keep_server(self) -> None:
        """Start the server again where it died and is ours; what it had acknowledged is read back from its disk."""
        from orchestrator import embedded
        from orchestrator.embedded_watch import is_alive

        server = self.address.server
        while server is not None and self.owns_server:
            await asyncio.sleep(STATUS_SECONDS)
            if is_alive(server.state_dir):
                continue
            again = await asyncio.to_thread(embedded.start, server.state_dir)
            self._say(f"server: ended; started again, pid {again.pid}")

    async def _keep_children(
        self, stack: "Stack", client: "Client", stop: asyncio.Event, keeper: "asyncio.Task[None]"
    ) -> None:
        from orchestrator.interfaces.cli.stack import ProcessFailed

        with self._live() as live:
            self._drawn = live
            steps, looked = 0, time.monotonic()
            while not stop.is_set():
                if keeper.done():
                    keeper.result()  # its server cannot be started: so it says
                for child in stack.ended():
                    if child.code != 0 and time.monotonic() - child.started < SHORTEST_LIFE_SECONDS:
                        raise ProcessFailed(
                            f"{child.name}: it ended with code {child.code} as soon as it ran; {child.log}:\n{child.tail()}"
                        )
                    if child.code == 0:  # an operator has drained it, and wants it gone
                        stack.forget(child)
                        self._say(f"{child.name}: drained, and not started again")
                        continue
                    again = stack.restart(child)
                    self._say(f"{child.name}: ended with code {child.code}; started again, pid {again.process.pid}")
                if live is not None:
                    now = time.monotonic()
                    found = await self._look(client)
                    if isinstance(found, str):
                        steps, text = 0, f"{found} · {HOW_TO_STOP}"
                    else:
                        rate = max(found.steps - steps, 0) / max(now - looked, 0.001) if steps else 0
                        steps, looked = found.steps, now
                        text = choose_line(found, rate, live.console.width)
                    live.update(text, refresh=True)
                await _first(asyncio.sleep(STATUS_SECONDS), stop)

    async def _look(self, client: "Client") -> "Look | str":
        """Return what goes on, or why that cannot be known."""
        from orchestrator.contracts.errors import StoreUnreachable

        try:
            counts, stats, members = await asyncio.gather(client.counts(), client.stats(), client.workers())
        except StoreUnreachable as error:
            return str(error)
        return Look(
            workers=sum(1 for info in members if info.kind == "worker"),
            sessions={phase: sum(one[phase] for one in counts.values()) for phase in SHOWN_PHASES},
            steps=sum(number for name, number in stats.items() if name.startswith("step:")),
        )

    def _live(self) -> "Live | _NoLive":
        if self.form == "json" or not is_terminal():
            return _NoLive()
        from rich.live import Live

        return Live("", console=make_console(), auto_refresh=False, transient=True)

    def _server_line(self) -> str:
        from orchestrator.settings import mask_url

        server = self.address.server
        if server is None:
            return f"server: {mask_url(self.address.url)}, as configured"
        how = (
            "started" if server.is_new else "taken over" if self.owns_server else "ran already and will be left running"
        )
        return f"server: bundled {server.version}, pid {server.pid}, {how}"

    def _ready(self, stack: "Stack", seconds: float) -> None:
        if self.form == "json":
            processes: list[JsonObject] = [{"name": child.name, "pid": child.process.pid} for child in stack.children]
            server = self.address.server
            body: JsonObject = {
                "state_dir": str(self.home),
                "server_pid": server.pid if server is not None else None,
                "processes": list(processes),
                "seconds": round(seconds, 2),
            }
            print_json("up", body, as_line=True)
            sys.stdout.flush()
            return
        pids = ", ".join(f"{child.name} {child.process.pid}" for child in stack.children)
        self._say(f"ready in {seconds:.1f} s: {pids}")
        self._say(f"logs: {self.home / 'logs'} · next: `baton submit APP`, `baton watch`, from another terminal")

    def _stopped(self, killed: list[str], seconds: float) -> None:
        if self.form == "json":
            print_json("stopped", {"killed": list(killed), "seconds": round(seconds, 2)}, as_line=True)
            return
        self._say_unheard("stopped" + (f"; killed after their grace: {', '.join(killed)}" if killed else ""))

    def _say(self, line: str) -> None:
        if self.form != "table":
            return
        if self._drawn is not None:  # what goes round it would be written behind the live line, on the same line
            self._drawn.console.print(f"baton up: {line}")
        else:
            click.echo(f"baton up: {line}")

    def _say_unheard(self, line: str) -> None:
        """Say a line to whoever is still there: the terminal may be closed, or `tee` have ended by the same Ctrl-C."""
        try:
            self._say(line)
        except OSError:
            drop_output()  # and what runs is ended all the same


@dataclass(frozen=True)
class Look:
    """What one look at the store found: workers that live, sessions by phase, steps that were ever done."""

    workers: int
    sessions: Mapping[str, int]
    steps: int


def choose_line(look: Look, steps_per_second: float, width: int) -> str:
    """Return the fullest form of the live line that is one line of so many columns; what goes first is what is nought.

    >>> look = Look(1, {"ready": 0, "waiting": 12}, 40)
    >>> choose_line(look, 0.4, 80)
    '1 worker · sessions: 0 ready, 12 waiting · 0 steps/s · Ctrl-C to stop'
    >>> choose_line(look, 0.4, 60), choose_line(look, 0.4, 20)
    ('1 worker · 12 waiting · 0 steps/s · Ctrl-C to stop', '12 waiting')
    """
    workers = many(look.workers, "worker")
    every = ", ".join(f"{number} {phase}" for phase, number in look.sessions.items())
    some = ", ".join(f"{number} {phase}" for phase, number in look.sessions.items() if number) or "no sessions"
    rate = f"{steps_per_second:.0f} steps/s"
    forms = (
        f"{workers} · sessions: {every} · {rate} · {HOW_TO_STOP}",
        f"{workers} · {some} · {rate} · {HOW_TO_STOP}",
        f"{workers} · {some} · {rate}",
    )
    return next((form for form in forms if len(form) < width), some[: width - 1])


class _NoLive:
    """In place of a live view, where nobody looks."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


async def _first(work: "Coroutine[object, object, object]", stop: asyncio.Event) -> bool:
    """Do the work unless `stop` comes first; say whether it was done. Its errors are raised."""
    task, waiting = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
        if not task.done():
            task.cancel()
        await asyncio.gather(task, waiting, return_exceptions=True)
    if task.cancelled():
        return False
    error = task.exception()
    if error is not None:
        raise error
    return True


if TYPE_CHECKING:
    from collections.abc import Coroutine
