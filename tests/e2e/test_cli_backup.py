"""`baton backup`: what was acknowledged before it comes back, what is bad is refused, and nothing is deleted for it."""

import json
import shutil
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from orchestrator.embedded import status
from tests.commands import Baton, run_up

pytestmark = [pytest.mark.integration]

QUEUES = ("steps", "plugins", "finalize")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the state of a stopped server that holds two sessions, and with a backup of when it held one."""
    folder = tmp_path_factory.mktemp("made")
    baton = Baton(folder / "state")
    baton("redis", "start")
    baton("submit", "journey")
    baton("backup", "make", str(folder / "backup"))
    baton("submit", "journey")
    baton("redis", "stop")
    return folder


@pytest.fixture
def backup(baton: Baton, made: Path, tmp_path: Path) -> Iterator[Path]:
    """Lend a copy of that backup, the state being in place; what runs on it is stopped afterwards."""
    shutil.copytree(made / "state", baton.state_dir)
    yield shutil.copytree(made / "backup", tmp_path / "backup")
    if status(baton.state_dir / "server").server is not None:
        baton("redis", "stop")


def spoil(backup: Path) -> None:
    """Cut a backup's snapshot in half; by the folder's own word it is right."""
    data = (backup / "store.rdb").read_bytes()
    (backup / "store.rdb").write_bytes(data[: len(data) // 2])
    about = json.loads((backup / "backup.json").read_text())
    about["files"]["store.rdb"] = sha256(data[: len(data) // 2]).hexdigest()
    (backup / "backup.json").write_text(json.dumps(about))


def test_a_backup_brings_back_what_it_holds_and_nobody_goes_on_unasked(baton: Baton, tmp_path: Path) -> None:
    """Made while a worker works. What came later is not there, its ids are not given again, and queues stand until a person lets them go."""
    folder = str(tmp_path / "backups" / "one")
    with run_up(baton, "--workers", "1"):
        archived, ended = baton.submit()["session_id"], baton.submit()["session_id"]
        baton("archive", "run", "--older-than", "0s", "--limit", "1")
        waiting = baton.submit("--skill", "ask_first", code=4)["session_id"]
        dry = baton("backup", "make", folder, "--dry-run", "-o", "json").json("backup")
        made = baton("backup", "make", folder, "-o", "json").json("backup")
        baton("answer", waiting, "now")
        after = baton("watch", waiting, "-o", "json").lines("session")[-1]
        later = baton.submit()["session_id"]
    tried = baton("backup", "restore", folder, "--dry-run", "-o", "json").json("restored")
    untouched = sorted(path.name for path in (baton.state_dir / "server").glob("data*"))
    restored = baton("backup", "restore", folder, "-o", "json").json("restored")
    try:
        before = baton("show", waiting, "-o", "json").json("session")
        gone = baton.refuse("show", later, code=3)
        kept = [baton("show", one, "-o", "json").json("session")["status"] for one in (archived, ended)]
        queues = baton("queues", "-o", "json").json("queues")
        new = baton("submit", "journey", "-o", "json").json("submission")["session_id"]
        baton("redis", "stop")
        with run_up(baton, "--workers", "1"):
            baton("answer", waiting, "later")
            stood = baton("show", waiting, "-o", "json").json("session")["phase"]
            for queue in QUEUES:
                baton("unpause", queue)
            went_on = baton("watch", waiting, "-o", "json").lines("session")[-1]
            then = baton("watch", new, "-o", "json").lines("session")[-1]
    finally:
        baton("redis", "stop")

    assert (made["counts"]["waiting"], sorted(made["files"])) == (1, ["archive.db", "store.rdb"])
    assert (dry["files"], dry["bytes"], dry["counts"]) == ({}, 0, made["counts"])
    assert after["state"]["answer"] == "now"
    assert (tried["dry_run"], tried["paused"], tried["aside"], untouched) == (True, [], [], ["data"])
    assert restored["paused"] == list(QUEUES)
    assert [Path(one).exists() for one in restored["aside"]] == [True] * len(restored["aside"])
    assert {Path(one).name.split(".before-")[0] for one in restored["aside"]} >= {"data", "archive.db"}
    assert before["phase"] == "waiting"
    assert later in gone
    assert kept == ["fine", "fine"]
    assert {one["target"] for one in queues["pauses"]} == {f"queue:{queue}" for queue in QUEUES}
    assert int(new.rsplit("-", 1)[1]) > 1_000_000
    assert stood == "ready"
    assert went_on["state"]["answer"] == "later"
    assert then["status"] == "fine"


def test_a_snapshot_that_no_server_reads_changes_nothing(baton: Baton, backup: Path) -> None:
    """The folder's own word for it may be right, and the file bad all the same."""
    spoil(backup)

    said = baton.refuse("backup", "restore", str(backup), code=2)
    baton("redis", "start")

    assert "store.rdb: no server can read it; all is as it was; " in said
    assert len(baton("list", "-o", "json").json("sessions")) == 2
    assert [path.name for path in (baton.state_dir / "server").glob("data*")] == ["data"]


def test_a_restore_that_was_cut_short_starts_no_empty_store(baton: Baton, backup: Path) -> None:
    """Whoever died between two moves left no data where a server would look for it."""
    home = baton.state_dir / "server"
    (home / "restoring").touch()
    (home / "data").rename(home / "data.before-then")

    said = baton.refuse("redis", "start", code=1)
    restored = baton("backup", "restore", str(backup), "-o", "json").json("restored")

    assert said.endswith("its end is missing; run `baton backup restore` again")
    assert restored["aside"] == []
    assert len(baton("list", "-o", "json").json("sessions")) == 1
    assert (home / "data.before-then").is_dir()


def test_a_restore_that_ended_before_the_queues_stood_lets_nobody_go_on(baton: Baton, backup: Path) -> None:
    """A store of yesterday whose workers begin at once does all of yesterday a second time."""
    (backup / "archive.db").write_bytes(b"SQLite format 3")
    about = json.loads((backup / "backup.json").read_text())
    about["files"]["archive.db"] = sha256(b"SQLite format 3").hexdigest()
    (backup / "backup.json").write_text(json.dumps(about))

    unwritable = {"BATON_ARCHIVE_URL": "sqlite:////proc/archive.db"}
    said = baton.refuse("backup", "restore", str(backup), code=1, **unwritable)
    everybody = (("redis", "start"), ("up",), ("submit", "journey"), ("worker",), ("scheduler",), ("api",))
    refused = [baton.refuse(*words, code=1) for words in everybody]
    baton("redis", "stop")
    refused.append(baton.refuse("redis", "start", code=1))
    restored = baton("backup", "restore", str(backup), "-o", "json").json("restored")
    baton("redis", "stop")
    baton("redis", "start")

    assert "/proc/archive.db: " in said
    assert [one.endswith("its end is missing; run `baton backup restore` again") for one in refused] == [True] * 7
    assert restored["paused"] == list(QUEUES)
    assert len(baton("list", "-o", "json").json("sessions")) == 1


def test_a_bad_backup_after_a_restore_that_was_cut_short_opens_nothing(baton: Baton, backup: Path) -> None:
    """All is as it was: without the data of before, for a server to begin with none would lose every session."""
    home = baton.state_dir / "server"
    (home / "restoring").touch()
    (home / "data").rename(home / "data.before-then")
    spoil(backup)

    said = baton.refuse("backup", "restore", str(backup), code=2)
    refused = baton.refuse("redis", "start", code=1)

    assert "store.rdb: no server can read it; all is as it was; " in said
    assert refused.endswith("its end is missing; run `baton backup restore` again")
    assert [path.name for path in home.glob("data*")] == ["data.before-then"]


def test_an_archive_that_cannot_be_put_back_is_told_before_anything_is_moved(baton: Baton, backup: Path) -> None:
    """Its disk is not mounted, for instance."""
    (backup / "archive.db").write_bytes(b"SQLite format 3")
    about = json.loads((backup / "backup.json").read_text())
    about["files"]["archive.db"] = sha256(b"SQLite format 3").hexdigest()
    (backup / "backup.json").write_text(json.dumps(about))

    elsewhere = {"BATON_ARCHIVE_URL": f"sqlite:///{backup}/not/mounted/archive.db"}
    said = baton.refuse("backup", "restore", str(backup), code=1, **elsewhere)
    baton("redis", "start")

    assert "there is no such folder" in said
    assert len(baton("list", "-o", "json").json("sessions")) == 2


@pytest.mark.parametrize("wrong", ["changed", "missing", "elsewhere", "layout", "unfinished", "words", "magic"])
def test_a_bad_backup_is_refused_before_anything_is_moved(baton: Baton, backup: Path, wrong: str) -> None:
    """Each with the file that is wrong."""
    store, about = backup / "store.rdb", backup / "backup.json"
    told = json.loads(about.read_text())
    if wrong == "changed":
        store.write_bytes(store.read_bytes() + b"x")
    elif wrong == "missing":
        store.unlink()
    elif wrong == "elsewhere":
        about.write_text(json.dumps({**told, "files": {**told["files"], "../x": "0"}}))
    elif wrong == "layout":
        about.write_text(json.dumps({**told, "layout": 99}))
    elif wrong == "unfinished":
        about.unlink()
    elif wrong == "words":
        about.write_text("{}")
    else:
        store.write_bytes(b"nothing")
        about.write_text(json.dumps({**told, "files": {"store.rdb": sha256(b"nothing").hexdigest()}}))
    code, words = {
        "changed": (2, f"{store}: it is not the file that was written there; use another backup"),
        "missing": (2, f"{store}: No such file or directory; name a folder that `baton backup make` has finished"),
        "elsewhere": (2, f"{about}: it names other files than a backup has; name another folder"),
        "layout": (1, f"{backup}: it holds layout 99, this Baton has 1; restore it with Baton "),
        "unfinished": (2, f"{about}: No such file or directory; name a folder that `baton backup make` has finished"),
        "words": (2, f"{about}: it is not what `baton backup make` writes; name another folder"),
        "magic": (1, f"{store}: it is no snapshot of a server; name the folder that `baton backup make` made"),
    }[wrong]

    said = baton.refuse("backup", "restore", str(backup), code=code)

    assert said.startswith(words)
    assert [path.name for path in (baton.state_dir / "server").glob("data*")] == ["data"]


def test_what_stands_in_the_way_is_named(baton: Baton, backup: Path, tmp_path: Path) -> None:
    """A server that runs, a folder that is used, a server of one's own, no server at all."""
    own = {"BATON_REDIS_URL": "redis://127.0.0.1:1/0"}

    silent = baton.refuse("backup", "make", str(tmp_path / "other"), code=5)
    baton("redis", "start")
    running = baton.refuse("backup", "restore", str(backup), code=2)
    used = baton.refuse("backup", "make", str(backup), code=2)
    theirs = baton.refuse("backup", "make", str(tmp_path / "other"), code=1, **own)
    with run_up(baton, "--workers", "1") as up:
        at_work = baton.refuse("backup", "restore", str(backup), code=2)
        pid = up.process.pid

    assert running == "backup restore: the server runs; stop it first, with `baton redis stop`"
    assert used == f"{backup}: it is not empty; name a new folder"
    assert theirs.startswith("backup make: the store is a server of your own (BATON_REDIS_URL); use its own tools")
    assert at_work == f"backup restore: `baton up` (pid {pid}) runs here; stop it first, with Ctrl-C or SIGTERM"
    assert "start everything with `baton up`" in silent
    assert not (tmp_path / "other").exists()


def test_a_server_that_cannot_write_its_snapshot_says_so(baton: Baton, tmp_path: Path) -> None:
    """A backup that is not there must not look like one."""
    baton("redis", "start")
    try:
        (baton.state_dir / "server" / "data" / "dump.rdb" / "in the way").mkdir(parents=True)
        said = baton.refuse("backup", "make", str(tmp_path / "backup"), code=5)
    finally:
        baton("redis", "stop")

    assert "the server could not write a snapshot; see " in said
    assert not (tmp_path / "backup" / "backup.json").exists()


def test_a_server_of_ones_own_is_marked(baton: Baton) -> None:
    """Its data were put back by other tools; the rest is the same."""
    url = baton("redis", "start", "-o", "json").json("server")["url"]
    try:
        own = Baton(baton.state_dir.parent / "own", {"BATON_REDIS_URL": url})
        tried = own("backup", "mark-restored", "--dry-run", "-o", "json").json("restored")
        first = own("backup", "mark-restored", "-o", "json").json("restored")
        again = own("backup", "mark-restored", "-o", "json").json("restored")
        new = own("submit", "journey", "-o", "json").json("submission")["session_id"]
    finally:
        baton("redis", "stop")

    assert (tried, first) == tuple({"paused": list(QUEUES), "dry_run": dry, "actor": "ada"} for dry in (True, False))
    assert again["paused"] == []
    assert int(new.rsplit("-", 1)[1]) > 2_000_000  # a million further for each time, at least
