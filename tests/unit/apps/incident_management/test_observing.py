"""Health, logs, metrics and evidence, from a real process that really fails."""

import socket
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fastmcp.exceptions import ToolError

from apps.incident_management.demo import break_service
from apps.incident_management.evidence import Evidence, weigh_evidence
from apps.incident_management.log_reader import read_log
from apps.incident_management.mcp_servers import observability
from apps.incident_management.probe import ask
from apps.incident_management.restart import end_process
from apps.incident_management.service import Service
from tests.unit.apps.conftest import CallTool

Serve = Callable[..., CallTool]
NOW = datetime(2026, 1, 2, 3, 30, tzinfo=UTC)

QUIET = Evidence(
    healthy=True,
    answers=True,
    status=200,
    error_rate=0.0,
    log_lines=50,
    log_errors=0,
    log_error_share=0.0,
    process_alive=True,
    restarts_last_hour=0,
)
BROKEN = QUIET.model_copy(
    update={"healthy": False, "status": 500, "error_rate": 1.0, "log_errors": 20, "log_error_share": 0.4}
)


def test_a_working_service_is_healthy(service: Service, serve: Serve) -> None:
    """Real answers to real requests."""
    health = serve(observability)("get_service_health", service_dir=str(service.folder))

    assert (health["service"], health["healthy"], health["status"], health["error_rate"]) == (
        "checkout",
        True,
        200,
        0.0,
    )


def test_a_broken_service_fails_and_says_so_in_its_log(service: Service, serve: Serve) -> None:
    """The fault is real: exceptions in a process, 500 on the wire, lines in a file."""
    call = serve(observability)
    break_service(service)

    health = call("get_service_health", service_dir=str(service.folder))
    logs = call("get_logs", service_dir=str(service.folder))

    assert (health["healthy"], health["status"], health["error_rate"]) == (False, 500, 1.0)
    assert logs["errors"] >= 12
    assert "price table damaged" in logs["error_samples"][0]["message"]
    assert logs["levels"]["WARNING"] == 1


def test_metrics_are_those_of_the_services_own_process(service: Service, serve: Serve) -> None:
    """By pid and start time; once it is gone there are none."""
    call = serve(observability)
    process = service.process()
    assert process is not None

    alive = call("get_metrics", service_dir=str(service.folder))
    end_process(process)
    gone = call("get_metrics", service_dir=str(service.folder))

    assert (alive["pid"], alive["alive"]) == (process.pid, True)
    assert alive["rss_bytes"] > 1_000_000
    assert alive["threads"] >= 1
    assert (gone["alive"], gone["rss_bytes"]) == (False, None)


def test_the_demos_fault_gives_a_confidence_that_passes_the_gate(service: Service, serve: Serve) -> None:
    """All signs agree: answers, log, and a process that lives."""
    call = serve(observability)
    break_service(service)

    weighed = call("weigh_evidence", service_dir=str(service.folder))

    assert (weighed["cause"], weighed["restart_would_help"]) == ("process_fault", True)
    assert weighed["confidence"] >= 0.75
    assert "price table damaged" in weighed["statement"]


def test_a_healthy_service_gives_a_confidence_that_the_gate_stops(service: Service, serve: Serve) -> None:
    """Somebody said that something is wrong, and nothing is to be seen: a person must look."""
    weighed = serve(observability)("weigh_evidence", service_dir=str(service.folder))

    assert weighed["cause"] == "no_fault_seen"
    assert weighed["confidence"] < 0.75


def test_a_service_that_is_gone_is_known_as_down(service: Service, serve: Serve) -> None:
    """No process and no answer are two signs that agree."""
    process = service.process()
    assert process is not None
    end_process(process)

    weighed = serve(observability)("weigh_evidence", service_dir=str(service.folder))

    assert (weighed["cause"], weighed["restart_would_help"]) == ("process_down", True)
    assert weighed["confidence"] >= 0.75


@pytest.mark.parametrize(
    ("changes", "cause", "passes"),
    [
        ({}, "process_fault", True),
        ({"restarts_last_hour": 1}, "process_fault", False),
        ({"log_errors": 0, "log_error_share": 0.0}, "process_fault", False),
        ({"error_rate": 0.3}, "intermittent", False),
        ({"answers": False, "status": None}, "process_hung", True),
        ({"answers": False, "status": None, "process_alive": False}, "process_down", True),
        ({"answers": False, "status": None, "process_alive": False, "restarts_last_hour": 2}, "process_down", False),
    ],
)
def test_confidence_follows_from_the_evidence(changes: dict[str, object], cause: str, passes: bool) -> None:
    """Independent signs that agree raise it; a restart that did not last lowers it."""
    weighed = weigh_evidence(BROKEN.model_copy(update=changes))

    assert (weighed.cause, weighed.confidence >= 0.75) == (cause, passes)


def test_confidence_stays_between_its_bounds() -> None:
    """Never certain, never none."""
    least = weigh_evidence(BROKEN.model_copy(update={"restarts_last_hour": 50}))

    assert (least.confidence, weigh_evidence(BROKEN).confidence) == (0.05, 0.95)


def test_errors_that_differ_in_numbers_only_are_one_kind(tmp_path: Path) -> None:
    """Ids and addresses must not hide that it is always the same error."""
    log = tmp_path / "a.log"
    log.write_text(
        "".join(f"2026-01-02T03:2{n}:00+00:00 ERROR order {n} failed at 0x{n}f\n" for n in range(5))
        + "Traceback (most recent call last):\n  boom\n"
        + "2026-01-02 03:29:00,500 [INFO]: fine\n2026-01-02T01:00:00Z ERROR long ago\nno line at all\n"
    )

    summary = read_log(log, minutes=15, now=NOW)

    assert (summary.lines, summary.errors, summary.levels) == (6, 5, {"ERROR": 5, "INFO": 1})
    assert [sample.count for sample in summary.error_samples] == [5]


def test_a_huge_log_is_read_from_its_end(tmp_path: Path) -> None:
    """A log of any size costs the same, and nothing unprintable comes through."""
    log = tmp_path / "a.log"
    log.write_bytes(b"2026-01-02T03:29:00Z INFO \x1b[31mold\xff\n" * 20_000 + b"2026-01-02T03:29:59Z ERROR last\n")

    summary = read_log(log, minutes=15, now=NOW)

    assert summary.truncated
    assert summary.tail[-1].endswith("ERROR last")
    assert len(summary.tail) == 20
    assert "\x1b" not in "".join(summary.tail)


def test_a_missing_log_is_an_empty_one(tmp_path: Path) -> None:
    """Thin evidence, not a failure."""
    assert read_log(tmp_path / "none.log", minutes=15, now=NOW).lines == 0


def test_what_does_not_answer_or_is_no_http_is_told(tmp_path: Path) -> None:
    """A hung service must not hang the session."""
    with socket.create_server(("127.0.0.1", 0)) as silent, socket.create_server(("127.0.0.1", 0)) as odd:

        def answer_oddly() -> None:
            connection, _ = odd.accept()
            with connection:
                connection.recv(1_000)
                connection.sendall(b"SSH-2.0-x\r\n")

        thread = threading.Thread(target=answer_oddly)
        thread.start()
        not_http = ask(f"http://127.0.0.1:{odd.getsockname()[1]}", "/health")
        thread.join()
        hung = ask(f"http://127.0.0.1:{silent.getsockname()[1]}", "/health", timeout_seconds=0.1)

    assert (not_http.ok, not_http.status, not_http.error) == (False, None, "not HTTP: BadStatusLine")
    assert (hung.ok, hung.error) == (False, "no answer within 0.1 s")


def test_without_a_service_the_model_is_told(serve: Serve) -> None:
    """The person who submits gives the directory."""
    with pytest.raises(ToolError, match="submit with service_dir"):
        serve(observability)("get_service_health")
