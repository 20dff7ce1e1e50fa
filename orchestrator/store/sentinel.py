"""Redis Sentinel: which server is the primary now? Asked anew for each connection, and every few seconds of its use.

    sentinel://[[USER]:PASSWORD@]HOST:PORT[,HOST:PORT ...]/NAME[?db=N&sentinel_username=...&sentinel_password=...]
    rediss+sentinel://...        with TLS to the Sentinels and to the servers that they name (address.py)

User and password are the servers'; NAME is what the Sentinels call the primary. `redis+sentinel://` is the first one, too.

    a new connection    asks all at once, and believes what most of those that answer say: one that stood still or was cut off
                        names a primary that is none any more. Where as many say otherwise, the later epoch is believed, which
                        most of the Sentinels have agreed on. It is enough that one answers: nobody waits for the others for
                        longer than `OTHERS_SECONDS`, and for none that could not change what is believed.
    one in use          is left where most of those that the URL names, not of those that answer, name another server: to
                        leave a primary for what a few say would be a failover of our own.

A server that turns out to be no primary any more answers READONLY, and then they are asked again (wire.py). One that stood
still while another took over believes that it is the primary until the Sentinels tell it, some ten seconds later, and nothing
that it takes until then is kept: so it is left by what they say.
"""

import asyncio
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias, cast

import hiredis

from orchestrator.contracts.errors import ConfigError, StoreUnreachable, StoreUntrusted
from orchestrator.store.address import Tls, cut_url, read_database, read_place, scheme_of, write_host
from orchestrator.store.tls import connect_securely, explain

log = logging.getLogger(__name__)

ASK_SECONDS: Final = 2.0
#: How long the others are waited for once one has named a primary; a Sentinel that is well answers in milliseconds.
OTHERS_SECONDS: Final = 0.5

_PORT: Final = 26_379
_OPTIONS: Final = ("db", "sentinel_username", "sentinel_password")
#: The first words with which a Sentinel refuses whoever has no right, or not yet.
_NO_ENTRY: Final = frozenset({"NOAUTH", "WRONGPASS", "NOPERM"})

Place: TypeAlias = tuple[str, int]

_pack = cast("Callable[[tuple[str, ...]], bytes]", hiredis.pack_command)  # its stub means words of one length only


@dataclass(frozen=True, slots=True)
class Sentinels:
    """A URL of Sentinels, read."""

    hosts: tuple[Place, ...]
    name: str
    db: int = 0
    username: str = ""
    password: str = ""
    sentinel_username: str = ""
    sentinel_password: str = ""
    tls: Tls | None = None


class Answer(NamedTuple):
    """What a Sentinel says: where the primary is, None where it knows none, and since which epoch."""

    place: Place | None
    epoch: int = 0


def parse_sentinels(url: str, *, what: str = "store URL") -> Sentinels:
    """Read a URL; raise ConfigError.

    >>> parse_sentinels("sentinel://:pw@a:26379,b/main?db=1").hosts
    (('a', 26379), ('b', 26379))
    """
    usage = f"write {scheme_of(url)}://host:port,host:port/NAME?db=0"
    parts = cut_url(url, options=_OPTIONS, usage=usage, what=what)
    name = parts.path.strip("/")
    if not name or "/" in name:
        raise ConfigError(f"{parts.where}: the primary's name is missing, or is no single word; {usage}")
    if "sentinel_username" in parts.query and not parts.query.get("sentinel_password"):
        raise ConfigError(f"{parts.where}: sentinel_username without sentinel_password; give both, or neither")
    try:
        hosts = tuple(dict.fromkeys(read_place(one, _PORT) for one in parts.places.split(",")))
    except ValueError as error:
        raise ConfigError(f"{parts.where}: {error}; {usage}") from error
    return Sentinels(
        hosts=hosts,
        name=name,
        db=read_database(parts, usage, in_path=False),
        username=parts.username,
        password=parts.password,
        sentinel_username=parts.query.get("sentinel_username", ""),
        sentinel_password=parts.query.get("sentinel_password", ""),
        tls=parts.tls,
    )


def choose_primary(answers: Sequence[Answer], *, pending: int = 0) -> Place | None:
    """Return the place that most answers name, None where none does, or those still pending could change it.

    Where as many name another one, the later epoch decides, then whoever stands first.

    >>> old, new = Answer(("a", 1), 4), Answer(("b", 1), 5)
    >>> choose_primary([old, new, old]), choose_primary([old, new]), choose_primary([old, new], pending=1)
    (('a', 1), ('b', 1), None)
    """
    voices = Counter(answer.place for answer in answers if answer.place is not None)
    epochs = {place: max(answer.epoch for answer in answers if answer.place == place) for place in voices}
    ranked = sorted(voices, key=lambda place: (-voices[place], -epochs[place]))  # stable: then who stands first
    if not ranked:
        return None
    second = voices[ranked[1]] if len(ranked) > 1 else 0
    return ranked[0] if not pending or voices[ranked[0]] - second > pending else None


async def find_primary(sentinels: Sentinels, context: ssl.SSLContext | None = None) -> Place:
    """Return where the primary is; raise StoreUnreachable where no Sentinel knows. `context` is that of TLS."""
    asked = [asyncio.ensure_future(_ask_in_time(host, sentinels, context)) for host in sentinels.hosts]
    loop = asyncio.get_running_loop()
    deadline: float | None = None
    try:
        while True:
            done = [task.result() for task in asked if task.done()]
            answers = [one for one in done if isinstance(one, Answer)]
            pending = {task for task in asked if not task.done()}
            if deadline is None and any(answer.place for answer in answers):
                deadline = loop.time() + OTHERS_SECONDS
            is_late = deadline is not None and loop.time() >= deadline
            found = choose_primary(answers, pending=0 if is_late else len(pending))
            if found is not None:
                _tell_others(sentinels, answers, found)
                return found
            if not pending:
                raise _refuse(sentinels, done)
            left = None if deadline is None else deadline - loop.time()
            await asyncio.wait(pending, timeout=left, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)


async def ask_all(sentinels: Sentinels, context: ssl.SSLContext | None = None) -> list[Answer | StoreUnreachable]:
    """Return what each Sentinel says, or why it says nothing, in the URL's order."""
    return list(await asyncio.gather(*(_ask_in_time(host, sentinels, context) for host in sentinels.hosts)))


def judge_answers(sentinels: Sentinels, answers: Sequence[Answer | StoreUnreachable]) -> list[str]:
    """Return warnings where not all Sentinels name the same primary.

    >>> named = parse_sentinels("sentinel://a,b/main")
    >>> judge_answers(named, [Answer(("s", 1)), Answer(None)])
    ["store: 1 of 2 Sentinels does not say that s:1 is the primary (b:26379 knows no 'main'); a failover needs most of them"]
    """
    found = choose_primary([one for one in answers if isinstance(one, Answer)])
    odd = []
    for host, one in zip(sentinels.hosts, answers, strict=True):
        if isinstance(one, StoreUnreachable):
            odd.append(str(one).removeprefix("store: "))
        elif one.place is None:
            odd.append(f"{write_place(host)} knows no {sentinels.name!r}")
        elif one.place != found:
            odd.append(f"{write_place(host)} names {write_place(one.place)}")
    if found is None or not odd:
        return []
    who = (
        f"{len(odd)} of {len(answers)} Sentinels {'does' if len(odd) == 1 else 'do'} not say that {write_place(found)}"
    )
    return [f"store: {who} is the primary ({'; '.join(odd)}); a failover needs most of them"]


async def is_replaced(sentinels: Sentinels, place: Place, context: ssl.SSLContext | None = None) -> bool:
    """Say whether most of the Sentinels name another server as the primary than the one at this place.

    One that does not answer names none. What cannot be found out, or are two names of one server, replaces nobody.
    """
    said = [one.place for one in await ask_all(sentinels, context) if isinstance(one, Answer)]
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


def _tell_others(sentinels: Sentinels, answers: Sequence[Answer], found: Place) -> None:
    others = sorted({write_place(one.place) for one in answers if one.place not in {None, found}})
    if others:
        log.warning(
            "store: the Sentinels differ about who is primary: %s is believed, and not %s; SENTINEL MASTER %s on each says why",
            write_place(found),
            ", ".join(others),
            sentinels.name,
        )
    elif len(answers) <= len(sentinels.hosts) // 2:
        log.info("store: %d of %d Sentinels answered in time", len(answers), len(sentinels.hosts))


def _refuse(sentinels: Sentinels, done: Sequence[Answer | StoreUnreachable]) -> StoreUnreachable:
    problems = [
        f"{write_place(host)} knows no {sentinels.name!r}" if isinstance(one, Answer) else str(one)
        for host, one in zip(sentinels.hosts, done, strict=True)
    ]
    kind = StoreUntrusted if all(isinstance(one, StoreUntrusted) for one in done) else StoreUnreachable
    if all(isinstance(one, Answer) for one in done):
        return kind(
            f"store: no Sentinel knows a primary called {sentinels.name!r}; mend the name in the URL, or SENTINEL MONITOR it"
        )
    return kind(f"store: no Sentinel names a primary ({'; '.join(one.removeprefix('store: ') for one in problems)})")


def write_place(place: Place) -> str:
    """Return a place as people write it.

    >>> write_place(("::1", 7000))
    '[::1]:7000'
    """
    return f"{write_host(place[0])}:{place[1]}"


async def _ask_in_time(place: Place, sentinels: Sentinels, context: ssl.SSLContext | None) -> Answer | StoreUnreachable:
    try:
        async with asyncio.timeout(ASK_SECONDS):
            return await _ask(place, sentinels, context)
    except (OSError, TimeoutError, UnicodeError) as error:
        return explain(error, f"Sentinel {write_place(place)}", is_secure=context is not None)
    except hiredis.ProtocolError:
        return StoreUnreachable(_no_sentinel(place))
    except StoreUnreachable as error:
        return error


async def _ask(place: Place, sentinels: Sentinels, context: ssl.SSLContext | None) -> Answer:
    host, port = place
    commands: list[tuple[str, ...]] = [
        ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", sentinels.name),
        ("SENTINEL", "MASTER", sentinels.name),
    ]
    if sentinels.sentinel_password:
        user = (sentinels.sentinel_username,) if sentinels.sentinel_username else ()
        commands.insert(0, ("AUTH", *user, sentinels.sentinel_password))
    connecting = asyncio.open_connection(host, port, ssl=context)
    if context is not None:
        what = f"Sentinel {write_place(place)}"
        connecting = connect_securely(connecting, host, port, what=what, drop=lambda made: made[1].transport.abort())
    reader, writer = await connecting
    try:
        writer.write(b"".join(_pack(command) for command in commands))
        parser = hiredis.Reader(encoding="utf-8", errors="replace")
        replies: list[object] = []
        while len(replies) < len(commands):
            data = await reader.read(4096)
            if not data:
                raise ConnectionError("closed the connection")
            parser.feed(data)
            while (reply := parser.gets()) is not False:
                replies.append(reply)
    finally:
        writer.transport.abort()
    *_, named, facts = replies
    for reply in replies[:-1]:  # the last one may be forbidden to this user, and says only when
        if isinstance(reply, hiredis.ReplyError):
            raise StoreUnreachable(
                f"store: Sentinel {write_place(place)}: it answered {str(reply)!r}; "
                "its own user and password are sentinel_username and sentinel_password in the URL"
                if str(reply).split(" ", 1)[0] in _NO_ENTRY or len(replies) > 2
                else _no_sentinel(place)
            )
    return Answer(_read_place(named), _read_epoch(facts))


def _no_sentinel(place: Place) -> str:
    return f"store: {write_place(place)}: what answers there is no Sentinel, or wants TLS; mend the URL (rediss+sentinel:// is with TLS)"


def _read_place(named: object) -> Place | None:
    """Return the place that a Sentinel names, None for none.

    >>> _read_place(["h", "1"]), _read_place(None), _read_place(["h", "\u00b2"])
    (('h', 1), None, None)
    """
    if isinstance(named, list) and len(named) == 2 and str(named[1]).isdecimal():
        return str(named[0]), int(named[1])
    return None


def _read_epoch(facts: object) -> int:
    """Return the epoch of what a Sentinel knows of a primary, 0 where it does not say.

    >>> _read_epoch(["config-epoch", "7"]), _read_epoch(["config-epoch", "\u00b2"]), _read_epoch(None)
    (7, 0, 0)
    """
    words = facts if isinstance(facts, list) else []
    said = dict(zip(words[::2], words[1::2], strict=False))
    epoch = str(said.get("config-epoch", ""))
    return int(epoch) if epoch.isdecimal() else 0
