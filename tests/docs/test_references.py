"""What the pages name is there: commands, options, variables, files, keys, fields, reasons, examples."""

import ast
import asyncio
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import click
import pytest
import yaml

from docs.render import PAGES, REFERENCE, render_page
from docs.render_http import render_openapi
from orchestrator.app_loader import load_app
from orchestrator.app_scaffold import create_app
from orchestrator.app_tools import check_tools
from orchestrator.contracts.session import Entry, Outcome, PostKind, StepKind, ToolOutcome, WaitKind
from orchestrator.interfaces.cli.main import cli
from orchestrator.interfaces.http.problems import NAMES
from orchestrator.kernel.expression_functions import FUNCTIONS
from orchestrator.settings import Settings
from orchestrator.store.store import Store
from tests.architecture.source_tree import ROOT, load_modules, relative
from tests.docs.console import Block, read_blocks
from tests.stage import Stage, stage
from workers.composition import build_app

DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGE_IDS = [relative(path) for path in DOCS]
#: Pages that say how to use Baton; decisions may name what was rejected.
GUIDES = [path for path in DOCS if "adr" not in path.parts] + sorted((ROOT / "apps").glob("*/README.md"))
GUIDE_IDS = [relative(path) for path in GUIDES]
MODEL_PAGE = ROOT / "docs" / "how-to" / "run_with_a_model.md"
TOOLS_PAGE = ROOT / "docs" / "how-to" / "write_tools.md"
PARTITION_KEYS = (
    *("due", "leases", "by", "sent", "dead", "deadinfo", "stats", "limits"),
    *("outbox", "deliveries", "deliveryinfo", "undelivered"),
)
SHELL = frozenset({"console", "sh"})
INLINE = re.compile(r"`([^`\n]+)`")


def text_of(*parts: str) -> str:
    """Return a page of docs/."""
    return ROOT.joinpath("docs", *parts).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PAGES)
def test_a_rendered_table_is_current(name: str) -> None:
    """`python -m docs.render` brings it up to date: a field that the reference does not know does not exist for readers."""
    text = (REFERENCE / name).read_text(encoding="utf-8")

    assert render_page(name, text) == text


def test_the_description_of_the_http_api_is_current() -> None:
    """Clients are generated from the committed file; `python -m docs.render` brings it up to date."""
    assert (REFERENCE / "openapi.json").read_text(encoding="utf-8") == render_openapi()


def test_the_page_of_the_http_api_knows_every_problem() -> None:
    """A program that switches on `type` must find each of them, with its meaning."""
    assert sorted(rows_below(text_of("reference", "http.md"), "problem")) == sorted(NAMES)


@pytest.mark.parametrize("path", DOCS, ids=PAGE_IDS)
def test_a_page_is_short(path: Path) -> None:
    """A page over 250 lines is two pages."""
    assert len(path.read_text(encoding="utf-8").splitlines()) < 250


# --- commands


def list_commands(text: str) -> Iterator[list[str]]:
    """Yield every `baton ...` of a page as words, from its shell blocks and its inline code."""
    shells = [block for block in read_blocks(text) if block.language in SHELL]
    # In a console block what follows no prompt is output.
    lines = [
        line.removeprefix("$ ")
        for block in shells
        for line in block.body.splitlines()
        if block.language == "sh" or line.startswith("$ ")
    ]
    inline = INLINE.findall(re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))
    for line in (*lines, *inline):
        if re.match(r"(\./)?baton [a-z]", line):
            yield shlex.split(line.split(" || ")[0], comments=True)


def find_wrong(words: list[str]) -> str | None:
    """Return what in a command line does not exist: the command, or one of its options."""
    group: click.Command = cli
    context = click.Context(cli)
    rest = words[1:]
    while isinstance(group, click.Group):
        # The launcher answers these two itself.
        if not rest or (group is cli and rest[0] in {"test", "bench", "chaos"}):
            return None
        if rest[0].startswith("-"):
            break
        found = group.get_command(context, rest[0])
        if found is None:
            return f"no command {rest[0]!r}"
        group, rest = found, rest[1:]
    if group.name in {"submit", "demo"}:
        return None  # what they do not know they hand to an app
    known = {name for parameter in group.params for name in (*parameter.opts, *parameter.secondary_opts)}
    known |= {"-h", "--help", "--version"}
    wrong = [word for word in rest if word.startswith("--") and word.split("=")[0] not in known]
    return f"{group.name} has no option {wrong[0]}" if wrong else None


@pytest.mark.parametrize("path", GUIDES, ids=GUIDE_IDS)
def test_commands_and_options_exist(path: Path) -> None:
    """A command that is copied from a page at night must work."""
    wrong = [
        f"{' '.join(words)}: {problem}"
        for words in list_commands(path.read_text(encoding="utf-8"))
        if (problem := find_wrong(words)) is not None
    ]

    assert wrong == []


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("baton list --phase waiting", None),
        ("baton lsit", "no command 'lsit'"),
        ("baton list --colour red", "list has no option --colour"),
        ("baton dead replay --all", None),
        ("baton submit an_app --its-own option", None),
    ],
)
def test_a_wrong_command_is_found(line: str, problem: str | None) -> None:
    """The check reads a line as the command line does."""
    assert find_wrong(shlex.split(line)) == problem


# --- names


@pytest.mark.parametrize("path", GUIDES, ids=GUIDE_IDS)
def test_files_that_a_page_names_are_there(path: Path) -> None:
    """A path in a page is a promise like a link."""
    named = re.findall(
        r"`((?:orchestrator|workers|tests|config|docs|bench|plugin_sandbox|apps)/[\w./-]+)`", path.read_text()
    )

    assert [name for name in named if name != "apps/NAME/" and not (ROOT / name).exists()] == []


@pytest.mark.parametrize("path", GUIDES, ids=GUIDE_IDS)
def test_variables_that_a_page_names_are_read_somewhere(path: Path) -> None:
    """A variable that nobody reads is set in vain, and silently."""
    sources = [*(ROOT / "orchestrator").rglob("*.py"), *(ROOT / "workers").rglob("*.py"), ROOT / "baton"]
    sources += [*(ROOT / "config").glob("*.yaml"), *(ROOT / "apps").glob("*/app.yaml")]
    read = "\n".join(source.read_text(encoding="utf-8") for source in sources)
    settings = {f"BATON_{s}_{f}".upper() for s, section in Settings() for f in type(section).model_fields}
    named = set(re.findall(r"\b(?:BATON|OPENAI|ANTHROPIC)_[A-Z_]*[A-Z]\b", path.read_text(encoding="utf-8")))

    assert sorted(name for name in named - settings if name not in read) == []


# --- the journal


def kinds_in_code() -> set[str]:
    """Return the kind of every entry that the code writes: in Python, and in the scripts."""
    found = {
        keyword.value.value
        for module in load_modules("orchestrator", "workers")
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Entry"
        for keyword in node.keywords
        if keyword.arg == "kind" and isinstance(keyword.value, ast.Constant)
    }
    for script in (ROOT / "orchestrator" / "store" / "scripts").rglob("*.lua"):
        found |= set(re.findall(r"store_entry\('(\w+)'", script.read_text(encoding="utf-8")))
    return {str(kind) for kind in found}


def rows_below(text: str, head: str) -> list[str]:
    """Return the first cells of the table whose first heading is `head`."""
    table = re.search(rf"^\| {re.escape(head)} \|.*?\n\|[ -|]+\n((?:\|.*\n)+)", text, re.MULTILINE)
    assert table is not None, head
    return [line.split("|")[1].strip().strip("`") for line in table[1].splitlines()]


@pytest.mark.parametrize(
    ("head", "words"),
    [
        ("kind", kinds_in_code()),
        ("field", set(Entry.model_fields)),
        ("step", set(get_args(StepKind))),
        ("outcome of a step", set(get_args(Outcome))),
        ("outcome of a tool call", set(get_args(ToolOutcome))),
        ("wait", set(get_args(WaitKind))),
        ("post", set(get_args(PostKind))),
    ],
)
def test_the_journal_page_knows_every_word(head: str, words: set[str]) -> None:
    """Whoever reads a journal meets each of these sooner or later."""
    rows = rows_below(text_of("reference", "journal.md"), head)

    assert sorted(rows) == sorted(words)


# --- the store


def test_every_key_in_a_real_store_is_on_its_page(store_url: str) -> None:
    """An operator who finds a key that no page knows may delete it, or fear to."""
    rows = rows_below(text_of("reference", "store.md"), "key")
    word = "[^:]+"
    patterns = [
        re.sub(r"NN|ID|APP|KEY|PREFIX|DAY|DIGEST|NUMBER", word, re.escape(row).replace(r"\{p", r"\{p")) for row in rows
    ]

    async def leave_keys() -> list[str]:
        async with stage(store_url) as on:
            for plan in ("put", "danger"):
                session_id = await on.submit(plan=plan)
                await on.run(on.worker(), session_id)
            await on.client.decide(session_id, allow=True, actor="ada")
            await on.client.submit("everything", actor="ada", key="once")
            await on.run(on.worker(), await on.submit("broken"))
            await on.submit("until")
            await on.client.fleet.lead("one", [1], 5)
            return [str(key) for key in await on.store.command("KEYS", "*")]

    keys = asyncio.run(leave_keys())
    unknown = [key for key in keys if not any(re.fullmatch(pattern, key) for pattern in patterns)]

    assert len(keys) > 20
    assert unknown == []


def test_the_store_page_names_every_key_of_the_code() -> None:
    """A key that the code builds and no run of the test leaves behind is documented as well."""
    text = text_of("reference", "store.md")
    keys = Store("redis://nowhere").keys
    built = [*keys.for_script(("record", "journal", "context", "mailbox", "intents", "seen"), "SES-20261120-001")]
    built += [keys.of_partition(name, 0) for name in PARTITION_KEYS]
    rows = rows_below(text, "key")

    for key in built:
        row = re.sub(r"\{p\d\d\}", "{pNN}", key).replace("SES-20261120-001", "ID")
        assert row in rows


# --- the rest


def test_the_app_page_lists_every_function_of_expressions() -> None:
    """An expression cannot use what its writer does not know of."""
    listed = re.search(r"^`(abs [a-z ]+)`\.$", text_of("reference", "app_yaml.md"), re.MULTILINE)

    assert listed is not None
    assert listed[1].split() == sorted(FUNCTIONS)


def test_the_operators_page_knows_every_reason_of_a_dead_letter() -> None:
    """A reason without a remedy is a riddle at night."""
    rows = rows_below(text_of("how-to", "operate.md"), "reason")
    retry = (ROOT / "orchestrator" / "kernel" / "retry.py").read_text(encoding="utf-8")
    literal = re.search(r"RetryReason: TypeAlias = Literal\[(.*?)\]", retry, re.DOTALL)
    assert literal is not None
    reasons = set(re.findall(r'"(\w+)"', literal[1])) - {"auto_retry"}
    for source in (ROOT / "workers" / "executor.py", *(ROOT / "orchestrator" / "store" / "scripts").glob("*.lua")):
        text = source.read_text(encoding="utf-8")
        reasons |= set(re.findall(r"bury\([^\n\"']*[\"'](\w+)[\"']", text))
        reasons |= set(re.findall(r'"?reason"?[=:]"(\w+)"', text))

    assert sorted(rows) == sorted(reasons)


@pytest.fixture
def app_folder(tmp_path: Path) -> Path:
    """The folder of a new app, as `baton apps new` makes it."""
    create_app(tmp_path / "stock_count", "stock_count")
    return tmp_path / "stock_count"


def yaml_blocks(*, of_settings: bool) -> list[Block]:
    """Return the page's examples of settings, or of an app."""
    blocks = [b for b in read_blocks(MODEL_PAGE.read_text(encoding="utf-8")) if b.language == "yaml" and not b.name]
    return [block for block in blocks if ("models" in yaml.safe_load(block.body)) is of_settings]


def model_blocks() -> list[Block]:
    """Return the page's examples of a `model`, and of what else an app says of it."""
    blocks = yaml_blocks(of_settings=False)
    assert len(blocks) >= 5
    return blocks


def write_example(folder: Path, block: Block) -> None:
    """Put an example of a `model` into an app, with the page's files beside it."""
    for one in read_blocks(MODEL_PAGE.read_text(encoding="utf-8")):
        if one.name:
            (folder / one.name).parent.mkdir(exist_ok=True)
            (folder / one.name).write_text(one.body, encoding="utf-8")
    document = yaml.safe_load((folder / "app.yaml").read_text(encoding="utf-8"))
    example = yaml.safe_load(block.body)
    statuses = {**document["statuses"], **example.pop("statuses", {})}
    document |= {**example, "statuses": statuses}
    (folder / "app.yaml").write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")


@pytest.mark.parametrize("block", model_blocks(), ids=range(len(model_blocks())))
def test_an_example_of_a_model_loads(app_folder: Path, block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is copied from the page starts a worker."""
    for name in ("MODEL_API_KEY", "OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(name, "a-key")
    write_example(app_folder, block)

    build_app(load_app(app_folder), Settings())


@pytest.mark.parametrize(
    "block", yaml_blocks(of_settings=True), ids=lambda block: next(iter(yaml.safe_load(block.body)["models"]))
)
def test_an_example_of_settings_for_models_is_valid(block: Block) -> None:
    """What an operator copies from the page is what the settings take."""
    settings = Settings.model_validate(yaml.safe_load(block.body))

    assert settings.models.limits or settings.models.prices


def test_the_transcript_of_the_page_runs_to_its_end(app_folder: Path, store_url: str) -> None:
    """A transcript is a test of an app: the one on the page passes."""
    [block] = [one for one in model_blocks() if "scripted" in one.body]
    write_example(app_folder, block)
    spec = load_app(app_folder)

    async def play() -> str | None:
        on = Stage(store_url, Settings(), {spec.name: spec})
        try:
            state = {"folder": str(app_folder)}
            submitted = await on.client.submit(spec.name, overrides=dict(state), actor="ada")
            return (await on.run(on.worker(), submitted.session_id)).status
        finally:
            await on.aclose()

    assert asyncio.run(play()) == "reported"


def test_the_tools_of_the_page_fit_their_app(tmp_path: Path) -> None:
    """Names, arguments, updates and risks of the example agree with the tools that it registers."""
    folder = tmp_path / "helpdesk"
    for block in read_blocks(TOOLS_PAGE.read_text(encoding="utf-8")):
        if block.name:
            (folder / block.name).parent.mkdir(parents=True, exist_ok=True)
            (folder / block.name).write_text(block.body, encoding="utf-8")
    spec = load_app(folder)

    async def catalogue() -> tuple[str, ...]:
        toolbox = build_app(spec, Settings()).toolbox
        try:
            return check_tools(spec, await toolbox.catalogue())
        finally:
            await toolbox.aclose()

    assert asyncio.run(catalogue()) == ()


def test_the_schemas_that_the_reference_is_made_from_are_json() -> None:
    """The reference reads the committed schemas, which a test of the loader keeps current."""
    for name in ("app.schema.json", "skill.schema.json", "runtime.schema.json"):
        assert json.loads((ROOT / "config" / "schemas" / name).read_text(encoding="utf-8"))["$schema"]
