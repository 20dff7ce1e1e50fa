"""`baton apps new` makes an app that loads, whose tools work, and touches nothing that exists."""

import asyncio
from pathlib import Path

import pytest

from orchestrator.app_loader import load_app, load_module, validate_state
from orchestrator.app_scaffold import create_app
from orchestrator.app_tools import check_tools
from orchestrator.contracts.errors import ConfigError, InputError
from workers.tools.toolbox import build_toolbox


def test_what_was_made_loads_and_fits_its_tools(tmp_path: Path) -> None:
    """The first thing that a newcomer sees must be right in every check."""
    made = create_app(tmp_path / "my_app", "my_app")

    async def use() -> tuple[object, object]:
        spec = load_app(tmp_path / "my_app", env={"MY_APP_REPORTS": str(tmp_path / "out")})
        toolbox = build_toolbox(spec, load_module=load_module)
        assert check_tools(spec, await toolbox.catalogue(), env={}) == ()
        assert validate_state(spec, {"folder": "/x"})["files"] == 0
        folder = {"folder": str(tmp_path / "my_app")}
        seen = await toolbox.call("files:survey_folder", folder, timeout_seconds=10)
        written = await toolbox.call(
            "files:write_report", {**folder, "session_id": "S-1", "text": "t"}, timeout_seconds=10
        )
        await toolbox.aclose()
        return seen, written

    seen, written = asyncio.run(use())

    assert isinstance(seen, dict)
    assert seen["files"] >= len(made)
    assert written == {"path": str(tmp_path / "out" / "S-1.txt")}
    assert (tmp_path / "out" / "S-1.txt").read_text(encoding="utf-8") == f"{tmp_path / 'my_app'}: t\n"


def test_no_mark_of_the_template_is_left(tmp_path: Path) -> None:
    """A newcomer should not meet our placeholders."""
    for path in create_app(tmp_path / "x", "x"):
        assert "@" not in path.read_text(encoding="utf-8").replace("@mcp_app", "")


@pytest.mark.parametrize("name", ["", "My", "1a", "a-b", "a b", "x" * 65, "a\n", "../a"])
def test_a_bad_name_is_refused(tmp_path: Path, name: str) -> None:
    """The name becomes a command's argument, a key and a variable."""
    with pytest.raises(InputError, match="lower-case letters"):
        create_app(tmp_path / "app", name)

    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_exists_is_left_alone(tmp_path: Path) -> None:
    """Somebody's work may be in it."""
    (tmp_path / "app").mkdir()

    with pytest.raises(InputError, match="exists already"):
        create_app(tmp_path / "app", "app")

    assert list((tmp_path / "app").iterdir()) == []


def test_nothing_is_left_where_nothing_can_be_written(tmp_path: Path) -> None:
    """Half an app would be refused at the next try."""
    (tmp_path / "file").write_text("x", encoding="utf-8")

    with pytest.raises(ConfigError, match="cannot be written"):
        create_app(tmp_path / "file" / "app", "app")

    assert [path.name for path in tmp_path.iterdir()] == ["file"]
