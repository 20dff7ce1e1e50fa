"""Faults of sessions and of what they call: poison, broken code, people who do not answer, services that are down, plugins that hang."""

import shutil
import signal
import sys
from pathlib import Path

import pytest
import redis

from tests.deploy.drills.drill import Drill, Values
from tests.deploy.drills.faults_of_processes import make_files
from tests.deploy.drills.lab import HERE, Lab, wait_until

#: A host without user namespaces, as some are set up: they are switched off for this process and those below it.
WITHOUT_NAMESPACES = ["unshare", "--user", "--map-root-user", "sh", "-c"]
SWITCH_OFF = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$0" "$@"'


class Poison(Drill):
    """A step kills its worker, again and again."""

    page = "poison_session"

    def inject(self, lab: Lab) -> Values:
        lab.switch("poison", on=True)
        session_id = lab.submit(skill="poison")

        def is_dead() -> bool:  # whatever supervises the workers starts them again
            if lab.processes["worker"].poll() is not None:
                lab.start("worker", *lab.worker_command())
            return lab.phase(session_id) == "dead"

        wait_until(is_dead, "it is put aside")
        return {}

    def by_hand(self, lab: Lab) -> None:
        lab.switch("poison", on=False)
        if lab.processes["worker"].poll() is not None:
            lab.start("worker", *lab.worker_command())
        lab.wait_alive("worker")


class DeadLetters(Drill):
    """A bad deploy: the code of a step fails for everybody."""

    page = "dead_letters_grow"

    def values(self, lab: Lab) -> Values:
        return {"letters": 3}

    def inject(self, lab: Lab) -> Values:
        lab.switch("broken", on=True)
        for session_id in [lab.submit(skill="broken") for _ in range(4)]:
            lab.wait_phase(session_id, "dead")
        return {}

    def by_hand(self, lab: Lab) -> None:
        lab.switch("broken", on=False)


class ForgottenLetter(Drill):
    """A dead letter whose cause was mended, and which nobody sent again."""

    page = "dead_letters_forgotten"
    branch = "replay"

    def values(self, lab: Lab) -> Values:
        return {"seconds": 0.5}

    def inject(self, lab: Lab) -> Values:
        lab.switch("broken", on=True)
        lab.wait_phase(lab.submit(skill="broken"), "dead")
        lab.switch("broken", on=False)
        return {}


class UnreadableSession(Drill):
    """Another program writes into a session's record."""

    page = "session_unreadable"

    def inject(self, lab: Lab) -> Values:
        session_id = lab.submit(skill="later")
        lab.wait_phase(session_id, "waiting")
        self.server = redis.Redis(unix_socket_path=str(lab.server.socket))
        self.key = next(key for key in self.server.scan_iter("*") if key.endswith(f"s:{session_id}".encode()))
        self.backup = self.server.hget(self.key, "cursor")
        self.server.hset(self.key, "cursor", "no cursor")
        return {}

    def by_hand(self, lab: Lab) -> None:
        assert self.backup is not None
        self.server.hset(self.key, "cursor", self.backup)
        self.server.close()


class ApprovalWaits(Drill):
    """Nobody answers."""

    page = "approval_waits"
    branch = "approve"

    def values(self, lab: Lab) -> Values:
        return {"seconds": 0.2}

    def inject(self, lab: Lab) -> Values:
        lab.wait_phase(lab.submit(skill="approve"), "waiting")
        return {}


class KilledInACall(Drill):
    """A worker dies between a call and its record."""

    page = "call_uncertain"
    branch = "happened"

    def inject(self, lab: Lab) -> Values:
        lab.switch("hang", on=True)
        lab.submit(skill="act")
        wait_until((lab.work / "acts").exists, "the call has acted")
        lab.end("worker", signal.SIGKILL)
        lab.switch("hang", on=False)
        lab.start_worker()
        return {}

    def after(self, lab: Lab) -> None:
        lab.settle()
        assert (lab.work / "acts").read_text() == "acted\n"


class ProviderDown(Drill):
    """The model service is away until all retries are spent."""

    page = "provider_down"
    error = "NetworkError"

    def values(self, lab: Lab) -> Values:
        return {"failures": lab.metric(f'baton_step_failures_total{{error="{self.error}"}}')}

    def inject(self, lab: Lab) -> Values:
        lab.model.close()
        return self._call(lab)

    def _call(self, lab: Lab) -> Values:
        for session_id in [lab.submit("caller") for _ in range(2)]:
            lab.wait_phase(session_id, "dead")
        return {}

    def by_hand(self, lab: Lab) -> None:
        lab.model.open()


class RateLimited(ProviderDown):
    """The model service turns every call away."""

    page = "provider_rate_limited"
    error = "RateLimitError"

    def inject(self, lab: Lab) -> Values:
        lab.model.status = 429
        return self._call(lab)

    def by_hand(self, lab: Lab) -> None:
        lab.model.status = 200


class ToolServerKilled(Drill):
    """A tool server dies."""

    page = "tool_server_down"

    def values(self, lab: Lab) -> Values:
        return {"failures": lab.metric('baton_step_failures_total{error="ToolUnavailable"}')}

    def inject(self, lab: Lab) -> Values:
        lab.end("tools", signal.SIGKILL)
        for session_id in [lab.submit("remote") for _ in range(2)]:
            lab.wait_phase(session_id, "dead")
        return {}

    def by_hand(self, lab: Lab) -> None:
        lab.start("tools", sys.executable, str(HERE / "tool_server.py"), str(lab.tools_port))
        lab.wait_tools()


class PluginHangs(Drill):
    """A plugin never comes back from one kind of file."""

    page = "plugins_time_out"
    status = "timeout"

    def values(self, lab: Lab) -> Values:
        return {"runs": lab.metric(f'baton_plugin_runs_total{{status="{self.status}"}}')}

    def inject(self, lab: Lab) -> Values:
        self.folder = Path(make_files(lab, "hang"))
        lab.submit("confined", folder=str(self.folder))
        return {}

    def by_hand(self, lab: Lab) -> None:
        (self.folder / "one.txt").write_text("fine")

    def after(self, lab: Lab) -> None:
        lab.submit("confined", folder=str(self.folder))
        lab.settle()
        assert (self.folder / "one.txt").read_text() == "stamped\n"


class LayerMissing(PluginHangs):
    """A worker on a host without user namespaces takes the queue of plugins."""

    page = "sandbox_unavailable"
    status = "sandbox_unavailable"

    def prepare(self, lab: Lab) -> None:
        if shutil.which("unshare") is None:
            pytest.skip("unshare is not installed; it is in util-linux")

    def inject(self, lab: Lab) -> Values:
        lab.end("worker")
        lab.start("worker", *WITHOUT_NAMESPACES, SWITCH_OFF, *lab.worker_command())
        lab.wait_alive("worker")
        self.folder = Path(make_files(lab, "fine"))
        lab.submit("confined", folder=str(self.folder))
        return {}

    def by_hand(self, lab: Lab) -> None:
        lab.end("worker")
        lab.start_worker()


class LoopBlocked(Drill):
    """A tool that is declared async blocks the loop."""

    page = "loop_blocked"

    def inject(self, lab: Lab) -> Values:
        lab.switch("stall", on=True)
        lab.submit(skill="stall")
        return {}

    def by_hand(self, lab: Lab) -> None:
        lab.switch("stall", on=False)
