"""A small valid app as text, and a way to write it with changes."""

from pathlib import Path
from typing import Final

APP: Final = """\
name: sample
session_id_prefix: SMP
entry_skill: look
state_schema: state.py:State
statuses:
  busy: {terminal: false, kind: pending}
  done: {kind: success}
  lost: {kind: needs_review}
default_terminal_status: lost
terminal_tools:
  - {tool_name: finish, status: done, extract_fields: {team: [args.team]}}
mcp_servers:
  - {name: local, module: servers/local.py}
model:
  rules:
    look:
      - {when: "'finish' not in calls", call: [{tool: finish, args: {team: "=state['team']"}}]}
      - {say: done}
skills:
  think: {kind: compute, call: "steps.py:think", routes: [{when: default, next: __end__}]}
"""

FILES: Final = {
    "app.yaml": APP,
    "state.py": """\
from pydantic import BaseModel, ConfigDict

from .words import TEAMS


class State(BaseModel):
    model_config = ConfigDict(extra="forbid")

    team: str = TEAMS[0]
    environment: str | None = None
    found: list[str] = []
    children: dict[str, str] = {}
""",
    "words.py": 'TEAMS = ("blue", "red")\n',
    "steps.py": "def think(state):\n    return {'team': 'red'}\n",
    "servers/local.py": "from ..words import TEAMS\n\n\ndef register(mcp_app, cfg):\n    return TEAMS\n",
    "skills/look/config.yaml": """\
tools: {local: [finish]}
routes:
  - {when: success, next: think}
  - {when: default, next: __end__}
""",
    "skills/look/a.md": "First.\n",
    "skills/look/b.md": "Second.\n",
}


def write_app(folder: Path, changes: dict[str, str | None] | None = None, **replaced: str) -> Path:
    """Write the app; `changes` gives whole files (None leaves one out).

    `replaced` puts text in place of a whole `key: ...` block at the top level of app.yaml; an empty
    text removes the block.
    """
    files: dict[str, str | None] = {**FILES, **(changes or {})}
    for key, text in replaced.items():
        files["app.yaml"] = replace_block(files["app.yaml"] or "", key, text)
    for name, content in files.items():
        if content is not None:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
    return folder


def replace_block(text: str, key: str, new: str) -> str:
    """Return the YAML text with one top-level block replaced, or the new one added at the end."""
    kept: list[str] = []
    skipping = False
    for line in text.splitlines():
        if not line.startswith((" ", "-")):
            skipping = line.startswith(f"{key}:")
        if not skipping:
            kept.append(line)
    return "\n".join([*kept, *([new] if new else [])]) + "\n"
