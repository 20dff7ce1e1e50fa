"""What a run was and what came of it, as a table for people and as one JSON object."""

import os
import platform
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.chaos.cuts import Cut
from tests.chaos.havoc import tell_fault
from tests.chaos.plan import ASKED
from tests.chaos.recovery import Recovery
from tests.chaos.run import Outcome

ROOT = Path(__file__).resolve().parents[2]


def spread(values: Sequence[float]) -> dict[str, float | int | None]:
    """Return how values are spread.

    >>> spread([1.0, 3.0, 2.0])
    {'count': 3, 'p50': 2.0, 'p95': 3.0, 'max': 3.0}
    """
    ordered = sorted(values)
    if not ordered:
        return {"count": 0, "p50": None, "p95": None, "max": None}
    last = len(ordered) - 1
    return {
        "count": len(ordered),
        "p50": round(ordered[last // 2], 2),
        "p95": round(ordered[min(round(last * 0.95), last)], 2),
        "max": round(ordered[-1], 2),
    }


def _commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


def tell_cut(cut: Cut) -> dict[str, int]:
    """Return what a moment may have taken."""
    return {"bytes_lost": cut.bytes_lost, "back_ms": round(cut.back_ms)}


def tell_cuts(found: dict[str, Any]) -> tuple[str, str]:
    """Return a row of what the moments took at which the store went back in time."""
    kind, told = ("power cuts took", found["power_cuts"])
    if found["store"] != "server":
        kind, told = "failovers may have taken", found["failovers"]
    parts = [
        " ".join(filter(None, [one.get("what"), f"{one['bytes_lost']} bytes ({one['back_ms']} ms)"])) for one in told
    ]
    return kind, ", ".join(parts) or "none"


def tell_http(counts: dict[str, Any]) -> list[tuple[str, str]]:
    """Return rows of what was asked over HTTP, and what came of it."""
    acts = ", ".join(f"{counts[name]} {name}" for name in ("asked", "acknowledged", "refused", "repeated"))
    requests = ", ".join(f"{counts[name]} {name}" for name in ("requests", "unanswered"))
    away = counts.get("status_503", 0)
    entries, lines = counts["followed_entries"], counts["followed_connections"]
    return [
        ("over HTTP", f"{acts}; {counts['reads']} reads, {counts['visits']} visits; {counts['lost']} gone with a cut"),
        ("… as requests", f"{requests}, {away} told that the store is away"),
        ("followed", f"{counts['followed']} sessions: {entries} entries over {lines} connections"),
    ]


def describe(outcome: Outcome) -> dict[str, Any]:
    """Return everything that is known of a run."""
    options, ledger = outcome.options, outcome.ledger
    sums = {name: value for name, value in vars(ledger).items() if isinstance(value, int)}

    def seconds(chosen: Sequence[Recovery]) -> dict[str, float | int | None]:
        return spread([one.seconds for one in chosen])

    rescued = [one for one in outcome.recoveries if one.is_orphaned]
    calm = [one for one in rescued if not one.is_struck and one.is_led]
    return {
        "green": not outcome.wrong,
        "store": options.store,
        "seed": options.seed,
        "seconds": options.seconds,
        "took_seconds": round(outcome.seconds, 1),
        "durability": options.durability,
        "fsync": options.fsync,
        "faults": dict(sorted(Counter(fault.what for fault in outcome.struck).items())),
        "faults_left_out": len(outcome.left_out),
        "ended_by_themselves": len(outcome.ended),
        "killed_after_sigterm": len(outcome.overdue),
        "ledger": sums,
        "sides": asdict(outcome.sides),
        "http": {**outcome.http.counts, "what_was_lost": outcome.http.lost},
        "operations_checked": outcome.operations,
        "commits_acknowledged": outcome.acknowledged,
        "power_cuts": [tell_cut(cut) for cut in outcome.cuts if cut.what == "power"],
        "failovers": [
            {"what": cut.what, "place": cut.place, **tell_cut(cut)} for cut in outcome.cuts if cut.what != "power"
        ],
        "refused": outcome.refused,
        "forgotten": dict(ledger.forgotten),
        "lost": outcome.lost,
        "recovery_seconds": seconds(calm),
        "recovery_seconds_struck_again": seconds([one for one in rescued if one not in calm]),
        "slow_recoveries": len(outcome.slow),
        "wrong": outcome.wrong,
        "plan": [tell_fault(fault) for fault in outcome.plan],
        "machine": f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "commit": _commit(),
    }


def render(found: dict[str, Any]) -> str:
    """Return the table."""
    ledger, recovery = found["ledger"], found["recovery_seconds"]
    again = found["recovery_seconds_struck_again"]
    faults = ", ".join(f"{count} {what}" for what, count in found["faults"].items())
    forgotten = ", ".join(f"{count} {what}s" for what, count in found["forgotten"].items()) or "nothing"
    rows = [
        ("seed, seconds", f"{found['seed']}, {found['seconds']:g} (took {found['took_seconds']:g})"),
        ("store, durability, appendfsync", f"{found['store']}, {found['durability']}, {found['fsync']}"),
        ("faults", f"{sum(found['faults'].values())}: {faults}"),
        ("sessions at their end", f"{ledger['ended']} of {ledger['sessions']}"),
        ("messages, steps", f"{ledger['messages']}, {ledger['steps']}"),
        ("lost, committed twice, reordered", f"{ledger['lost']}, {ledger['committed_twice']}, {ledger['reordered']}"),
        ("questions, approvals, timers", f"{ledger['questions']}, {ledger['approvals']}, {ledger['timers']}"),
        ("effects; shown as uncertain", f"{ledger['notes'] + ledger['acts']}; {ledger['uncertain']}"),
        *tell_http(found["http"]),
        ("orphans rescued", f"{ledger['orphaned']}"),
        (
            "recovery p50, p95, max",
            f"{recovery['p50']} s, {recovery['p95']} s, {recovery['max']} s of {recovery['count']}",
        ),
        ("… where more struck meanwhile", f"{again['p50']} s, {again['p95']} s, {again['max']} s of {again['count']}"),
        ("operations in a linear order", f"{found['operations_checked']}"),
        tell_cuts(found),
        ("of what was acknowledged", forgotten),
        ("effects repeated by that", f"{ledger['repeated_by_loss']}"),
    ]
    if found["faults"].keys() & ASKED:
        sides = found["sides"]
        rows += [
            ("steps by older, newer; by both", f"{sides['older']}, {sides['newer']}; {sides['both']} sessions"),
            ("claims that an older one left", f"{sides['left_alone']}"),
        ]
    if "downgrade" in found["faults"]:
        rows.append(("back: waited; steps of others", f"{sides['waited']} sessions; {sides['went_on']}"))
    if found["store"] == "cluster":
        rows.append(("commands that spanned slots", f"{found['refused'].get('CROSSSLOT', 0)}"))
    lines = [f"  {name:<34}{value}" for name, value in rows]
    verdict = "kept every promise" if found["green"] else f"{len(found['wrong'])} broken:"
    return "\n".join([*lines, f"  {'verdict':<34}{verdict}", *(f"    {line}" for line in found["wrong"][:40])])
