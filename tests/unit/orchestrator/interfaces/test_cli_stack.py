"""What `up` and `demo` need of their processes: where they find the store, who holds a folder, what demos are asked."""

import asyncio
import fcntl
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest

from orchestrator import embedded
from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.errors import BatonError, ConfigError, InputError, StoreUnreachable
from orchestrator.embedded import StoreAddress, broker_beside
from orchestrator.embedded_folder import try_lock
from orchestrator.interfaces.cli import connect
from orchestrator.interfaces.cli.demo_scene import find_scenes, prepare, stop
from orchestrator.interfaces.cli.exits import UNREACHABLE
from orchestrator.interfaces.cli.main import main
from orchestrator.interfaces.cli.stack import (
    UP_LOCK,
    UpLock,
    ending_signals,
    find_owner,
    process_environment,
    with_import_path,
)
from orchestrator.settings import load_settings

ADDRESS = StoreAddress(url="redis://:secret@h/0", broker_url="redis://:secret@h/1")


def test_processes_find_the_store_in_their_environment() -> None:
    """A password in an argument would be seen by everybody who lists processes."""
    made = process_environment(ADDRESS, {"BATON_STORE_URL": "redis://other", "PATH": "/bin"})

    assert made["BATON_REDIS_URL"] == ADDRESS.url
    assert made["BATON_BROKER_URL"] == ADDRESS.broker_url
    assert "BATON_STORE_URL" not in made
    assert made["PATH"] == "/bin"


@pytest.mark.parametrize("broker", ["in_a_file", "beside_the_store", "in_the_environment"])
def test_what_came_in_by_a_file_is_in_nobodys_environment(tmp_path: Path, broker: str) -> None:
    """Who may see a process's environment, or inherits it, would have the password that was to stay in its file."""
    values = {"BATON_REDIS_URL": ADDRESS.url, "BATON_ARCHIVE_URL": "postgresql://:secret@h/a"}
    if broker == "in_a_file":
        values["BATON_QUEUES_BROKER_URL"] = ADDRESS.broker_url
    given = {"BATON_BROKER_URL": ADDRESS.broker_url} if broker == "in_the_environment" else {}
    for name, value in values.items():
        (tmp_path / name).write_text(f"{value}\n")
        given[f"{name}_FILE"] = str(tmp_path / name)

    made = process_environment(ADDRESS, given, archive_url=values["BATON_ARCHIVE_URL"])
    found = load_settings(env=made)

    assert {name for name, value in made.items() if "secret" in value} == given.keys() & {"BATON_BROKER_URL"}
    assert found.store.url == ADDRESS.url
    assert found.archive.url == values["BATON_ARCHIVE_URL"]
    assert (found.queues.broker_url or broker_beside(found.store.url)) == ADDRESS.broker_url


def test_a_bundled_server_is_told_beside_a_file_that_names_none(tmp_path: Path) -> None:
    """What our processes are told must be where the server is; a file that is empty names none."""
    (tmp_path / "empty").write_text("\n")
    given = {f"BATON_{what}_URL_FILE": str(tmp_path / "empty") for what in ("REDIS", "BROKER", "ARCHIVE")}

    found = load_settings(env=process_environment(ADDRESS, given, archive_url="sqlite:///a"))

    assert (found.store.url, found.queues.broker_url) == (ADDRESS.url, ADDRESS.broker_url)
    assert found.archive.url == "sqlite:///a"


def test_our_packages_are_found_first_and_named_once() -> None:
    """A caller's own PYTHONPATH stays, behind ours."""
    once = with_import_path({"PYTHONPATH": "/theirs"})
    twice = with_import_path(once)

    assert once["PYTHONPATH"].endswith(f"{os.pathsep}/theirs")
    assert twice == once


def test_a_state_folder_has_one_owner_at_a_time(tmp_path: Path) -> None:
    """Who comes second is told who was first; who was killed leaves the server to the next."""
    assert find_owner(tmp_path) is None
    first = UpLock(tmp_path)
    first.write(owns_server=True)

    with pytest.raises(ConfigError, match=rf"in use by another `baton up` \(pid {os.getpid()}\)"):
        UpLock(tmp_path)

    assert find_owner(tmp_path) == os.getpid()
    os.close(first._held)  # as if it had been killed: the lock is free, its word stays
    second = UpLock(tmp_path)
    assert second.inherits_server is True
    second.release()
    assert find_owner(tmp_path) is None
    third = UpLock(tmp_path)
    assert third.inherits_server is False
    third.release()


def test_who_cannot_start_stops_the_server_that_was_left_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The word that it is nobody else's goes with the lock: no later `up` would know."""
    killed = UpLock(tmp_path)
    killed.write(owns_server=True)
    os.close(killed._held)
    stopped: list[Path] = []

    def refuse(*_: object, state_dir: Path) -> StoreAddress:
        """Find a server that does not answer."""
        raise StoreUnreachable(f"store: {state_dir} does not answer")

    monkeypatch.setattr(embedded, "status", lambda _: SimpleNamespace(state="running"))
    monkeypatch.setattr(embedded, "find_store", refuse)
    monkeypatch.setattr(embedded, "stop", stopped.append)
    monkeypatch.setenv("BATON_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("BATON_REDIS_URL", "")
    connect.settings.cache_clear()

    assert main(["up"]) == UNREACHABLE
    connect.settings.cache_clear()
    assert [folder.parent for folder in stopped] == [tmp_path]
    last = UpLock(tmp_path)
    assert last.inherits_server is False
    last.release()


def test_who_only_looks_is_in_nobodys_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`redis stop` looks at the lock for an instant: an `up` that begins just then is not refused, and other lookers see no `up`."""
    (tmp_path / UP_LOCK).touch()
    looking = os.open(tmp_path / UP_LOCK, os.O_RDONLY)
    fcntl.flock(looking, fcntl.LOCK_SH)
    tries = []

    def try_and_go(path: Path) -> int | None:
        """Try, while somebody looks; then they have seen enough."""
        held = try_lock(path)
        if not tries:
            os.close(looking)
        tries.append(held)
        return held

    monkeypatch.setattr("orchestrator.interfaces.cli.stack.try_lock", try_and_go)

    assert find_owner(tmp_path) is None
    UpLock(tmp_path).release()
    assert tries[0] is None


@pytest.mark.parametrize("home", ["/proc/no/such", "/dev/null"])
def test_a_folder_that_cannot_be_is_refused_in_words(home: str) -> None:
    """A wrong --state-dir is the operator's to mend, and no fault of the program's."""
    with pytest.raises(ConfigError, match=f"up: {home}: .*; name a folder that you may write to, with --state-dir"):
        UpLock(Path(home))


def write_demo(folder: Path, name: str, body: str, options: str = "") -> AppSpec:
    """Return an app with this demo."""
    root = folder / name
    root.mkdir(parents=True)
    head = "from orchestrator.contracts.demo import Submission\nfrom orchestrator.contracts.errors import InputError\n"
    (root / "demo.py").write_text(f"{head}{options}\nclass Scene:\n{body}\ndef demo():\n    return Scene()\n")
    skill = {"kind": "timer", "name": "a", "seconds": 1}
    return AppSpec.model_validate({"name": name, "entry_skill": "a", "skills": {"a": skill}, "root": str(root)})


GOOD = """
    def prepare(self, folder, options):
        (folder / 'made').write_text(str(dict(options)))
        return [Submission(text='a', title='b')]
    def stop(self):
        pass
"""


def test_every_demo_is_set_up_in_a_folder_of_its_own(tmp_path: Path) -> None:
    """Two apps never write into each other's scene."""
    specs = {name: write_demo(tmp_path / "apps", name, GOOD) for name in ("one", "two")}
    scenes = find_scenes(specs, (), {"x": "y"})

    asyncio.run(prepare(scenes, tmp_path / "scenes", {"x": "y"}))

    assert [scene.submissions[0].title for scene in scenes] == ["b", "b"]
    assert (tmp_path / "scenes" / "one" / "made").read_text() == "{'x': 'y'}"
    assert (tmp_path / "scenes" / "two" / "made").exists()


@pytest.mark.parametrize(
    ("options", "given", "message"),
    [
        ("OPTIONS = {'repo': 'a folder'}", {"rpo": "x"}, "option --rpo: no demo has it; did you mean '--repo'?"),
        ("OPTIONS = {'repo': 'a folder'}", {"repo": "x"}, ""),
        ("", {"anything": "x"}, ""),
    ],
)
def test_an_option_that_no_demo_names_is_refused(
    tmp_path: Path, options: str, given: Mapping[str, str], message: str
) -> None:
    """Where every demo says which options it has, a mistyped one is told."""
    specs = {"one": write_demo(tmp_path, "one", GOOD, options)}

    if message:
        with pytest.raises(InputError) as refused:
            find_scenes(specs, (), given)
        assert str(refused.value) == message
    else:
        assert len(find_scenes(specs, (), given)) == 1


def test_what_a_demo_cannot_meet_is_refused_before_anything_starts(tmp_path: Path) -> None:
    """A mistyped folder costs nobody the start of a server and its workers."""
    check = "    def check(self, options):\n        raise InputError('option --repo: no such folder')\n"
    specs = {"one": write_demo(tmp_path, "one", GOOD), "two": write_demo(tmp_path, "two", check + GOOD)}

    with pytest.raises(InputError, match="--repo: no such folder"):
        find_scenes(specs, (), {})
    assert len(find_scenes(specs, ("one",), {})) == 1


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("    stop = prepare = lambda self, *_: 5", "demo.py returned no list of Submission"),
        ("    stop = prepare = lambda self, *_: ['x']", "demo.py returned no list of Submission"),
        ("    prepare = None", "it needs prepare() and stop()"),
    ],
)
def test_a_demo_that_keeps_to_no_contract_is_refused(tmp_path: Path, body: str, message: str) -> None:
    """The message names the app and what its demo gave."""
    specs = {"one": write_demo(tmp_path, "one", body)}

    with pytest.raises(BatonError) as refused:
        asyncio.run(prepare(find_scenes(specs, (), {}), tmp_path / "scenes", {}))

    assert message in str(refused.value)


def test_every_scene_is_taken_down_also_after_an_error(tmp_path: Path) -> None:
    """One demo's failure must not leave another's processes behind."""
    marks = "    def prepare(self, *_):\n        return []\n    def stop(self):\n        open({!r}, 'w').close()\n{}"
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    specs = {
        "one": write_demo(tmp_path, "one", marks.format(first, "        raise OSError('no')\n")),
        "two": write_demo(tmp_path, "two", marks.format(second, "")),
    }

    with pytest.raises(OSError, match="no"):
        stop(find_scenes(specs, (), {}))

    assert Path(first).exists()
    assert Path(second).exists()


def test_what_was_started_under_nohup_outlives_its_terminal() -> None:
    """Whoever says nohup means it; everybody else's stack ends with the window."""
    before = signal.getsignal(signal.SIGHUP)
    try:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        usual = ending_signals()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        under_nohup = ending_signals()
    finally:
        signal.signal(signal.SIGHUP, before)

    assert set(usual) - set(under_nohup) == {signal.SIGHUP}
    assert under_nohup == (signal.SIGINT, signal.SIGTERM)
