"""The server that a bench measures on: the bundled one, its append-only file synced every second, over its Unix socket."""

from collections.abc import Iterator
from contextlib import contextmanager

from bench._harness import Report
from orchestrator.embedded import RunningServer, temporary
from orchestrator.embedded_wire import ask


@contextmanager
def serve(report: Report) -> Iterator[RunningServer]:
    """Lend a server of this run alone, and note its version in the report's method."""
    with temporary(fsync="everysec") as server:
        report.method["server_version"] = server.version
        # A rewrite of the append-only file would fall on whoever is measured just then, and count as what a step writes.
        ask(server.socket, "CONFIG SET auto-aof-rewrite-percentage 0")
        yield server
