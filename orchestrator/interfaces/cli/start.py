"""Where `baton` begins: until its modules are read, Ctrl-C ends the process at once, and no traceback of imports is shown.

What comes afterwards is main's, which says that it was interrupted. `./baton` holds the signal back until this module has it, so
that Python's own start is covered as well; a console script begins here, and Python's own start is before it.
"""

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

from orchestrator.interfaces.cli.exits import INTERRUPTED


def main() -> int:
    """Run one command and return its exit code."""
    # Ignored it stays ignored: so a script starts what runs in its background.
    is_heard = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_heard:
        signal.signal(signal.SIGINT, _end)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    from orchestrator.interfaces.cli.main import main as run_command

    try:
        if is_heard:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        return run_command()
    except KeyboardInterrupt:  # between two lines: inside, main hears it
        return INTERRUPTED


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    os._exit(INTERRUPTED)  # nothing has been begun that would have to be ended


if __name__ == "__main__":
    sys.exit(main())
