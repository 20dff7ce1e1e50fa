"""`baton demo`: the installed apps' demos on real input, from nothing to the end and back to nothing.

    server on a temporary folder · a scheduler and workers as real processes · the apps' scenes
    submit all -> follow -> answer -> tables -> stop everything

Whatever happens - Ctrl-C, SIGTERM, a terminal that closes, an error - the children are ended, the scenes taken down, the folder removed. With
`--keep` the folder stays, server stopped, to be looked at with `--state-dir`.
"""

import asyncio
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from orchestrator.contracts.base import JsonObject
from orchestrator.interfaces.cli.exits import FAILED, INTERRUPTED, OK, TERMINATED
from orchestrator.interfaces.cli.options import Form, actor_option, output_option, parse_duration
from orchestrator.interfaces.cli.output import drop_output, many, print_json

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from orchestrator.client import Client
    from orchestrator.contracts.app import AppSpec
    from orchestrator.embedded import RunningServer, StoreAddress
    from orchestrator.interfaces.cli.demo_answers import Mode
    from orchestrator.interfaces.cli.demo_scene import Scene
    from orchestrator.interfaces.cli.demo_view import Shown, View
    from orchestrator.interfaces.cli.stack import Stack
    from orchestrator.settings import Settings

LOOK_SECONDS: Final = 0.1
SERVER_SECONDS: Final = 0.5
WORKERS: Final = 2


@click.command(
    "demo",
    context_settings={"ignore_unknown_options": True},
    epilog="Options that are not listed here are handed to the apps' demos, e.g. `baton demo --repo PATH`. Without a "
    "terminal and without --yes, what asks for an approval is denied.",
)
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[--OPTION VALUE]...")
@click.option("--app", "chosen", multiple=True, help="Only this app's demo; may be given several times.")
@click.option("--yes", "says_yes", is_flag=True, help="Grant every approval, and answer by declared defaults.")
@click.option("--keep", is_flag=True, help="Keep the folder: sessions, logs, scenes.")
@click.option("--workers", type=click.IntRange(1, 64), default=WORKERS, show_default=True)
@click.option(
    "--timeout", type=parse_duration, metavar="SECONDS", default=300.0, show_default=True, help="For all of it."
)
@actor_option
@output_option
def demo_command(
    *,
    words: tuple[str, ...],
    chosen: tuple[str, ...],
    says_yes: bool,
    keep: bool,
    workers: int,
    timeout: float,
    actor: str,
    form: Form,
) -> int:
    """Run the installed apps' demos on real input, from start to end."""
    from orchestrator.interfaces.cli.batch import parse_options
    from orchestrator.interfaces.cli.connect import load_specs, settings
    from orchestrator.interfaces.cli.demo_answers import choose_mode
    from orchestrator.interfaces.cli.demo_scene import find_scenes
    from orchestrator.interfaces.cli.demo_view import View

    began = time.monotonic()
    options = parse_options(words, ("--app", "--yes", "--keep", "--workers", "--timeout", "--as", "--output"))
    specs = load_specs()
    scenes = find_scenes(specs, chosen, options)
    view = View(is_quiet=form == "json")
    mode = choose_mode(says_yes=says_yes)
    with _server(keep=keep) as server:
        run = Run(settings(), specs, scenes, options, server, view, mode, actor, workers, timeout, began)
        code = asyncio.run(run.run())
    if form == "json":
        print_json("demo", run.shape(code, kept=server.state_dir if keep else None))
    elif keep:
        click.echo(
            f"kept: {server.state_dir}; look at it with\n  baton --state-dir {server.state_dir.parent} redis start"
        )
    return code


@contextmanager
def _server(*, keep: bool) -> "Iterator[RunningServer]":
    """Lend a server of our own: on a folder that goes with it, or stays."""
    from orchestrator import embedded

    if not keep:
        with embedded.temporary() as server:
            yield server
        return
    home = Path(tempfile.mkdtemp(prefix="baton-demo-")).resolve() / "server"
    try:
        yield embedded.start(home)
    finally:
        embedded.stop(home)


@dataclass(slots=True)
class Run:
    """One run of the demo."""

    settings: "Settings"
    specs: "dict[str, AppSpec]"
    scenes: "list[Scene]"
    options: dict[str, str]
    server: "RunningServer"
    view: "View"
    mode: "Mode"
    actor: str
    workers: int
    timeout: float
    began: float
    steps: int = 0
    times: dict[str, float] = field(default_factory=dict)
    signalled: int = 0

    async def run(self) -> int:
        """Do all of it; return the exit code."""
        from orchestrator.interfaces.cli.connect import make_client
        from orchestrator.interfaces.cli.demo_scene import stop
        from orchestrator.interfaces.cli.stack import ProcessFailed, Stack, ending_signals

        stack = Stack(self._folder() / "logs", self._address(), self.settings)
        client = make_client(self.server.url, self.specs)
        loop, mine = asyncio.get_running_loop(), asyncio.current_task()

        def interrupt(number: int) -> None:
            if not self.signalled and mine is not None:
                mine.cancel()
            self.signalled = self.signalled or number

        for number in ending_signals():
            loop.add_signal_handler(number, interrupt, number)
        code, hurry = FAILED, asyncio.Event()
        try:
            self._say_start()
            async with asyncio.timeout(self.timeout):
                code = await self._while_served(self._play(stack, client), hurry)
        except TimeoutError:
            self._tell_late(stack)
        except ProcessFailed as error:
            self.view.end()
            sys.stderr.write(f"baton: {error}\n")
        except asyncio.CancelledError:
            if not self.signalled:
                raise
            if mine is not None:
                mine.uncancel()
            code = INTERRUPTED if self.signalled == signal.SIGINT else TERMINATED
        finally:
            self._say_end()
            # Workers first: a session that still runs could start something new in a scene.
            killed = await stack.stop(hurry)
            await client.aclose()
            stop(self.scenes)
        if code == OK:
            where = "everything was stopped" + (f"; killed: {', '.join(killed)}" if killed else "")
            self.view.say(f"{where}, {time.monotonic() - self.began:.1f} s in all")
        return code

    def _say_end(self) -> None:
        """End the view, and say why; the terminal may be closed by now, and all is stopped all the same."""
        try:
            self.view.end()
            if self.signalled:
                sys.stderr.write("baton: interrupted; stopping everything\n")
        except OSError:
            drop_output()

    async def _while_served(self, play: "Coroutine[object, object, int]", hurry: asyncio.Event) -> int:
        """Play for as long as the server lives; without it nothing goes on, and no worker has anything to finish."""
        from orchestrator.embedded_folder import log_tail
        from orchestrator.embedded_watch import is_alive
        from orchestrator.interfaces.cli.stack import ProcessFailed

        playing = asyncio.ensure_future(play)
        home = self.server.state_dir
        try:
            while not (await asyncio.wait([playing], timeout=SERVER_SECONDS))[0]:
                if not is_alive(home):
                    hurry.set()
                    said = log_tail(home / "server.log") or "nothing"
                    raise ProcessFailed(f"server: it ended, and the demo with it; run it again. Its log says: {said}")
            return playing.result()
        finally:
            playing.cancel()
            await asyncio.gather(playing, return_exceptions=True)

    async def _play(self, stack: "Stack", client: "Client") -> int:
        from orchestrator.interfaces.cli.demo_scene import prepare

        stack.start(self.workers)
        # The scenes are set up and submitted while the workers still import: sessions wait for them in line.
        await prepare(self.scenes, self._folder() / "scenes", self.options)
        self._mark("prepared")
        await self._submit(client)
        self._mark("submitted")
        ready = asyncio.create_task(stack.wait_ready(client))
        try:
            await self._follow(stack, client, ready)
        finally:
            ready.cancel()
            await asyncio.gather(ready, return_exceptions=True)
        self._mark("settled")
        self.view.end()
        stats = await client.stats()
        self.steps = sum(count for name, count in stats.items() if name.startswith("step:"))
        return self._finish(stack)

    async def _submit(self, client: "Client") -> None:
        from orchestrator.contracts.own_keys import check_callers_key
        from orchestrator.interfaces.cli.demo_view import Shown
        from orchestrator.interfaces.cli.output import one_line

        for scene in self.scenes:
            made = await asyncio.gather(
                *(
                    client.submit(
                        scene.spec.name,
                        text=one.text,
                        overrides=one.overrides,
                        actor=self.actor,
                        key=check_callers_key(one.key),
                    )
                    for one in scene.submissions
                )
            )
            for one, submitted in zip(scene.submissions, made, strict=True):
                title = one.title or one_line(one.text, 80)
                self.view.sessions.append(Shown(scene.spec, submitted.session_id, title))
            self.times.setdefault("first_submission", time.monotonic() - self.began)
            number = len(scene.submissions)
            self.view.say(f"  {scene.spec.name}: submitted {number} session{'s' if number != 1 else ''}")

    async def _follow(self, stack: "Stack", client: "Client", ready: "asyncio.Task[None]") -> None:
        """Look at all sessions until each is over, answering what waits for a person."""
        from orchestrator.interfaces.cli.demo_answers import answer
        from orchestrator.interfaces.cli.demo_plugins import collect_runs, has_plugins
        from orchestrator.interfaces.cli.stack import ProcessFailed
        from orchestrator.interfaces.cli.wording import waits_for_person

        asked: set[tuple[str, str]] = set()
        is_ready = False
        self.view.begin()
        while left := [one for one in self.view.sessions if not one.is_over]:
            if ready.done() and not is_ready:
                ready.result()
                is_ready = True
                self._mark("ready")
                self.view.say(f"  workers ready after {self.times['ready']:.1f} s")
            for child in stack.ended():
                raise ProcessFailed(f"{child.name}: it ended with code {child.code}; its log:\n{child.tail()}")
            for one, record in zip(
                left, await asyncio.gather(*(client.show(one.session_id) for one in left)), strict=True
            ):
                one.record = record
                if one.is_over:
                    one.settled = await client.explain(one.session_id)
                    if has_plugins(one.spec):
                        one.runs = await collect_runs(client.events(one.session_id))
                    self.view.tell_over(one)
                elif waits_for_person(record) and record.wait is not None:
                    question = (record.session_id, record.wait.wait_id)
                    if question not in asked:
                        asked.add(question)
                        if self.mode == "ask":
                            self.view.end()
                        await answer(client, record, self.actor, self.mode, lambda line: self.view.say(f"  {line}"))
                        self.view.begin()
            self.view.refresh()
            await asyncio.sleep(LOOK_SECONDS)

    def _finish(self, stack: "Stack") -> int:
        from orchestrator.interfaces.cli.demo_view import describe_totals, print_tables

        sessions = self.view.sessions
        if not self.view.is_quiet:
            print_tables(sessions)
            seconds = self.times["settled"] - self.times["first_submission"]
            click.echo()
            self.view.say(f"{describe_totals(sessions)}", "bold")
            self.view.say(
                f"{many(self.steps, 'step')} on {many(self.workers, 'worker')} in {seconds:.1f} s, "
                f"the first submission {self.times['first_submission']:.1f} s after the start"
            )
            self._say_next()
        dead = [one for one in sessions if one.record is None or one.record.phase == "dead"]
        if dead:
            self._tell_dead(dead, stack)
        return FAILED if dead else OK

    def _say_start(self) -> None:
        server = self.server
        self.view.say("Baton demo", "bold")
        self.view.say(
            f"  server {server.version} (pid {server.pid}) on a folder of its own, 1 scheduler, {many(self.workers, 'worker')}"
        )
        if self.mode == "deny":
            self.view.say("  no terminal and no --yes: what asks for an approval is denied")

    def _say_next(self) -> None:
        from orchestrator.interfaces.cli.connect import checkout

        # In a checkout whose environment is not active, a shell finds the launcher alone.
        baton = "baton" if checkout() is None or shutil.which("baton") else "./baton"
        self.view.say(f"Next: `{baton} up`, and from another terminal:")
        for words in ([f"submit {scene.spec.name}" for scene in self.scenes], ["watch", "explain ID", "apps new NAME"]):
            self.view.say("  " + " · ".join(f"{baton} {word}" for word in words))

    def _tell_late(self, stack: "Stack") -> None:
        self.view.end()
        left = [one.session_id for one in self.view.sessions if not one.is_over]
        sys.stderr.write(
            f"baton: demo: not done after {self.timeout:.0f} s: {', '.join(left) or 'nothing was submitted'}\n"
        )
        self._tell_logs(stack)

    def _tell_dead(self, dead: "Sequence[Shown]", stack: "Stack") -> None:
        for one in dead:
            detail = one.record.reason if one.record is not None else ""
            sys.stderr.write(f"baton: demo: {one.session_id} is a dead letter: {detail}\n")
        self._tell_logs(stack)

    def _tell_logs(self, stack: "Stack") -> None:
        for child in stack.children:
            sys.stderr.write(f"  {child.name} ({child.log}):\n{child.tail()}\n")

    def _mark(self, what: str) -> None:
        self.times[what] = time.monotonic() - self.began

    def _folder(self) -> Path:
        return self.server.state_dir / "demo"

    def _address(self) -> "StoreAddress":
        from orchestrator.embedded import StoreAddress

        return StoreAddress(url=self.server.url, broker_url=self.server.broker_url, server=self.server)

    def shape(self, code: int, *, kept: Path | None) -> JsonObject:
        """Return the demo as JSON prints it."""
        from orchestrator.interfaces.cli.demo_view import explain
        from orchestrator.interfaces.cli.shapes import session_line

        sessions: list[JsonObject] = [
            {
                "title": one.title,
                **(session_line(one.record) if one.record is not None else {"session_id": one.session_id}),
                "because": explain(one),
                "fields": one.record.fields if one.record is not None else {},
                "plugins": [run["entry"] for run in one.runs],
            }
            for one in self.view.sessions
        ]
        return {
            "sessions": list(sessions),
            "steps": self.steps,
            "workers": self.workers,
            "seconds": {name: round(value, 3) for name, value in self.times.items()},
            "kept": str(kept) if kept is not None else None,
            "exit_code": code,
        }
