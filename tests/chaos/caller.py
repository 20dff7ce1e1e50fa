"""A program outside that asks the API over HTTP, as a sensible one does: what is not answered is said again, under the same key.

It has those of the Client's acts that a driver needs, so that a driver may ask either. An act is acknowledged when it is answered with
2xx; what every request was answered is kept, for whoever judges it (http_verdict.py) and counts it.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import httpx2
from pydantic import JsonValue

from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.errors import NotWaiting, PhaseRefused, SessionNotFound
from orchestrator.contracts.session import Cursor, Record, Wait
from orchestrator.store.intake import Submitted
from tests.chaos.fleet import pause
from tests.chaos.history import now_ms

#: As whom the API knows it; a post's id begins with that (interfaces/http/answers.py).
ACTOR: Final = "driver"
#: How long it waits for an answer, and between two tries.
ANSWER_SECONDS: Final = 4.0
AGAIN_SECONDS: Final = 0.2
#: What another try may change: nobody answered, too many ask, the store is away. An answer of 500 is a defect, and told.
NOT_NOW: Final = frozenset({0, 429, 500, 502, 503, 504})
_REFUSALS: Final = {
    "not-waiting": NotWaiting,
    "phase-refused": PhaseRefused,
    "session-not-found": SessionNotFound,
}


@dataclass(frozen=True)
class Try:
    """One request: when it was sent and answered (monotonic ms), and with what status; 0 where no answer came."""

    began: float
    ended: float
    status: int


@dataclass
class Exchange:
    """One act, however often it was asked for: `what` is its word, `key` what it was said under, `text` what a submission asks.

    `seq` is how many entries its session had, as a read was told; `is_new` whether an act was told that it was done now, not before.
    """

    what: str
    session_id: str
    key: str = ""
    text: str = ""
    seq: int = 0
    is_new: bool = False
    tries: list[Try] = field(default_factory=list)

    @property
    def is_acknowledged(self) -> bool:
        """Whether it was answered with 2xx."""
        return bool(self.tries) and 200 <= self.tries[-1].status < 300

    @property
    def post_id(self) -> str:
        """Return the id of the post that it became, if it is one."""
        return f"{self.what}:{ACTOR}:{self.key}"


def count_exchanges(exchanges: Sequence[Exchange]) -> dict[str, int]:
    """Return how many acts and reads were asked for, and what became of them.

    >>> count_exchanges([Exchange("signal", "A", "k", tries=[Try(0, 1, 0), Try(2, 3, 202)])])["repeated"]
    1
    """
    acts = [one for one in exchanges if one.what != "read"]
    statuses = Counter(f"status_{one.status}" for act in exchanges for one in act.tries if one.status)
    return {
        "requests": sum(len(one.tries) for one in exchanges),
        "asked": len(acts),
        "acknowledged": sum(one.is_acknowledged for one in acts),
        "refused": sum(bool(one.tries) and 400 <= one.tries[-1].status < 500 for one in acts),
        "repeated": sum(len(one.tries) > 1 for one in acts),
        "unanswered": sum(one.status == 0 for act in exchanges for one in act.tries),
        "reads": len(exchanges) - len(acts),
        **dict(sorted(statuses.items())),
    }


class Caller:
    """One such program. `base` is where the API is, over the line to it."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.exchanges: list[Exchange] = []
        self.http = httpx2.AsyncClient(
            base_url=base,
            timeout=ANSWER_SECONDS,
            limits=httpx2.Limits(max_connections=200, max_keepalive_connections=40),
            trust_env=False,
        )

    async def submit(
        self, app: str, *, text: str, overrides: Mapping[str, JsonValue], actor: str, key: str
    ) -> Submitted:
        """Submit a session."""
        del actor
        exchange = Exchange("submit", "", key, text)
        body = {"app": app, "text": text, "state": dict(overrides)}
        found = await self._ask(exchange, "POST", "/v1/sessions", body)
        exchange.session_id, exchange.is_new = str(found["session_id"]), bool(found["created"])
        return Submitted(exchange.session_id, exchange.is_new)

    async def show(self, session_id: str) -> Record:
        """Return a session, as far as a driver looks at it."""
        exchange = Exchange("read", session_id)
        found = await self._ask(exchange, "GET", f"/v1/sessions/{session_id}")
        exchange.seq = int(found["entries"])
        wait = found["wait"]
        return Record(
            session_id=session_id,
            app=found["app"],
            spec=found["spec"],
            phase=found["phase"],
            status=found["status"],
            reason=found["reason"],
            rev=found["rev"],
            seq=exchange.seq,
            actor=found["actor"],
            cursor=Cursor(skill=found["skill"]),
            state=found["state"],
            wait=wait and Wait.model_validate({name: wait[name] for name in ("wait_id", "kind", "call")}),
        )

    async def signal(self, session_id: str, name: str, *, actor: str, post_id: str) -> bool:
        """Send a signal; False where it was taken before."""
        del actor
        return await self._say("signal", session_id, post_id, {"name": name})

    async def answer(
        self, session_id: str, *, actor: str, text: str = "", verdict: str | None = None, wait_id: str, post_id: str
    ) -> bool:
        """Answer a question."""
        del actor
        return await self._say("answer", session_id, post_id, {"text": text, "verdict": verdict, "wait_id": wait_id})

    async def decide(self, session_id: str, *, allow: bool, actor: str, wait_id: str, post_id: str) -> bool:
        """Approve or deny."""
        del actor
        body = {"decision": "approve" if allow else "deny", "wait_id": wait_id}
        return await self._say("decision", session_id, post_id, body)

    async def cancel(self, session_id: str, *, reason: str, post_id: str) -> bool:
        """Ask a session to stop."""
        return await self._say("cancel", session_id, post_id, {"reason": reason})

    async def _say(self, what: str, session_id: str, key: str, body: JsonObject) -> bool:
        exchange = Exchange(what, session_id, key)
        exchange.is_new = bool(
            (await self._ask(exchange, "POST", f"/v1/sessions/{session_id}/{what}", body))["changed"]
        )
        return exchange.is_new

    async def _ask(self, exchange: Exchange, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """Ask until there is an answer, and return it; raise what the Client would for a refusal."""
        self.exchanges.append(exchange)
        headers = {"Idempotency-Key": exchange.key} if exchange.key else {}
        while True:
            began, answer = now_ms(), None
            try:
                answer = await self.http.request(method, path, json=body, headers=headers)
            except httpx2.TransportError:
                status = 0
            else:
                status = answer.status_code
            exchange.tries.append(Try(began, now_ms(), status))
            if answer is not None and status not in NOT_NOW:
                break
            await pause(AGAIN_SECONDS)
        found: dict[str, Any] = answer.json()
        if answer.is_success:
            return found
        refusal = _REFUSALS.get(str(found["type"]).rpartition(":")[2])
        if refusal is None:
            raise AssertionError(f"{method} {path}: {status} {found}")
        raise refusal(str(found["detail"]))

    async def aclose(self) -> None:
        """Close its connections."""
        await self.http.aclose()
