"""Show what a session's model is writing, as `baton watch` does: whole lines as they are finished, or one object a piece."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from orchestrator.interfaces.cli.options import Form
from orchestrator.interfaces.cli.output import clean, print_json

if TYPE_CHECKING:
    from orchestrator.client import Client
    from orchestrator.contracts.streaming import StreamPiece

MARK = "       | "


class Lines:
    """Turns pieces into lines: a line is told once its end has come, or its answer's."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._text = ""
        self._kind = "text"

    def take(self, piece: "StreamPiece") -> None:
        """Take the next piece."""
        if piece.kind in {"text", "thinking"}:
            if piece.kind != self._kind:
                self._flush()
                self._kind = piece.kind
            *whole, self._text = (self._text + piece.text).split("\n")
            for line in whole:
                self._tell(line)
            return
        self._flush()
        again = f", try {piece.attempt}" if piece.attempt > 1 else ""
        match piece.kind:
            case "begin":
                self._say(f"{piece.skill}, turn {piece.turn}{again}:")
            case "tool":
                self._say(f"-> {piece.text}")
            case "failed":
                self._say("(broken off)")
            case "gap":
                self._say("(some is no longer kept)")

    def _flush(self) -> None:
        if self._text.strip():
            self._tell(self._text)
        self._text, self._kind = "", "text"

    def _tell(self, line: str) -> None:
        self._say(f"({line})" if self._kind == "thinking" else line)


async def follow_stream(client: "Client", session_id: str, form: Form) -> None:
    """Print what is written from now on, and from its beginning what is being written just now."""
    from orchestrator.contracts.streaming import FIRST_OFFSET
    from orchestrator.interfaces.cli.shapes import piece_shape

    kept = [piece async for piece in client.stream(session_id, follow=False)]
    begun = max((number for number, piece in enumerate(kept) if piece.kind == "begin"), default=len(kept))
    if any(piece.kind in {"end", "failed"} for piece in kept[begun:]):
        begun = len(kept)
    after = kept[begun - 1].offset if begun else FIRST_OFFSET
    lines = Lines(lambda line: click.echo(f"{MARK}{clean(line)}"))
    async for piece in client.stream(session_id, after=after):
        if form == "json":
            print_json("piece", piece_shape(piece), as_line=True)
        else:
            lines.take(piece)
