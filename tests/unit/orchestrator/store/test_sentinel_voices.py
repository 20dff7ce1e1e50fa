"""Whom a new connection believes, where Sentinels differ, are silent, or refuse to speak.

Small servers that answer as Sentinels do; real ones are tests/integration/test_sentinel.py's.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import hiredis
import pytest

from orchestrator.contracts.errors import ConfigError, StoreUnreachable
from orchestrator.store import sentinel
from orchestrator.store.sentinel import OTHERS_SECONDS, Answer, choose_primary, find_primary, parse_sentinels
from tests.ports import free_port

OLD, NEW, THIRD = ("10.0.0.1", 6379), ("10.0.0.2", 6379), ("10.0.0.3", 6379)
#: Longer than any test may take: nobody waits so long for nothing.
LONG_SECONDS = 120.0


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let whoever waits for the others at all wait too long."""
    monkeypatch.setattr(sentinel, "OTHERS_SECONDS", LONG_SECONDS)
    monkeypatch.setattr(sentinel, "ASK_SECONDS", LONG_SECONDS)


@dataclass
class Talker:
    """A Sentinel that names a place since an epoch; without a place it knows nobody, and a silent one says nothing."""

    place: tuple[str, int] | None = None
    epoch: int = 1
    is_silent: bool = False
    password: str = ""
    may_tell_facts: bool = True
    port: int = 0
    heard: list[list[str]] = field(default_factory=list)

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Talker"]:
        """Serve until the end."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        parser, entered = hiredis.Reader(encoding="utf-8"), not self.password
        try:
            while data := await reader.read(4096):
                parser.feed(data)
                while (words := parser.gets()) is not False:
                    self.heard.append(words)
                    if words[0] == "AUTH":
                        entered = words[-1] == self.password
                        writer.write(b"+OK\r\n" if entered else b"-WRONGPASS invalid username-password pair\r\n")
                    elif not self.is_silent:
                        writer.write(self._answer(words) if entered else b"-NOAUTH Authentication required.\r\n")
        finally:
            writer.transport.abort()

    def _answer(self, words: list[str]) -> bytes:
        if words[1] == "GET-MASTER-ADDR-BY-NAME":
            return b"*-1\r\n" if self.place is None else _words(self.place[0], str(self.place[1]))
        if not self.may_tell_facts:
            return b"-NOPERM this user has no permissions to run the 'sentinel|master' command\r\n"
        if self.place is None:
            return b"-ERR No such master with that name\r\n"
        return _words("name", words[2], "ip", self.place[0], "config-epoch", str(self.epoch))


def _words(*words: str) -> bytes:
    return f"*{len(words)}\r\n".encode() + b"".join(f"${len(word)}\r\n{word}\r\n".encode() for word in words)


def ask(*talkers: Talker | None, options: str = "") -> tuple[tuple[str, int], float]:
    """Return whom a new connection goes to, and after how many seconds; None is nobody at that place."""

    async def run() -> tuple[tuple[str, int], float]:
        async with AsyncExitStack() as stack:
            opened = [None if one is None else await stack.enter_async_context(one.open()) for one in talkers]
            places = [f"127.0.0.1:{free_port() if one is None else one.port}" for one in opened]
            began = time.monotonic()
            found = await find_primary(parse_sentinels(f"sentinel://{','.join(places)}/main?{options}"))
            return found, time.monotonic() - began

    return asyncio.run(run())


def test_most_of_them_are_believed_not_the_first(caplog: pytest.LogCaptureFixture) -> None:
    """One that stood still names the old primary until it has heard, and it may stand first in the URL."""
    with caplog.at_level(logging.WARNING):
        found, _ = ask(Talker(OLD), Talker(NEW, 2), Talker(NEW, 2))

    assert found == NEW
    assert "10.0.0.2:6379 is believed" in caplog.text


def test_that_they_differ_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """An operator sees which Sentinel lives in the past."""
    with caplog.at_level(logging.WARNING):
        ask(Talker(OLD), Talker(NEW, 2))

    assert "differ about who is primary: 10.0.0.2:6379 is believed, and not 10.0.0.1:6379" in caplog.text


def test_one_that_answers_is_enough_and_nobody_waits_for_those_that_are_gone(patient: None) -> None:
    """A minority starts: no failover can happen meanwhile, and a session's work must go on."""
    found, seconds = ask(None, None, Talker(OLD))

    assert found == OLD
    assert seconds < LONG_SECONDS / 2


def test_silent_ones_cost_a_start_half_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """They might have said otherwise; longer than that, they have nothing to say."""
    monkeypatch.setattr(sentinel, "ASK_SECONDS", LONG_SECONDS)
    found, seconds = ask(Talker(is_silent=True), Talker(OLD), Talker(is_silent=True))

    assert found == OLD
    assert OTHERS_SECONDS <= seconds < LONG_SECONDS / 2


def test_a_majority_waits_for_nobody(patient: None) -> None:
    """What the rest says could not change it."""
    found, seconds = ask(Talker(is_silent=True), Talker(NEW), Talker(NEW))

    assert found == NEW
    assert seconds < LONG_SECONDS / 2


def test_of_two_that_differ_the_later_epoch_is_believed() -> None:
    """Most Sentinels have agreed on it; the other one has not heard of it yet."""
    assert ask(Talker(OLD, 4), None, Talker(NEW, 5))[0] == NEW
    assert ask(Talker(NEW, 5), None, Talker(OLD, 4))[0] == NEW


def test_a_sentinel_that_may_not_tell_its_epoch_still_has_a_voice() -> None:
    """Its user may be allowed one command alone."""
    assert ask(Talker(OLD, may_tell_facts=False), Talker(NEW, 1), None)[0] == NEW
    assert ask(Talker(OLD, may_tell_facts=False))[0] == OLD


def test_one_that_knows_nobody_has_no_voice() -> None:
    """It was just set up, or watches others."""
    assert ask(Talker(), Talker(), Talker(OLD))[0] == OLD


def test_where_none_knows_the_name_it_is_said() -> None:
    """The name in the URL is wrong more often than every Sentinel."""
    with pytest.raises(StoreUnreachable, match="no Sentinel knows a primary called 'main'; mend the name"):
        ask(Talker(), Talker())


def test_where_none_can_be_reached_each_is_named_with_its_reason() -> None:
    """They fail for different reasons."""
    with pytest.raises(StoreUnreachable, match=r"connection refused.*; .*timed out.*; .*knows no 'main'"):
        ask(None, Talker(is_silent=True), Talker())


def test_sentinels_have_a_user_and_a_password_of_their_own() -> None:
    """Those of the servers are never sent to them."""
    talker = Talker(OLD, password="s3cret")

    assert ask(talker, options="sentinel_username=watcher&sentinel_password=s3cret")[0] == OLD
    assert talker.heard[0] == ["AUTH", "watcher", "s3cret"]


@pytest.mark.parametrize("options", ["", "sentinel_password=wr0ng"])
def test_a_sentinel_that_refuses_says_what_to_give_it(options: str) -> None:
    """And no message repeats what was given."""
    with pytest.raises(StoreUnreachable, match=r"NOAUTH|WRONGPASS") as refused:
        ask(Talker(OLD, password="s3cret"), options=options)

    assert "sentinel_username and sentinel_password in the URL" in str(refused.value)
    assert "wr0ng" not in str(refused.value)


@pytest.mark.parametrize(
    ("answers", "pending", "found"),
    [
        ([Answer(OLD)], 1, None),
        ([Answer(OLD), Answer(OLD)], 1, OLD),
        ([Answer(OLD), Answer(NEW)], 1, None),
        ([Answer(OLD), Answer(OLD)], 2, None),
        ([Answer(OLD), Answer(OLD), Answer(NEW, 9)], 0, OLD),
        ([Answer(OLD, 2), Answer(NEW, 3), Answer(THIRD, 1)], 0, NEW),
        ([Answer(OLD, 2), Answer(NEW, 2)], 0, OLD),
        ([Answer(None)], 0, None),
        ([], 0, None),
    ],
)
def test_voices_are_counted(answers: Sequence[Answer], pending: int, found: tuple[str, int] | None) -> None:
    """Most voices, then the later epoch, then who stands first; and only what those pending cannot change."""
    assert choose_primary(answers, pending=pending) == found


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sentinel://a:1", "the primary's name is missing"),
        ("sentinel://a:1/main/0", "no single word"),
        ("sentinel://a:1,:2/main", "a host is missing"),
        ("sentinel://a:many/main", "a port is no number"),
        ("sentinel://a/main?db=x", "a database is one number"),
        ("sentinel://a/main?sentinel_username=me", "without sentinel_password"),
        ("sentinel://a/main?socket_timeout=1", "'socket_timeout' is read by nobody"),
        ("sentinel://a/main?sentinel_pasword=x", "did you mean 'sentinel_password'"),
    ],
)
def test_a_url_that_says_nothing_clear_is_refused(url: str, message: str) -> None:
    """With the form that is right."""
    with pytest.raises(ConfigError, match=message):
        parse_sentinels(url)
