"""What the scripts promise, as a small pure model: one session and what every act does to it.

Written from the acts' own descriptions and the table of phases, and as plainly as possible; the state machine of
`test_store_machine.py` does each act on the model and on the server and compares. The model knows no time: a lease is
alive or over, a wait is due or not, and the test says when that changes.
"""

from dataclasses import dataclass, field
from typing import Literal

from orchestrator.contracts.phases import Phase, is_allowed

Place = Literal["line", "leased", "timed", "waits_for_post", "settled"]

MOST_ATTEMPTS = 3
MOST_POSTS = 3
DIRECTIVES = ("continue", "ready", "waiting", "finalizing", "ended", "dead")


@dataclass
class Session:
    """One session, as the server should hold it."""

    session_id: str
    phase: Phase = "ready"
    status: str = ""
    rev: int = 0
    fence: int = 0
    attempts: int = 0
    holder: str = ""
    last: tuple[int, int] | None = None
    lease: Literal["none", "alive", "over"] = "none"
    wait: Literal["none", "timed", "due"] = "none"
    wait_id: str = ""
    answered: bool = False
    posts: list[str] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    entries: list[str] = field(default_factory=lambda: ["submitted"])
    messages: int = 0
    reason: str = ""
    cancel: str = ""
    immediate: bool = False
    front: bool = False
    replays: int = 0
    settled_as: tuple[str, str] | None = None

    @property
    def place(self) -> Place:
        """Return the one place where the session is to be found."""
        if self.phase in {"ended", "dead"}:
            return "settled"
        if self.lease != "none":
            return "leased"
        if self.phase == "waiting":
            return "waits_for_post" if self.wait == "none" else "timed"
        return "line"

    def _let_go(self) -> None:
        self.lease, self.wait = "none", "none"

    def _unheld_phase(self) -> Phase:
        return "finalizing" if self.phase == "finalizing" else "ready"

    def bury(self, reason: str) -> None:
        """A dead letter: nobody has it, and no fence of before counts."""
        self.entries.append("buried")
        self.phase, self.reason = "dead", reason
        self._let_go()

    def claim(self, holder: str, *, knows: bool, alone: bool) -> str:
        """Return what a claim is answered."""
        if self.phase in {"ended", "dead"}:
            return "settled"
        if self.lease == "alive":
            return "claimed" if self.holder == holder else "busy"
        if self.phase == "waiting" and not self.posts and self.wait != "due":
            return "early"
        if not knows:
            return "foreign"
        if 2 <= self.attempts < MOST_ATTEMPTS and not alone:
            return "suspect"
        if self.lease == "over":
            self.entries.append("orphaned")
        if self.attempts >= MOST_ATTEMPTS:
            self.bury("attempts")
            return "buried"
        self.attempts += 1
        self.holder = holder
        self.phase = "finalizing" if self.phase == "finalizing" else "running"
        self.lease, self.wait = "alive", "none"
        return "claimed"

    def commit(
        self,
        fence: int,
        rev: int,
        directive: str,
        *,
        taken: int,
        due: bool | None,
        wait_id: str,
        status: str,
        messages: int,
        keep: bool = False,
        settles: bool = False,
    ) -> str:
        """Return what a commit is answered."""
        advances = directive == "continue" and not messages and not taken
        if (advances and (fence, rev + 1) == (self.fence, self.rev)) or (not advances and self.last == (fence, rev)):
            return "replay"
        if (fence, rev) != (self.fence, self.rev):
            return "stale"
        target: Phase = self.phase if directive == "continue" else directive  # type: ignore[assignment]
        source: Phase = "finalizing" if settles and is_allowed(self.phase, "finalizing") else self.phase
        if not is_allowed(source, target):
            return "refused"
        if taken > len(self.posts):
            return "malformed"
        if settles and (taken < len(self.posts) or self.cancel):
            return "unsettled"
        if not advances:  # what only advances is known again by its fence, for as long as nobody has a newer one
            self.last = (fence, rev)
        steps = ["step"] * (2 if settles else 1)
        self.rev, self.attempts = self.rev + len(steps), 0
        self.entries.extend(steps)
        self.messages += messages
        del self.posts[:taken]
        if directive == "continue":
            return "committed"
        if not keep:
            self._let_go()
        self.wait_id, self.answered = wait_id, False
        if directive == "dead":
            self.bury("asked")
            return "committed"
        if directive == "waiting" and self.posts:
            target = "ready"
        self.front = self.front or (target == "ready" and bool(self.cancel))
        self.phase = target
        if self.phase == "waiting":
            self.wait = "none" if due is None else "due" if due else "timed"
        if self.phase == "ended":
            self.status = status
        return "committed"

    def post(self, post_id: str, answers: str, cancel: str, *, immediate: bool = False) -> str:
        """Return what a post is answered."""
        if post_id in self.seen:
            return "duplicate"
        if self.phase in {"ended", "dead"}:
            return "settled"
        if answers and answers != self.wait_id:
            return "not_waiting"
        if answers and self.answered:
            return "answered"
        if len(self.posts) >= MOST_POSTS + (16 if cancel else 0):
            return "full"
        self.entries.append("posted")
        self.posts.append(post_id)
        self.seen.add(post_id)
        self.answered = self.answered or bool(answers)
        self.cancel = cancel or self.cancel
        self.immediate = self.immediate or immediate
        self.front = self.front or (bool(cancel) and self.phase != "finalizing")
        if self.phase == "waiting":
            self.phase, self.wait = "ready", "none"
        return "posted"

    def renew(self, fence: int) -> str:
        """Return what a renewal is answered."""
        if fence != self.fence or self.lease == "none":
            return "stale"
        self.lease = "alive"
        return "renewed"

    def release(self, fence: int) -> str:
        """Return what handing back is answered."""
        if fence != self.fence or self.lease == "none":
            return "stale"
        self.phase = self._unheld_phase()
        self.attempts = max(self.attempts - 1, 0)
        self.entries.append("released")
        self._let_go()
        return "released"

    def rescue(self) -> str:
        """Return what a rescue is answered."""
        if self.lease != "over":
            return "alive"
        self.phase = self._unheld_phase()
        self.entries.append("orphaned")
        self._let_go()
        return "rescued"

    def wake(self) -> str:
        """Return what waking is answered."""
        if self.wait != "due":
            return "early"
        self.phase, self.wait = "ready", "none"
        self.entries.append("due")
        return "woken"

    def replay(self) -> str:
        """Return what a person's replay is answered."""
        if self.phase != "dead":
            return "not_dead"
        self.phase, self.reason, self.attempts = "ready", "", 0
        self.replays += 1
        self.entries.append("replayed")
        return "replayed"
