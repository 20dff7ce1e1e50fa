"""What is there to judge a run by: what was acknowledged, what is stored, and what happened outside.

Only gathering; what it means is the ledger's work, which takes it as values and can so be shown forged ones.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.client import Client
from orchestrator.contracts.session import Entry, Record
from tests.chaos.driver import Driver, Told, read_lines


@dataclass(frozen=True)
class Seen:
    """One session: what was acknowledged of it, and all that is stored of it."""

    told: Told
    record: Record
    journal: list[Entry]
    context: list[str]
    posts: int = 0


@dataclass(frozen=True)
class Outside:
    """What tools did: when each act happened, by session and number, and the keys under which others acted."""

    acts: Mapping[tuple[str, str], list[float]] = field(default_factory=dict)
    keys: Mapping[str, frozenset[str]] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Evidence:
    """All of it; `messages` is how many each session was to get."""

    messages: int
    sessions: list[Seen]
    outside: Outside


def read_outside(folder: Path) -> Outside:
    """Read what the tools left in their folder."""
    acts: dict[tuple[str, str], list[float]] = defaultdict(list)
    for line in read_lines(folder / "act.calls"):
        session_id, number, at = line.split()
        acts[session_id, number].append(float(at))
    keys = {name: frozenset(path.name for path in (folder / name).glob("*")) for name in ("note", "permit")}
    calls = Counter(name for name in ("note", "permit", "act") for _ in read_lines(folder / f"{name}.calls"))
    return Outside(acts, keys, calls)


async def gather_evidence(client: Client, driver: Driver) -> Evidence:
    """Read every session with its journal, and the outside."""
    sessions = []
    keys = client.store.keys
    for told in driver.told.values():
        record = await client.show(told.session_id)
        journal = [entry async for entry in client.events(told.session_id)]
        context = await client.store.command("LRANGE", keys.of_session("context", told.session_id), 0, -1)
        posts = await client.store.command("LLEN", keys.of_session("mailbox", told.session_id))
        sessions.append(Seen(told, record, journal, [str(one) for one in context], int(posts)))
    return Evidence(driver.messages, sessions, read_outside(driver.folder))
