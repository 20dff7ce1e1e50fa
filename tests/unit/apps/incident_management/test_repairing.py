"""A repair acts on a real process: on the right one, once for each key, whatever crashes in between."""

import json
import threading
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from fastmcp.exceptions import ToolError

from apps.incident_management import restart
from apps.incident_management.demo import break_service
from apps.incident_management.mcp_servers import incident, remediation
from apps.incident_management.outbox import deliver_page
from apps.incident_management.probe import check_health
from apps.incident_management.restart import apply_restart, end_process, propose_restart, start_service
from apps.incident_management.service import Service, ServiceError, load_service
from tests.unit.apps.conftest import CallTool

Serve = Callable[..., CallTool]


def reload(service: Service) -> Service:
    """Return the service as it is declared now."""
    return load_service(str(service.folder))


def proposal_for(service: Service) -> str:
    """Return the id of the proposal for the present process."""
    return propose_restart(reload(service), "memory").proposal_id


def test_a_restart_cures_the_demos_fault(service: Service) -> None:
    """The real process is ended, a new one started, and it works."""
    break_service(service)
    old = service.process()

    fix = apply_restart(str(service.folder), proposal_for(service), "key-1")

    assert (fix.status, fix.healthy, fix.old_pid) == ("applied", True, service.declaration.pid)
    assert old is not None
    assert service.process() is None
    assert check_health(reload(service)).healthy
    assert [start.reason for start in service.starts()] == ["demo", f"repair {fix.proposal_id}"]


def test_the_same_key_restarts_once(service: Service) -> None:
    """A call that is repeated after a crash must not take the mended service down again."""
    proposal = proposal_for(service)
    first = apply_restart(str(service.folder), proposal, "key-1")

    second = apply_restart(str(service.folder), proposal, "key-1")

    assert second == first.model_copy(update={"repeated": True})
    assert len(service.starts()) == 2


def test_two_workers_with_one_key_restart_once(service: Service) -> None:
    """The lease may be lost in the middle of a call, and another worker makes it again."""
    proposal = proposal_for(service)
    fixes = []
    threads = [
        threading.Thread(target=lambda: fixes.append(apply_restart(str(service.folder), proposal, "key-1")))
        for _ in range(2)
    ]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(fix.repeated for fix in fixes) == [False, True]
    assert len(service.starts()) == 2


def crash_before(service: Service, proposal: str, key: str) -> None:
    """Leave what a worker leaves that died right after it wrote its intent."""
    declared = service.declaration
    folder = service.folder / "fixes"
    folder.mkdir()
    intent = {"proposal_id": proposal, "old_pid": declared.pid, "old_create_time": declared.create_time}
    (folder / f"{sha256(key.encode()).hexdigest()[:32]}.json").write_text(json.dumps(intent))


def test_a_crash_after_the_intent_is_taken_up(service: Service) -> None:
    """The old process still runs: the repetition does the whole."""
    proposal = proposal_for(service)
    crash_before(service, proposal, "key-1")

    fix = apply_restart(str(service.folder), proposal, "key-1")

    assert (fix.status, fix.new_pid != fix.old_pid, len(service.starts())) == ("applied", True, 2)


def test_a_crash_after_the_old_process_ended_is_taken_up(service: Service) -> None:
    """Nothing runs: the repetition starts it."""
    proposal = proposal_for(service)
    crash_before(service, proposal, "key-1")
    process = service.process()
    assert process is not None
    end_process(process)

    fix = apply_restart(str(service.folder), proposal, "key-1")

    assert (fix.status, len(service.starts())) == ("applied", 2)


def test_a_crash_after_the_new_process_started_restarts_nothing(service: Service) -> None:
    """It was done; what is left is to say so."""
    proposal = proposal_for(service)
    crash_before(service, proposal, "key-1")
    process = service.process()
    assert process is not None
    end_process(process)
    pid = start_service(service, "the try that died")

    fix = apply_restart(str(service.folder), proposal, "key-1")

    assert (fix.status, fix.new_pid, len(service.starts())) == ("applied", pid, 2)


def test_an_approved_proposal_cannot_hit_another_process(service: Service) -> None:
    """What a person approved was about the process that ran then."""
    stale = proposal_for(service)
    apply_restart(str(service.folder), stale, "key-1")

    with pytest.raises(ServiceError, match="not about the process that runs now"):
        apply_restart(str(service.folder), stale, "key-2")

    assert len(service.starts()) == 2


def test_a_process_that_is_not_on_record_is_left_alone(service: Service) -> None:
    """A pid that was reused, or a service that someone started by hand, is never ended."""
    real = reload(service)
    path = service.folder / "service.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "create_time": 1_000.0}))

    with pytest.raises(ServiceError, match="not on record answers there"):
        apply_restart(str(service.folder), proposal_for(service), "key-1")

    assert real.process() is not None


def test_a_command_that_does_not_start_is_a_clear_failure(service: Service) -> None:
    """And the next one to look finds the reason."""
    path = service.folder / "service.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "command": ["/nonexistent/program"]}))

    with pytest.raises(ServiceError, match="cannot be started"):
        apply_restart(str(service.folder), proposal_for(service), "key-1")


def test_a_service_that_stays_broken_is_a_failed_repair(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process was restarted and does not help: the session must know."""
    monkeypatch.setattr(restart, "_HEALTHY_SECONDS", 0.3)
    path = service.folder / "service.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "health_path": "/missing"}))

    fix = apply_restart(str(service.folder), proposal_for(service), "key-1")

    assert (fix.status, fix.healthy) == ("failed", False)


def test_a_restarted_service_does_not_inherit_the_workers_secrets(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker's environment holds keys of model services."""
    monkeypatch.setenv("SOME_API_KEY", "very-secret")

    fix = apply_restart(str(service.folder), proposal_for(service), "key-1")

    environment = Path(f"/proc/{fix.new_pid}/environ")
    assert environment.exists()
    assert b"very-secret" not in environment.read_bytes()


def test_a_page_is_delivered_once_for_each_key(service: Service, serve: Serve) -> None:
    """Waking someone twice for one call is the double effect that everybody notices."""
    call = serve(remediation, escalation_teams=["platform-oncall"])
    args = {"team": "platform-oncall", "service_dir": str(service.folder), "incident_id": "INC-20260102-001"}

    first = call("notify_oncall", message="Down.", idempotency_key="key-1", **args)
    again = call("notify_oncall", message="Down.", idempotency_key="key-1", **args)
    other = call("notify_oncall", incident_text="All is broken", idempotency_key="key-2", **args)

    lines = [json.loads(line) for line in (service.folder / "oncall.jsonl").read_text().splitlines()]
    assert (again["page_id"], again["repeated"]) == (first["page_id"], True)
    assert [line["message"] for line in lines] == ["Down.", "Handed over: All is broken"]
    assert other["page_id"] != first["page_id"]


def test_half_a_line_in_the_outbox_spoils_no_page(tmp_path: Path) -> None:
    """A crash while writing leaves one; the next page is on a line of its own."""
    path = tmp_path / "outbox.jsonl"
    path.write_text('{"page_id": "page-1", "inc')

    page, _ = deliver_page(path, incident_id="INC-1", team="t", message="m", key="k")

    assert json.loads(path.read_text().splitlines()[1])["page_id"] == page.page_id
    assert deliver_page(path, incident_id="INC-1", team="t", message="m", key="k") == (page, True)


def test_pages_go_to_the_configured_outbox_only_for_teams_on_the_roster(serve: Serve, tmp_path: Path) -> None:
    """A model cannot invent a team."""
    call = serve(remediation, outbox=str(tmp_path / "out.jsonl"), escalation_teams=["platform-oncall"])

    call("notify_oncall", team="platform-oncall", message="m")
    with pytest.raises(ToolError, match="not on the roster"):
        call("notify_oncall", team="marketing", message="m")

    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 1


def test_an_outbox_that_cannot_be_written_is_told(serve: Serve, tmp_path: Path) -> None:
    """A page that was not delivered must not count as one."""
    call = serve(remediation, outbox=str(tmp_path / "none" / "out.jsonl"))

    with pytest.raises(ToolError, match="page the team by hand"):
        call("notify_oncall", team="platform-oncall", message="m")


def test_an_incident_is_not_resolved_while_the_service_fails(service: Service, serve: Serve) -> None:
    """The end of a session is a claim about the world, and is checked there."""
    call = serve(incident)
    args = {"resolution_summary": "Mended.", "confidence": 0.9, "confidence_rationale": "looks good"}
    break_service(service)

    with pytest.raises(ToolError, match="it is not resolved"):
        call("mark_resolved", service_dir=str(service.folder), **args)
    apply_restart(str(service.folder), proposal_for(service), "key-1")

    assert call("mark_resolved", service_dir=str(service.folder), **args)["status"] == "resolved"


def test_verification_needs_several_good_checks(
    service: Service, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One good answer may be luck."""
    monkeypatch.setattr(remediation, "_VERIFY_SECONDS", 60.0)
    call = serve(remediation)

    good = call("verify_health", service_dir=str(service.folder))
    break_service(service)
    monkeypatch.setattr(remediation, "_VERIFY_SECONDS", 0.3)
    bad = call("verify_health", service_dir=str(service.folder))

    assert (good["healthy"], bad["healthy"]) == (True, False)
    assert bad["detail"] == "health answers 500"


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        ({"severity": "SEV1"}, {"severity": "high"}),
        ({"severity": "moderate", "category": "latency"}, {"severity": "medium", "category": "latency"}),
        ({}, {}),
        ({"tags": ["db"], "signal": "failed"}, {"tags": ["db"]}),
    ],
)
def test_a_patch_changes_the_named_fields(serve: Serve, patch: dict[str, object], expected: dict[str, object]) -> None:
    """Aliases of severity are read as what they mean; an empty patch changes nothing."""
    result = serve(incident)("update_incident", patch=patch, incident_id="INC-1")

    assert (result["fields"], result["findings"]) == (expected, {})


@pytest.mark.parametrize(
    "patch",
    [
        {"status": "resolved"},
        {"resolution": "x"},
        {"escalated_to": "x"},
        {"severity": "terrible"},
        {"findings": {"a": 1}},
    ],
)
def test_a_patch_cannot_end_the_incident(serve: Serve, patch: dict[str, object]) -> None:
    """How it ended is said by the tools that end it."""
    with pytest.raises(ToolError):
        serve(incident)("update_incident", patch=patch)


@pytest.mark.parametrize(
    ("tool", "args"),
    [
        ("submit_hypothesis", {"hypotheses": [], "confidence": 0.5, "confidence_rationale": "r"}),
        ("submit_hypothesis", {"hypotheses": [" "], "confidence": 0.5, "confidence_rationale": "r"}),
        ("submit_hypothesis", {"hypotheses": ["h"], "confidence": 1.5, "confidence_rationale": "r"}),
        ("submit_hypothesis", {"hypotheses": ["h"], "confidence": 0.5, "confidence_rationale": ""}),
        ("mark_escalated", {"team": "marketing", "reason": "r", "confidence": 0.5, "confidence_rationale": "r"}),
        ("mark_escalated", {"team": "data-oncall", "reason": "", "confidence": 0.5, "confidence_rationale": "r"}),
        ("mark_resolved", {"resolution_summary": "s", "confidence": -1, "confidence_rationale": "r"}),
    ],
)
def test_what_says_nothing_is_refused(serve: Serve, tool: str, args: dict[str, object]) -> None:
    """Confidence, reasons and teams are what people rely on later."""
    with pytest.raises(ToolError):
        serve(incident, escalation_teams=["data-oncall"])(tool, **args)
