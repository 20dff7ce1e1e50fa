"""Tests of which server is taken: the bundled one, one on PATH, or none, with the ways out."""

import shutil
from pathlib import Path

import pytest

from orchestrator import embedded, embedded_binary
from orchestrator.contracts.errors import ConfigError
from orchestrator.embedded_binary import bundled_path
from orchestrator.embedded_wire import ask

pytestmark = pytest.mark.skipif(bundled_path() is None, reason="no server is bundled for this platform")


def test_the_bundled_server_comes_first() -> None:
    """It behaves the same on every machine, whatever is installed there."""
    found = embedded.find_server()

    assert found.origin == "bundled"
    assert tuple(map(int, found.version.split("."))) >= (9, 1, 2)


def script(folder: Path, name: str, text: str) -> None:
    """Put an executable on a PATH of our own."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)


@pytest.fixture
def path_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Take the bundled server away and lend an empty PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setattr(embedded_binary, "bundled_path", lambda: None)
    monkeypatch.setenv("PATH", str(folder))
    return folder


def test_a_server_on_path_serves_where_none_is_bundled(path_only: Path, tmp_path: Path) -> None:
    """On other platforms the distribution's own server is used."""
    installed = shutil.which("redis-server", path="/usr/bin:/usr/local/bin") or bundled_path()
    assert installed is not None
    (path_only / "redis-server").symlink_to(installed)

    found = embedded.find_server()

    assert found.origin == "path"
    try:
        assert ask(embedded.start(tmp_path / "state").socket, "PING") == b"+PONG"
    finally:
        embedded.stop(tmp_path / "state")


def test_an_old_server_is_passed_over_for_a_newer_one(path_only: Path) -> None:
    """Its scripts would fail later and less clearly."""
    script(path_only, "valkey-server", "#!/bin/sh\necho 'Redis server v=6.2.14 sha=0:0'")
    script(path_only, "redis-server", "#!/bin/sh\necho 'Redis server v=7.0.15 sha=0:0'")

    assert embedded.find_server().version == "7.0.15"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "neither valkey-server nor redis-server is on PATH"),
        ("#!/bin/sh\necho 'Redis server v=6.2.14 sha=0:0'", "is version 6.2.14, too old"),
        ("\x7fELF nonsense", "is for another architecture"),
        ("#!/nonexistent/loader\n", "needs a C library"),
        ("#!/bin/sh\necho 'GLIBC_2.99 not found' >&2; exit 1", "fails: GLIBC_2.99 not found"),
    ],
)
def test_without_any_server_one_message_names_the_ways_out(path_only: Path, text: str | None, problem: str) -> None:
    """What is wrong here, and what to do about it."""
    if text is not None:
        script(path_only, "valkey-server", text)

    with pytest.raises(ConfigError, match="none is bundled for") as refused:
        embedded.find_server()
    assert problem in str(refused.value)
    assert "BATON_REDIS_URL" in str(refused.value)
