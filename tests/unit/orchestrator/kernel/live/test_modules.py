"""Loading modules: from sources, from what is installed, and what is refused."""

import asyncio
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import Any

import pytest

from orchestrator.contracts.errors import ModuleInvalid, ModuleMissing
from orchestrator.kernel.live.coordinator import Coordinator
from orchestrator.kernel.live.module_sources import FolderResolver, FolderSource
from orchestrator.kernel.live.modules import ModuleLoader
from orchestrator.kernel.live.session import Session
from tests.unit.orchestrator.kernel.live.loading import TOOL, load, mount, write_entry_points, write_module


@pytest.fixture(autouse=True)
def clean_imports() -> Iterator[None]:
    """Leave neither packages nor folders behind for the next test."""
    before, path = set(sys.modules), list(sys.path)
    yield
    for name in set(sys.modules) - before:
        if name.startswith(("baton_module_", "other_")):
            del sys.modules[name]
    sys.path[:] = path
    importlib.invalidate_caches()


def resolving(*folders: Path) -> Coordinator:
    """Return a coordinator whose resolver looks into these folders."""
    coordinator = Coordinator()
    coordinator.mount_points["module-source-resolver"] = FolderResolver(folders)
    return coordinator


def test_a_module_is_loaded_from_its_source_and_mounted_with_its_config(tmp_path: Path) -> None:
    """The package's `mount` gets the coordinator and the entry's config."""
    write_module(tmp_path, "tool-search", TOOL)
    coordinator = resolving(tmp_path)

    cleanup = mount(ModuleLoader(coordinator), "tool-search", {"limit": 5})

    assert coordinator.get("tools", "search").config == {"limit": 5}
    assert cleanup() == "cleaned"


def test_a_module_is_read_once_and_mounted_with_each_config(tmp_path: Path) -> None:
    """Two providers of one module are two configs of one code."""
    write_module(tmp_path, "tool-search", TOOL + "import itertools\nCOUNT = itertools.count()\nnext(COUNT)\n")
    coordinator = resolving(tmp_path)
    loader = ModuleLoader(coordinator)

    first, second = load(loader, "tool-search", {"n": 1}), load(loader, "tool-search", {"n": 2})

    assert (first.config, second.config, first.mount is second.mount) == ({"n": 1}, {"n": 2}, True)
    assert next(sys.modules["baton_module_tool_search"].COUNT) == 1


def test_a_module_has_one_source_per_loader(tmp_path: Path) -> None:
    """The first one would win without a word, and the plan would name code that does not run."""
    write_module(tmp_path / "a", "tool-search", TOOL)
    write_module(tmp_path / "b", "tool-search", TOOL)
    coordinator = resolving()
    loader = ModuleLoader(coordinator)

    load(loader, "tool-search", source_hint=str(tmp_path / "a"))
    load(loader, "tool-search")
    with pytest.raises(ModuleMissing, match="name one source for a module"):
        load(loader, "tool-search", source_hint=str(tmp_path / "b"))


def test_a_process_has_one_code_for_a_package(tmp_path: Path) -> None:
    """Python keeps one module of a name: the second session would run the first one's."""
    write_module(tmp_path / "a", "tool-search", TOOL)
    write_module(tmp_path / "b", "tool-search", TOOL)

    load(ModuleLoader(resolving(tmp_path / "a")), "tool-search")
    load(ModuleLoader(resolving(tmp_path / "a")), "tool-search")
    with pytest.raises(ModuleInvalid, match="run the two in two processes"):
        load(ModuleLoader(resolving(tmp_path / "b")), "tool-search")


class Asked:
    """A resolver that keeps what it was asked, and has one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.asked = folder, []

    async def async_resolve(self, module_id: str, source_hint: Any = None) -> FolderSource:
        self.asked.append((module_id, source_hint))
        return FolderSource(self.folder)


def test_a_resolver_may_be_async_and_gets_the_source_that_the_plan_names(tmp_path: Path) -> None:
    """A source may have to be fetched first."""
    write_module(tmp_path, "tool-search", TOOL)
    coordinator, resolver = Coordinator(), Asked(tmp_path)
    coordinator.mount_points["module-source-resolver"] = resolver

    load(ModuleLoader(coordinator), "tool-search", source_hint={"git": "x"})

    assert resolver.asked == [("tool-search", {"git": "x"})]


def test_a_resolver_that_does_not_know_a_module_leaves_it_to_what_is_installed(tmp_path: Path) -> None:
    """A resolver for one team's modules need not know the others."""
    write_module(tmp_path, "tool-search", TOOL)

    assert load(ModuleLoader(resolving(), [tmp_path]), "tool-search").module_type == "tool"


def test_what_nobody_has_is_told_in_the_resolver_s_words(tmp_path: Path) -> None:
    """The resolver knows where it looked."""
    with pytest.raises(ModuleMissing, match=r"not in .*; it would be the package baton_module_tool_none"):
        load(ModuleLoader(resolving(tmp_path)), "tool-none")


def test_without_a_resolver_the_loader_says_where_it_looked() -> None:
    """And raises what is a ValueError too."""
    with pytest.raises(ValueError, match=r"no entry point of baton\.modules and no package baton_module_tool_none"):
        load(ModuleLoader(), "tool-none")


@pytest.mark.parametrize("module_id", ["", "..", "a/b", "tool none"])
def test_an_id_that_can_be_no_package_is_missing(module_id: str) -> None:
    """It is never taken for a path."""
    with pytest.raises(ModuleMissing):
        load(ModuleLoader(), module_id)


def test_a_resolver_s_own_error_keeps_its_type() -> None:
    """A resolver that cannot reach its server does not say that there is no such module."""

    class Unreachable:
        def resolve(self, module_id: str, source_hint: Any = None) -> None:
            raise ConnectionError("no route")

    coordinator = Coordinator()
    coordinator.mount_points["module-source-resolver"] = Unreachable()

    with pytest.raises(ConnectionError, match="no route"):
        load(ModuleLoader(coordinator), "tool-search")


def test_a_resolver_that_gives_nothing_leaves_it_to_what_is_installed() -> None:
    """And is named where nobody else has the module."""

    class Silent:
        def resolve(self, module_id: str, source_hint: Any = None) -> None:
            return None

    coordinator = Coordinator()
    coordinator.mount_points["module-source-resolver"] = Silent()

    with pytest.raises(ModuleMissing, match="the resolver gave no source for 'x'"):
        load(ModuleLoader(coordinator), "tool-none", source_hint="x")


def test_a_module_that_a_program_makes_itself_is_found_by_its_name() -> None:
    """A test, or a program that embeds a session, needs no files."""
    package = ModuleType("baton_module_tool_made")
    exec(TOOL, vars(package))  # noqa: S102 - a module without a file
    sys.modules[package.__name__] = package

    assert load(ModuleLoader(), "tool-made").mount is package.mount


@pytest.mark.parametrize("target", ["other_home", "other_home:mount"])
def test_an_entry_point_names_a_module_or_its_mount_function(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    """What is installed is found without a source; what stands beside mount counts in both forms."""
    code = "__module_type__ = 'tool'\n" + TOOL + "async def on_session_ready(coordinator): pass\n"
    (tmp_path / "other_home.py").write_text(dedent(code), encoding="utf-8")
    write_entry_points(tmp_path, "baton.modules", {"searcher": target})
    monkeypatch.syspath_prepend(tmp_path)

    loaded = load(ModuleLoader(), "searcher")

    assert loaded.module_type == "tool"
    assert loaded.on_session_ready is sys.modules["other_home"].on_session_ready
    assert [(info.id, info.version, info.mount_point) for info in ModuleLoader().discover()] == [
        ("searcher", "1.2", "tools")
    ]


def test_the_names_of_another_convention_are_parameters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules that are published under other names load as well."""
    write_module(tmp_path, "tool-a", TOOL, prefix="other_")
    (tmp_path / "other_b.py").write_text(dedent(TOOL), encoding="utf-8")
    write_entry_points(tmp_path, "other.modules", {"tool-b": "other_b"})
    monkeypatch.syspath_prepend(tmp_path)
    loader = ModuleLoader(entry_point_group="other.modules", package_prefix="other_")

    assert load(loader, "tool-a").mount.__module__ == "other_tool_a"
    assert load(loader, "tool-b").mount.__module__ == "other_b"


def test_an_installed_package_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package needs no entry point."""
    write_module(tmp_path, "tool-search", TOOL)
    monkeypatch.syspath_prepend(tmp_path)

    assert load(ModuleLoader(), "tool-search").module_id == "tool-search"


def test_what_lies_in_the_search_paths_is_discovered(tmp_path: Path) -> None:
    """For a list of what a plan could name."""
    write_module(tmp_path, "provider-x", TOOL)
    write_module(tmp_path, "tool-search", TOOL)
    (tmp_path / "baton_module_empty").mkdir()

    found = ModuleLoader(search_paths=[tmp_path]).discover()

    assert [(info.id, info.name, info.type, info.mount_point, info.version) for info in found] == [
        ("provider-x", "provider x", "provider", "providers", "unknown"),
        ("tool-search", "tool search", "tool", "tools", "unknown"),
    ]


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("import no_such_library", "it cannot be imported: ModuleNotFoundError: No module named 'no_such_library'"),
        ("raise SystemExit(3)", "it cannot be imported: SystemExit: 3"),
        ("def broken(:", "it cannot be imported: SyntaxError"),
        ("x = 1", "it has no mount function"),
        ("def mount(coordinator, config): pass", "its mount is not async"),
        ("async def mount(coordinator): pass", "its mount does not take"),
        ("__module_type__ = 'toool'\n" + TOOL, "did you mean 'tool'?"),
    ],
    ids=lambda text: text.splitlines()[0][:30],
)
def test_a_module_that_cannot_be_used_is_refused_before_it_is_mounted(tmp_path: Path, code: str, problem: str) -> None:
    """The error names the module and what to mend, and keeps the cause."""
    write_module(tmp_path, "tool-search", code)

    with pytest.raises(ModuleInvalid) as caught:
        load(ModuleLoader(resolving(tmp_path)), "tool-search")

    assert str(caught.value).startswith("module 'tool-search': ")
    assert problem in str(caught.value)
    assert "baton_module_tool_search" not in sys.modules or problem.startswith(("it has", "its", "did"))


def test_an_interrupt_at_import_stays_one(tmp_path: Path) -> None:
    """The user's, not the module's."""
    write_module(tmp_path, "tool-search", "raise KeyboardInterrupt")

    with pytest.raises(KeyboardInterrupt):
        load(ModuleLoader(resolving(tmp_path)), "tool-search")


MOUNTS_NOTHING = "async def mount(coordinator, config): pass\n"
MOUNTS_HALF = """
class Half:
    name = "half"
async def mount(coordinator, config):
    await coordinator.mount("tools", Half())
    async def close():
        config["closed"] = True
    return close
"""


def test_a_module_that_mounts_nothing_of_its_type_is_refused(tmp_path: Path) -> None:
    """The session would be short of it without a word."""
    write_module(tmp_path, "tool-search", MOUNTS_NOTHING)

    with pytest.raises(ModuleInvalid, match="its mount mounted no tool"):
        mount(ModuleLoader(resolving(tmp_path)), "tool-search")


def test_a_module_whose_object_lacks_parts_is_refused_and_closed(tmp_path: Path) -> None:
    """It fails when it is mounted, not in the middle of the first turn; what it opened is closed."""
    write_module(tmp_path, "tool-half", MOUNTS_HALF)
    config = {"closed": False}

    with pytest.raises(ModuleInvalid, match="its tool has no 'description'; its tool has no 'execute'"):
        mount(ModuleLoader(resolving(tmp_path)), "tool-half", config)

    assert config["closed"]


def test_a_hook_module_need_not_register_anything(tmp_path: Path) -> None:
    """Its config may ask for nothing."""
    write_module(tmp_path, "hooks-quiet", MOUNTS_NOTHING)

    assert mount(ModuleLoader(resolving(tmp_path)), "hooks-quiet") is None


def test_a_loader_takes_back_what_it_put_on_the_path(tmp_path: Path) -> None:
    """With the last loader that needs it, and never what was there before; nothing is shadowed meanwhile."""
    write_module(tmp_path, "tool-search", "import helper_of_search\n" + TOOL)
    (tmp_path / "helper_of_search.py").write_text("", encoding="utf-8")
    first, second = ModuleLoader(resolving(tmp_path)), ModuleLoader(resolving(tmp_path))

    load(first, "tool-search")
    load(second, "tool-search")
    first.cleanup()
    assert sys.path[-1] == str(tmp_path)
    second.cleanup()
    second.cleanup()

    assert str(tmp_path) not in sys.path


LOOP = """
class Loop:
    async def execute(self, *, prompt, tools, **rest):
        return f"{prompt}: {sorted(tools)}"
async def mount(coordinator, config):
    await coordinator.mount("orchestrator", Loop())
async def on_session_ready(coordinator):
    coordinator.register_capability("ready", True)
"""
CONTEXT = """
class Context:
    add_message = get_messages_for_request = get_messages = set_messages = clear = None
async def mount(coordinator, config):
    await coordinator.mount("context", Context())
"""
PROVIDER = """
class Model:
    name = "m"
    get_info = list_models = complete = parse_tool_calls = None
async def mount(coordinator, config):
    await coordinator.mount("providers", Model())
"""


def test_a_session_is_put_together_from_folders(tmp_path: Path) -> None:
    """From the plan to an answer, with nothing but packages in a folder."""
    for module_id, code in {
        "loop-x": LOOP,
        "context-x": CONTEXT,
        "provider-m": PROVIDER,
        "tool-search": TOOL,
        "tool-half": MOUNTS_HALF,
    }.items():
        write_module(tmp_path, module_id, code)
    session = Session(
        {
            "session": {"orchestrator": "loop-x", "context": "context-x"},
            "providers": [{"module": "provider-m"}, {"module": "provider-m", "instance_id": "m-2"}],
            "tools": [{"module": "tool-search"}, {"module": "tool-half"}],
        }
    )
    session.coordinator.mount_points["module-source-resolver"] = FolderResolver([tmp_path])

    async def run() -> str:
        async with session:
            return await session.execute("asked")

    assert asyncio.run(run()) == "asked: ['search']"
    assert list(session.coordinator.get("providers")) == ["m", "m-2"]
    assert session.coordinator.get_capability("ready") is True
    assert [(failure.module_id, failure.reason_code) for failure in session.load_failures] == [("tool-half", "invalid")]
    assert str(tmp_path) not in sys.path


def test_a_source_without_the_package_is_told(tmp_path: Path) -> None:
    """A resolver may know a folder that was emptied since."""
    coordinator = Coordinator()
    coordinator.mount_points["module-source-resolver"] = Asked(tmp_path)

    with pytest.raises(ModuleMissing, match="has no package baton_module_tool_search"):
        load(ModuleLoader(coordinator), "tool-search")


def test_a_refused_module_s_cleanup_may_fail_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged; the refusal stays the error."""
    write_module(tmp_path, "tool-half", MOUNTS_HALF.replace('config["closed"] = True', 'raise OSError("stuck")'))

    with pytest.raises(ModuleInvalid, match="has no 'execute'"):
        mount(ModuleLoader(resolving(tmp_path)), "tool-half")

    assert "Error during cleanup: OSError: stuck" in caplog.messages


def test_a_folder_that_was_on_the_path_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the program's own."""
    write_module(tmp_path, "tool-search", TOOL)
    monkeypatch.syspath_prepend(tmp_path)
    loader = ModuleLoader(search_paths=[tmp_path])

    load(loader, "tool-search")
    loader.cleanup()

    assert sys.path.count(str(tmp_path)) == 1


def test_the_first_search_path_that_has_a_module_gives_it(tmp_path: Path) -> None:
    """Those before it have others; those behind it are not asked."""
    for name in ("b", "c"):
        write_module(tmp_path / name, "tool-search", TOOL + f"WHERE = {name!r}\n")
    write_module(tmp_path / "a", "tool-other", TOOL)

    load(ModuleLoader(search_paths=[tmp_path / name for name in ("a", "b", "c")]), "tool-search")

    assert sys.modules["baton_module_tool_search"].WHERE == "b"
