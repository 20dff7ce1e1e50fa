"""How sessions went on after their worker was killed: how long it took, and what else struck meanwhile."""

from collections.abc import Sequence
from dataclasses import dataclass

from tests.chaos.ledger import Ledger
from tests.chaos.monkey import Blow


@dataclass(frozen=True)
class Recovery:
    """How a session went on whose worker was killed: seconds until its next commit, and what else struck meanwhile.

    `is_orphaned`: its lease ran out, and it was rescued; else what its worker had sent before was still done.
    `is_struck`: the next holder was killed or stopped too. `is_led`: no scheduler was struck meanwhile.
    """

    session_id: str
    killed_at: int
    seconds: float
    is_struck: bool
    is_led: bool
    is_orphaned: bool = True


def list_recoveries(ledger: Ledger, blows: Sequence[Blow], *, failover_seconds: float) -> list[Recovery]:
    """Return how every session went on that a killed worker had in its hands."""
    found = []
    for blow in blows:
        for session_id in blow.held:
            later = [entry for entry in ledger.journals.get(session_id, ()) if entry.at > blow.at]
            step = next((entry for entry in later if entry.kind == "step"), None)
            if step is None:
                continue  # it was at its end, and is checked as ended; or was on a visit (visitors.py)
            orphaned = sum(entry.kind == "orphaned" for entry in later if entry.seq < step.seq)
            meanwhile = [one for one in blows if one is not blow and blow.at - one.lasts_ms <= one.at <= step.at]
            pid = int(step.actor.split(":")[1])
            is_struck = orphaned > 1 or any(one.role == "server" or pid in one.pids for one in meanwhile)
            early = blow.at - int(failover_seconds * 1000)
            is_led = not any(one.role == "scheduler" and early - one.lasts_ms <= one.at <= step.at for one in blows)
            found.append(Recovery(session_id, blow.at, (step.at - blow.at) / 1000, is_struck, is_led, orphaned > 0))
    return found


def tell_recovery(ledger: Ledger, blows: Sequence[Blow], one: Recovery) -> str:
    """Return what happened around a recovery, in seconds from the kill: for whoever has to find out why it took long."""
    lines = [
        (entry.at, f"journal {entry.kind} {entry.step or ''} by {entry.actor} with {entry.fence - one.killed_at}")
        for entry in ledger.journals[one.session_id]
    ]
    lines += [(blow.at, f"{blow.what} {blow.role} {blow.pids} for {blow.lasts_ms} ms") for blow in blows]
    near = sorted(line for line in lines if -10_000 <= line[0] - one.killed_at <= 12_000)
    head = f"{one.session_id}: {one.seconds:.2f} s"
    return "\n".join([head, *(f"  {(at - one.killed_at) / 1000:+7.2f} {what}" for at, what in near)])
