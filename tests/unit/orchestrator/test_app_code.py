"""App code is loaded by path, under names of its own, and without touching `sys.path`."""

import sys
from pathlib import Path
from threading import Barrier, Thread

import pytest

from orchestrator.app_loader import load_app, load_function, load_module, load_object
from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.errors import AppCodeInvalid
from tests.unit.orchestrator.app_folder import write_app


def make(folder: Path, files: dict[str, str | None] | None = None) -> AppSpec:
    """Return the spec of a sample app with further files."""
    return load_app(write_app(folder, files), env={}, import_code=False)


def test_modules_of_an_app_import_each_other_relatively(tmp_path: Path) -> None:
    """`state.py` and a server below it share helpers without being installed."""
    spec = make(tmp_path)

    server = load_module(spec, "servers/local.py")

    assert server.register(None, {}) == ("blue", "red")
    assert server.__name__.startswith("baton_app_sample_")
    assert str(tmp_path) not in sys.path


def test_two_apps_with_the_same_file_names_do_not_meet(tmp_path: Path) -> None:
    """Every app has a state.py; the second must not get the first one's."""
    one = make(tmp_path / "one", {"steps.py": "def think(state):\n    return 1\n"})
    two = make(tmp_path / "two", {"steps.py": "def think(state):\n    return 2\n"})

    assert [load_function(spec, "steps.py:think")({}) for spec in (one, two)] == [1, 2]


def test_two_versions_of_one_app_live_side_by_side(tmp_path: Path) -> None:
    """While a deploy runs, sessions of the old version go on with the old code."""
    old = make(tmp_path, {"steps.py": "def think(state):\n    return 'old'\n"})
    load_object(old, "steps.py:think")
    new = make(tmp_path, {"steps.py": "def think(state):\n    return 'new and longer'\n"})

    assert load_function(old, "steps.py:think")({}) == "old"
    assert load_function(new, "steps.py:think")({}) == "new and longer"


def test_the_same_reference_gives_the_same_object_to_all_threads(tmp_path: Path) -> None:
    """Two copies of a class would not recognise each other's instances."""
    spec = make(tmp_path, {"slow.py": "import threading\nclass Thing: pass\n"})
    barrier, seen = Barrier(8), []

    def load() -> None:
        barrier.wait()
        seen.append(load_object(spec, "slow.py:Thing"))

    threads = [Thread(target=load) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(seen) == 8
    assert len(set(seen)) == 1


def test_an_installed_module_is_referred_to_by_its_name(tmp_path: Path) -> None:
    """Shared code may come as a package; both spellings are read."""
    spec = make(tmp_path)

    assert load_object(spec, "pathlib:Path") is Path
    assert load_object(spec, "pathlib.Path") is Path


def test_a_package_file_of_the_app_is_run(tmp_path: Path) -> None:
    """An app that has an `__init__.py` expects it to be there for its modules."""
    files: dict[str, str | None] = {"__init__.py": "LEVEL = 7\n", "steps.py": "from . import LEVEL\n"}

    assert load_object(make(tmp_path, files), "steps.py:LEVEL") == 7


def test_the_current_directory_is_no_part_of_an_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who starts a worker in some folder must not lend it code."""
    (tmp_path / "lent.py").write_text("X = 1\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry not in ("", str(tmp_path))])
    spec = make(tmp_path / "app", {"steps.py": "import lent\n"})

    with pytest.raises(AppCodeInvalid, match="No module named 'lent'"):
        load_module(spec, "steps.py")


@pytest.mark.parametrize(
    ("source", "reference", "fragment"),
    [
        ("x = 1/0", "bad.py:f", "cannot be imported: ZeroDivisionError: division by zero"),
        ("def f(:", "bad.py:f", "cannot be imported: bad.py:1: invalid syntax"),
        ("raise SystemExit(3)", "bad.py:f", "cannot be imported: SystemExit: 3"),
        ("class Own(Exception): pass\nraise Own('no key')", "bad.py:f", "cannot be imported: Own: no key"),
        ("raise ExceptionGroup('two', [ValueError()])", "bad.py:f", "cannot be imported: ExceptionGroup: two"),
        ("import words", "bad.py:f", "import the app's own files relatively: `from .words import ...`"),
        ("def g(): pass", "bad.py:f", "bad.py has no 'f'"),
        ("f = 1", "bad.py:f", "not a function but int"),
        ("", "bd.py:f", "no such file in the app's folder; did you mean 'bad.py'?"),
        ("", "../bad.py:f", "outside the app's folder"),
        ("", "/etc/bad.py:f", "outside the app's folder"),
        ("", "a-b.py:f", "no such file"),
        ("", "a\0b.py:f", "no name of a file (embedded null"),
        ("", "bad.py", "not a reference"),
        ("", "bad.py:a b", "not a reference"),
        ("", "no.such.module:f", "cannot be imported: ModuleNotFoundError"),
        ("", "a b:f", "not a module"),
    ],
)
def test_a_reference_that_leads_nowhere_says_why(tmp_path: Path, source: str, reference: str, fragment: str) -> None:
    """Whatever an app's code raises on import, the operator reads one sentence."""
    spec = make(tmp_path, {"bad.py": source})

    with pytest.raises(AppCodeInvalid) as caught:
        load_function(spec, reference)

    assert fragment in str(caught.value)
    assert repr(reference.split(":", maxsplit=1)[0])[:-1] in str(caught.value)


def test_a_reference_that_is_too_long_for_a_file_is_refused(tmp_path: Path) -> None:
    """An operating system's own error would hide every other problem of the app."""
    with pytest.raises(AppCodeInvalid, match=r"no name of a file \(File name too long\)"):
        load_object(make(tmp_path), f"{'a' * 5000}.py:f")


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    """What the digest does not cover must not run."""
    (tmp_path / "outside.py").write_text("f = print\n", encoding="utf-8")
    spec = make(tmp_path / "app")
    (tmp_path / "app/link.py").symlink_to(tmp_path / "outside.py")

    with pytest.raises(AppCodeInvalid, match="outside the app's folder"):
        load_object(spec, "link.py:f")


def test_a_spec_without_a_folder_has_no_files() -> None:
    """A spec that was built in code can refer to installed modules only."""
    spec = AppSpec.model_validate({"name": "x", "entry_skill": "a", "skills": {}})

    with pytest.raises(AppCodeInvalid, match="the app has no folder"):
        load_module(spec, "state.py")
