"""The plugin contract's rows about passes, manifests, calls that cannot be made, and logs, through the real sandbox.

What test_plugin_rows.py says of one plugin over one file, these say of what surrounds it. A deliberate difference from upstream
stands beside its row, and all of them in one decision.
"""

import asyncio
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator.app_loader import load_app
from orchestrator.settings import Settings
from plugin_sandbox.host import Sandbox
from plugin_sandbox.model import Call, Json, Prompt
from plugin_sandbox.passes import UNANSWERED, run_pass
from plugin_sandbox.registry import Registry
from plugin_sandbox.settings import SandboxSettings
from tests.conformance.test_plugin_rows import HEAD, HELLO, does
from tests.conformance.test_plugin_rows import ROWS as RUN_ROWS
from tests.plugin_runs import make_call
from tests.stage import EVERYTHING, Stage
from workers.plugins import PluginHost

DECISION = Path(__file__).parents[2] / "docs" / "adr" / "0048-where-plugins-are-hosted-otherwise.md"
ASKS = does("raise PluginInputRequired([{'id': 'color'}], 'Need user color preference')")


@dataclass(frozen=True)
class PassRow:
    """Plugins in their order over some files; of each entry status, exit code, files and error. `differs`: as in RUN_ROWS."""

    codes: tuple[str, ...]
    entries: tuple[tuple[str, int, tuple[str, ...], str | None], ...]
    files: tuple[str, ...] = ("data.txt",)
    extensions: str = ".txt"
    aborted: bool = False
    differs: str = ""


PASSES: dict[str, PassRow] = {
    "3 error, hello": PassRow(
        (does("raise PluginError('by design')"), HELLO),
        (("failed", 1, (), "by design"), ("success", 0, ("data.txt",), None)),
    ),
    "5 unanswered, hello": PassRow(
        (ASKS, HELLO), (("failed", 2, (), UNANSWERED),), aborted=True, differs="upstream's entry does not say why"
    ),
    "6 crash, hello": PassRow(
        (does("os._exit(139)"), HELLO), (("failed", 139, (), None), ("success", 0, ("data.txt",), None))
    ),
    "12 no file of its own": PassRow(
        (
            does("(ctx.dst_root / 'pre').touch()", "pre_transform_all(self, ctx)")
            + "    def transform(self, path, ctx): raise PluginError('a file that is not its own')\n"
            + "    def post_transform_all(self, ctx): (ctx.dst_root / 'post').touch()\n",
        ),
        (("success", 0, ("post", "pre"), None),),
        extensions=".csv",
    ),
    "13 no extensions": PassRow(
        (HELLO,),
        (("success", 0, ("Makefile", "a.csv", "data.txt"), None),),
        files=("data.txt", "Makefile", "a.csv"),
        extensions="",
    ),
    "14 DATA.TXT": PassRow(
        (HELLO,),
        (("success", 0, ("DATA.TXT",), None),),
        files=("DATA.TXT",),
        differs="upstream's registry compares without case and its host with it; here both do without",
    ),
}

#: Manifests that upstream loads and then fails on, or is brought down by: here the plugin is refused before anything runs.
REFUSED: dict[str, tuple[str, str]] = {
    "28 memory 1": ("memory_mb: 1", "isolation.memory_mb: Input should be greater than or equal to 32; mend it"),
    "28 memory -5": ("memory_mb: -5", "isolation.memory_mb: Input should be greater than or equal to 32; mend it"),
    "28 memory x": ("memory_mb: x", "isolation.memory_mb: Input should be a valid integer; mend it"),
    "29 timeout 0": ("timeout_seconds: 0", "isolation.timeout_seconds: Input should be greater than 0; mend it"),
    "29 timeout -5": ("timeout_seconds: -5", "isolation.timeout_seconds: Input should be greater than 0; mend it"),
}

#: Calls that cannot be made: what is changed of the call, then status, exit code, and how the error ends. Nothing is run for them.
UNMADE: dict[str, tuple[Json, str, int, str]] = {
    "26 no workspace": (
        {"workspace": Path("/nowhere")},
        "sandbox_unavailable",
        3,
        "/nowhere: is not a directory; name the workspace of the run",
    ),
    "27 no package": (
        {},
        "sandbox_unavailable",
        3,
        "plugin/: No such file or directory); look at it, and register it again",
    ),
    "32 variables of more than 1 MiB": (
        {"variables": {"x": "y" * 1_048_576}},
        "protocol_error",
        1,
        "1048576 are allowed (ipc_frame_oversize); give less",
    ),
    "33 variables that are no JSON": (
        {"variables": {"x": {1}}},
        "protocol_error",
        1,
        "the variables are no JSON (Object of type set is not JSON serializable); give text, numbers, lists, mappings",
    ),
}

#: Rows that have a test of their own below, with what differs; "" where nothing does.
OTHERS: dict[str, str] = {
    "15": "upstream has a warning and no entry; here no app loads with an unknown name, and one that went later has an entry",
    "22": "upstream applies the first file twice; here the run begins anew on an unchanged workspace",
    "34": "upstream shows objects alone and keeps all lines in a file; here every line is a record",
    "35": "upstream's envelope has a list that is always empty; here there is none, and records are the outcome's",
}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> SandboxSettings:
    """The defaults, with a state folder of the tests' own."""
    return SandboxSettings(state_dir=tmp_path_factory.mktemp("state"))


@pytest.fixture(scope="module")
def sandbox(settings: SandboxSettings) -> Iterator[Sandbox]:
    """One warm sandbox."""
    made = Sandbox(settings)
    yield made
    made.close()


def write_package(package: Path, code: str, extensions: str = ".txt", isolation: str = "") -> Path:
    """Write a plugin of this code."""
    package.mkdir(parents=True)
    (package / "manifest.yml").write_text(
        f'name: {package.name}\nversion: "1"\napi_version: "1"\nsupported_extensions: [{extensions}]\n'
        f"isolation: {{{isolation}}}\n"
    )
    (package / "__init__.py").write_text(code)
    return package


def call_of(home: Path, settings: SandboxSettings, code: str, *files: str) -> Call:
    """Return a call of a plugin over files that say `initial`."""
    package, workspace = write_package(home / "plugin", code), home / "workspace"
    workspace.mkdir()
    for name in files:
        (workspace / name).write_text("initial\n")
    return make_call(package, workspace, settings, files=files)


@pytest.mark.parametrize("row", PASSES.values(), ids=PASSES.keys())
def test_a_pass_of_the_contract(sandbox: Sandbox, settings: SandboxSettings, tmp_path: Path, row: PassRow) -> None:
    """One entry for each plugin that was run, in order; no entry for what comes after a pass was aborted."""
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    for name in row.files:
        (workspace / name).write_text("initial\n")
    packages = [write_package(tmp_path / f"p{n}", code, row.extensions) for n, code in enumerate(row.codes)]
    calls = [make_call(package, workspace, settings, files=row.files) for package in packages]

    async def nobody(prompt: Prompt) -> None:
        assert (prompt.reason, [one.id for one in prompt.fields]) == ("Need user color preference", ["color"])

    result = asyncio.run(run_pass(sandbox, calls, nobody))

    said = [(one.status, one.isolation.exit_code, one.files_affected, one.error) for one in result.applied]
    assert [one.plugin for one in result.applied] == [f"p{n}" for n in range(len(row.entries))]
    assert (said, result.aborted) == (list(row.entries), row.aborted)
    touched = {name for one in row.entries for name in one[2]}
    for name in row.files:
        assert (workspace / name).read_text() == ("initial\nhello\n" if name in touched else "initial\n")


@pytest.mark.parametrize(("isolation", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_a_limit_that_cannot_be_meant_refuses_its_plugin_alone(
    settings: SandboxSettings, tmp_path: Path, isolation: str, reason: str
) -> None:
    """Upstream starts it and ends it at once, or loses the pass to an exception."""
    write_package(tmp_path / "odd", HELLO, isolation=isolation)
    write_package(tmp_path / "good", HELLO)

    report = Registry(settings, lab=[tmp_path]).reload()

    assert (report.loaded, dict(report.rejected)) == (("good",), {"odd": reason})


@pytest.mark.parametrize(("change", "status", "exit_code", "error"), UNMADE.values(), ids=UNMADE.keys())
def test_a_call_that_cannot_be_made_has_an_entry_and_no_process(
    sandbox: Sandbox, settings: SandboxSettings, tmp_path: Path, change: Json, status: str, exit_code: int, error: str
) -> None:
    """Never an exception in whoever calls, and never a run in another folder than was meant."""
    call = call_of(tmp_path, settings, HELLO, "data.txt")
    if not change:
        shutil.rmtree(call.plugin.path)

    entry = sandbox.run_blocking(call.model_copy(update=change)).entry

    assert entry is not None
    assert (entry.status, entry.isolation.exit_code, entry.isolation.tier) == (status, exit_code, None)
    assert (entry.error or "").endswith(error), entry.error
    assert (entry.files_affected, (call.workspace / "data.txt").read_text()) == ((), "initial\n")


def test_a_question_about_the_second_file_applies_the_first_one_once(
    sandbox: Sandbox, settings: SandboxSettings, tmp_path: Path
) -> None:
    """Row 22: asked again, it begins anew, `pre_transform_all` and all; but nothing of the first run is there."""
    code = HEAD + (
        "    def pre_transform_all(self, ctx): self.add(ctx.dst_root / 'pre', ctx)\n"
        "    def transform(self, path, ctx):\n"
        "        if path.name == 'second.txt' and '__extra_inputs__' not in ctx.variables:\n"
        "            raise PluginInputRequired([{'id': 'k'}], 'which')\n"
        "        self.add(path, ctx)\n"
        "    def add(self, path, ctx):\n"
        "        ctx.log.info(path.name)\n"
        "        with path.open('a') as file: file.write('once')\n"
    )
    call = call_of(tmp_path, settings, code, "data.txt", "second.txt")

    first = sandbox.run_blocking(call)
    left = {path.name: path.read_text() for path in call.workspace.iterdir()}
    assert first.prompt is not None
    again = sandbox.run_blocking(call.model_copy(update={"answers": {first.prompt.prompt_id: {"k": "v"}}}))

    assert left == {"data.txt": "initial\n", "second.txt": "initial\n"}
    assert [line.message for line in first.logs] == ["pre", "data.txt"]
    assert [line.message for line in again.logs] == ["pre", "data.txt", "second.txt"]
    assert again.entry is not None
    assert (again.entry.status, again.entry.files_affected) == ("success", ("data.txt", "pre", "second.txt"))
    now = {path.name: path.read_text() for path in call.workspace.iterdir()}
    assert now == {"data.txt": "initial\nonce", "pre": "once", "second.txt": "initial\nonce"}


def test_lines_on_standard_error_are_records_at_their_level(
    sandbox: Sandbox, settings: SandboxSettings, tmp_path: Path
) -> None:
    """Rows 34 and 35: thirteen lines, thirteen records, in their order; none of them is in the entry."""
    levels = ("debug", "INFO", "WARN", "warning", "Error", "CRITICAL", "FATAL", "trace")
    lines = [f'{{"level": "{level}", "message": "{level} said"}}' for level in levels]
    lines += ["text", "[1]", '{"message": 5}', "", '{"no": "keys"}']
    said = "\n".join(lines) + "\n"
    call = call_of(tmp_path, settings, does(f"os.write(2, {said.encode()!r})"), "data.txt")

    outcome = sandbox.run_blocking(call)

    shown = ("DEBUG", "INFO", "WARNING", "WARNING", "ERROR", "CRITICAL", "INFO", "INFO")
    expected = [(level, f"{word} said") for level, word in zip(shown, levels, strict=True)]
    expected += [("INFO", "text"), ("INFO", "[1]"), ("INFO", "5"), ("INFO", ""), ("INFO", "")]
    assert [(line.level, line.message) for line in outcome.logs] == expected
    assert outcome.entry is not None
    assert outcome.entry.status == "skipped"
    assert "log_records" not in outcome.entry.model_dump()


def test_a_plugin_that_went_after_its_app_was_loaded_has_an_entry(store_url: str, tmp_path: Path) -> None:
    """Row 15, where no loader can see it: the worker says what is missing, and the pass goes on."""
    app, folder = tmp_path / "app", tmp_path / "work"
    shutil.copytree(EVERYTHING.with_name("workshop"), app)
    folder.mkdir()
    (folder / "a.txt").write_text("one\n")
    spec = load_app(app)
    shutil.rmtree(app / "plugins" / "fail")

    async def run() -> object:
        on = Stage(store_url, Settings(), {"workshop": spec})
        plugins = PluginHost(on.settings, SandboxSettings(state_dir=tmp_path / "state"), on.specs)
        try:
            submitted = await on.client.submit(
                "workshop", overrides={"folder": str(folder)}, actor="ada", entry_skill="work"
            )
            return (await on.run(on.worker(plugins=plugins), submitted.session_id)).state["entries"]
        finally:
            await plugins.aclose()
            await on.aclose()

    entries = asyncio.run(run())

    assert isinstance(entries, list)
    assert [(one["plugin"], one["status"]) for one in entries] == [
        ("append", "success"),
        ("fail", "failed"),
        ("count", "success"),
    ]
    missing = "plugin fail: not accepted: it is not there; put it there and start the worker again"
    assert (entries[1]["error"], entries[1]["isolation"]["tier"]) == (missing, None)


def numbers(names: Iterable[str]) -> set[int]:
    """Return the reference's rows that some names begin with; names of what is in no row begin with a word."""
    return {int(name.split()[0]) for name in names if name.split()[0].isdecimal()}


def test_every_row_of_the_reference_is_here() -> None:
    """A row that is left out would be a difference without a name."""
    assert numbers([*RUN_ROWS, *PASSES, *REFUSED, *UNMADE, *OTHERS]) == set(range(1, 36))


def test_every_difference_is_in_the_decision() -> None:
    """Whoever brings a plugin reads in one place what is not as it was; nothing is listed there that is not so."""
    differing = {name for name, row in RUN_ROWS.items() if row.differs}
    differing |= {name for name, pass_row in PASSES.items() if pass_row.differs}
    differing |= {*REFUSED, *UNMADE, *(name for name, why in OTHERS.items() if why)}

    listed = {int(number) for number in re.findall(r"^\| (\d+) \|", DECISION.read_text(), re.MULTILINE)}

    assert listed == numbers(differing)
