"""What a session's model is writing: a bounded stream, written by its holder and read by whoever watches.

It is advice, like a wake-up: nothing is decided by it, and what is lost of it is in the journal once the step is
committed. Reading goes on at an offset; where pieces behind it are no longer kept, the reader is told so.
"""

import re
from collections.abc import Sequence
from typing import Final

from orchestrator.contracts.errors import InputError, StoreError, Unreadable
from orchestrator.contracts.streaming import FIRST_OFFSET, StreamPiece
from orchestrator.store.store import Store

PAGE: Final = 500
_BEGINNING: Final = (0, 0)
_OFFSET: Final = re.compile(r"(\d{1,16})-(\d{1,10})")


def read_offset(text: str) -> tuple[int, int]:
    """Return an offset's numbers; raise InputError for a text that is none."""
    found = _OFFSET.fullmatch(text)
    if found is None:
        raise InputError(f"offset {text!r}: not an offset; give one that a piece had, or {FIRST_OFFSET}")
    return int(found[1]), int(found[2])


class TokenStream:
    """The streams of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def append(self, session_id: str, fence: int, first: int, pieces: Sequence[StreamPiece]) -> bool:
        """Append pieces, numbered from `first`; False where another holder has the session by now."""
        limits = self._store.limits
        words = [piece.to_json() for piece in pieces]
        reply = await self._store.act(
            "stream", session_id, fence, limits.stream_pieces, limits.stream_seconds * 1000, first, *words
        )
        if reply[0] == "malformed":
            raise StoreError(f"session {session_id}: stream refused; this is a defect, report it")
        return bool(reply[0] == "streamed")

    async def read(self, session_id: str, after: str = FIRST_OFFSET, *, count: int = PAGE) -> tuple[StreamPiece, ...]:
        """Return the pieces behind an offset, oldest first; one of kind `gap` stands where some are missing.

        Pieces of one holder are numbered without a gap from 1, so that what is missing in front of one shows. From the
        very beginning (0-0) one reads what is kept, whatever was before it.
        """
        place = read_offset(after)
        key = self._store.keys.of_session("tokens", session_id)
        rows = await self._store.command("XRANGE", key, after, "+", "COUNT", count + 1)
        is_kept = bool(rows) and rows[0][0] == after
        rows = rows[1:] if is_kept else rows[:count]
        found: list[StreamPiece] = []
        before = place
        for number, (offset, fields) in enumerate(rows):
            here = read_offset(offset)
            is_known = number > 0 or is_kept or place == _BEGINNING
            if here != (before[0], before[1] + 1) and not (is_known and here[0] != before[0] and here[1] == 1):
                found.append(StreamPiece(kind="gap", offset=f"{here[0]}-{here[1] - 1}"))
            try:
                piece = StreamPiece.from_json(fields[1])
            except ValueError as error:
                message = f"session {session_id}: piece {offset} cannot be read ({error}); read on behind it"
                raise Unreadable(message) from error
            found.append(piece.model_copy(update={"offset": offset}))
            before = here
        return tuple(found)
