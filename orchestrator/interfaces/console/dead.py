"""Dead letters, those alike together: what they have in common, and sending all of a group again."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from fastapi import APIRouter, Request, Response

from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.errors import PhaseRefused, SessionNotFound
from orchestrator.contracts.session import Record
from orchestrator.interfaces.console.pages import CallerOf, FormOf, PageRoute, PartsOf, Text, go, render
from orchestrator.interfaces.http.parts import Parts, needs
from orchestrator.interfaces.http.problems import Refused
from orchestrator.operations import Query as Wanted
from orchestrator.search import Unread

router = APIRouter(prefix="/console", route_class=PageRoute, include_in_schema=False)

#: Letters that one page groups, and one bulk replay sends; what is left is there when these are gone.
MOST: Final = 1_000

#: What differs between letters of one cause: ids, hex, numbers, and what stands in quotes.
_VARIES: Final = (
    (re.compile(r"[A-Za-z][A-Za-z0-9-]{0,15}-\d{8}-\d{3,12}"), "ID"),
    (re.compile(r"\b(?:0x)?(?=[0-9a-f]*\d)[0-9a-f]{8,}\b"), "HEX"),
    (re.compile(r"'[^']{0,200}'|\"[^\"]{0,200}\""), "'…'"),
    (re.compile(r"\d+(?:\.\d+)?"), "N"),
)


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead session and what is kept of its death."""

    record: Record
    info: JsonObject

    @property
    def reason(self) -> str:
        """Why it died, in Baton's word."""
        return str(self.info.get("reason", ""))

    @property
    def error(self) -> str:
        """The class of the error, "" where none is known."""
        return str(self.info.get("error") or "")

    @property
    def detail(self) -> str:
        """What was said of it."""
        return str(self.info.get("detail") or "")

    @property
    def at(self) -> int:
        """When, in the store's ms."""
        at = self.info.get("at")
        return at if isinstance(at, int) else self.record.since_at


@dataclass(frozen=True, slots=True)
class Pile:
    """Letters with one fingerprint, newest first; `about` is what they have in common."""

    fingerprint: str
    about: str
    letters: tuple[Letter, ...]


def generalise(detail: str) -> str:
    """Return a message's first line without what differs from letter to letter.

    >>> generalise("session SES-20261121-001: 'ada' asked 3 times for deadbeef01\\nmore")
    "session ID: '…' asked N times for HEX"
    """
    line = next(iter(detail.strip().splitlines()), "")[:500]
    for pattern, word in _VARIES:
        line = pattern.sub(word, line)
    return line


def fingerprint(letter: Letter) -> str:
    """Name what a letter died of: app, skill, reason, error, and its generalised message."""
    record = letter.record
    text = "\n".join((record.app, record.cursor.skill, letter.reason, letter.error, generalise(letter.detail)))
    return sha256(text.encode()).hexdigest()[:12]


def pile_up(letters: Sequence[Letter]) -> list[Pile]:
    """Return the letters by fingerprint, the largest pile first."""
    piles: dict[str, list[Letter]] = {}
    for letter in letters:
        piles.setdefault(fingerprint(letter), []).append(letter)
    found = [Pile(name, generalise(every[0].detail), tuple(every)) for name, every in piles.items()]
    return sorted(found, key=lambda pile: (-len(pile.letters), -pile.letters[0].at))


async def _letters(parts: Parts, app: str) -> tuple[list[Letter], list[Unread], bool]:
    """Return the newest letters, those whose sessions cannot be read, and whether there are more."""
    found: list[Letter] = []
    unread: list[Unread] = []
    before = None
    while len(found) + len(unread) < MOST:
        page = await parts.operations.page(Wanted(app=app, bucket="dead"), before=before, limit=200)
        infos = await parts.operations.letters(page.records)
        found += [Letter(record, info) for record, info in zip(page.records, infos, strict=True)]
        unread += page.unread
        before = page.after
        if before is None:
            return found, unread, False
    return found, unread, True


@router.get("/dead", openapi_extra=needs("viewer"))
async def list_piles(request: Request, parts: PartsOf, app: Text = "") -> Response:
    """List dead letters by fingerprint."""
    letters, unread, is_cut = await _letters(parts, "" if ":" in app else app)
    return render(
        request,
        "dead.html",
        piles=pile_up(letters),
        unread=unread,
        total=len(letters) + len(unread),
        is_cut=is_cut,
        app=app,
        now=await parts.operations.now_ms(),
    )


@router.post("/dead/replay", openapi_extra=needs("operator"))
async def replay(parts: PartsOf, caller: CallerOf, form: FormOf) -> Response:
    """Send again what was chosen, or every letter of one fingerprint."""
    note, name = form.one("note", most=2_000), form.one("fingerprint", most=12)
    if name:
        letters, _, _ = await _letters(parts, "")
        chosen = [one.record.session_id for one in letters if fingerprint(one) == name]
    else:
        chosen = form.fields.get("session_id", [])[:MOST]
    if not chosen:
        raise Refused("invalid-request", 422, "nothing to send again: choose at least one dead letter, or look again")
    count = 0
    for session_id in chosen:
        try:
            await parts.client.replay([session_id], actor=caller.name, note=note)
        except (PhaseRefused, SessionNotFound):  # somebody was faster
            continue
        count += 1
    return go(form.one("back") or "/console/dead", "all-replayed", count=count)
