"""Wait until a server takes writes, or answers at all, before a process begins that cannot do without.

A server whose memory or disk is full, that still loads its data, or that has just become a replica, answers, and takes
nothing. A running process outlives that; one that is about to start would end with an error, or try again many times a second.
So it waits, and says so in one line. A server that cannot be reached is not waited for here: whoever needs it says so
itself, and refuses or waits as it does at any other time; nor is an answer that will not change by itself. One that is not to
be trusted is refused. Of a cluster, the master is asked that has the place of one key.
"""

import asyncio
import logging
from urllib.parse import parse_qsl, urlencode

from orchestrator.contracts.errors import StoreUnreachable, StoreUntrusted
from orchestrator.store.address import is_sentinel, scheme_of
from orchestrator.store.cluster import open_wire
from orchestrator.store.keys import PREFIX
from orchestrator.store.wire import NOT_YET, ServerRefused

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
#: What is written, for a millisecond, to see whether that is possible.
PROBE = f"{PREFIX}:start"


def store_url_of(broker_url: str) -> str | None:
    """Return a broker's URL in the store's words, None where it is no Redis.

    >>> store_url_of("redis+socket:///run/s.sock?virtual_host=1"), store_url_of("redis://host:6379/1")
    ('unix:///run/s.sock?db=1', 'redis://host:6379/1')
    >>> store_url_of("amqp://host") is None
    True
    """
    if scheme_of(broker_url) in {"redis", "rediss"} or is_sentinel(broker_url):
        return broker_url
    if scheme_of(broker_url) != "redis+socket":
        return None
    place, _, asked = broker_url.partition("://")[2].partition("?")
    query = dict(parse_qsl(asked))
    query["db"] = query.pop("virtual_host", "0")
    known = {name: value for name, value in query.items() if name in {"db", "username", "password"}}
    return f"unix://{place}?{urlencode(known)}"


async def wait_until_writable(url: str, what: str) -> None:
    """Return once the server behind a store's URL takes writes, or waiting for it would be no use; raise StoreUntrusted.

    `what` names it in the one line that says so.
    """
    await _wait(url, what, ("SET", PROBE, "1", "PX", 1), "takes writes", " (memory, disk, maxmemory?)")


async def wait_until_readable(url: str, what: str) -> None:
    """Do the same for a process that is of use where nothing can be written, too: until it can be asked."""
    await _wait(url, what, ("EXISTS", PROBE), "can be asked")


async def _wait(url: str, what: str, probe: tuple[str | int, ...], does: str, look_at: str = "") -> None:
    said = False
    while (answer := await _find_trouble(url, what, probe)) is not None:
        if not said:
            log.warning("%s: not started yet: %s; waiting until it %s%s", what, answer, does, look_at)
            said = True
        await asyncio.sleep(LOOK_SECONDS)
    if said:
        log.warning("%s: it %s again; starting", what, does)


async def _find_trouble(url: str, what: str, probe: tuple[str | int, ...]) -> str | None:
    """Return what the server says who is there and refuses a probe now, else None."""
    wire = open_wire(url)
    try:
        await wire.command(*probe)
    except ServerRefused as error:
        return str(error) if error.code in NOT_YET else None
    except StoreUntrusted as error:  # Celery would go on trying for ever, and say so in the middle of a long line
        raise StoreUntrusted(f"{what}: {str(error).removeprefix('store: ')}") from error
    except StoreUnreachable:
        return None
    finally:
        await wire.aclose()
    return None
