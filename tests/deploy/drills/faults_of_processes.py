"""Faults of schedulers and workers: killed, stopped, drained, not started, too few, of two versions, with a wrong clock."""

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator.interfaces.cli.stack import process_command
from tests.deploy.drills.drill import Drill, Values, walker_of
from tests.deploy.drills.lab import ALL_QUEUES, HERE, STEPS, Lab, wait_until
from tests.ports import free_port


class ExporterGone(Drill):
    """Nobody answers where Prometheus asks."""

    page = "metrics_missing"

    def __init__(self) -> None:
        self.port = free_port()

    def _start(self, lab: Lab) -> None:
        lab.start("exporter", sys.executable, str(HERE / "exporter.py"), str(self.port))
        url = f"http://127.0.0.1:{self.port}/metrics"
        wait_until(lambda: lab.execute(["metrics", "--from", url]).code == 0, "the exporter answers")

    def prepare(self, lab: Lab) -> None:
        self._start(lab)

    def values(self, lab: Lab) -> Values:
        return {"url": f"http://127.0.0.1:{self.port}/metrics"}

    def inject(self, lab: Lab) -> Values:
        lab.end("exporter", signal.SIGKILL)
        return {}

    def by_hand(self, lab: Lab) -> None:
        self._start(lab)

    def after(self, lab: Lab) -> None:
        lab.end("exporter", signal.SIGKILL)


class SchedulerKilled(Drill):
    """The only scheduler is killed while a timer runs."""

    page = "no_scheduler"

    def inject(self, lab: Lab) -> Values:
        lab.submit(skill="later")
        lab.end("scheduler", signal.SIGKILL)
        return {}

    def by_hand(self, lab: Lab) -> None:
        lab.start_scheduler()


class SchedulerStopped(Drill):
    """A scheduler leads every partition and does nothing."""

    page = "timers_late"

    def values(self, lab: Lab) -> Values:
        return {"seconds": 1}

    def inject(self, lab: Lab) -> Values:
        session_id = lab.submit(skill="later")
        lab.wait_phase(session_id, "waiting")
        os.killpg(lab.processes["scheduler"].pid, signal.SIGSTOP)
        return {}

    def by_hand(self, lab: Lab) -> None:
        lab.end("scheduler", signal.SIGKILL)
        lab.start_scheduler()


class WorkersDrained(Drill):
    """Somebody drained all workers, and forgot them."""

    page = "no_workers"

    def inject(self, lab: Lab) -> Values:
        assert lab.execute(["drain", "--all", "--wait"]).code == 0
        lab.processes.pop("worker").wait(timeout=120)
        lab.submit()
        return {}

    def by_hand(self, lab: Lab) -> None:
        lab.start_worker()


class BadApp(Drill):
    """A new app.yaml does not validate: its workers refuse to start."""

    page = "no_workers"

    def inject(self, lab: Lab) -> Values:
        lab.submit(seconds=0.2)
        self.file = lab.apps / "exercise" / "app.yaml"
        self.good = self.file.read_text()
        self.file.write_text(self.good.replace("entry_skill: work", "entry_skill: wrok"))
        lab.end("worker")
        lab.start("worker", *lab.worker_command())
        assert lab.processes.pop("worker").wait(timeout=120) == 1
        assert "did you mean 'work'" in (lab.folder / "worker.log").read_text()
        return {}

    def by_hand(self, lab: Lab) -> None:
        self.file.write_text(self.good)
        lab.start_worker()


class QueueFlood(Drill):
    """Far more sessions than the lanes of one worker take; workers are added, and taken out again."""

    page = "line_too_long"
    branch = "workers"

    def values(self, lab: Lab) -> Values:
        return {"seconds": 1.5}

    def inject(self, lab: Lab) -> Values:
        lab.switch("held", on=True)
        lab.submit_many(60, seconds=0.8, held=True)
        return {}

    def by_hand(self, lab: Lab) -> None:
        lab.start_worker("extra", STEPS)
        lab.switch("held", on=False)

    def after(self, lab: Lab) -> None:
        from orchestrator.runbook_page import find_runbooks, load_pages

        page = load_pages(find_runbooks())[self.page]
        undone = walker_of(self, lab, page, {"worker": lab.name_of("extra")}).undo()

        assert undone.verdict == "undone"
        assert lab.processes.pop("extra").wait(timeout=120) == 0


class NoPluginWorker(Drill):
    """Workers take every queue but that of plugins."""

    page = "plugin_line_too_long"

    def prepare(self, lab: Lab) -> None:
        lab.end("worker")
        lab.start_worker(queues=STEPS)

    def values(self, lab: Lab) -> Values:
        return {"seconds": 0.5}

    def inject(self, lab: Lab) -> Values:
        lab.submit("confined", folder=str(make_files(lab, "fine")))
        return {}

    def by_hand(self, lab: Lab) -> None:
        lab.end("worker")
        lab.start_worker(queues=ALL_QUEUES)


class Orphans(Drill):
    """Scheduler and worker die together, in the middle of sessions."""

    page = "orphan_leases"

    def inject(self, lab: Lab) -> Values:
        with running_some(lab):
            lab.end("scheduler", signal.SIGKILL)
            lab.end("worker", signal.SIGKILL)
        return {}

    def by_hand(self, lab: Lab) -> None:
        lab.start("scheduler", *process_command("scheduler"))
        lab.start_worker()
        lab.wait_alive("scheduler")


class WorkerKilled(Drill):
    """A worker is killed in the middle of sessions."""

    page = "workers_die"

    def values(self, lab: Lab) -> Values:
        return {"orphans": lab.metric("baton_orphans_total")}

    def inject(self, lab: Lab) -> Values:
        with running_some(lab):
            lab.end("worker", signal.SIGKILL)
        return {}

    def by_hand(self, lab: Lab) -> None:
        lab.start_worker()


class WorkerStopped(WorkerKilled):
    """A worker freezes for longer than a lease, and wakes up in a world that has gone on."""

    def inject(self, lab: Lab) -> Values:
        with running_some(lab):
            os.killpg(lab.processes["worker"].pid, signal.SIGSTOP)
        return {}

    def by_hand(self, lab: Lab) -> None:
        os.killpg(lab.processes["worker"].pid, signal.SIGCONT)


class ClockSkew(Drill):
    """A machine joins whose clock is half a minute ahead."""

    page = "clock_skew"

    def inject(self, lab: Lab) -> Values:
        lab.start("skewed", sys.executable, str(HERE / "skewed.py"), "30", *lab.worker_command(STEPS)[4:])
        lab.wait_alive("skewed")
        for _ in range(3):
            lab.submit(seconds=0.1)
        return {}

    def by_hand(self, lab: Lab) -> None:
        lab.end("skewed")


class DeployInMidRun(Drill):
    """A new version arrives while sessions of the old one run; then nobody goes on with the deploy."""

    page = "versions_differ"

    def inject(self, lab: Lab) -> Values:
        new = lab.folder / "apps.new"
        shutil.copytree(lab.apps, new)
        file = new / "exercise" / "app.yaml"
        file.write_text(file.read_text().replace('version: "1"', 'version: "2"'))
        lab.submit_many(20, seconds=0.4)
        lab.start_worker("new", BATON_APPS_PATH=str(new))
        self.new = file
        return {"worker": lab.name_of("worker")}

    def after(self, lab: Lab) -> None:
        assert lab.processes.pop("worker").wait(timeout=120) == 0
        lab.processes["worker"] = lab.processes.pop("new")
        (lab.apps / "exercise" / "app.yaml").write_text(self.new.read_text())


@contextmanager
def running_some(lab: Lab) -> Iterator[None]:
    """Have some sessions in a worker's lanes, which come to no end meanwhile."""
    lab.switch("held", on=True)
    ids = [lab.submit(held=True) for _ in range(2)]
    wait_until(lambda: any(lab.phase(one) == "running" for one in ids), "a session runs")
    yield
    lab.switch("held", on=False)


def make_files(lab: Lab, text: str) -> "os.PathLike[str]":
    """Return a folder with one file for a plugin."""
    folder = lab.work / f"files-{len(list(lab.work.iterdir()))}"
    folder.mkdir()
    (folder / "one.txt").write_text(text)
    return folder
