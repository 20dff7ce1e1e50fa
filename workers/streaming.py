"""From a provider's pieces to the session's stream: collected for a moment, written in the background.

A model call never waits for the stream. What cannot be written is dropped: watchers see a gap, the journal has the answer.
A slice has one sink, which numbers the pieces of all of its calls in one row.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from orchestrator.contracts.errors import StoreError
from orchestrator.contracts.ports import Piece
from orchestrator.contracts.streaming import StreamPiece
from orchestrator.store.token_stream import TokenStream

log = logging.getLogger(__name__)

#: Pieces wait this long for others, so that a quick model costs a few writes a second and not one a token.
FLUSH_SECONDS: Final = 0.1
#: More than this in one piece is cut into several, and more than this waiting is written at once.
PIECE_CHARS: Final = 4_096
#: Of a stream that the store does not take in time, no more than this is kept in memory.
MOST_WAITING: Final = 256
#: How long the end of a call waits for the last pieces to be written.
CLOSE_SECONDS: Final = 1.0


class TokenSink:
    """Writes the pieces of one slice's model calls."""

    def __init__(self, stream: TokenStream, session_id: str, fence: int) -> None:
        self._stream, self._session_id, self._fence = stream, session_id, fence
        self._waiting: list[StreamPiece] = []
        self._chars = 0
        self._number = 1
        self._flush: asyncio.Task[None] | None = None
        self._now = asyncio.Event()
        self._is_open = self._is_refused = False

    def begin(self, skill: str, turn: int, attempt: int) -> Callable[[Piece], None]:
        """Say that an answer begins; return what takes its pieces."""
        self._is_open = True
        self._put(StreamPiece(kind="begin", skill=skill, turn=turn, attempt=attempt))
        return self.put

    def put(self, piece: Piece) -> None:
        """Take a piece; it is written a moment later, with what has come by then."""
        if not piece.text:
            return
        last = self._waiting[-1] if self._waiting else None
        joins = last is not None and last.kind == piece.kind != "tool"
        if last is not None and joins and len(last.text) + len(piece.text) <= PIECE_CHARS:
            self._waiting[-1] = last.model_copy(update={"text": last.text + piece.text})
            self._chars += len(piece.text)
            self._plan()
            return
        for start in range(0, len(piece.text), PIECE_CHARS):
            self._put(StreamPiece(kind=piece.kind, text=piece.text[start : start + PIECE_CHARS]))

    async def end(self, *, is_whole: bool) -> None:
        """Say how the answer ended, if one began, and give what is left a moment to be written."""
        if not self._is_open:
            return
        self._is_open = False
        self._put(StreamPiece(kind="end" if is_whole else "failed"))
        self._now.set()
        if self._flush is not None:
            await asyncio.wait({self._flush}, timeout=CLOSE_SECONDS)

    def _put(self, piece: StreamPiece) -> None:
        if self._is_refused:
            return
        if len(self._waiting) >= MOST_WAITING:  # its number is passed over: whoever reads sees that it is missing
            self._waiting.pop(0)
            self._number += 1
        self._waiting.append(piece)
        self._chars += len(piece.text)
        self._plan()

    def _plan(self) -> None:
        if self._chars >= PIECE_CHARS:
            self._now.set()
        if self._flush is None or self._flush.done():
            self._flush = asyncio.create_task(self._write())

    async def _write(self) -> None:
        """Write what is waiting until nothing is."""
        while self._waiting and not self._is_refused:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._now.wait(), FLUSH_SECONDS)
            self._now.clear()
            pieces, first = self._waiting, self._number
            self._waiting, self._chars, self._number = [], 0, first + len(pieces)
            try:
                taken = await self._stream.append(self._session_id, self._fence, first, pieces)
            except StoreError as error:
                log.warning("session %s: its stream lacks %d pieces: %s", self._session_id, len(pieces), error)
                continue
            if not taken:  # another holder has the session: the step will learn it from its lease
                self._is_refused = True
