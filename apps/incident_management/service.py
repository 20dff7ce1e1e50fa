"""A service directory: the folder by which this app knows one service.

    service.json   the declaration: name, url, log, command, and the process that runs now
    starts.jsonl   one line for each start, ever
    fixes/         one file for each repair, by its idempotency key

This module reads and checks them, and says which process is the service's. Probing, logs and
restarting are the work of the modules beside it. A declaration names a command that a repair will
run, so it is refused where anyone but this user (or root) could have written it.
"""

import ipaddress
import os
import stat
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

import psutil
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

SERVICE_FILE: Final = "service.json"
STARTS_FILE: Final = "starts.jsonl"
FIXES_FOLDER: Final = "fixes"
_MAX_FILE_BYTES: Final = 64 * 1024
_MAX_STARTS_BYTES: Final = 256 * 1024
#: psutil derives a start time from the boot time, which a corrected clock moves a little.
_CLOCK_SLACK_SECONDS: Final = 2.0


class ServiceError(Exception):
    """The service cannot be looked at or acted on; the message may be shown to a model."""


class Start(BaseModel):
    """One line of starts.jsonl: which process was started, and when (seconds since the epoch)."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    pid: int
    create_time: float
    at: float
    reason: str = ""


class Declaration(BaseModel):
    """service.json. Paths of requests begin with `/`; `log` is relative to the folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
    url: str
    health_path: Annotated[str, Field(pattern=r"^/[!-~]{0,200}$")] = "/health"
    probe_path: Annotated[str, Field(pattern=r"^/[!-~]{0,200}$")] | None = None
    log: Annotated[str, Field(min_length=1, max_length=300)]
    command: Annotated[tuple[str, ...], Field(min_length=1, max_length=100)]
    pid: Annotated[int, Field(ge=0)] = 0
    create_time: float = 0.0

    @field_validator("url")
    @classmethod
    def _is_loopback(cls, value: str) -> str:
        parts = urlsplit(value)
        plain = parts.scheme == "http" and parts.path in ("", "/") and not parts.query and not parts.username
        if not plain or parts.port is None or not _is_loopback_host(parts.hostname or ""):
            raise ValueError("must be http://HOST:PORT of this machine's loopback")
        return value.rstrip("/")


class Service:
    """One service, by its directory. Read anew for every call: a restart changes the declaration."""

    def __init__(self, folder: Path, declaration: Declaration) -> None:
        self.folder, self.declaration = folder, declaration

    @property
    def name(self) -> str:
        """Return the service's name."""
        return self.declaration.name

    @property
    def log_path(self) -> Path:
        """Return the log file; raise ServiceError if it lies outside the directory."""
        path = Path(os.path.realpath(self.folder / self.declaration.log))
        if self.folder not in path.parents:
            raise ServiceError(f"service {self.name}: its log lies outside its directory; mend {SERVICE_FILE}")
        return path

    def process(self) -> psutil.Process | None:
        """Return the service's process, None if it is gone or its pid belongs to another by now."""
        return find_process(self.declaration.pid, self.declaration.create_time)

    def starts(self) -> list[Start]:
        """Return the known starts, oldest first."""
        path = self.folder / STARTS_FILE
        try:
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - _MAX_STARTS_BYTES))
                lines = file.read(_MAX_STARTS_BYTES).splitlines()
        except FileNotFoundError:
            return []
        return [start for line in lines if (start := _parse_start(line)) is not None]

    def restarts_since(self, at: float) -> int:
        """Return how often the service was started again after its first start, since `at`."""
        return sum(start.at >= at for start in self.starts()[1:])


def load_service(folder: str, *, root: str = "") -> Service:
    """Read a service directory; raise ServiceError where it is none, outside `root`, or not to be trusted."""
    if not folder or "\x00" in folder:
        raise ServiceError("service: no directory is known to this session; submit with service_dir")
    real = Path(os.path.realpath(folder))
    if root:
        allowed = Path(os.path.realpath(root))
        if allowed != real and allowed not in real.parents:
            raise ServiceError(
                f"service directory {folder}: outside the allowed folder {allowed}; choose one inside it"
            )
    path = real / SERVICE_FILE
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise ServiceError(
            f"service directory {folder}: {SERVICE_FILE} cannot be read ({error.strerror}); register the service"
        ) from error
    with os.fdopen(descriptor, "rb") as file:
        _refuse_foreign(os.fstat(descriptor), real.stat(), folder)
        text = file.read(_MAX_FILE_BYTES + 1)
    if len(text) > _MAX_FILE_BYTES:
        raise ServiceError(f"service directory {folder}: {SERVICE_FILE} is over {_MAX_FILE_BYTES} bytes; shorten it")
    try:
        return Service(real, Declaration.model_validate_json(text))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ServiceError(f"service directory {folder}: {SERVICE_FILE}: {where}: {first['msg']}; mend it") from error


def find_process(pid: int, create_time: float) -> psutil.Process | None:
    """Return the live process with this pid if it is ours and was started at that time."""
    if pid <= 0:
        return None
    try:
        process = psutil.Process(pid)
        is_same = abs(process.create_time() - create_time) <= _CLOCK_SLACK_SECONDS
        is_ours = process.uids().real == os.getuid()
        return process if is_same and is_ours and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.NoSuchProcess:
        return None


def _refuse_foreign(file: os.stat_result, folder: os.stat_result, shown: str) -> None:
    # A group that cannot come to a file cannot write it.
    in_file = stat.S_IWOTH | (stat.S_IWGRP if folder.st_mode & stat.S_IXGRP else 0)
    for what, writable in ((file, in_file), (folder, stat.S_IWOTH | stat.S_IWGRP)):
        if what.st_uid not in (0, os.geteuid()) or what.st_mode & writable:
            raise ServiceError(
                f"service directory {shown}: others can write it; a repair runs the command that it names"
            )
    if not stat.S_ISREG(file.st_mode):
        raise ServiceError(f"service directory {shown}: {SERVICE_FILE} is no regular file")


def _is_loopback_host(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _parse_start(line: bytes) -> Start | None:
    try:
        return Start.model_validate_json(line)
    except ValidationError:  # the first line of a cut file, or one that a crash left half written
        return None
