"""Propose and perform the one repair there is: restart the service's process.

A proposal names the very process that it is about, so one that a person approved cannot hit another
process later. A repair is done once for each idempotency key: its intent is written before anything
is ended, and a repetition goes on where the first try stopped, or returns what that one returned.
"""

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Final, Literal

import psutil
from pydantic import BaseModel, ValidationError

from . import launch
from .probe import ask, wait_healthy
from .service import FIXES_FOLDER, Service, ServiceError, find_process, load_service

_TERM_SECONDS: Final = 5.0
_KILL_SECONDS: Final = 3.0
_LAUNCH_SECONDS: Final = 15.0
_HEALTHY_SECONDS: Final = 15.0


class Proposal(BaseModel):
    """A repair that may be asked for: what it does, to which process, and what it costs."""

    proposal_id: str
    action: Literal["restart"] = "restart"
    service: str
    proposal: str
    hypothesis: str
    auto_apply_safe: Literal[False] = False
    estimated_impact: str


class Fix(BaseModel):
    """How a repair ended. `repeated`: it had been done before under the same key."""

    status: Literal["applied", "failed"]
    action: Literal["restart"] = "restart"
    service: str
    proposal_id: str
    old_pid: int
    new_pid: int
    healthy: bool
    seconds: float
    detail: str
    repeated: bool = False


class _FixRecord(BaseModel):
    """fixes/KEY.json: the intent, and the outcome once there is one."""

    proposal_id: str
    old_pid: int
    old_create_time: float
    fix: Fix | None = None


def propose_restart(service: Service, hypothesis: str) -> Proposal:
    """Return the proposal to restart this service's present process."""
    declared = service.declaration
    return Proposal(
        proposal_id=_proposal_id(service),
        service=service.name,
        proposal=f"Restart {service.name} (pid {declared.pid}): terminate the process, start its command, wait for health",
        hypothesis=hypothesis,
        estimated_impact="a few seconds without answers; what the process holds in memory is lost",
    )


def apply_restart(folder: str, proposal_id: str, key: str, *, root: str = "") -> Fix:
    """Restart the service as proposed, once for each key; raise ServiceError if it may not be done."""
    service = load_service(folder, root=root)
    with _locked(service.folder) as lock:
        service = load_service(folder, root=root)  # as it is now that we are alone
        path = service.folder / FIXES_FOLDER / f"{sha256((key or proposal_id).encode()).hexdigest()[:32]}.json"
        record = _load_record(path)
        if record is not None and record.fix is not None:
            return record.fix.model_copy(update={"repeated": True})
        if record is None:
            record = _intend(service, proposal_id, path)
        elif record.proposal_id != proposal_id:
            raise ServiceError(f"proposal {proposal_id[:40]!r}: the key belongs to {record.proposal_id}; propose again")
        fix = _restart(service, record, lock, root)
        launch.write_atomically(path, record.model_copy(update={"fix": fix}).model_dump(mode="json"))
        return fix


def start_service(service: Service, reason: str, *, keep: tuple[int, ...] = ()) -> int:
    """Start the declared command, detached; return its pid or raise ServiceError.

    The descriptors in `keep` stay open in the starter, so that a lock on them outlives this process.
    """
    argv = [sys.executable, "-I", str(Path(launch.__file__).resolve()), str(service.folder), reason]
    try:
        done = subprocess.run(  # noqa: S603 - our own program
            argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=_LAUNCH_SECONDS, check=False, pass_fds=keep
        )
    except subprocess.TimeoutExpired as error:
        raise ServiceError(
            f"service {service.name}: not started within {_LAUNCH_SECONDS:g} s; look at service.out"
        ) from error
    if done.returncode != 0:
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        raise ServiceError(f"service {service.name}: its command cannot be started: {' '.join(last)[:200]}")
    return int(done.stdout)


def end_process(process: psutil.Process) -> None:
    """Ask a process to end, then end it; raise ServiceError if it lives on. psutil refuses a reused pid."""
    for act, seconds in ((process.terminate, _TERM_SECONDS), (process.kill, _KILL_SECONDS)):
        try:
            act()
        except psutil.NoSuchProcess:
            return
        except psutil.AccessDenied as error:
            raise ServiceError(
                f"process {process.pid}: belongs to another user; it cannot be ended from here"
            ) from error
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if _is_gone(process):
                return
            time.sleep(0.02)
    raise ServiceError(f"process {process.pid}: does not end, not even when killed; look at it by hand")


def _is_gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _restart(service: Service, record: _FixRecord, lock: int, root: str) -> Fix:
    begun = time.monotonic()
    declared = service.declaration
    if (declared.pid, declared.create_time) == (record.old_pid, record.old_create_time):
        old = find_process(record.old_pid, record.old_create_time)
        if old is not None:
            end_process(old)
        elif ask(declared.url, declared.health_path).status is not None:
            raise ServiceError(
                f"service {service.name}: a process that is not on record answers there; look at it by hand"
            )
        start_service(service, f"repair {record.proposal_id}", keep=(lock,))
    # Otherwise a try that died had started it already: what is left is to see whether it helped.
    service = load_service(str(service.folder), root=root)
    health, healthy = wait_healthy(service, timeout_seconds=_HEALTHY_SECONDS)
    return Fix(
        status="applied" if healthy else "failed",
        service=service.name,
        proposal_id=record.proposal_id,
        old_pid=record.old_pid,
        new_pid=service.declaration.pid,
        healthy=healthy,
        seconds=round(time.monotonic() - begun, 3),
        detail=f"health answers {health.status}" if health.error is None else health.error,
    )


def _intend(service: Service, proposal_id: str, path: Path) -> _FixRecord:
    if proposal_id != _proposal_id(service):
        raise ServiceError(
            f"proposal {proposal_id[:40]!r}: not about the process that runs now; call propose_fix again"
        )
    declared = service.declaration
    record = _FixRecord(proposal_id=proposal_id, old_pid=declared.pid, old_create_time=declared.create_time)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    launch.write_atomically(path, record.model_dump(mode="json"))
    return record


def _load_record(path: Path) -> _FixRecord | None:
    try:
        return _FixRecord.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise ServiceError(
            f"repair record {path.name}: cannot be read; look at it by hand before anything is restarted"
        ) from error


def _proposal_id(service: Service) -> str:
    declared = service.declaration
    about = f"{declared.name}\n{declared.pid}\n{declared.create_time}\nrestart"
    return f"prop-{sha256(about.encode()).hexdigest()[:12]}"


@contextmanager
def _locked(folder: Path) -> Iterator[int]:
    """Hold the directory's lock; a starter that inherits the descriptor holds it on."""
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)
