"""What `baton doctor` says of a server that answers and is not well: full, read-only, restarted; and of a late archive.

Judges figures that the client brings, and asks nothing itself but for them.
"""

import asyncio
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from orchestrator.client import Client

#: The share of its memory at which the alert goes off too.
FULL_SHARE: Final = 0.85
#: A process that is started beside its server is younger than the server, but not by a clock's whim.
RESTART_SECONDS: Final = 5.0
#: So many of its looks may be missing before the archive is late.
MISSED_LOOKS: Final = 10


async def list_worries(client: "Client") -> list[tuple[str, str]]:
    """Return (check, what is wrong and what to do) for each worry."""
    from orchestrator.interfaces.cli.connect import archive_url, settings

    info, members, archived_at, gauges = await asyncio.gather(
        client.server_info(), client.workers(), client.archived_at(), client.measure()
    )
    worries = list(judge_server(info))
    oldest = min((member.started_at for member in members), default=0)
    worries += judge_restart(info, seconds=(gauges.now - oldest) / 1000 if oldest else 0.0)
    if settings().archive.enabled and archive_url() and archived_at:
        late = gauges.seconds_since(archived_at)
        worries += judge_archive(late, every_seconds=settings().archive.every_seconds)
    return worries


def judge_server(info: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield what keeps a server from taking or keeping writes.

    >>> dict(judge_server({"maxmemory": "100", "used_memory": "90"}))["memory"]
    '90 % of maxmemory is used; at 100 % every write is refused: archive ended sessions, or raise maxmemory'
    """
    used, limit = int(info.get("used_memory", "0")), int(info.get("maxmemory", "0"))
    if limit and used > FULL_SHARE * limit:
        told = f"{100 * used // limit} % of maxmemory is used; at 100 % every write is refused"
        yield "memory", f"{told}: archive ended sessions, or raise maxmemory"
    if info.get("role", "master") != "master":
        yield "writes", "the server is a replica and takes none; name its primary, or promote it"
    for name in ("aof_last_write_status", "aof_last_bgrewrite_status"):
        if info.get(name, "ok") != "ok":
            yield "writes", f"{name} is {info[name]}: is the disk of the append-only file full?"


def judge_restart(info: Mapping[str, str], *, seconds: float) -> Iterator[tuple[str, str]]:
    """Yield a restart: the server is younger than the oldest process that uses it, which lives for so many seconds."""
    uptime = int(info.get("uptime_in_seconds", "0"))
    if seconds > uptime + RESTART_SECONDS:
        yield "restart", f"the server runs for {uptime} s, a process that uses it for {seconds:.0f} s: it has restarted"


def judge_archive(late_seconds: float, *, every_seconds: float) -> Iterator[tuple[str, str]]:
    """Yield an archive that nobody has looked after for long."""
    if late_seconds > MISSED_LOOKS * every_seconds:
        told = f"ended sessions were last looked through {late_seconds:.0f} s ago, it should be every {every_seconds:.0f} s"
        yield "archive", f"{told}; see the schedulers' logs"
