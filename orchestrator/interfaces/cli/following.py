"""Wait for sessions: until each has ended, is dead, or waits for a person."""

import asyncio
from collections.abc import Callable, Sequence

from orchestrator.client import Client
from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.phases import SETTLED
from orchestrator.contracts.session import Record
from orchestrator.interfaces.cli.exits import FAILED, OK, WAITS_FOR_PERSON
from orchestrator.interfaces.cli.wording import waits_for_person

#: How often a few sessions are looked at; many are looked at less often, LOOKS a second.
LOOK_SECONDS = 0.1
LOOKS = 2_000


async def wait_settled(
    client: Client, session_ids: Sequence[str], *, seconds: float, tell: Callable[[int], None] = lambda _: None
) -> dict[str, Record]:
    """Return the sessions as they are once none goes on by itself, or once the time is over; `tell` hears how many more do not."""
    found: dict[str, Record] = {}
    left = list(dict.fromkeys(session_ids))
    pause = max(LOOK_SECONDS, len(left) / LOOKS)
    deadline = asyncio.get_running_loop().time() + seconds
    while left:
        records = await asyncio.gather(*(client.show(session_id) for session_id in left))
        found |= {record.session_id: record for record in records}
        left = [one.session_id for one in records if one.phase not in SETTLED and not waits_for_person(one)]
        tell(len(records) - len(left))
        rest = deadline - asyncio.get_running_loop().time()
        if rest <= 0:
            break
        if left:
            await asyncio.sleep(min(pause, rest))
    return found


def exit_code_for(spec: AppSpec, records: Sequence[Record]) -> int:
    """Return what became of sessions that were waited for.

    Failed: one is dead, has ended with a status of the kind `failure`, or still runs after the time that it was
    given. Otherwise, where one waits for a person, that.
    """
    waiting = [record for record in records if waits_for_person(record)]
    for record in records:
        status = spec.statuses.get(record.status or "")
        is_failure = status is not None and status.kind == "failure"
        if record.phase == "dead" or is_failure or (record.phase != "ended" and record not in waiting):
            return FAILED
    return WAITS_FOR_PERSON if waiting else OK
