"""What `baton watch` makes of pieces: whole lines, and which of them count no more."""

from orchestrator.contracts.streaming import StreamPiece
from orchestrator.interfaces.cli.streamed import Lines


def told(*pieces: StreamPiece) -> list[str]:
    """Return the lines that these pieces become."""
    lines: list[str] = []
    show = Lines(lines.append)
    for piece in pieces:
        show.take(piece)
    return lines


def test_a_line_is_told_once_it_is_whole() -> None:
    """Half a line in a terminal that others write to as well would be torn."""
    pieces = [
        StreamPiece(kind="begin", skill="talk", turn=2, attempt=1),
        StreamPiece(kind="thinking", text="hm"),
        StreamPiece(kind="text", text="one\ntw"),
    ]

    assert told(*pieces) == ["talk, turn 2:", "(hm)", "one"]
    assert told(*pieces, StreamPiece(kind="text", text="o"), StreamPiece(kind="end"))[3:] == ["two"]
    assert told(*pieces, StreamPiece(kind="tool", text="disk:read"))[3:] == ["tw", "-> disk:read"]


def test_what_broke_off_and_what_is_missing_are_said() -> None:
    """Nobody takes half an answer, or the rest of one, for the whole."""
    assert told(
        StreamPiece(kind="gap"),
        StreamPiece(kind="text", text="rest"),
        StreamPiece(kind="failed"),
        StreamPiece(kind="begin", skill="talk", attempt=2),
    ) == ["(some is no longer kept)", "rest", "(broken off)", "talk, turn 0, try 2:"]
