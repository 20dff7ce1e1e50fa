"""What can be observed of the session's service: health, log, process, restarts. Read only.

`service_dir` is filled in by the runtime from the session's state; a model never chooses what is
looked at.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated

import psutil
from fastmcp import FastMCP
from fastmcp.exceptions import ToolError
from pydantic import BaseModel, Field, JsonValue

from ..evidence import Evidence, Hypothesis, weigh_evidence
from ..log_reader import LogSummary, read_log
from ..probe import Health, check_health
from ..service import Service, ServiceError, load_service

_HOUR_SECONDS = 3600.0
_CPU_SAMPLE_SECONDS = 0.1
_STARTS_SHOWN = 10

Minutes = Annotated[int, Field(ge=1, le=24 * 60)]


class Settings(BaseModel):
    """The server's `config`: service directories outside `services_root` are refused; "" allows any."""

    services_root: str = ""


class Metrics(BaseModel):
    """The service's process as the system sees it; None throughout where it is gone."""

    service: str
    pid: int
    alive: bool
    cpu_percent: float | None = None
    rss_bytes: int | None = None
    threads: int | None = None
    open_files: int | None = None
    uptime_seconds: float | None = None


class Started(BaseModel):
    """One start of the service."""

    at: str
    pid: int
    reason: str


class RestartHistory(BaseModel):
    """How often the service was started, and again."""

    service: str
    restarts_last_hour: int
    starts: list[Started]


class Weighed(Hypothesis):
    """A hypothesis with the evidence that it stands on."""

    evidence: Evidence


def register(mcp_app: FastMCP, cfg: Mapping[str, JsonValue]) -> None:
    """Add the tools to `mcp_app`; raise pydantic's ValidationError for a bad `config`."""
    settings = Settings.model_validate({key: cfg[key] for key in Settings.model_fields if key in cfg})

    @mcp_app.tool
    def get_service_health(service_dir: str = "") -> Health:
        """Ask the service's health path, and its work path several times; return status and error rate."""
        with _told():
            return check_health(load_service(service_dir, root=settings.services_root))

    @mcp_app.tool
    def get_logs(minutes: Minutes = 15, service_dir: str = "") -> LogSummary:
        """Read the end of the service's log: counts by level, samples of errors, the last lines."""
        with _told():
            return _read_log(load_service(service_dir, root=settings.services_root), minutes)

    @mcp_app.tool
    def get_metrics(service_dir: str = "") -> Metrics:
        """Return CPU, memory, threads, open files and uptime of the service's process."""
        with _told():
            return _measure(load_service(service_dir, root=settings.services_root))

    @mcp_app.tool
    def get_restart_history(service_dir: str = "") -> RestartHistory:
        """Return when the service was started and why, and how many restarts the last hour saw."""
        with _told():
            service = load_service(service_dir, root=settings.services_root)
            starts = service.starts()
        return RestartHistory(
            service=service.name,
            restarts_last_hour=_restarts_last_hour(service),
            starts=[
                Started(at=datetime.fromtimestamp(it.at, UTC).isoformat(), pid=it.pid, reason=it.reason[:200])
                for it in starts[-_STARTS_SHOWN:]
            ],
        )

    @mcp_app.tool(name="weigh_evidence")
    def weigh_evidence_now(service_dir: str = "") -> Weighed:
        """Observe everything at once and return the likeliest cause with a computed confidence."""
        with _told():
            service = load_service(service_dir, root=settings.services_root)
            # The log first: our own requests leave lines in it.
            log, health = _read_log(service, 15), check_health(service)
            alive = service.process() is not None
        evidence = Evidence(
            healthy=health.healthy,
            answers=health.status is not None,
            status=health.status,
            error_rate=health.error_rate,
            log_lines=log.lines,
            log_errors=log.errors,
            log_error_share=log.error_share,
            process_alive=alive,
            restarts_last_hour=_restarts_last_hour(service),
            leading_error=log.error_samples[0].message if log.error_samples else None,
        )
        return Weighed(**weigh_evidence(evidence).model_dump(), evidence=evidence)


@contextmanager
def _told() -> Iterator[None]:
    """Turn what a model may be told into a tool's error."""
    try:
        yield
    except ServiceError as error:
        raise ToolError(str(error)) from error


def _read_log(service: Service, minutes: int) -> LogSummary:
    try:
        return read_log(service.log_path, minutes=minutes, now=datetime.now(UTC))
    except OSError as error:
        raise ServiceError(f"service {service.name}: its log cannot be read ({error.strerror})") from error


def _restarts_last_hour(service: Service) -> int:
    return service.restarts_since(datetime.now(UTC).timestamp() - _HOUR_SECONDS)


def _measure(service: Service) -> Metrics:
    gone = Metrics(service=service.name, pid=service.declaration.pid, alive=False)
    process = service.process()
    if process is None:
        return gone
    try:
        cpu = process.cpu_percent(_CPU_SAMPLE_SECONDS)
        with process.oneshot():
            return Metrics(
                service=service.name,
                pid=process.pid,
                alive=True,
                cpu_percent=cpu,
                rss_bytes=process.memory_info().rss,
                threads=process.num_threads(),
                open_files=process.num_fds(),
                uptime_seconds=round(datetime.now(UTC).timestamp() - process.create_time(), 1),
            )
    except (psutil.NoSuchProcess, psutil.AccessDenied):  # it ended while we looked
        return gone
