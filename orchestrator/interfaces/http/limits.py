"""What a request may cost before anybody looks at it: the size of its body, its time to come; headers of every answer.

Plain ASGI, around everything that is mounted into the application.
"""

import asyncio
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestrator.interfaces.http.problems import Refused

#: An answer of ours is data: nothing in it may run, be framed, be guessed at, or be kept.
SAFE_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}


class BodyLimits:
    """Refuses a body that is too large (413) or too slow (408), while it is read."""

    def __init__(self, app: ASGIApp, *, most_bytes: int, seconds: float) -> None:
        self._app = app
        self._most = most_bytes
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        is_declared_large = declared.isdigit() and int(declared[:18]) > self._most
        read, is_whole, deadline = 0, False, asyncio.get_running_loop().time() + self._seconds

        async def limited() -> Message:
            nonlocal read, is_whole
            if is_whole:  # what follows the body is the end of the connection, and may take as long as it likes
                return await receive()
            if is_declared_large:
                raise self._too_large()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError as error:
                detail = f"the body did not come within {self._seconds:g} s; send it faster"
                raise Refused("too-slow", 408, detail, {"Connection": "close"}) from error
            if message["type"] == "http.request":
                read += len(message.get("body", b""))
                is_whole = not message.get("more_body", False)
                if read > self._most:
                    raise self._too_large()
            return message

        await self._app(scope, limited, send)

    def _too_large(self) -> HTTPException:
        return Refused(
            "too-large", 413, f"the body is over {self._most} bytes; make it smaller", {"Connection": "close"}
        )


class SafeHeaders:
    """Sets the headers that every answer has, unless what answered set its own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SAFE_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, with_headers)
