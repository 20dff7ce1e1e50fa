"""The demo: start a real service, break it for real, and submit the incident.

Options: `environment` (default local), `severity` (default sev2). `stop` ends every process that the
service directory knows of, also one that a session's repair started.
"""

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from orchestrator.contracts.demo import Submission
from orchestrator.contracts.errors import InputError

from . import demo_service, launch
from .probe import ask, wait_healthy
from .restart import end_process, start_service
from .service import SERVICE_FILE, Service, ServiceError, find_process, load_service
from .submit import submission

OPTIONS: Final = {
    "environment": "production, staging, dev or local (default: local)",
    "severity": "high, medium, low or an alias such as sev1 or p3 (default: sev2)",
}

_NAME: Final = "checkout"
_START_SECONDS: Final = 15.0
_FAILING_REQUESTS: Final = 12


class IncidentDemo:
    """A small shop service whose memory was damaged."""

    def __init__(self) -> None:
        self._folder: Path | None = None

    def prepare(self, folder: Path, options: Mapping[str, str]) -> list[Submission]:
        """Start and break the service in `folder`/service; return the incident. Raise InputError."""
        home = (folder / "service").resolve()
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = home
        self.stop()  # what an earlier demo in this folder may have left
        try:
            service = start_demo_service(home)
            break_service(service)
        except ServiceError as error:
            self.stop()
            raise InputError(str(error)) from error
        text = f"{_NAME}: customers see error 500 on every request since a few minutes ago."
        return [
            submission(
                service,
                text=text,
                environment=options.get("environment") or "local",
                severity=options.get("severity") or "sev2",
            )
        ]

    def stop(self) -> None:
        """End every process that was ever started for the service and still runs."""
        if self._folder is None or not (self._folder / SERVICE_FILE).exists():
            return
        for start in load_service(str(self._folder)).starts():
            process = find_process(start.pid, start.create_time)
            if process is not None:
                end_process(process)


def demo() -> IncidentDemo:
    """Return the app's demo."""
    return IncidentDemo()


def start_demo_service(home: Path) -> Service:
    """Start the demo's service on a free port and register it in `home`; raise ServiceError."""
    port_file = home / "port"
    for stale in (port_file, home / "service.log", home / "starts.jsonl", home / "oncall.jsonl"):
        stale.unlink(missing_ok=True)
    _declare(home, port=0)
    start_service(load_service(str(home)), "demo")
    port = _wait_port(port_file)
    started = load_service(str(home)).declaration
    # From now on the port is fixed, so that a restarted service is found at the same address.
    _declare(home, port=port, pid=started.pid, create_time=started.create_time)
    service = load_service(str(home))
    if not wait_healthy(service, timeout_seconds=_START_SECONDS)[1]:
        raise ServiceError(f"service {_NAME}: does not become healthy; look at {home / 'service.out'}")
    return service


def break_service(service: Service) -> None:
    """Damage the service's memory and let real requests fail; raise ServiceError if they do not."""
    declared = service.declaration
    ask(declared.url, "/break", method="POST")
    answers = [ask(declared.url, "/work") for _ in range(_FAILING_REQUESTS)]
    if any(answer.status != 500 for answer in answers):
        raise ServiceError(f"service {_NAME}: was broken and yet answers; the demo has nothing to show")


def _declare(home: Path, *, port: int, pid: int = 0, create_time: float = 0.0) -> None:
    program = str(Path(demo_service.__file__).resolve())
    command = [sys.executable, "-I", program, "--log", "service.log", "--port", str(port)]
    declared = {
        "name": _NAME,
        "url": f"http://127.0.0.1:{port}",
        "health_path": "/health",
        "probe_path": "/work",
        "log": "service.log",
        "command": command if port else [*command, "--port-file", "port"],
        "pid": pid,
        "create_time": create_time,
    }
    launch.write_atomically(home / SERVICE_FILE, declared)


def _wait_port(path: Path) -> int:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if path.exists():  # it is put there whole
            return int(path.read_text())
        time.sleep(0.02)
    raise ServiceError(
        f"service {_NAME}: did not start within {_START_SECONDS:g} s; look at {path.parent / 'service.out'}"
    )
