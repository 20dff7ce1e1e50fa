"""Run the API: uvicorn on one loop, with a limit on how long a connection may be silent before it has asked for anything.

It refuses an address beyond loopback unless callers must say who they are.
"""

import asyncio
import ipaddress
import logging
import os
import signal
import socket
from typing import Any, Final

import h11
import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from orchestrator.contracts.errors import ConfigError
from orchestrator.interfaces.http.limits import SAFE_HEADERS
from orchestrator.interfaces.http.problems import MEDIA_TYPE, RETRY_SECONDS, make_problem
from orchestrator.settings_api import ApiSettings

log = logging.getLogger(__name__)

#: How long requests may go on after SIGTERM; streams are told to end at once.
GRACE_SECONDS: Final = 10
KEEP_ALIVE_SECONDS: Final = 30


def is_loopback(host: str) -> bool:
    """Say whether an address is this machine's own and no other can reach it.

    >>> [is_loopback(host) for host in ("127.0.0.1", "localhost", "::1", "0.0.0.0", "api.internal", "")]
    [True, True, True, False, False, False]
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_binding(host: str, *, has_credentials: bool) -> None:
    """Raise ConfigError for an open door that others could walk through."""
    if not has_credentials and not is_loopback(host):
        raise ConfigError(
            f"api: {host} is beyond loopback, and nobody would have to say who they are; "
            "make a token with `baton tokens new NAME --role operator`, or set api.tokens_file or api.oidc_issuer"
        )


async def refuse_busy(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request that is one too many."""
    problem = make_problem("unavailable", 503, "too many connections; try again soon", instance=scope["path"])
    headers = {**SAFE_HEADERS, "Retry-After": str(RETRY_SECONDS), "Connection": "close"}
    await JSONResponse(problem.model_dump(), 503, headers, MEDIA_TYPE)(scope, receive, send)


def patient_protocol(header_seconds: float, connections: int) -> type[H11Protocol]:
    """Return a protocol that ends a connection which does not finish the head of a request in time.

    It serves so many connections at once, and refuses what is more, or no HTTP, with problems as everything here does.
    """

    class Patient(H11Protocol):
        _silent: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._served = self.app
            # asyncio does this for sockets that name their protocol; one of ours that was accepted does not, and the
            # body of an answer would wait some 40 ms for the other side to acknowledge its head.
            sock = transport.get_extra_info("socket")
            if sock is not None and sock.family in {socket.AF_INET, socket.AF_INET6}:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._expect()

        def handle_events(self) -> None:
            asked = self.cycle
            is_full = len(self.connections) > connections or len(self.tasks) >= connections
            self.app = refuse_busy if is_full else self._served
            super().handle_events()
            if self.cycle is not asked:
                self._stop_expecting()

        def send_400_response(self, msg: str) -> None:
            body = make_problem(
                "invalid-request", 400, f"{msg.rstrip('.')}; mend the head of the request"
            ).model_dump_json()
            headers = {**SAFE_HEADERS, "Content-Type": MEDIA_TYPE, "Connection": "close"}
            lines = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
            answer = h11.Response(status_code=400, headers=lines, reason=b"Bad Request")
            for event in (answer, h11.Data(data=body.encode()), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
            self.transport.close()

        def on_response_complete(self) -> None:
            self._expect()  # a kept connection has to begin again, and then to come to an end
            super().on_response_complete()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_expecting()
            super().connection_lost(exc)

        def _expect(self) -> None:
            self._stop_expecting()
            seconds = header_seconds if self.cycle is None else header_seconds + KEEP_ALIVE_SECONDS
            self._silent = self.loop.call_later(seconds, self._give_up)

        def _stop_expecting(self) -> None:
            if self._silent is not None:
                self._silent.cancel()
                self._silent = None

        def _give_up(self) -> None:
            if self.transport is not None and not self.transport.is_closing():
                self.transport.abort()

    return Patient


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that listens; raise ConfigError where the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2_048)
    except OSError as error:
        # The socket's own words repeat the address; a name that cannot be resolved has no number.
        why = os.strerror(error.errno) if error.errno is not None and error.errno > 0 else error.strerror
        raise ConfigError(f"api: cannot listen on {host}:{port} ({why}); choose another --host or --port") from error


def make_server(app: FastAPI, settings: ApiSettings, **more: Any) -> uvicorn.Server:  # noqa: ANN401 - uvicorn's own options
    """Return a server that is not started."""
    config = uvicorn.Config(
        app,
        http=patient_protocol(settings.header_seconds, settings.connections),
        ws="none",
        loop="asyncio",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
        h11_max_incomplete_event_size=32_768,
        **more,
    )
    return _Server(config)


class _Server(uvicorn.Server):
    """Ends event streams as soon as it is told to end: they would outlast any grace. Being told to end is no failure."""

    def handle_exit(self, sig: int, frame: Any) -> None:  # noqa: ANN401 - as its base has it, but the signal is not raised again
        del frame
        self.force_exit = self.force_exit or (self.should_exit and sig == signal.SIGINT)
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        app = self.config.app
        if isinstance(app, FastAPI):
            app.state.parts.hub.close()
        await super().shutdown(sockets)
