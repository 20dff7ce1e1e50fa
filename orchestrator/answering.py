"""What a person says to a session that asks: an approval, a denial, an answer. A part of the Client.

Each is checked against the question as it stands now, and refused before anything is written; whether it counts is decided
where the session takes it. Who may answer is the question's roster.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from uuid import uuid4

from pydantic import JsonValue

from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.errors import InputError, NotPermitted, NotWaiting, suggest
from orchestrator.contracts.session import Post, Record, Wait
from orchestrator.four_eyes import check_four_eyes
from orchestrator.kernel.answers import Refused, plan_answer
from orchestrator.kernel.approval import ALLOW, DENY, is_on_roster
from orchestrator.kernel.grants import ALWAYS
from orchestrator.kernel.prompts import read_answer, read_texts
from orchestrator.store.intake import Intake


def verdict_of(*, allow: bool, always: bool) -> str:
    """Return the word for a decision, as a post carries it."""
    return (ALWAYS if always else ALLOW) if allow else DENY


class Answering(ABC):
    """How questions are answered, for a client that knows its apps and its store."""

    four_eyes: bool
    _intake: Intake

    @abstractmethod
    def spec(self, app: str) -> AppSpec:
        """Return a loaded app, or raise UnknownApp."""

    @abstractmethod
    async def show(self, session_id: str) -> Record:
        """Return a session, or raise SessionNotFound."""

    @abstractmethod
    async def _post(self, session_id: str, post: Post, *, answers: str | None = None) -> bool: ...

    async def took(self, session_id: str, post_id: str | None) -> bool:
        """Say whether a session has taken a post of this id; never for None."""
        return post_id is not None and await self._intake.took(session_id, post_id)

    async def find_post(self, session_id: str, post_id: str) -> Post | None:
        """Return what a session has taken under a post id, None where that is nothing, or where nobody can say any more."""
        return await self._intake.find_post(session_id, post_id)

    async def _waiting(self, session_id: str, actor: str) -> tuple[Record, Wait]:
        record = await self.show(session_id)
        wait = record.wait
        if wait is None or record.phase in {"ended", "dead"}:
            raise NotWaiting(
                f"session {session_id}: it waits for nobody ({record.phase}); see `baton show {session_id}`"
            )
        if not is_on_roster(actor, wait.roster):
            raise NotPermitted(f"session {session_id}: {actor!r} may not answer; ask one of {', '.join(wait.roster)}")
        return record, wait

    async def decide(
        self,
        session_id: str,
        *,
        allow: bool,
        actor: str,
        reason: str = "",
        wait_id: str | None = None,
        always: bool = False,
        post_id: str | None = None,
        dry_run: bool = False,
    ) -> bool:
        """Approve or deny what a session asks about, exactly as it is shown now.

        With `always`, this session does not ask again about the same call: the same tool with the same arguments. An
        answer that comes late, twice or from the wrong person is refused, and the journal says so. With `dry_run` it is
        refused as it would be, and nothing is written. False where the same post id was taken before.
        """
        try:
            post, wait = await self._decide(
                session_id, allow=allow, actor=actor, reason=reason, wait_id=wait_id, always=always, post_id=post_id
            )
            return dry_run or await self._post(session_id, post, answers=wait.wait_id) or post_id is None
        except (NotWaiting, NotPermitted) as error:
            if await self.took(session_id, post_id):
                return False
            if dry_run:
                raise
            verdict = verdict_of(allow=allow, always=always)
            data: JsonObject = {"refused": "decision", "why": type(error).__name__, "verdict": verdict}
            await self._intake.note_refusal(session_id, actor, {**data, "wait_id": wait_id} if wait_id else data)
            raise

    async def _decide(
        self,
        session_id: str,
        *,
        allow: bool,
        actor: str,
        reason: str,
        wait_id: str | None,
        always: bool,
        post_id: str | None,
    ) -> tuple[Post, Wait]:
        record, wait = await self._waiting(session_id, actor)
        if wait.kind != "approval" or (wait_id is not None and wait.wait_id != wait_id):
            raise NotWaiting(f"session {session_id}: it waits for {wait.wait_id} ({wait.kind}), not for this approval")
        if always and (not allow or wait.call is None):
            raise InputError(
                f"session {session_id}: only the approval of a call can hold from now on; approve without it"
            )
        if allow and self.four_eyes:
            await check_four_eyes(self.show, record, actor)
        post = Post(
            post_id=post_id or f"answer:{wait.wait_id}:{uuid4().hex[:12]}",
            kind="decision",
            actor=actor,
            wait_id=wait.wait_id,
            verdict=verdict_of(allow=allow, always=always),
            digest=wait.digest,
            text=reason,
        )
        return post, wait

    async def answer(
        self,
        session_id: str,
        *,
        actor: str,
        text: str = "",
        value: JsonValue = None,
        verdict: str | None = None,
        team: str | None = None,
        fields: Mapping[str, str] | None = None,
        wait_id: str | None = None,
        post_id: str | None = None,
        dry_run: bool = False,
    ) -> bool:
        """Answer a question, a gate (text, or verdict stop/escalate) or an uncertain call (a verdict).

        `wait_id` is what was looked at: whatever else the session asks by now is not answered by it, and NotWaiting is raised.

        A plugin's question is answered by a `value` of its fields, by `fields` as a person types them, by a text where it has
        one field, or by the verdict stop. With `dry_run`, what would be refused is refused, and nothing is written. False where the
        same post id was taken before.
        """
        if await self.took(session_id, post_id):
            return False  # what it answered may be long gone, and something else be asked
        try:
            post, wait = await self._answer(session_id, actor, text, value, verdict, team, fields, wait_id, post_id)
            return dry_run or await self._post(session_id, post, answers=wait.wait_id) or post_id is None
        except NotWaiting:
            if await self.took(session_id, post_id):  # an earlier try has come through just now
                return False
            raise

    async def _answer(
        self,
        session_id: str,
        actor: str,
        text: str,
        value: JsonValue,
        verdict: str | None,
        team: str | None,
        fields: Mapping[str, str] | None,
        wait_id: str | None,
        post_id: str | None,
    ) -> tuple[Post, Wait]:
        record, wait = await self._waiting(session_id, actor)
        if wait_id is not None and wait.wait_id != wait_id:
            raise NotWaiting(f"session {session_id}: it does not wait for {wait_id} any more; look again")
        if fields:
            value = _read_fields(session_id, wait, fields)
        kind = "input"
        if verdict == "escalate":
            kind = "escalate"
        elif verdict is not None and verdict != "resume_with_input":
            kind = "decision"
        post = Post(
            post_id=post_id or f"answer:{wait.wait_id}:{uuid4().hex[:12]}",
            kind=kind,  # type: ignore[arg-type]
            actor=actor,
            wait_id=wait.wait_id,
            verdict=verdict,
            digest=wait.digest,
            text=text,
            value=value,
            team=team,
        )
        if wait.kind == "approval":
            raise NotWaiting(f"session {session_id}: it waits for an approval; use `baton approve` or `baton deny`")
        if wait.kind == "uncertain":
            if verdict not in wait.options:
                raise InputError(
                    f"session {session_id}: say one of {', '.join(wait.options)}; {suggest(verdict or '', wait.options)}"
                )
        elif wait.kind != "input":
            raise NotWaiting(
                f"session {session_id}: it waits for {wait.kind}, not for an answer; see `baton show {session_id}`"
            )
        elif wait.gate:
            plan = plan_answer(self.spec(record.app), wait, post)
            if isinstance(plan, Refused):
                raise InputError(f"session {session_id}: {plan.reason}")
        elif wait.prompt_id:
            told = read_answer(wait, post) if kind == "input" else None
            if isinstance(told, Refused):
                raise InputError(f"session {session_id}: {told.reason}")
            if told is None and verdict != "stop":
                raise InputError(f"session {session_id}: answer its fields, or say stop")
        elif kind != "input":
            raise InputError(f"session {session_id}: it asks for words, and offers no verdict; answer it with a text")
        elif not text.strip() and value is None:
            raise InputError(f"session {session_id}: the answer is blank; say something")
        return post, wait


def _read_fields(session_id: str, wait: Wait, fields: Mapping[str, str]) -> JsonObject:
    """Return the answer that the fields give, each read by its type; raise InputError."""
    if not wait.prompt_id:
        raise InputError(f"session {session_id}: no plugin asks for fields; see `baton show {session_id}`")
    told = read_texts(wait.fields, fields)
    if isinstance(told, Refused):
        raise InputError(f"session {session_id}: {told.reason}")
    return told
