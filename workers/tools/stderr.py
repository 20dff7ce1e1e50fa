"""Read what a tool server that we started writes to its stderr.

Lines go to the log at debug level, the last few are kept for the message when the server does not start. The end
of the stream tells that the server has ended, before the next call would find out. Tool results do not pass here.
"""

import asyncio
import logging
import os
from collections import deque
from typing import TextIO

log = logging.getLogger("baton.tools.stderr")

_LINE_BYTES, _KEPT_LINES = 2_000, 5


class ServerStderr:
    """A pipe: `file` goes to the server, the running loop reads the other end."""

    def __init__(self, server: str) -> None:
        self.server, self.has_ended = server, False
        self._tail: deque[str] = deque(maxlen=_KEPT_LINES)
        self._rest = b""
        self._read, write = os.pipe()
        os.set_blocking(self._read, False)
        self.file: TextIO = os.fdopen(write, "w")
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._read, self._take)

    def hand_over(self) -> None:
        """Close our copy of the writing end, so that the stream ends with the server."""
        self.file.close()

    def last_words(self) -> str:
        """Return the last lines, for a log."""
        return " | ".join(self._tail)

    def close(self) -> None:
        """Stop reading; safe to repeat."""
        self.file.close()
        if self._read >= 0:
            self._loop.remove_reader(self._read)
            os.close(self._read)
            self._read = -1

    def _take(self) -> None:
        try:
            chunk = os.read(self._read, 65_536)
        except BlockingIOError:  # woken for nothing
            return
        if not chunk:
            self.has_ended = True
            self.close()
        *lines, rest = (self._rest + chunk).split(b"\n")
        self._rest = b"" if len(rest) > _LINE_BYTES else rest
        for line in lines:
            text = line[:_LINE_BYTES].decode(errors="replace").rstrip()
            if text:
                self._tail.append(text)
                log.debug("%s: %s", self.server, text)
