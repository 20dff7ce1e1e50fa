"""Is this server fit to hold sessions? Asked once, when a process starts.

Refused: a server too old for our scripts, an eviction policy that may drop keys, another number
of partitions than the store was created with, another layout (contracts/formats.py), a cluster as broker, with `durability: wait` a server that
cannot confirm, one server of a cluster in place of the cluster. Warned: no AOF - an
acknowledged submission could then be lost with the server -, masters of a cluster whose clocks differ, Sentinels
that are silent or name another primary than most do, a store on which a newer Baton has worked. All masters of a cluster
are asked.
"""

from collections.abc import Sequence

from orchestrator.contracts.errors import ConfigError, StoreUnfit
from orchestrator.contracts.formats import LAYOUT
from orchestrator.store.address import is_sentinel, parse_server, scheme_of
from orchestrator.store.cluster_map import is_cluster
from orchestrator.store.keys import META
from orchestrator.store.sentinel import ask_all, judge_answers, parse_sentinels
from orchestrator.store.servers import ask_each
from orchestrator.store.store import Store
from orchestrator.store.tls import check_files, make_context
from orchestrator.store.wire import ServerRefused

OLDEST = (6, 2)
#: The first server with WAITAOF.
WAITAOF = (7, 2)
#: By how much the clocks of a cluster's masters may differ: what is asked of them one after another differs by a moment itself.
CLOCKS_SECONDS = 2.0


def check_broker_url(url: str) -> None:
    """Refuse a broker that Celery cannot use safely, and a Redis URL that cannot be read; raise ConfigError."""
    scheme = scheme_of(url)
    if "cluster" in scheme:
        raise ConfigError(
            f"broker URL {scheme}://…: Celery has no Redis Cluster transport; use a single server, Sentinel or RabbitMQ"
        )
    if is_sentinel(url):
        tls = parse_sentinels(url, what="broker URL").tls
    elif scheme in {"redis", "rediss"}:
        tls = parse_server(url, what="broker URL").tls
    else:
        return
    if tls is not None:
        check_files(tls, where=f"broker URL {scheme}://…")


def parse_info(text: str) -> dict[str, str]:
    """Read the server's INFO text.

    >>> parse_info("# Server\\r\\nredis_version:7.0.15\\r\\n")
    {'redis_version': '7.0.15'}
    """
    rows = (line.split(":", 1) for line in text.splitlines() if ":" in line and not line.startswith("#"))
    return {name: value.strip() for name, value in rows}


def judge_server(info: dict[str, str], *, waits: bool = False) -> list[str]:
    """Return warnings about a server's INFO; raise StoreUnfit for what must not be.

    `waits` says that critical acts wait for its disk: a server that cannot say when that has them is refused.
    """
    version = info.get("redis_version", "0")
    number = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if number < OLDEST:
        raise StoreUnfit(f"store: server {version} is too old; Baton needs {OLDEST[0]}.{OLDEST[1]} or later")
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        raise StoreUnfit(
            f"store: maxmemory-policy is {policy!r} and may evict sessions; set `maxmemory-policy noeviction`"
        )
    if waits and info.get("aof_enabled", "0") != "1":
        raise StoreUnfit("store: durability is wait and AOF is off; set `appendonly yes`, or store.durability: server")
    if waits and number < WAITAOF:
        raise StoreUnfit(
            f"store: durability is wait, and server {version} cannot confirm writes; use {WAITAOF[0]}.{WAITAOF[1]} or later, "
            "or `appendfsync always` and store.durability: server"
        )
    if info.get("aof_enabled", "0") != "1":
        return ["store: AOF is off, a server crash loses acknowledged sessions; set `appendonly yes`"]
    return []


def judge_clocks(times: Sequence[float]) -> list[str]:
    """Return a warning where servers that were asked at once tell different times (s).

    >>> judge_clocks([1.0, 1.5]), judge_clocks([1.0, 9.5])
    ([], ["store: the masters' clocks differ by 8.5 s; synchronise them, each tells the time of its own sessions"])
    """
    apart = max(times) - min(times)
    if apart <= CLOCKS_SECONDS:
        return []
    return [
        f"store: the masters' clocks differ by {apart:.1f} s; synchronise them, each tells the time of its own sessions"
    ]


async def _look_at_sentinels(url: str) -> list[str]:
    if not is_sentinel(url):
        return []
    sentinels = parse_sentinels(url)
    return judge_answers(sentinels, await ask_all(sentinels, make_context(sentinels.tls) if sentinels.tls else None))


async def check_store(store: Store) -> list[str]:
    """Return warnings; raise StoreUnfit. Fixes the number of partitions of a new store."""
    warnings = []
    for text in await ask_each(store, "INFO"):
        info = parse_info(str(text))
        if info.get("cluster_enabled") == "1" and not is_cluster(store.url):
            raise StoreUnfit(
                "store: this server is one of a cluster; name the cluster, redis+cluster://host:port,host:port"
            )
        warnings += judge_server(info, waits=store.durability is not None)
    warnings += await _look_at_sentinels(store.url)
    warnings += judge_clocks([int(seconds) + int(micros) / 1e6 for seconds, micros in await ask_each(store, "TIME")])
    partitions = store.keys.partitions
    await store.command("HSETNX", META, "partitions", partitions)
    fixed = int(await store.command("HGET", META, "partitions"))
    if fixed != partitions:
        raise StoreUnfit(
            f"store: it was created with {fixed} partitions, the settings say {partitions}; set store.partitions: {fixed}"
        )
    warnings += await _check_formats(store)
    try:
        await store.command("FUNCTION", "STATS")
    except ServerRefused:
        warnings.append("store: a server before 7.0; it works, and 7.2 or later can confirm writes with WAITAOF")
    return list(dict.fromkeys(warnings))


async def _check_formats(store: Store) -> list[str]:
    """Return warnings; raise StoreUnfit. Notes the highest format that has worked on the store."""
    await store.command("HSETNX", META, "layout", LAYOUT)
    layout = int(await store.command("HGET", META, "layout"))
    if layout != LAYOUT:
        raise StoreUnfit(
            f"store: its keys are of layout {layout}, this Baton works with {LAYOUT}; use the Baton that made it, or another store"
        )
    highest = int(await store.command("HGET", META, "format") or 0)
    if highest < store.format:
        await store.command("HSET", META, "format", store.format)
    if highest <= store.format:
        return []
    told = f"store: a newer Baton has worked on it (format {highest}, this one reads {store.format})"
    return [f"{told}; sessions that it has touched are left to it: let workers of it run, see docs/how-to/upgrade.md"]
