"""What a watcher is written, whatever the store does meanwhile: a model call never waits for it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import cast

from orchestrator.contracts.errors import StoreError
from orchestrator.contracts.ports import Piece
from orchestrator.contracts.streaming import StreamPiece
from orchestrator.store.token_stream import TokenStream
from workers.streaming import MOST_WAITING, PIECE_CHARS, TokenSink


class Written:
    """Stands where the stream is: takes pieces, or is away, or belongs to another holder."""

    def __init__(self) -> None:
        self.pieces: dict[int, StreamPiece] = {}
        self.asked = 0
        self.is_away = False
        self.is_taken = False
        self.answers = asyncio.Event()
        self.answers.set()

    async def append(self, session_id: str, fence: int, first: int, pieces: Sequence[StreamPiece]) -> bool:
        self.asked += 1
        await self.answers.wait()
        if self.is_away:
            raise StoreError("store: away; wait")
        if not self.is_taken:
            self.pieces |= dict(enumerate(pieces, first))
        return not self.is_taken


def play(scene: Callable[[TokenSink, Written], Awaitable[None]]) -> None:
    """Run a scene with a sink."""

    async def run() -> None:
        written = Written()
        await scene(TokenSink(cast("TokenStream", written), "S", 7), written)

    asyncio.run(run())


def test_words_are_collected_and_numbered_in_one_row() -> None:
    """A write for every token would cost more than the token."""

    async def scene(sink: TokenSink, written: Written) -> None:
        for attempt in (1, 2):
            put = sink.begin("talk", 3, attempt)
            for word in ("one ", "two ", "", "three"):
                put(Piece("text", word))
            put(Piece("thinking", "hm"))
            put(Piece("tool", "read"))
            put(Piece("tool", "list"))
            await sink.end(is_whole=attempt == 2)

        told = [(piece.kind, piece.text) for _, piece in sorted(written.pieces.items())]
        one = [("text", "one two three"), ("thinking", "hm"), ("tool", "read"), ("tool", "list")]
        assert told == [("begin", ""), *one, ("failed", ""), ("begin", ""), *one, ("end", "")]
        assert sorted(written.pieces) == list(range(1, len(told) + 1))
        assert [piece.attempt for piece in written.pieces.values() if piece.kind == "begin"] == [1, 2]

    play(scene)


def test_a_long_text_comes_in_pieces_of_bounded_size() -> None:
    """One piece must not be as long as an answer."""

    async def scene(sink: TokenSink, written: Written) -> None:
        text = "x" * (PIECE_CHARS * 2 + 5)
        sink.begin("talk", 0, 1)(Piece("text", text))
        await sink.end(is_whole=True)

        texts = [piece.text for piece in written.pieces.values() if piece.kind == "text"]
        assert "".join(texts) == text
        assert max(map(len, texts)) <= PIECE_CHARS

    play(scene)


def test_while_the_store_does_not_answer_only_so_much_is_kept() -> None:
    """The oldest go, and their numbers with them: a reader sees the gap."""

    async def scene(sink: TokenSink, written: Written) -> None:
        written.answers.clear()
        put = sink.begin("talk", 0, 1)
        for number in range(MOST_WAITING * 3):
            put(Piece("tool", str(number)))
        written.answers.set()
        await sink.end(is_whole=True)

        numbers = sorted(written.pieces)
        assert numbers[-1] == MOST_WAITING * 3 + 2
        assert len(numbers) == MOST_WAITING
        assert written.pieces[numbers[-1]].kind == "end"

    play(scene)


def test_pieces_that_cannot_be_written_are_let_go() -> None:
    """The answer is in the journal; its watchers see a gap, and the call goes on."""

    async def scene(sink: TokenSink, written: Written) -> None:
        written.is_away = True
        sink.begin("talk", 0, 1)(Piece("text", "lost"))
        await sink.end(is_whole=False)
        written.is_away = False
        sink.begin("talk", 0, 2)(Piece("text", "kept"))
        await sink.end(is_whole=True)

        assert [(number, piece.kind) for number, piece in sorted(written.pieces.items())] == [
            (4, "begin"),
            (5, "text"),
            (6, "end"),
        ]

    play(scene)


def test_after_the_session_has_gone_to_another_nothing_is_written() -> None:
    """The other holder has a stream of its own to write."""

    async def scene(sink: TokenSink, written: Written) -> None:
        written.is_taken = True
        put = sink.begin("talk", 0, 1)
        await sink.end(is_whole=False)
        asked = written.asked
        put(Piece("text", "late"))
        sink.begin("talk", 0, 2)
        await sink.end(is_whole=True)

        assert (written.pieces, written.asked) == ({}, asked)

    play(scene)


def test_a_call_that_streams_nothing_writes_nothing() -> None:
    """A provider that cannot stream leaves no empty frame."""

    async def scene(sink: TokenSink, written: Written) -> None:
        await sink.end(is_whole=True)

        assert written.asked == 0

    play(scene)
