"""TLS to the store's servers and Sentinels: the context of a connection, and what it means that it could not be made.

Certificates and host names are checked, always. The files are read at each connection, so that a renewed one needs no restart;
those that are missing or wrong at the start are refused at once. A server that is not to be trusted is told apart from one
that is away: nobody waits for it who has never been connected (`StoreUntrusted`), and whoever was, goes on trying. So is
one that speaks no TLS: it takes a handshake for a command whose end it waits for, but answers a command in plain words.
"""

import asyncio
import ssl
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final, TypeVar

from orchestrator.contracts.errors import ConfigError, StoreUnreachable, StoreUntrusted
from orchestrator.store.address import Tls

#: OpenSSL's numbers for a certificate of somebody else: another name, another address.
_OTHER_NAME: Final = frozenset({62, 64})

#: A handshake that takes longer may be none; how long a server is then given to answer a plain word.
HANDSHAKE_SECONDS: Final = 0.5
PLAIN_SECONDS: Final = 0.5
#: What every answer of a server without TLS begins with: fine, or an error. TLS begins otherwise.
_PLAIN: Final = (b"+", b"-")

T = TypeVar("T")


def check_files(tls: Tls, *, where: str) -> None:
    """Refuse files that cannot be used; raise ConfigError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if tls.ca_certs:
        try:
            context.load_verify_locations(tls.ca_certs)
        except OSError as error:  # ssl.SSLError is one
            raise ConfigError(
                f"{where}: ssl_ca_certs {tls.ca_certs}: {_say(error)}; name a PEM file of certificates"
            ) from error
    if tls.certfile:
        try:
            context.load_cert_chain(tls.certfile, tls.keyfile or None, password=_refuse_password)
        except OSError as error:
            files = tls.certfile + (f" with ssl_keyfile {tls.keyfile}" if tls.keyfile else "")
            raise ConfigError(
                f"{where}: ssl_certfile {files}: {_say(error)}; name PEM files of a certificate and its key without a password"
            ) from error


def _refuse_password() -> str:
    return ""  # without this, OpenSSL would ask for one at the terminal


def make_context(tls: Tls) -> ssl.SSLContext:
    """Return a context that checks certificates and host names; raise StoreUnreachable where a file is gone meanwhile."""
    try:
        context = ssl.create_default_context(cafile=tls.ca_certs or None)
        if tls.certfile:
            context.load_cert_chain(tls.certfile, tls.keyfile or None, password=_refuse_password)
    except OSError as error:
        files = ", ".join(tls.options.values())
        raise StoreUnreachable(f"store: TLS: {files}: {_say(error)}; they were well before, put them back") from error
    return context


async def connect_securely(
    connecting: Coroutine[Any, Any, T], host: str, port: int, *, what: str, drop: Callable[[T], None]
) -> T:
    """Return a connection over TLS; raise StoreUntrusted where it takes long because what answers there speaks none.

    `drop` is given one that was made when nobody waited for it any more.
    """
    opening, is_taken = asyncio.ensure_future(connecting), False
    try:
        await asyncio.wait([opening], timeout=HANDSHAKE_SECONDS)
        if not opening.done() and await _speaks_plainly(host, port):
            raise StoreUntrusted(
                f"store: {what}: what answers there speaks no TLS; use a URL without it, or its port that has it"
            )
        made = await opening
        is_taken = True
        return made
    finally:
        if not is_taken:
            opening.cancel()
            opening.add_done_callback(partial(_drop_made, drop))


def _drop_made(drop: Callable[[T], None], opening: asyncio.Task[T]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        drop(opening.result())


async def _speaks_plainly(host: str, port: int) -> bool:
    """Say whether a server answers a command that nobody has encrypted; the word says nothing of us."""
    try:
        async with asyncio.timeout(PLAIN_SECONDS):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(b"PING\r\n")
                return await reader.read(1) in _PLAIN
            finally:
                writer.transport.abort()
    except (OSError, TimeoutError):
        return False


def explain(error: OSError | TimeoutError | UnicodeError, place: str, *, is_secure: bool) -> StoreUnreachable:
    """Return what to raise for a connection that could not be made, or was lost before it was of use."""
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in _OTHER_NAME:
            return StoreUntrusted(
                f"store: {place}: its certificate is somebody else's ({error.verify_message.rstrip('.')}); "
                "use a name that stands in it, or make one for this name"
            )
        return StoreUntrusted(
            f"store: {place}: its certificate is not trusted ({error.verify_message}); "
            "name the authority that signed it: ssl_ca_certs=FILE in the URL"
        )
    if isinstance(error, ssl.SSLError):
        return StoreUntrusted(
            f"store: {place}: no TLS could be agreed on ({_say(error)}); does it speak TLS there, "
            "and does it want a certificate of ours (ssl_certfile)?"
        )
    if is_secure and not isinstance(error, ConnectionRefusedError):
        # A server without TLS waits for the end of what it takes for a command, or hangs up on it.
        return StoreUnreachable(
            f"store: cannot connect to {place} ({_say(error)}); is it running, does it speak TLS there, "
            "and does it want a certificate of ours (ssl_certfile)?"
        )
    return StoreUnreachable(f"store: cannot connect to {place} ({_say(error)}); is it running?")


def _say(error: OSError | TimeoutError | UnicodeError) -> str:
    """Return an error's own words, without the place in OpenSSL's source."""
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.lower().replace("_", " ")
    if isinstance(error, TimeoutError) and not error.args:
        return "timed out"
    if isinstance(error, ConnectionRefusedError):  # asyncio's own words for it are an address alone
        return "connection refused"
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
