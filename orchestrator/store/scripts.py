"""The acts on the store: one Lua file each, read once, called by digest.

A file declares its keys and the shared pieces that it uses in its first lines:

    --! keys: record journal by
    --! uses: clock index

What only some calls need may be declared where they begin to need it, by `--! then uses: bury`:
a script is run anew at each call, and makes all its functions again.
Its keys arrive as the table K by those names, so a script touches nothing that it did not
declare. `is_allowed` is generated from the transition table of `contracts.phases`: a phase change
that the table does not list is refused where it would be written.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from hashlib import sha1
from pathlib import Path

from orchestrator.contracts.phases import TRANSITIONS
from orchestrator.store.keys import KEY_NAMES

FOLDER = Path(__file__).parent / "scripts"

_THEN = re.compile(r"^--! then uses: (.*)\n", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Script:
    """One act: its name, its keys in order, its whole source, and the source's digest."""

    name: str
    keys: tuple[str, ...]
    source: str
    sha: str


def _transition_table() -> str:
    # One text, not a table: a script is run anew at each call, and would build the table every time.
    pairs = " ".join(f"{before}>{after}" for before, afters in TRANSITIONS.items() for after in afters)
    return (
        "local function is_allowed(before, after)\n"
        f"  return string.find(' {pairs} ', ' ' .. before .. '>' .. after .. ' ', 1, true) ~= nil\n"
        "end\n"
    )


def _declared(source: str, what: str) -> tuple[str, ...]:
    marker = f"--! {what}:"
    for line in source.splitlines():
        if line.startswith(marker):
            return tuple(line.removeprefix(marker).split())
    return ()


def _pieces(names: Iterable[str]) -> str:
    return "".join((FOLDER / "lib" / f"{name}.lua").read_text(encoding="utf-8") for name in names)


def _build(path: Path) -> Script:
    body = path.read_text(encoding="utf-8")
    keys = _declared(body, "keys")
    unknown = set(keys) - KEY_NAMES
    if unknown:
        msg = f"{path.name}: unknown keys {sorted(unknown)}; name them in store/keys.py"
        raise ValueError(msg)
    table = ", ".join(f"{name} = KEYS[{number}]" for number, name in enumerate(keys, start=1))
    allowed = _transition_table() if "is_allowed(" in body else ""
    pieces = _pieces(_declared(body, "uses"))
    body = _THEN.sub(lambda line: _pieces(line[1].split()), body)
    source = f"local K = {{{table}}}\n{allowed}{pieces}{body}"
    return Script(path.stem, keys, source, sha1(source.encode(), usedforsecurity=False).hexdigest())


@cache
def load_scripts() -> dict[str, Script]:
    """Return every act by name."""
    return {path.stem: _build(path) for path in sorted(FOLDER.glob("*.lua"))}
