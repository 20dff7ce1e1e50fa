"""What plugins did in the demo's sessions: what each changed and said, in which tier, with how much memory and time.

One row a plugin, over all sessions of an app, read from their journals.
"""

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Final

from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.session import Entry
from orchestrator.contracts.skill import PluginPass
from orchestrator.interfaces.cli.output import compact, one_line

if TYPE_CHECKING:
    from rich.table import Table

#: Of what a plugin changed, and of what it said, so many lines are shown.
_SHOWN: Final = 4


@dataclass(slots=True)
class PluginRow:
    """What is shown of one plugin."""

    runs: int = 0
    statuses: dict[str, int] = field(default_factory=dict)
    changes: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    tiers: set[str] = field(default_factory=set)
    memory_mb: float = 0.0
    milliseconds: list[float] = field(default_factory=list)

    def add(self, run: JsonObject) -> None:
        """Count one run."""
        entry = _mapping(run.get("entry"))
        isolation = _mapping(entry.get("isolation"))
        self.runs += 1
        status = str(entry.get("status"))
        self.statuses[status] = self.statuses.get(status, 0) + 1
        changes = [_mapping(one) for one in _items(run.get("changes"))]
        self.changes += [f"{one.get('kind')} {one.get('path')}" for one in changes]
        self.changes += [str(error) for error in (entry.get("error"),) if error]
        self.said += [_tell(_mapping(line)) for line in _items(run.get("logs"))]
        self.tiers.add(str(isolation.get("tier") or "none"))
        self.memory_mb = max(self.memory_mb, _number(isolation.get("peak_memory_mb")))
        self.milliseconds.append(_number(isolation.get("duration_ms")))


def has_plugins(spec: AppSpec) -> bool:
    """Say whether an app's sessions run plugins."""
    return any(isinstance(skill, PluginPass) for skill in spec.skills.values())


async def collect_runs(journal: AsyncIterator[Entry]) -> list[JsonObject]:
    """Return what each plugin's run came to: its result entry, with changes and log lines."""
    return [
        {"entry": entry.data["plugin"], "changes": entry.data.get("changes", []), "logs": entry.data.get("logs", [])}
        async for entry in journal
        if "plugin" in entry.data and entry.step == "plugin_pass"
    ]


def fold_runs(runs: Iterable[JsonObject]) -> dict[str, PluginRow]:
    """Return a row for each plugin, in the order in which they first ran."""
    rows: dict[str, PluginRow] = {}
    for run in runs:
        rows.setdefault(str(_mapping(run.get("entry")).get("plugin")), PluginRow()).add(run)
    return rows


def make_plugin_table(runs: Iterable[JsonObject]) -> "Table":
    """Return the table of plugins."""
    from rich.text import Text

    from orchestrator.interfaces.cli.output import make_table

    table = make_table("PLUGIN", "ENDED", "TIER", "MEMORY", "TIME", "CHANGED · said", wraps=("CHANGED · said",))
    for name, row in fold_runs(runs).items():
        ended = ", ".join(f"{count} {status}" if row.runs > 1 else status for status, count in row.statuses.items())
        time = f"{median(row.milliseconds):.0f} ms" + (" median" if row.runs > 1 else "")
        told = [Text(one) for one in count_lines(row.changes)]
        if row.runs <= _SHOWN:  # of many runs, what each said is no summary
            told += [Text(one, "dim") for one in count_lines(row.said)]
        memory = f"{row.memory_mb:.0f} MB"
        table.add_row(
            name, ended, ", ".join(sorted(row.tiers)), memory, time, Text("\n").join(told or [Text("nothing")])
        )
    return table


def count_lines(lines: Sequence[str]) -> list[str]:
    """Return the first few different lines, how often each is there, and how many more there are.

    >>> count_lines(["create a", "create b", "create a"])
    ['create a (2 x)', 'create b']
    """
    counts = Counter(lines)
    shown = [
        one_line(line, 140) + (f" ({count} x)" if count > 1 else "") for line, count in list(counts.items())[:_SHOWN]
    ]
    return [*shown, f"… and {len(counts) - _SHOWN} more"] if len(counts) > _SHOWN else shown


def _tell(line: Mapping[str, object]) -> str:
    context = " · ".join(
        f"{name} {value if isinstance(value, str) else compact(value, 90)}"
        for name, value in _mapping(line.get("context")).items()
    )
    return f"{line.get('message')}{f': {context}' if context else ''}"


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _items(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
