"""Redis Sentinel: which server is the primary now? Asked anew for each connection, and every few seconds of its use.

    sentinel://[[USER]:PASSWORD@]HOST:PORT[,HOST:PORT ...]/NAME[?db=N&sentinel_password=...]

User and password are the servers'; NAME is what the Sentinels call the primary. The first Sentinel that answers is believed; a
server that turns out to be no primary any more answers READONLY, and then they are asked again (wire.py). One that stood still
while another took over believes that it is the primary until the Sentinels tell it, some ten seconds later, and nothing that
it takes until then is kept: so most of the Sentinels that the URL names are believed against it.
"""

import asyncio
import socket
from collections import Counter
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

import hiredis

from orchestrator.contracts.errors import ConfigError, StoreUnreachable

SCHEME: Final = "sentinel://"
ASK_SECONDS: Final = 2.0
_PORT: Final = 26_379
_OPTIONS: Final = frozenset({"db", "sentinel_password"})


@dataclass(frozen=True, slots=True)
class Sentinels:
    """A URL of Sentinels, read."""

    hosts: tuple[tuple[str, int], ...]
    name: str
    db: int = 0
    username: str = ""
    password: str = ""
    sentinel_password: str = ""


def parse_sentinels(url: str) -> Sentinels:
    """Read a URL; raise ConfigError.

    >>> parse_sentinels("sentinel://:pw@a:26379,b/main?db=1").hosts
    (('a', 26379), ('b', 26379))
    """
    parts = urlsplit(url)
    secret, _, places = parts.netloc.rpartition("@")
    user, _, password = secret.partition(":")
    query = dict(parse_qsl(parts.query))
    name = unquote(parts.path.strip("/"))
    try:
        hosts = tuple(
            (host, int(port or _PORT))
            for host, _, port in (one.rpartition(":") if ":" in one else (one, "", "") for one in places.split(","))
        )
        db = int(query.get("db", "0"))
    except ValueError as error:
        raise ConfigError(f"{SCHEME}…: {error}; write {SCHEME}host:port,host:port/NAME?db=0") from error
    if not name or "/" in name or not all(host for host, _ in hosts) or set(query) - _OPTIONS:
        raise ConfigError(
            f"{SCHEME}…: hosts and the primary's name are missing, or an option is unknown; write {SCHEME}host:port,host:port/NAME?db=0"
        )
    return Sentinels(hosts, name, db, unquote(user), unquote(password), query.get("sentinel_password", ""))


async def find_primary(sentinels: Sentinels) -> tuple[str, int]:
    """Return where the primary is; raise StoreUnreachable where no Sentinel knows."""
    problems = []
    for host, port in sentinels.hosts:
        try:
            async with asyncio.timeout(ASK_SECONDS):
                found = await _ask(host, port, sentinels)
        except (OSError, TimeoutError, hiredis.ProtocolError) as error:
            problems.append(f"{host}:{port} {error or 'does not answer'}")
            continue
        if found is not None:
            return found
        problems.append(f"{host}:{port} knows no {sentinels.name!r}")
    raise StoreUnreachable(f"store: no Sentinel names a primary ({'; '.join(problems)}); are they running?")


async def is_replaced(sentinels: Sentinels, place: tuple[str, int]) -> bool:
    """Say whether most of the Sentinels name another server as the primary than the one at this place.

    One that does not answer names none. What cannot be found out, or are two names of one server, replaces nobody.
    """
    said = await asyncio.gather(*(_ask_in_time(host, port, sentinels) for host, port in sentinels.hosts))
    others = Counter(found for found in said if found is not None and found != place)
    [(other, voices)] = others.most_common(1) or [(place, 0)]
    if voices <= len(sentinels.hosts) // 2:
        return False
    loop = asyncio.get_running_loop()
    try:
        asked = [await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM) for host, port in (place, other)]
    except (OSError, UnicodeError):
        return False
    own, theirs = ({address for *_, address in found} for found in asked)
    return own.isdisjoint(theirs)


async def _ask_in_time(host: str, port: int, sentinels: Sentinels) -> tuple[str, int] | None:
    try:
        async with asyncio.timeout(ASK_SECONDS):
            return await _ask(host, port, sentinels)
    except (OSError, TimeoutError, hiredis.ProtocolError):
        return None


async def _ask(host: str, port: int, sentinels: Sentinels) -> tuple[str, int] | None:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        if sentinels.sentinel_password:
            writer.write(hiredis.pack_command(("AUTH", sentinels.sentinel_password)))  # type: ignore[arg-type]  # its stub means any length
        writer.write(hiredis.pack_command(("SENTINEL", "GET-MASTER-ADDR-BY-NAME", sentinels.name)))  # type: ignore[arg-type]
        parser = hiredis.Reader(encoding="utf-8")
        left = 2 if sentinels.sentinel_password else 1
        reply: object = None
        while left:
            data = await reader.read(4096)
            if not data:
                raise ConnectionError("closed the connection")
            parser.feed(data)
            while left and (reply := parser.gets()) is not False:
                left -= 1
    finally:
        writer.close()
    if isinstance(reply, list) and len(reply) == 2:
        return str(reply[0]), int(reply[1])
    return None
