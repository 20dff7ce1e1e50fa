"""Plugin passes in app.yaml: what the loader refuses, and where plugins are looked for."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from orchestrator.app_loader import load_app
from orchestrator.app_plugins import find_plugins
from orchestrator.contracts.errors import AppInvalid, InputError
from orchestrator.contracts.skill import PluginPass
from orchestrator.plugin_scaffold import create_plugin
from tests.unit.orchestrator.app_folder import write_app

PASS = "clean: {{kind: plugin_pass, plugins: {plugins}, workspace: {workspace}, routes: [{{when: default, next: __end__}}]{more}}}"


def write_pass(folder: Path, *, plugins: str = "[tidy]", workspace: str = "team", more: str = "") -> Path:
    """Write an app with a plugin pass and one plugin."""
    skill = PASS.format(plugins=plugins, workspace=workspace, more=f", {more}" if more else "")
    skills = f"""skills:
  {skill}
  think: {{kind: compute, call: "steps.py:think", routes: [{{when: default, next: __end__}}]}}"""
    return write_app(folder, {"plugins/tidy_up/manifest.yml": "name: tidy\nversion: 1\n"}, skills=skills)


def problems(folder: Path, **options: str) -> list[str]:
    """Return what is wrong with an app, without the folder in front."""
    with pytest.raises(AppInvalid) as caught:
        load_app(folder, env={}, **options)  # type: ignore[arg-type]
    return [problem.replace(f"{folder}/", "") for problem in caught.value.problems]


def test_a_plugin_is_known_by_its_manifests_name(tmp_path: Path) -> None:
    """The folder may be called otherwise; fields that are left out have their defaults."""
    skill = load_app(write_pass(tmp_path / "app"), env={}).skills["clean"]

    assert isinstance(skill, PluginPass)
    assert (skill.plugins, skill.files, skill.dry_run) == (("tidy",), ("**",), False)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({"plugins": "[tidi]"}, "skills.clean.plugins[0]: unknown plugin 'tidi'; did you mean 'tidy'?"),
        ({"plugins": "[]"}, "skills.clean.plugins: a plugin pass needs plugins; name at least one"),
        ({"workspace": "teams"}, "'teams' is no field of state.py:State; did you mean 'team'?"),
        ({"workspace": "\"=state['a'] +\""}, "skills.clean.workspace: "),
        ({"more": "files: [../x]"}, "leads out of the workspace"),
        ({"more": "files: foundd"}, "did you mean 'found'?"),
        ({"more": "into: entries"}, "'entries' is no field of state.py:State"),
        ({"more": "variables: {a: '=stat[1]'}"}, "unknown name 'stat' in the expression; did you mean 'state'?"),
        ({"more": "dry_run: perhaps"}, "neither true, false nor an `=` expression"),
        ({"more": "context: {projct: x}"}, "skills.clean.context"),
        ({"more": "plugin: [x]"}, "unknown key; did you mean 'plugins'?"),
        ({"more": "input_timeout_seconds: 0"}, "skills.clean.input_timeout_seconds"),
    ],
)
def test_what_does_not_hold_together_is_refused_at_its_place(
    tmp_path: Path, written: dict[str, str], message: str
) -> None:
    """File, line and column, and what was probably meant: as of any other kind of skill."""
    folder = write_pass(tmp_path / "app", **written)

    found = problems(folder)

    assert len(found) == 1, found
    assert message in found[0]
    assert found[0].startswith("app.yaml:")


def test_an_operators_folder_adds_plugins(tmp_path: Path) -> None:
    """An app may name a plugin that only this installation has."""
    folder = write_pass(tmp_path / "app", plugins="[tidy, own]")
    lab = tmp_path / "lab" / "own"
    lab.mkdir(parents=True)
    (lab / "manifest.yml").write_text("name: own")

    assert "unknown plugin 'own'" in problems(folder)[0]
    assert load_app(folder, env={}, plugins=str(tmp_path / "lab")).name == "sample"


@pytest.mark.parametrize(
    ("manifest", "name"),
    [
        ("name: x\n", "x"),
        ("{", "folder"),
        ("a: &a [1]\nname: *a\n", "folder"),
        ("[1, 2]", "folder"),
        ("name: [x]", "folder"),
        ("\udcff", "folder"),
    ],
)
def test_a_manifest_that_cannot_be_read_still_has_a_name(tmp_path: Path, manifest: str, name: str) -> None:
    """Why it is refused is said where plugins are checked; here it must do no harm."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "manifest.yml").write_bytes(manifest.encode("utf-8", "surrogateescape"))

    assert list(find_plugins(tmp_path, tmp_path / "missing", None)) == [name]


def test_a_folder_that_is_closed_to_us_hides_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is there, under its folder's name; why it is refused is said where plugins are checked."""
    for name in ("closed", "open"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.yml").write_text(f"name: {name}_plugin\n")
    closed, real = str(tmp_path / "closed"), os.stat

    def look(path: Any, **options: Any) -> os.stat_result:  # as for an ordinary user, which these tests may not be
        if os.fspath(path).startswith(f"{closed}/"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return real(path, **options)

    def read(path: Any, flags: int, *more: Any, **options: Any) -> int:
        look(path)
        return real_open(path, flags, *more, **options)

    real_open = os.open
    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", look)
        patch.setattr(os, "open", read)
        found = find_plugins(tmp_path)

    assert found == {"closed": tmp_path / "closed", "open_plugin": tmp_path / "open"}


def test_a_new_plugin_is_complete_and_touches_nothing_that_exists(tmp_path: Path) -> None:
    """What `baton plugins new` makes is found at once."""
    files = create_plugin(tmp_path / "trim", "trim")

    assert [file.name for file in files] == ["__init__.py", "manifest.yml"]
    assert find_plugins(tmp_path) == {"trim": tmp_path / "trim"}
    with pytest.raises(InputError):
        create_plugin(tmp_path / "trim", "trim")
    with pytest.raises(InputError):
        create_plugin(tmp_path / "other", "../x")
