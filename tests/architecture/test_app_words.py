"""The runtime knows no app's words: what an app.yaml names appears nowhere in the runtime's folders.

The words are derived from every bundled app.yaml: the app's name, its id prefix, tools, statuses, teams, modules.
There is no allow-list. Two kinds of match keep plain English writable:
- A word that only an app can mean (`fetch_diff`, `REVIEW`, `mcp_servers/review.py`) is found anywhere, by word boundary.
- A plain word (`resolved`) is found where it is a value: in quotes or backticks. In a sentence it is English.
A status that is also a word of Baton's own closed sets in `orchestrator.contracts` (`approved`) is Baton's word.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.architecture.source_tree import ROOT, RUNTIME, list_files, load_modules, relative

APP_FILES = sorted((ROOT / "apps").glob("*/app.yaml"))
PLAIN = re.compile(r"[a-z]+")


def list_own_words() -> set[str]:
    """Return every string of a Literal in the contracts: Baton's own closed sets."""
    literals = [
        node.slice
        for module in load_modules("orchestrator/contracts")
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == "Literal"
    ]
    return {
        part.value
        for node in literals
        for part in ast.walk(node)
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    }


def derive_words(text: str, folder: str) -> set[str]:
    """Return the words that an app.yaml makes its own; `folder` is the app's, as `apps/NAME`."""
    app = yaml.safe_load(text)
    skills = app.get("skills") or {}
    servers = app.get("mcp_servers") or []
    gateway = app.get("gateway") or {}
    tools: list[str] = [
        *(app.get("tools") or {}),
        *(rule["tool_name"] for rule in app.get("terminal_tools") or []),
        *(app.get("patch_tools") or []),
        *(app.get("harvest_terminal_tools") or []),
        *filter(None, [app.get("escalate_action_tool_name")]),
        *(gateway.get("policy") or {}),
        *((gateway.get("prod_overrides") or {}).get("resolution_trigger_tools") or []),
        *find_called_tools(app),
        *find_called_tools(skills),
    ]
    teams = [*(app.get("escalation_teams") or []), *filter(None, [app.get("escalate_action_default_team")])]
    modules = [server["module"] for server in servers if server.get("module")]
    words = {app["name"], *(app.get("statuses") or {}), *teams, *modules, folder, folder.replace("/", ".")}
    words |= {app["session_id_prefix"]} if "session_id_prefix" in app else set()
    words |= {name.rpartition(":")[2] for name in tools if "*" not in name}
    return {word for word in words if word} - list_own_words()


def find_called_tools(node: object) -> Iterator[str]:
    """Yield the tools that policies call and skills may call, wherever they stand."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "tool" and isinstance(value, str):
                yield value
            elif key == "tools" and isinstance(value, dict):
                yield from (name for names in value.values() if isinstance(names, list) for name in names)
            yield from find_called_tools(value)
    elif isinstance(node, list):
        for item in node:
            yield from find_called_tools(item)


def make_pattern(words: set[str]) -> re.Pattern[str]:
    """Return the expression that finds these words, plain ones only as values."""
    plain = "|".join(sorted(re.escape(word) for word in words if PLAIN.fullmatch(word)))
    marked = "|".join(sorted(re.escape(word) for word in words if not PLAIN.fullmatch(word)))
    parts = [f"(?P<quote>[\"'`])(?:{plain})(?P=quote)"] if plain else []
    parts += [rf"(?<!\w)(?:{marked})(?!\w)"] if marked else []
    return re.compile("|".join(parts) or r"(?!)")


def find_words(pattern: re.Pattern[str], files: dict[str, str]) -> list[str]:
    """Return `path:line: word` for each match."""
    return [
        f"{path}:{number}: {match.group()}"
        for path, text in files.items()
        for number, line in enumerate(text.splitlines(), 1)
        for match in pattern.finditer(line)
    ]


def read_app(path: Path) -> set[str]:
    """Return the words of one app, those that its skills' own files name included."""
    words = derive_words(path.read_text(encoding="utf-8"), f"apps/{path.parent.name}")
    for file in path.parent.glob("skills/**/*.yaml"):
        names = find_called_tools(yaml.safe_load(file.read_text(encoding="utf-8")))
        words |= {name.rpartition(":")[2] for name in names if "*" not in name}
    return words


@pytest.mark.parametrize("path", APP_FILES, ids=lambda path: path.parent.name)
def test_the_runtime_knows_no_word_of_this_app(path: Path) -> None:
    """A runtime that knows one app's words treats every other app as a second-class one."""
    files = {relative(file): file.read_text(encoding="utf-8") for file in list_files(*RUNTIME)}

    assert find_words(make_pattern(read_app(path)), files) == []


def test_there_are_apps_to_derive_words_from() -> None:
    """Without an app the rule above would pass for want of words."""
    assert len(APP_FILES) >= 2


PLANTED = """
name: bakery
session_id_prefix: BAK
statuses: {baked: {kind: success}, half_baked: {kind: failure}, approved: {kind: success}}
terminal_tools: [{tool_name: "oven:take_out", status: baked}]
escalation_teams: [pastry-chefs]
mcp_servers: [{name: oven, module: mcp_servers/oven.py}]
model: {rules: {baker: [{call: [{tool: knead_dough}]}]}}
skills: {baker: {kind: responsive, tools: {oven: ["pre_heat", "*"]}}}
"""


@pytest.mark.parametrize(
    ("line", "is_found"),
    [
        ("see `oven:take_out`", True),
        ("def take_out() -> None:", True),
        ("# BAK-20260101-001", True),
        ('if status == "baked":', True),
        ("status = half_baked", True),
        ("from apps.bakery import state", True),
        ("load('mcp_servers/oven.py')", True),
        ('team = "pastry-chefs"', True),
        ("knead_dough", True),
        ("pre_heat", True),
        ("the cake is baked in an oven", False),
        ('outcome = "approved"', False),
        ("BAKE", False),
        ("take_outs", False),
    ],
)
def test_a_planted_word_is_found(line: str, is_found: bool) -> None:
    """The scan finds what it is for, and lets a sentence be a sentence."""
    pattern = make_pattern(derive_words(PLANTED, "apps/bakery"))

    assert bool(find_words(pattern, {"workers/x.py": line})) is is_found
