"""Baton's metrics for Prometheus: the store's counters and what it holds now, as one page of text.

Nothing is counted here. The scripts and the workers count into the store, so totals are those of all processes together and
survive their restarts; any number of exporters may be asked. No label holds a session's id: of each there are few. The names
and their meanings are the table below; alerts and the dashboard (deploy/observability) stand on them.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from orchestrator import __version__
from orchestrator.contracts.counters import BUCKET_NAMES, ERRORS, OTHER
from orchestrator.contracts.errors import StoreUnreachable
from orchestrator.exporter_text import CONTENT_TYPE, Family, Kind, write

if TYPE_CHECKING:
    from orchestrator.client import Client
    from orchestrator.store.fleet import WorkerInfo
    from orchestrator.store.gauges import Gauges

__all__ = ["CONTENT_TYPE", "METRICS", "render"]

#: Name → (kind, what it means). The page keeps this order.
METRICS: Final[Mapping[str, tuple[Kind, str]]] = {
    "baton_info": ("gauge", "Always 1; the version of the exporter is its label."),
    "baton_store_up": ("gauge", "Whether the store answers: 1 or 0. With 0 nothing else is known."),
    "baton_sessions": ("gauge", "Sessions in the store now, by app and phase; archived ones are not among them."),
    "baton_sessions_submitted_total": ("counter", "Sessions that were submitted, by app."),
    "baton_sessions_ended_total": ("counter", "Sessions that were settled, by app and the app's status."),
    "baton_steps_seconds": ("histogram", "How long steps took, by kind and outcome."),
    "baton_line_seconds": ("histogram", "How long sessions stood in line before a worker claimed them, by line."),
    "baton_line_oldest_seconds": (
        "gauge",
        "How long the first in each line stands there now, by app and line; 0: nobody.",
    ),
    "baton_tool_calls_total": ("counter", "Tool calls that came to an end, by outcome."),
    "baton_step_failures_total": ("counter", "Steps that failed, by class of the error."),
    "baton_plugin_runs_total": ("counter", "Runs of plugins, by status of their result."),
    "baton_waits_for_people": ("gauge", "Sessions that ask a person now, by app and kind: approval, input, uncertain."),
    "baton_waits_for_people_oldest_seconds": ("gauge", "How long the first of them asks, by app and kind; 0: nobody."),
    "baton_posts_total": ("counter", "Posts to sessions: answers, signals, cancels, words of children."),
    "baton_dead_letters": ("gauge", "Dead letters now."),
    "baton_dead_letters_oldest_seconds": ("gauge", "How long the oldest dead letter lies there; 0: none."),
    "baton_dead_letters_total": ("counter", "Sessions that became dead letters, by reason."),
    "baton_replays_total": ("counter", "Dead letters that were sent again."),
    "baton_leases": ("gauge", "Sessions under a lease now."),
    "baton_leases_expired": ("gauge", "Leases that ended and were not rescued yet."),
    "baton_orphans_total": ("counter", "Sessions whose holder died; they were made ready again."),
    "baton_releases_total": ("counter", "Sessions that were handed back without a commit."),
    "baton_due_overdue": ("gauge", "Waits whose time has come and that nobody woke yet."),
    "baton_due_overdue_seconds": ("gauge", "For how long the first of them is overdue; 0: none."),
    "baton_wakeups_sent": ("gauge", "Wake-ups under way."),
    "baton_processes": ("gauge", "Living processes, by kind (worker, scheduler)."),
    "baton_workers_draining": ("gauge", "Workers that take nothing new."),
    "baton_worker_slots": ("gauge", "Sessions that all workers together can hold, by line."),
    "baton_worker_running": ("gauge", "Sessions that are in workers' lanes now, by line."),
    "baton_worker_memory_bytes": ("gauge", "Resident memory of all workers, and of the largest one."),
    "baton_worker_loop_lag_seconds": (
        "gauge",
        "How late the slowest worker's event loop was at its worst since its last beat.",
    ),
    "baton_clock_ahead_seconds": ("gauge", "How far the clocks of processes differ from the server's, by extreme."),
    "baton_app_versions": ("gauge", "Versions of an app that living workers have; more than 1 while a deploy goes on."),
    "baton_store_memory_bytes": ("gauge", "Memory that the server uses."),
    "baton_store_memory_limit_bytes": ("gauge", "The server's maxmemory; 0: no limit."),
    "baton_store_writable": ("gauge", "Whether the server takes writes, as far as it says: 1 or 0."),
    "baton_store_aof": ("gauge", "Whether the server writes an append-only file: 1 or 0."),
    "baton_store_aof_ok": ("gauge", "Whether its last write to that file went well: 1 or 0."),
    "baton_store_uptime_seconds": ("gauge", "Since when the server runs."),
    "baton_store_clients": ("gauge", "Connections to the server."),
    "baton_archive_last_run_timestamp_seconds": (
        "gauge",
        "When ended sessions were last looked through for the archive, where schedulers see to it.",
    ),
    "baton_archived_total": ("counter", "Sessions that were moved into the archive."),
}

#: The first part of a counter's name → its metric, and the names of the labels that the other parts are.
_COUNTERS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "submitted": ("baton_sessions_submitted_total", ("app",)),
    "ended": ("baton_sessions_ended_total", ("app", "status")),
    "buried": ("baton_dead_letters_total", ("reason",)),
    "replayed": ("baton_replays_total", ()),
    "orphaned": ("baton_orphans_total", ()),
    "released": ("baton_releases_total", ()),
    "posted": ("baton_posts_total", ()),
    "call": ("baton_tool_calls_total", ("outcome",)),
    "plugin": ("baton_plugin_runs_total", ("status",)),
    "failed": ("baton_step_failures_total", ("error",)),
    "archived": ("baton_archived_total", ()),
}
#: The same for histograms; the second name counts microseconds.
_HISTOGRAMS: Final[Mapping[str, tuple[str, str, tuple[str, ...]]]] = {
    "step": ("spent", "baton_steps_seconds", ("kind", "outcome")),
    "queued": ("late", "baton_line_seconds", ("line",)),
}
_DEATHS: Final = (
    "attempts",
    "low_confidence_no_retry",
    "max_retries_exceeded",
    "permanent_error",
    "step_limit",
    "too_large",
    "transient_disabled",
    "unknown_skill",
    "unreadable",
)
_PLUGIN_ENDS: Final = ("failed", "policy_violation", "sandbox_unavailable", "success", "timeout")
#: These begin at 0: a series that appears with its first event hides that event from whoever computes an increase.
_FROM_ZERO: Final = (
    *("replayed", "orphaned", "released", "posted", "archived"),
    *(f"buried:{reason}" for reason in _DEATHS),
    *(f"failed:{error}" for error in sorted({*ERRORS, OTHER})),
    *(f"plugin:{status}" for status in _PLUGIN_ENDS),
)


class _Page:
    """The families of one page, made in the table's order."""

    def __init__(self) -> None:
        self.families = {name: Family(name, kind, meaning) for name, (kind, meaning) in METRICS.items()}

    def put(self, name: str, value: float, **labels: str) -> None:
        self.families[name].add(value, labels)


async def render(client: "Client", *, is_archiving: bool = True) -> str:
    """Return the page (CONTENT_TYPE); a store that does not answer makes it short, and is no error.

    `is_archiving`: whether schedulers see to the archive (`archive.enabled`). Where nobody does, its last run says nothing.
    """
    page = _Page()
    page.put("baton_info", 1, version=__version__)
    try:
        gauges = await client.measure()
        members = await client.workers()
        info = await client.server_info()
        archived_at = await client.archived_at()
    except StoreUnreachable:
        page.put("baton_store_up", 0)
        return write(page.families.values())
    page.put("baton_store_up", 1)
    _put_counters(page, gauges.counters)
    _put_gauges(page, gauges)
    _put_fleet(page, members)
    _put_server(page, info)
    if archived_at and is_archiving and client.archive is not None and client.archive.url:
        page.put("baton_archive_last_run_timestamp_seconds", archived_at / 1000)
    return write(page.families.values())


def _put_counters(page: _Page, counters: Mapping[str, int]) -> None:
    every = {**dict.fromkeys(_FROM_ZERO, 0), **counters}
    for name in sorted(every):
        word, *parts = name.split(":")
        if word in _COUNTERS:
            metric, labels = _COUNTERS[word]
            page.put(metric, every[name], **_labels(labels, ":".join(parts)))
    for word, (spent, metric, labels) in _HISTOGRAMS.items():
        for key, buckets in sorted(_buckets(word, counters)):
            bounds = (
                (float("inf") if name == "inf" else int(name) / 1000, buckets.get(name, 0)) for name in BUCKET_NAMES
            )
            total = counters.get(f"{spent}:{key}", 0) / 1_000_000
            page.families[metric].add_histogram(bounds, total, _labels(labels, key))


def _labels(names: tuple[str, ...], text: str) -> dict[str, str]:
    """Return the labels that a counter's name holds; the last one may hold colons of its own."""
    return dict(zip(names, text.split(":", len(names) - 1), strict=False)) if names else {}


def _buckets(word: str, counters: Mapping[str, int]) -> Iterator[tuple[str, dict[str, int]]]:
    """Yield what a histogram's counters say, by the labels in their names."""
    found: dict[str, dict[str, int]] = {}
    for name, count in counters.items():
        if name.startswith(f"{word}:"):
            key, _, bucket = name.removeprefix(f"{word}:").rpartition(":")
            found.setdefault(key, {})[bucket] = count
    yield from found.items()


def _put_gauges(page: _Page, gauges: "Gauges") -> None:
    for app, one in gauges.apps.items():
        for phase, count in one.phases.items():
            page.put("baton_sessions", count, app=app, phase=phase)
        for line, at in one.first_in_line.items():
            page.put("baton_line_oldest_seconds", gauges.seconds_since(at), app=app, line=line)
        for kind, count in one.asks.items():
            page.put("baton_waits_for_people", count, app=app, kind=kind)
            age = gauges.seconds_since(one.first_asks[kind])
            page.put("baton_waits_for_people_oldest_seconds", age, app=app, kind=kind)
    page.put("baton_dead_letters", gauges.dead)
    page.put("baton_dead_letters_oldest_seconds", gauges.seconds_since(gauges.first_dead))
    page.put("baton_leases", gauges.leases)
    page.put("baton_leases_expired", gauges.expired)
    page.put("baton_due_overdue", gauges.overdue)
    page.put("baton_due_overdue_seconds", gauges.seconds_since(gauges.first_overdue))
    page.put("baton_wakeups_sent", gauges.sent)


def _put_fleet(page: _Page, members: "list[WorkerInfo]") -> None:
    workers = [info for info in members if info.kind == "worker"]
    for kind in sorted({"worker", "scheduler", *(info.kind for info in members)}):
        page.put("baton_processes", sum(1 for info in members if info.kind == kind), kind=kind)
    page.put("baton_workers_draining", sum(1 for info in workers if info.draining))
    page.put("baton_worker_slots", sum(info.slots for info in workers), line="steps")
    page.put("baton_worker_slots", sum(info.plugin_slots for info in workers), line="plugins")
    page.put("baton_worker_running", sum(info.running for info in workers), line="steps")
    page.put("baton_worker_running", sum(info.plugins_running for info in workers), line="plugins")
    page.put("baton_worker_memory_bytes", sum(info.rss_bytes for info in workers), of="all")
    page.put("baton_worker_memory_bytes", max((info.rss_bytes for info in workers), default=0), of="largest")
    page.put("baton_worker_loop_lag_seconds", max((info.loop_lag_ms for info in workers), default=0.0) / 1000)
    ahead = [info.clock_ahead_ms / 1000 for info in members] or [0.0]
    page.put("baton_clock_ahead_seconds", max(ahead), extreme="most")
    page.put("baton_clock_ahead_seconds", min(ahead), extreme="least")
    versions: dict[str, set[str]] = {}
    for info in workers:
        for app, digest in info.digests.items():
            versions.setdefault(app, set()).add(digest)
    for app, digests in sorted(versions.items()):
        page.put("baton_app_versions", len(digests), app=app)


def _put_server(page: _Page, info: Mapping[str, str]) -> None:
    used, limit = _int(info, "used_memory"), _int(info, "maxmemory")
    aof = info.get("aof_enabled") == "1"
    aof_ok = info.get("aof_last_write_status", "ok") == "ok" and info.get("aof_last_bgrewrite_status", "ok") == "ok"
    # A replica takes no writes, a full server refuses them, and so does one whose AOF cannot be written.
    writable = info.get("role", "master") == "master" and not 0 < limit <= used
    page.put("baton_store_memory_bytes", used)
    page.put("baton_store_memory_limit_bytes", limit)
    page.put("baton_store_writable", writable and info.get("aof_last_write_status", "ok") == "ok")
    page.put("baton_store_aof", aof)
    page.put("baton_store_aof_ok", aof and aof_ok)
    page.put("baton_store_uptime_seconds", _int(info, "uptime_in_seconds"))
    page.put("baton_store_clients", _int(info, "connected_clients"))


def _int(info: Mapping[str, str], name: str) -> int:
    text = info.get(name, "")
    return int(text) if text.isdigit() else 0
