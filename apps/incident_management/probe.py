"""Ask a service over HTTP whether it works. Loopback only, no redirects, no proxies, bounded.

The address comes from the service's own declaration, which has been checked; nothing that a model
says becomes part of a request.
"""

import http.client
import time
from typing import Final
from urllib.parse import urlsplit

from pydantic import BaseModel

from .service import Service

_TIMEOUT_SECONDS: Final = 2.0
_MAX_BODY_BYTES: Final = 64 * 1024
_EXCERPT: Final = 300


class Answer(BaseModel):
    """One answer. `status` is None where none came, and `error` says why."""

    ok: bool
    status: int | None
    latency_ms: float
    error: str | None
    body: str


class Health(BaseModel):
    """What several requests showed. `healthy`: the health path and every probe were answered with 2xx."""

    service: str
    url: str
    healthy: bool
    status: int | None
    latency_ms: float
    error: str | None
    body: str
    probes: int
    failures: int
    error_rate: float


def ask(url: str, path: str, *, method: str = "GET", timeout_seconds: float = _TIMEOUT_SECONDS) -> Answer:
    """Make one request and return its answer, whatever it is."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_seconds)
    begun = time.monotonic()
    status, error, body = None, None, b""
    try:
        connection.request(method, path, headers={"User-Agent": "baton-incident", "Connection": "close"})
        response = connection.getresponse()
        status = response.status
        while len(body) < _MAX_BODY_BYTES and time.monotonic() - begun < timeout_seconds * 2:
            chunk = response.read1(_MAX_BODY_BYTES - len(body))
            if not chunk:
                break
            body += chunk
    except TimeoutError:
        error = f"no answer within {timeout_seconds:g} s"
    except OSError as refused:
        error = refused.strerror or type(refused).__name__
    except http.client.HTTPException as broken:
        error = f"not HTTP: {type(broken).__name__}"
    finally:
        connection.close()
    return Answer(
        ok=status is not None and 200 <= status < 300 and error is None,
        status=status,
        latency_ms=round((time.monotonic() - begun) * 1000, 1),
        error=error,
        body=body[:_EXCERPT].decode("utf-8", "replace"),
    )


def check_health(service: Service, *, probes: int = 5) -> Health:
    """Ask the health path once and, where one is declared, the probe path several times."""
    declared = service.declaration
    first = ask(declared.url, declared.health_path)
    answers = [first]
    if declared.probe_path is not None and first.status is not None:  # nothing listens: asking on is vain
        answers += [ask(declared.url, declared.probe_path) for _ in range(probes)]
    failures = sum(not answer.ok for answer in answers)
    return Health(
        service=service.name,
        url=declared.url,
        healthy=failures == 0,
        status=first.status,
        latency_ms=first.latency_ms,
        error=first.error,
        body=first.body,
        probes=len(answers),
        failures=failures,
        error_rate=round(failures / len(answers), 3),
    )


def wait_healthy(service: Service, *, timeout_seconds: float, consecutive: int = 3) -> tuple[Health, bool]:
    """Ask until so many checks in a row are good or the time is over; return the last and whether it is."""
    deadline = time.monotonic() + timeout_seconds
    good = 0
    while True:
        health = check_health(service, probes=2)
        good = good + 1 if health.healthy else 0
        if good >= consecutive or time.monotonic() >= deadline:
            return health, good >= consecutive
        time.sleep(0.05)
