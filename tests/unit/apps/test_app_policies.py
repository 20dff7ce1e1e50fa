"""Both bundled apps from their first step to their status, by their own rules and without a model.

Real declarations, real policy, real tools on real input; the kernel decides every step. Only what
stores and wakes sessions is left out: that has tests of its own.
"""

import asyncio
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from apps.code_review.submit import submissions
from apps.incident_management.demo import break_service
from apps.incident_management.probe import check_health
from apps.incident_management.restart import end_process
from apps.incident_management.service import Service, load_service
from orchestrator.app_loader import load_app
from orchestrator.app_state import validate_state
from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.errors import InvalidOverrides
from orchestrator.contracts.messages import Message
from orchestrator.contracts.ports import Provider
from orchestrator.contracts.session import Cursor, Post, Record, ToolCall, Wait
from orchestrator.finalizer import choose_settlement
from orchestrator.kernel.delivery import deliver
from orchestrator.kernel.terminal import Settlement
from orchestrator.settings import Settings
from plugin_sandbox.settings import SandboxSettings
from tests.unit.apps.conftest import GitRepo
from workers.composition import build_app
from workers.models import Models
from workers.plugins import PluginHost, needs_sandbox
from workers.steps import agent_turn
from workers.steps.performing import perform_step
from workers.steps.world import World

APPS = Path(__file__).parents[3] / "apps"
NOW = 1_800_000_000_000
#: A model by rules passes no gate, so there is no store behind it.
NO_STORE = cast("Any", SimpleNamespace(store=None))


@dataclass
class Played:
    """What a session did, and how it stands."""

    record: Record
    messages: list[Message] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    settlement: Settlement | None = None

    def tools(self) -> list[str]:
        return [call.tool.partition(":")[2] for call in self.calls]


def begin(spec: AppSpec, text: str, overrides: Mapping[str, object]) -> Played:
    """Return a session as it is submitted."""
    state = validate_state(spec, overrides)
    return Played(
        Record(
            session_id="SES-20260102-001",
            app=spec.name,
            spec=spec.digest(),
            phase="running",
            text=text,
            cursor=Cursor(skill=spec.entry_skill),
            state=state,
        ),
        [Message(role="user", content=text)],
    )


def play(spec: AppSpec, played: Played, *, post: Callable[[Wait], Post] | None = None) -> Played:
    """Take steps until the session waits (and nobody answers) or ends."""
    with tempfile.TemporaryDirectory() as state_dir:
        return _play(spec, played, post, Path(state_dir))


def _play(spec: AppSpec, played: Played, post: Callable[[Wait], Post] | None, state_dir: Path) -> Played:
    app = build_app(spec, Settings())
    sandbox = SandboxSettings(state_dir=state_dir, preload=("json",), programs={"ruff": "ruff"})

    async def run() -> Played:
        plugins = PluginHost(Settings(), sandbox, {spec.name: spec}) if needs_sandbox({spec.name: spec}) else None
        try:
            return await take_steps(plugins)
        finally:
            if plugins is not None:
                await plugins.aclose()

    async def take_steps(plugins: PluginHost | None) -> Played:
        catalogue = await app.toolbox.catalogue()
        world = World(
            app=app,
            client=NO_STORE,
            claimed_at=NOW,
            started=time.monotonic(),
            load_context=lambda: _value(tuple(played.messages)),
            load_catalogue=lambda _: _value(("catalogue", catalogue)),
            plugins=plugins,
        )
        for _ in range(200):
            if played.record.wait is not None:
                if post is None:
                    return played
                delivered = deliver(spec, played.record, [post(played.record.wait)], NOW)
                played.record = delivered.record
                played.messages += delivered.messages
            change = await perform_step(world, played.record)
            played.record = change.record
            played.messages += change.messages
            played.calls += change.calls
            world.announced |= {call.call_id for call in change.intents}
            if change.directive == "finalizing":
                played.settlement = choose_settlement(spec, played.record)
                return played
        raise AssertionError("the session does not come to an end")

    async def _value(value: Any) -> Any:
        return value

    try:
        return asyncio.run(run())
    finally:
        asyncio.run(app.toolbox.aclose())


def decide(verdict: str, text: str = "") -> Callable[[Wait], Post]:
    """Return what answers an approval."""
    return lambda wait: Post(
        post_id="p", kind="decision", actor="ann", wait_id=wait.wait_id, verdict=verdict, digest=wait.digest, text=text
    )


@pytest.fixture(scope="module")
def review() -> AppSpec:
    """The app, as the runtime loads it."""
    return load_app(APPS / "code_review", env={})


@pytest.fixture(scope="module")
def incident() -> AppSpec:
    """The app, as the runtime loads it."""
    return load_app(APPS / "incident_management", env={})


def reviewed(spec: AppSpec, repo: GitRepo, **overrides: object) -> Played:
    """Review the latest commit."""
    made = submissions({"repo": str(repo.path), "count": "1"})[0]
    return play(spec, begin(spec, made.text, {**made.overrides, **overrides}))


def reported(spec: AppSpec, service: Service, **overrides: object) -> Played:
    """Return an incident of a service."""
    return begin(
        spec, "checkout answers 500.", {"service_dir": str(service.folder), "environment": "local", **overrides}
    )


BAD = "import subprocess\n\n\ndef f(x):\n    try:\n        subprocess.run(x, shell=True)\n    except:\n        pass\n"


@pytest.mark.parametrize(
    ("files", "status"),
    [
        ({"src__a_dot_py": BAD}, "changes_requested"),
        ({"src__a_dot_py": 'import os\n\nKEY = os.environ["AKIA' + 'QWERTYUIOPASDF7H"]\n'}, "changes_requested"),
        ({"src__a_dot_py": "def f(x=[]):\n    return x\n"}, "commented"),
        ({"src__a_dot_py": "x = 1\n"}, "approved"),
        ({"README_dot_md": "# Hello\n"}, "approved"),
        ({}, "approved"),
    ],
)
def test_a_commit_is_judged_by_what_is_in_it(
    review: AppSpec, repo: GitRepo, files: dict[str, str], status: str
) -> None:
    """The decision rule, from real diffs to the app's word."""
    repo.commit("First")
    repo.commit("Second", **files)

    played = reviewed(review, repo)

    assert played.settlement is not None
    assert played.settlement.status == status
    assert played.settlement.reason == "rule"


def test_every_finding_of_the_analysers_is_recorded_in_the_state(review: AppSpec, repo: GitRepo) -> None:
    """Tools write no state: the declared updates do, in the commit that records the call."""
    commit = repo.commit("Bad", src__a_dot_py=BAD)

    played = reviewed(review, repo)

    state = played.record.state
    assert [it["rule"] for it in cast("list[JsonObject]", state["review_findings"])] == [
        "shell",
        "bare-except",
        "untested-change",
    ]
    assert (state["findings_count"], state["blocking_points"], state["warnings"]) == (3, 2, 0)
    assert (state["commit"], state["title"], state["overall_recommendation"]) == (commit, "Bad", "request_changes")
    assert "Findings: 3 (critical 0, error 2, warning 0, note 1)" in str(state["review_summary"])


def test_a_branch_name_is_pinned_to_its_commit(review: AppSpec, repo: GitRepo) -> None:
    """A session is about one commit, whatever the branch does while it runs."""
    commit = repo.commit("First", a_dot_txt="x\n")

    played = reviewed(review, repo, commit="main")

    assert played.record.state["commit"] == commit


def test_a_commit_that_cannot_be_read_ends_unreviewed(review: AppSpec, repo: GitRepo) -> None:
    """A failed tool is no judgement."""
    repo.commit("First")

    played = reviewed(review, repo, commit="--output=x")

    assert (played.tools(), played.calls[0].outcome) == (["fetch_diff"], "failed")
    assert played.settlement is not None
    assert (played.settlement.status, played.settlement.reason) == ("unreviewed", "default")


def test_a_model_is_shown_no_argument_that_chooses_the_repository(review: AppSpec, repo: GitRepo) -> None:
    """Text in a diff may try to make a model read something else."""
    repo.commit("First")
    app = build_app(review, Settings())
    seen: list[set[str]] = []

    class Spy:
        async def complete(self, request: Any) -> Any:
            seen.extend(set(tool.parameters.get("properties", {})) for tool in request.tools)
            return await app.models.routes[0].provider.complete(request)

        async def aclose(self) -> None: ...

    asyncio.run(_one_turn(app, cast("Provider", Spy()), begin(review, "t", {"repo": str(repo.path)})))

    assert seen == [set()]


async def _one_turn(app: Any, provider: Provider, played: Played) -> None:
    catalogue = await app.toolbox.catalogue()

    async def context() -> tuple[Message, ...]:
        return tuple(played.messages)

    async def listed(_: Record) -> Any:
        return "catalogue", catalogue

    models = Models([replace(app.models.routes[0], provider=provider)], Settings().models)
    world = World(replace(app, models=models), NO_STORE, NOW, time.monotonic(), context, listed)
    await agent_turn.perform(world, played.record)


def test_an_incident_is_resolved_by_an_approved_restart(incident: AppSpec, service: Service) -> None:
    """Observed, explained, approved by a person, done, verified."""
    break_service(service)
    played = play(incident, reported(incident, service))
    waited = played.record.wait
    was_broken = check_health(service)

    play(incident, played, post=decide("allow"))

    assert waited is not None
    assert waited.call is not None
    assert (waited.kind, waited.call.tool, was_broken.status) == ("approval", "remediation:apply_fix", 500)
    assert played.settlement is not None
    assert played.settlement.status == "resolved"
    assert played.tools()[-4:] == ["propose_fix", "apply_fix", "verify_health", "mark_resolved"]
    assert next(call for call in played.calls if "apply_fix" in call.tool).outcome == "approved"
    assert check_health(load_service(str(service.folder))).healthy
    state = cast("dict[str, Any]", played.record.state)
    assert state["incident"]["severity"] == "high"
    assert state["hypothesis"]["confidence"] >= 0.75
    assert state["fix"]["new_pid"] == load_service(str(service.folder)).declaration.pid


def test_a_denied_restart_pages_a_team_and_touches_nothing(incident: AppSpec, service: Service) -> None:
    """The person's reason reaches those who take over."""
    break_service(service)

    played = play(incident, reported(incident, service), post=decide("deny", "sale is on"))

    assert played.settlement is not None
    assert played.settlement.status == "escalated"
    assert played.settlement.fields["team"] == "platform-oncall"
    assert played.settlement.fields["escalated_to"] == "platform-oncall"
    page = json.loads((service.folder / "oncall.jsonl").read_text())
    assert "rejected" in page["message"]
    assert "sale is on" in page["message"]
    assert service.process() is not None
    assert len(service.starts()) == 1


def test_an_approval_that_nobody_gives_pages_a_team(incident: AppSpec, service: Service) -> None:
    """A broken service does not wait for ever."""
    break_service(service)
    played = play(incident, reported(incident, service))
    wait = played.record.wait
    assert wait is not None
    assert wait.deadline_at is not None

    played.record = deliver(incident, played.record, [], wait.deadline_at).record
    play(incident, played)

    assert played.settlement is not None
    assert played.settlement.status == "escalated"
    assert "not answered in time" in json.loads((service.folder / "oncall.jsonl").read_text())["message"]


def test_thin_evidence_stops_at_the_confidence_gate(incident: AppSpec, service: Service) -> None:
    """Nothing is restarted on a guess: a person is asked first, with the teams to choose from."""
    played = play(incident, reported(incident, service))

    wait = played.record.wait
    assert wait is not None
    assert (wait.gate, wait.target, wait.reason) == (True, "resolution", "low_confidence")
    assert wait.teams == ("platform-oncall", "data-oncall", "security-oncall")
    assert "propose_fix" not in played.tools()


def test_a_person_at_the_gate_may_escalate(incident: AppSpec, service: Service) -> None:
    """The chosen team is paged by the app's own tool."""
    played = play(incident, reported(incident, service))
    wait = played.record.wait
    assert wait is not None

    play(incident, played, post=lambda _: Post(post_id="p", kind="escalate", actor="ann", team="data-oncall"))

    assert played.settlement is not None
    assert (played.settlement.status, played.settlement.fields["team"]) == ("escalated", "data-oncall")
    page = json.loads((service.folder / "oncall.jsonl").read_text())
    assert (page["team"], page["incident_id"]) == ("data-oncall", "SES-20260102-001")


def test_a_person_at_the_gate_may_let_it_go_on(incident: AppSpec, service: Service) -> None:
    """Then the restart is proposed, and still asked for."""
    played = play(incident, reported(incident, service))

    def answer(wait: Wait) -> Post:
        if wait.gate:
            return Post(post_id="p", kind="input", actor="ann", wait_id=wait.wait_id, text="Restart it anyway.")
        return decide("allow")(wait)

    play(incident, played, post=answer)

    assert played.settlement is not None
    assert played.settlement.status == "resolved"


def test_a_service_that_is_down_is_started(incident: AppSpec, service: Service) -> None:
    """The other fault that a restart cures."""
    process = service.process()
    assert process is not None
    end_process(process)

    played = play(incident, reported(incident, service), post=decide("allow"))

    assert played.settlement is not None
    assert played.settlement.status == "resolved"


def test_a_restart_that_does_not_help_pages_a_team(incident: AppSpec, service: Service) -> None:
    """Never resolved without a healthy service, never restarted twice."""
    break_service(service)
    played = play(incident, reported(incident, service))
    path = service.folder / "service.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "command": ["/nonexistent/program"]}))

    play(incident, played, post=decide("allow"))

    assert played.settlement is not None
    assert played.settlement.status == "escalated"
    assert "without effect" in json.loads((service.folder / "oncall.jsonl").read_text())["message"]


def test_without_a_service_the_incident_needs_a_person(incident: AppSpec) -> None:
    """Nothing to look at is no hypothesis."""
    played = play(incident, begin(incident, "Something is wrong.", {}))

    assert played.settlement is not None
    assert (played.settlement.status, played.settlement.reason) == ("needs_review", "default")


def test_in_production_even_a_note_is_asked_for(incident: AppSpec, service: Service) -> None:
    """The overrides of production apply to the tools that the app names."""
    break_service(service)

    played = play(incident, reported(incident, service, environment="production"))

    wait = played.record.wait
    assert wait is not None
    assert wait.call is not None
    assert (wait.kind, wait.call.tool) == ("approval", "incident:update_incident")


@pytest.mark.parametrize(
    "overrides", [{"environment": "moon"}, {"severity": "terrible"}, {"bogus_key": 1}, {"repo": "x"}]
)
def test_unknown_overrides_are_refused_before_there_is_a_session(
    incident: AppSpec, overrides: dict[str, object]
) -> None:
    """A typing error must not become an incident."""
    with pytest.raises(InvalidOverrides, match=next(iter(overrides))):
        validate_state(incident, overrides)
