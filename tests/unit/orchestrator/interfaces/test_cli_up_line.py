"""The line that `baton up` keeps below what it has said: drawn on a real terminal, one line whatever its width."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from orchestrator.interfaces.cli.up import Look, choose_line

ROOT = Path(__file__).parents[4]
#: `up` with a stack and a store that are played: two looks, between which a worker has died, then the end.
SCRIPT = """
import asyncio
from pathlib import Path
from types import SimpleNamespace
from orchestrator.contracts.errors import StoreUnreachable
from orchestrator.interfaces.cli.up import Machine

class Store:
    async def counts(self):
        return {"a": {"ready": 0, "running": 2, "waiting": 0, "ended": 1041, "dead": 0}}
    async def stats(self):
        return {"step:succeeded": 7}
    async def workers(self):
        if AWAY:
            raise StoreUnreachable("store: away; start it")
        return [SimpleNamespace(kind="worker")]

class Stack:
    turns = 0
    def ended(self):
        self.turns += 1
        if self.turns == 1:
            return []
        stop.set()
        return [SimpleNamespace(name="one", code=-9, started=-1e9)]
    def restart(self, child):
        return SimpleNamespace(process=SimpleNamespace(pid=77))

async def main():
    global stop
    stop = asyncio.Event()
    await Machine(Path(), None, SimpleNamespace(server=None), 1, "table", owns_server=False)._watch(Stack(), Store(), stop)

asyncio.run(main())
"""


def draw(columns: int, environment: dict[str, str] | None = None, *, away: bool = False) -> str:
    """Return all that is written to a terminal of that width."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", SCRIPT.replace("AWAY", repr(away))],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**kept, "PYTHONPATH": str(ROOT), "TERM": "xterm", **(environment or {})},
    )
    os.close(theirs)
    written = b""
    try:
        while data := os.read(ours, 65_536):
            written += data
    except OSError:  # how Linux says that nobody is at the other end any more
        pass
    finally:
        os.close(ours)
    assert process.wait() == 0, written.decode()
    return written.decode()


SHORT = "1 worker · 2 running, 1041 ended · 0 steps/s"
SOME = f"{SHORT} · Ctrl-C to stop"
EVERY = "1 worker · sessions: 0 ready, 2 running, 0 waiting, 1041 ended, 0 dead · 0 steps/s · Ctrl-C to stop"
SAID = "baton up: one: ended with code -9; started again, pid 77"


@pytest.mark.parametrize(
    ("columns", "line"), [(200, EVERY), (100, EVERY), (80, SOME), (60, SHORT)], ids=lambda value: str(value)[:10]
)
@pytest.mark.parametrize("environment", [{}, {"NO_COLOR": "1"}], ids=["colours", "NO_COLOR"])
def test_the_live_line_is_one_line_below_what_is_said(columns: int, line: str, environment: dict[str, str]) -> None:
    """Wrapped it would be torn by every change of the window, and at 80 columns it was; the end leaves no trace of it."""
    clear = "\r\x1b[2K"

    drawn = draw(columns, environment)

    said = f"{clear}{SAID}\r\n{line}"
    assert drawn == f"\x1b[?25l{clear}{line}{said}" + f"{clear}{line}" * 2 + "\r\n\x1b[?25h\r\x1b[1A\x1b[2K"


def test_a_terminal_that_can_only_write_gets_no_live_line() -> None:
    """What cannot be drawn over is not drawn; what happens is said all the same."""
    assert draw(80, {"TERM": "dumb"}) == f"{SAID}\r\n"


def test_a_store_that_is_away_is_said_in_full() -> None:
    """Beside it no rate is shown, which nobody knows."""
    plain = re.sub(r"\x1b\[[?0-9]*[a-zA-Z]", "", draw(30, away=True))

    assert "store: away; start it · Ctrl-C\r\nto stop" in plain
    assert "steps/s" not in plain


def test_the_longest_line_still_fits_where_there_is_little_room() -> None:
    """Even in a window of a few columns it is one line."""
    look = Look(12, dict.fromkeys(("ready", "running", "waiting", "ended", "dead"), 1_000_000), 5)

    assert all(len(choose_line(look, 1e6, columns)) < columns for columns in range(2, 200))


def test_each_form_is_drawn_where_it_just_fits_and_not_where_it_just_does_not() -> None:
    """The last column stays free: a terminal that writes there goes on in the next line."""
    look = Look(1, {"ready": 0, "running": 2, "waiting": 0, "ended": 1041, "dead": 0}, 7)

    for form, shorter in ((EVERY, SOME), (SOME, SHORT), (SHORT, "2 running, 1041 ended")):
        width = len(form)
        assert [choose_line(look, 0.0, width + more) for more in (0, 1, 2)] == [shorter, form, form]
