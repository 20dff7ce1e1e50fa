"""The two locks say the same, and say what pyproject.toml asks for: uv and pip install the same files."""

import re
import tomllib

from orchestrator import __version__
from tests.architecture.source_tree import ROOT


def read_toml(name: str) -> dict[str, object]:
    """Return one of the checkout's TOML files."""
    return tomllib.loads((ROOT / name).read_text(encoding="utf-8"))


def read_uv_lock() -> dict[str, dict[str, object]]:
    """Return uv's packages by name."""
    packages = read_toml("uv.lock")["package"]
    assert isinstance(packages, list)
    return {package["name"]: package for package in packages}


def normalize(text: str) -> str:
    """Return a requirement in one spelling, without extras, marker and the order of its bounds."""
    name, bounds = re.fullmatch(r"([\w.-]+)(?:\[[^\]]*\])?\s*([^;]*?)\s*(?:;.*)?", text).groups()  # type: ignore[union-attr]
    return name.lower().replace("_", "-") + ",".join(sorted(bounds.split(",")))


def test_requirements_lock_is_an_export_of_uv_lock() -> None:
    """Without uv the environment is made by pip, and must be the same one. `make lock` writes both."""
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    pinned = dict(re.findall(r"^([\w.-]+)==([^\s;\\]+)", text, re.MULTILINE))
    hashes = set(re.findall(r"--hash=(sha256:\w+)", text))

    locked = {name: package for name, package in read_uv_lock().items() if name != "baton"}

    assert pinned == {name: package["version"] for name, package in locked.items()}
    assert hashes == set(re.findall(r'hash = "(sha256:\w+)"', (ROOT / "uv.lock").read_text(encoding="utf-8")))


def test_the_images_lock_is_a_part_of_the_other() -> None:
    """The image holds the versions that the suite ran on, each with its hashes, and nothing that only tests need."""
    blocks = [
        set(re.findall(r"^[\w.-]+==.*(?:\n    --hash.*)*", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE))
        for name in ("deploy/requirements.lock", "requirements.lock")
    ]
    names = {re.split(r"[=\s]", block)[0] for block in blocks[0]}

    assert blocks[0] <= blocks[1]
    assert {"celery", "fastmcp", "psycopg", "opentelemetry-sdk"} <= names
    assert not {"pytest", "mypy", "playwright"} & names


def test_uv_lock_was_made_from_this_pyproject() -> None:
    """A requirement that is added without `make lock` would be missing wherever the lock is installed."""
    project, baton = read_toml("pyproject.toml"), read_uv_lock()["baton"]
    metadata = baton["metadata"]
    assert isinstance(metadata, dict)

    extras = [text for texts in project["project"]["optional-dependencies"].values() for text in texts]  # type: ignore[index]
    required = [*project["project"]["dependencies"], *extras, *project["dependency-groups"]["dev"]]  # type: ignore[index]
    asked = {normalize(text) for text in required}

    locked = [*metadata["requires-dist"], *metadata["requires-dev"]["dev"]]
    assert asked == {normalize(entry["name"] + entry.get("specifier", "")) for entry in locked}


def test_the_version_is_told_once() -> None:
    """Without a wheel there is no metadata to read the version from, so the package says it itself."""
    assert read_toml("pyproject.toml")["project"]["version"] == __version__  # type: ignore[index]
