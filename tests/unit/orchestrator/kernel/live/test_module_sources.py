"""Folders that modules come from."""

import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from orchestrator.contracts.errors import ModuleMissing
from orchestrator.kernel.live.module_sources import (
    FileSystemModuleSource,
    FolderResolver,
    add_to_path,
    find_package,
    import_package,
    remove_from_path,
)
from tests.unit.orchestrator.kernel.live.loading import write_module

PACKAGE = "baton_module_tool_x"


def test_a_folder_holds_a_package_or_has_it_in_src_or_is_it(tmp_path: Path) -> None:
    """A checkout of a module is a source as it is."""
    inside = write_module(tmp_path / "plain", "tool-x", "")
    below_src = write_module(tmp_path / "checkout" / "src", "tool-x", "")

    found = [find_package(folder, PACKAGE) for folder in (inside.parent, tmp_path / "checkout", inside)]

    origins = [Path(str(spec.origin)).parent for spec in found if spec is not None]
    assert origins == [inside, below_src, inside]


def test_what_is_no_package_is_not_found(tmp_path: Path) -> None:
    """Neither an empty folder of that name nor another package."""
    (tmp_path / PACKAGE).mkdir()
    other = write_module(tmp_path, "tool-y", "")

    assert [find_package(folder, PACKAGE) for folder in (tmp_path, other, tmp_path / "none")] == [None, None, None]


def test_a_resolver_takes_the_first_folder_that_has_the_module(tmp_path: Path) -> None:
    """The folders are in the order of who may override whom."""
    for name in ("b", "c"):
        write_module(tmp_path / name, "tool-x", "")

    source = FolderResolver([tmp_path / name for name in ("a", "b", "c")]).resolve("tool-x")

    assert source.resolve() == tmp_path / "b"
    assert repr(source) == f"FolderSource({str(tmp_path / 'b')!r})"


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_source_that_the_plan_names_is_the_only_folder(tmp_path: Path, scheme: str) -> None:
    """The plan says which code runs; falling back to another would be a guess."""
    write_module(tmp_path / "a", "tool-x", "")
    resolver = FolderResolver([tmp_path / "a"])

    assert resolver.resolve("tool-x", f"{scheme}{tmp_path / 'a'}").resolve() == tmp_path / "a"
    with pytest.raises(ModuleMissing, match=rf"not in {tmp_path / 'b'}; it would be the package"):
        resolver.resolve("tool-x", f"{scheme}{tmp_path / 'b'}")
    with pytest.raises(ModuleMissing, match="not in any folder; it would be the package"):
        FolderResolver([]).resolve("tool-x")


def test_a_file_system_source_gives_copies() -> None:
    """Who gets the list may sort it."""
    source = FileSystemModuleSource(["/a"], {"docs": Path("/d")})

    source.get_module_paths().clear()
    source.get_mention_mappings().clear()

    assert (source.get_module_paths(), source.get_mention_mappings()) == ([Path("/a")], {"docs": Path("/d")})
    assert (FileSystemModuleSource().get_module_paths(), FileSystemModuleSource().get_mention_mappings()) == ([], {})


def test_a_package_without_code_is_imported_empty_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever mounts it is told what it lacks; the import itself has not failed."""
    spec = ModuleSpec("baton_module_bare", None)
    monkeypatch.setitem(sys.modules, "baton_module_bare", None)
    del sys.modules["baton_module_bare"]

    module = import_package(spec)

    assert not hasattr(module, "mount")
    assert import_package(spec) is module


def test_a_folder_that_somebody_took_off_the_path_is_given_back_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is gone, which is what was asked for."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    add_to_path("/of/ours")
    sys.path.remove("/of/ours")

    remove_from_path("/of/ours")

    assert "/of/ours" not in sys.path
    add_to_path("/of/ours")
    assert sys.path[-1] == "/of/ours"
    remove_from_path("/of/ours")
    assert "/of/ours" not in sys.path
