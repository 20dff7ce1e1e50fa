"""Every runbook is tried: its fault is done to a running site, and the page is followed word by word.

Confirm must match under the fault and not before it; Act must repair it, Verify must see that; and nothing that was acknowledged
may be lost. One site serves them all, and each leaves it well: that is what its page is for. The slower half of these faults is in
tests/integration (chaos), with thousands of sessions.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.runbook_page import find_runbooks, load_pages
from tests.architecture.source_tree import ROOT
from tests.deploy.drills import faults_of_processes as processes
from tests.deploy.drills import faults_of_sessions as sessions
from tests.deploy.drills import faults_of_the_store as store
from tests.deploy.drills.drill import MakeDrill, walker_of
from tests.deploy.drills.lab import Lab, open_lab, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.drill, pytest.mark.timeout(900)]

PAGES = load_pages(find_runbooks())
#: The fault's name in the front matter of its page → what does it. The first needs a server that never restarted.
DRILLS: dict[str, MakeDrill] = {
    "server_restarted": store.ServerRestarted,
    "scheduler_killed": processes.SchedulerKilled,
    "scheduler_stopped": processes.SchedulerStopped,
    "workers_drained": processes.WorkersDrained,
    "bad_app": processes.BadApp,
    "exporter_gone": processes.ExporterGone,
    "queue_flood": processes.QueueFlood,
    "orphans": processes.Orphans,
    "worker_killed": processes.WorkerKilled,
    "worker_stopped": processes.WorkerStopped,
    "clock_skew": processes.ClockSkew,
    "deploy_in_mid_run": processes.DeployInMidRun,
    "poison": sessions.Poison,
    "dead_letters": sessions.DeadLetters,
    "forgotten_letter": sessions.ForgottenLetter,
    "unreadable": sessions.UnreadableSession,
    "approval_waits": sessions.ApprovalWaits,
    "killed_in_a_call": sessions.KilledInACall,
    "provider_down": sessions.ProviderDown,
    "rate_limited": sessions.RateLimited,
    "tool_server_killed": sessions.ToolServerKilled,
    "loop_blocked": sessions.LoopBlocked,
    "plugin_hangs": sessions.PluginHangs,
    "no_plugin_worker": processes.NoPluginWorker,
    "layer_missing": sessions.LayerMissing,
    "server_killed": store.ServerKilled,
    "replica": store.Replica,
    "out_of_memory": store.OutOfMemory,
    "append_only_off": store.AppendOnlyOff,
    "disk_full": store.DiskFull,
    "memory_high": store.MemoryHigh,
    "archive_away": store.ArchiveAway,
}
#: Where a run leaves its recovery times, one JSON object a line, if somebody wants them (docs/explanation/drills.md).
TIMES = os.environ.get("DRILL_TIMES")


@pytest.fixture(scope="module")
def site() -> Iterator[Lab]:
    """Lend the site of this run."""
    with open_lab() as lab:
        yield lab


def test_every_page_names_its_drills_and_every_drill_its_page() -> None:
    """A page that was never followed does not work."""
    told = {(name, page.name) for page in PAGES.values() for name in page.front.drills}

    assert told == {(name, make().page) for name, make in DRILLS.items()}


@pytest.mark.parametrize("name", DRILLS)
def test_a_page_repairs_its_fault(name: str, site: Lab) -> None:
    """At night the page has to be right, whoever follows it."""
    drill = DRILLS[name]()
    page = PAGES[drill.page]
    drill.prepare(site)
    values = drill.values(site)
    # Without the fault it matches for a moment at most, where the machine held a process up.
    wait_until(
        lambda: not walker_of(drill, site, page, values, hurries=True).confirm(),
        "Confirm does not match without the fault",
    )
    values = {**values, **drill.inject(site)}
    wait_until(lambda: walker_of(drill, site, page, values, hurries=True).confirm(), "Confirm matches under the fault")
    walker = walker_of(drill, site, page, values)
    walk = walker.walk()
    assert walk.verdict == "verified", "\n".join(walker.person.told)  # type: ignore[attr-defined]
    drill.after(site)
    site.settle()
    if TIMES:
        with Path(TIMES).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"page": page.name, "drill": name, "seconds": walk.seconds}) + "\n")


def test_the_page_of_drills_lists_each() -> None:
    """Whoever asks how long a repair takes finds a figure for every fault."""
    text = (ROOT / "docs" / "explanation" / "drills.md").read_text(encoding="utf-8")

    assert [name for name, make in DRILLS.items() if f"| `{name}` | " not in text or make().page not in text] == []
