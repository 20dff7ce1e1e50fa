"""One connection to the server, shared by everything on one event loop.

Commands issued in the same tick of the loop leave in one write, and replies are matched to them
in order: a hundred sessions that commit at once cost one round trip, not a hundred. hiredis
parses and packs; where it leads is what address.py and sentinel.py read in a URL.

A connection that breaks fails everything under way with StoreUnreachable, whose outcome is then
unknown. Repeating is the caller's choice: the acts of `scripts` can all be repeated safely, and
`Store.act` does so. Nothing here knows what a command means.
"""

import asyncio
import logging
import ssl
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeAlias, cast

import hiredis

from orchestrator.contracts.errors import StoreError, StoreUnreachable
from orchestrator.store.address import is_sentinel, parse_server
from orchestrator.store.sentinel import Sentinels, find_primary, is_replaced, parse_sentinels, write_place
from orchestrator.store.tls import connect_securely, explain, make_context

Reply: TypeAlias = Any
Argument: TypeAlias = str | bytes | int | float | memoryview

log = logging.getLogger(__name__)

REPLY_SECONDS = 10.0
CONNECT_SECONDS = 5.0
#: How long a connection is used before the Sentinels are asked again who is primary.
LOOK_SECONDS = 3.0

#: The server is there but cannot serve yet: it loads its AOF, has just become a replica, or its memory or disk is full.
NOT_YET = frozenset(
    {"LOADING", "BUSY", "MASTERDOWN", "READONLY", "CLUSTERDOWN", "TRYAGAIN", "OOM", "MISCONF", "NOREPLICAS"}
)


class Head(NamedTuple):
    """The first words of a command that is sent again and again, packed once (`pack_head`); `key` says to which server."""

    length: int
    words: bytes
    key: str = ""


_pack = cast("Callable[[tuple[Argument, ...]], bytes]", hiredis.pack_command)  # its stub means words of one length only


def pack_head(*args: Argument, key: str = "") -> Head:
    """Pack the words that a command begins with.

    >>> pack_head("GET", key="k")
    Head(length=1, words=b'$3\\r\\nGET\\r\\n', key='k')
    """
    packed = _pack(args)
    return Head(len(args), packed[packed.index(b"\n") + 1 :], key)


class ServerRefused(StoreError):
    """The server answered with an error; `code` is the protocol's own first word, `text` all of them."""

    def __init__(self, text: str) -> None:
        self.text, self.code = text, text.split(" ", 1)[0]
        super().__init__(f"store: the server answered {text!r}; see its log")


class _Protocol(asyncio.Protocol):
    """Feeds bytes to the parser and hands replies to those who wait, first come first served."""

    def __init__(self, on_push: Callable[[Reply], None] | None, refused: Callable[[str], ServerRefused]) -> None:
        self.refused = refused
        self.reader = hiredis.Reader(encoding="utf-8", errors="surrogateescape")
        self.waiting: deque[asyncio.Future[Reply]] = deque()
        self.transport: asyncio.Transport | None = None
        self.on_push = on_push
        self.closed = False
        self.lost = asyncio.Event()
        self.loss: Exception | None = None
        self.heard = False
        self.outgoing: list[bytes] = []
        self.flush_planned = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - asyncio's own contract for streams
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.heard = True
        self.reader.feed(data)
        while (reply := self.reader.gets()) is not False:
            if not self.waiting:
                if self.on_push is not None:
                    self.on_push(reply)
                continue
            future = self.waiting.popleft()
            if future.done():
                continue
            if isinstance(reply, hiredis.ReplyError):
                future.set_exception(self.refused(str(reply)))
            else:
                future.set_result(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self.lost.set()
        self.loss = exc
        # A server that wants TLS hangs up on whoever speaks none, without a word.
        hint = "" if self.heard else "; it never said a word: does it want TLS (rediss://)?"
        lost = f"store: connection lost ({exc or 'closed by the server'}); the act may have happened{hint}"
        error = StoreUnreachable(lost)
        while self.waiting:
            future = self.waiting.popleft()
            if not future.done():
                future.set_exception(error)


class Wire:
    """A connection that opens itself when first used and again after a loss."""

    def __init__(self, url: str, *, on_connect: Callable[["Wire"], Awaitable[None]] | None = None) -> None:
        self._sentinels = parse_sentinels(url) if is_sentinel(url) else None
        #: User, password, database and TLS, of whichever server it is; a path, where it is one of this machine.
        self._named = self._sentinels or parse_server(url)
        self.tls = self._named.tls
        self._socket = "" if isinstance(self._named, Sentinels) else self._named.socket
        #: Where the server is; with Sentinels, where it was when they were last asked.
        self._place = ("", 0) if isinstance(self._named, Sentinels) else (self._named.host, self._named.port)
        self._context: ssl.SSLContext | None = None
        self._on_connect = on_connect
        #: How often it was opened, and which run of which server it leads to, where `on_connect` finds that out.
        self.opened, self.run_id = 0, ""
        self._on_push: Callable[[Reply], None] | None = None
        self._protocol: _Protocol | None = None
        #: Whether it has said who it is, and which database it means: before that, no command may go over it.
        self._greeted = False
        self._opening: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._watched: asyncio.Future[Reply] | None = None
        self._look: asyncio.TimerHandle | None = None
        self._looking: asyncio.Task[None] | None = None

    def command(self, *args: Argument, head: Head | None = None) -> Awaitable[Reply]:
        """Send one command and return its reply; raise ServerRefused or StoreUnreachable.

        With `head`, the command's first words are those, and `args` the rest. What is returned is the reply's own future where
        the connection is open: every step waits for one, and each function in between has its price.
        """
        if not self._greeted or self._protocol is None or self._protocol.closed:
            return self._open_and_send(args, head)
        return self._send(args, head)

    async def _open_and_send(self, args: tuple[Argument, ...], head: Head | None) -> Reply:
        await self._open()
        return await self._send(args, head)

    def _refused(self, text: str) -> ServerRefused:
        if self._sentinels is not None and text.startswith("READONLY"):
            self._abort()  # it was the primary once: the next command asks the Sentinels who is
        return ServerRefused(text)

    def _abort(self) -> None:
        if self._protocol is not None and self._protocol.transport is not None:
            self._protocol.closed = True
            self._protocol.transport.abort()

    def _send(self, args: tuple[Argument, ...], head: Head | None = None) -> asyncio.Future[Reply]:
        protocol, loop = self._protocol, self._loop
        if protocol is None or loop is None or protocol.closed:
            raise StoreUnreachable("store: not connected; try again")
        future: asyncio.Future[Reply] = loop.create_future()
        packed = _pack(args)
        if head is None:
            protocol.outgoing.append(packed)
        else:
            protocol.outgoing += (
                b"*%d\r\n%b" % (head.length + len(args), head.words),
                packed[packed.index(b"\n") + 1 :],
            )
        protocol.waiting.append(future)
        if not protocol.flush_planned:
            protocol.flush_planned = True
            loop.call_soon(self._flush, protocol)
        return future

    def _flush(self, protocol: _Protocol) -> None:
        protocol.flush_planned = False
        data = b"".join(protocol.outgoing)
        protocol.outgoing.clear()
        if protocol.closed or protocol.transport is None:
            return  # connection_lost has failed these commands already
        protocol.transport.write(data)
        if self._watch is None and self._loop is not None:
            self._watched = protocol.waiting[0] if protocol.waiting else None
            self._watch = self._loop.call_later(REPLY_SECONDS, self._check_progress)
        self._look_later(protocol)

    def _look_later(self, protocol: _Protocol) -> None:
        if self._sentinels is not None and self._look is None and self._loop is not None:
            self._look = self._loop.call_later(LOOK_SECONDS, self._look_now, self._sentinels, protocol)

    def _look_now(self, sentinels: Sentinels, protocol: _Protocol) -> None:
        self._look = None
        if not protocol.closed and (self._looking is None or self._looking.done()):
            self._looking = asyncio.ensure_future(self._leave_if_replaced(sentinels, protocol))

    async def _leave_if_replaced(self, sentinels: Sentinels, protocol: _Protocol) -> None:
        """End a connection to a server that stood still while another became primary: it is the last to know."""
        place = self._place
        replaced = await is_replaced(sentinels, place, self._context)
        if protocol is not self._protocol or protocol.closed:
            return
        if replaced:
            log.warning("store: %s is not the primary any more; asking the Sentinels who is", write_place(place))
            self._abort()
        elif self._on_push is not None or protocol.waiting:
            # Whoever listens, or waits for a server that stands still, sends nothing meanwhile.
            self._look_later(protocol)

    def _check_progress(self) -> None:
        """Give up a connection whose oldest command was not answered for a whole period."""
        self._watch = None
        protocol = self._protocol
        if protocol is None or protocol.closed or not protocol.waiting or self._loop is None:
            return
        if protocol.waiting[0] is self._watched and protocol.transport is not None:
            log.warning("store: no reply for %.0f s; reconnecting", REPLY_SECONDS)
            protocol.transport.abort()
            return
        self._watched = protocol.waiting[0]
        self._watch = self._loop.call_later(REPLY_SECONDS, self._check_progress)

    async def _open(self) -> None:
        """Open once for all who ask at the same time."""
        if self._opening is None:
            self._opening = asyncio.ensure_future(self._connect())
            self._opening.add_done_callback(self._opened)
        opening = self._opening
        try:
            await asyncio.shield(opening)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if opening.cancelled() and task is not None and not task.cancelling():
                raise StoreUnreachable("store: the connection was closed while it was made") from None
            raise

    def _opened(self, task: asyncio.Task[None]) -> None:
        self._opening = None
        if not task.cancelled():
            task.exception()  # marks it as seen even if everyone who waited was cancelled

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        self._loop, self._greeted = loop, False
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        if self._look is not None:
            self._look.cancel()
            self._look = None

        def make() -> _Protocol:
            return _Protocol(self._on_push, self._refused)

        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                if self._named.tls is not None:
                    self._context = make_context(self._named.tls)
                if self._sentinels is not None:
                    self._place = await find_primary(self._sentinels, self._context)
                if self._socket:
                    _, protocol = await loop.create_unix_connection(make, self._socket)
                else:
                    host, port = self._place
                    connecting = loop.create_connection(make, host, port, ssl=self._context)
                    if self._context is not None:
                        what = write_place(self._place)
                        connecting = connect_securely(
                            connecting, host, port, what=what, drop=lambda made: made[0].abort()
                        )
                    _, protocol = await connecting
                self._protocol = protocol
                if self._context is not None:
                    await self._knock(protocol)
                await self._greet()
                self._greeted = True
        except (OSError, TimeoutError, UnicodeError) as error:
            raise explain(
                error, self._socket or write_place(self._place), is_secure=self._context is not None
            ) from error
        finally:
            if not self._greeted:
                self._abort()

    async def _knock(self, protocol: _Protocol) -> None:
        """Wait for a first answer, whatever it is: whether it takes our certificate, a server says behind the handshake."""
        try:
            await self._send(("PING",))
        except ServerRefused as error:
            log.debug("store: its first answer was %r", error.text)
        except StoreUnreachable as error:
            loss = protocol.loss if isinstance(protocol.loss, OSError) else ConnectionResetError("closed by the server")
            raise explain(loss, write_place(self._place), is_secure=True) from error

    async def _greet(self) -> None:
        named = self._named
        if named.password:
            user = (named.username,) if named.username else ()
            await self._send(("AUTH", *user, named.password))
        if named.db:
            await self._send(("SELECT", named.db))
        self.opened += 1
        if self._on_connect is not None:
            await self._on_connect(self)

    async def during_open(self, *args: Argument) -> Reply:
        """Send a command from `on_connect`, before anybody else may use the connection."""
        return await self._send(args)

    async def subscribe(self, channel: str, on_message: Callable[[str], None]) -> None:
        """Turn this connection into a listener; use it for nothing else afterwards."""

        def on_push(reply: Reply) -> None:
            if isinstance(reply, list) and reply and reply[0] == "message":
                on_message(str(reply[2]))

        self._on_push = on_push
        await self.command("SUBSCRIBE", channel)

    async def wait_lost(self) -> None:
        """Return once the connection is lost, at once where there is none."""
        if self._protocol is not None:
            await self._protocol.lost.wait()

    async def aclose(self) -> None:
        """Close the connection; a later command would open it again."""
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        if self._look is not None:
            self._look.cancel()
            self._look = None
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
            self._looking = None
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.gather(self._opening, return_exceptions=True)
        protocol, self._protocol = self._protocol, None
        if protocol is not None and protocol.transport is not None:
            protocol.transport.close()
            await asyncio.sleep(0)
