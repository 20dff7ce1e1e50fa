"""What the author of a plugin is told that the sandbox would take as it is."""

from pathlib import Path

import pytest

from plugin_sandbox.settings import SandboxSettings
from workers.plugin_report import report

MANIFEST = 'name: tidy\nversion: "1"\napi_version: "1"\nsupported_extensions: [{}]\n'


def write(folder: Path, extensions: str) -> Path:
    """Make a package."""
    folder.mkdir()
    (folder / "manifest.yml").write_text(MANIFEST.format(extensions))
    (folder / "__init__.py").write_text("class Plugin: ...\n")
    return folder


@pytest.mark.parametrize("one", ["Makefile", "LICENSE", "readme", "Data", ".gitignore", ".Txt", ".7z"])
def test_a_suffix_with_its_dot_and_a_whole_name_are_right(tmp_path: Path, one: str) -> None:
    """A whole name is told from a suffix whose dot was forgotten by a capital or by its length; no case counts."""
    assert report(write(tmp_path / "p", one), SandboxSettings())["ok"]


@pytest.mark.parametrize(
    ("one", "remedy"),
    [
        *((one, f"write '.{one}'") for one in ("txt", "7z", "notes")),
        *(
            (one, "write a suffix such as .csv, or a whole name such as Makefile")
            for one in ("*.txt", ".tar.gz", "a/b", "", ".")
        ),
    ],
)
def test_what_no_file_is_chosen_by_is_a_slip(tmp_path: Path, one: str, remedy: str) -> None:
    """It would be found out when nothing happens."""
    told = report(write(tmp_path / "p", f".csv, '{one}'"), SandboxSettings())

    assert (told["ok"], told["reason"]) == (False, f"supported_extensions.1: no file is chosen by '{one}'; {remedy}")


def test_a_package_without_its_first_file_is_a_slip(tmp_path: Path) -> None:
    """It would fail at every call; a folder of that name is none."""
    folder = write(tmp_path / "p", ".txt")
    (folder / "__init__.py").unlink()
    (folder / "__init__.py").mkdir()
    (folder / "__init__.py" / "__init__.py").write_text("")

    assert (
        report(folder, SandboxSettings())["reason"] == "no __init__.py lies beside it; write one, with a class Plugin"
    )
