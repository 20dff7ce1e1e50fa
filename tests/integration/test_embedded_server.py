"""Tests of the embedded server: real binaries, real processes, real deaths."""

import os
import select
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis
from kombu.connection import Connection

from orchestrator import embedded
from orchestrator.contracts.errors import ConfigError, StoreUnreachable
from orchestrator.embedded import RunningServer
from orchestrator.embedded_binary import bundled_path

pytestmark = pytest.mark.skipif(bundled_path() is None, reason="no server is bundled for this platform")

ROOT = Path(__file__).parents[2]


@pytest.fixture
def state_dir(tmp_path: Path) -> Iterator[Path]:
    """Lend a state folder, and end whatever runs on it afterwards."""
    folder = tmp_path / "state"
    yield folder
    for made in tmp_path.glob("**/.baton-server-1"):
        embedded.stop(made.parent)


def client(server: RunningServer) -> redis.Redis:
    """Connect as the store does."""
    return redis.Redis.from_url(server.url, decode_responses=True)


def wait_dead(pid: int, seconds: float = 60) -> None:
    """Return once a process has ended, or fail."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        ended, _, _ = select.select([descriptor], [], [], seconds)
    finally:
        os.close(descriptor)
    assert ended, f"process {pid} lives on"


def kill(pid: int) -> None:
    """Kill a process and wait until it is gone."""
    os.kill(pid, signal.SIGKILL)
    wait_dead(pid)


def run_python(code: str, *args: str, **environment: str) -> subprocess.Popen[str]:
    """Run Python code in a process and a session of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *args],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        start_new_session=True,
    )


def hear(process: "subprocess.Popen[str]") -> tuple[str, str]:
    """Return what a process said, and what it complained about; one that does not end is killed."""
    try:
        return process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        return out, f"{err}(killed: it did not end)"


def test_a_second_start_finds_the_first_ones_server(state_dir: Path) -> None:
    """Every command of one machine meets on the same server."""
    first = embedded.start(state_dir)

    second = embedded.start(state_dir)

    assert first.is_new
    assert not second.is_new
    assert (second.pid, second.url) == (first.pid, first.url)


def test_many_starters_at_once_start_one_server(state_dir: Path) -> None:
    """Two servers on the same data would destroy it."""
    code = "import sys, pathlib; from orchestrator import embedded; s = embedded.start(pathlib.Path(sys.argv[1])); print(s.pid, s.is_new)"
    starters = [run_python(code, str(state_dir)) for _ in range(4)]

    said = [hear(starter) for starter in starters]

    told = "\n".join(
        f"exit {starter.returncode}: {out}{err}" for starter, (out, err) in zip(starters, said, strict=True)
    )
    assert [starter.returncode for starter in starters] == [0, 0, 0, 0], told
    assert len({out.split()[0] for out, _ in said}) == 1, told
    assert sorted(out.split()[1] for out, _ in said) == ["False", "False", "False", "True"], told


def test_a_server_that_ends_while_a_start_looks_at_it_is_started_again(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever comes just then wants a server, and is not to blame for the end of the one before."""
    first, describe = embedded.start(state_dir), embedded._describe

    def end_and_describe(home: Path, *, is_new: bool) -> RunningServer | None:
        """Look once it is dead."""
        kill(first.pid)
        return describe(home, is_new=is_new)

    monkeypatch.setattr(embedded, "_describe", end_and_describe)

    again = embedded.start(state_dir)

    assert again.is_new
    assert again.pid != first.pid


def test_a_server_that_reads_its_data_back_is_waited_for(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large AOF takes longer than a start may: for whoever started the server, and for whoever waits for their turn."""
    embedded.claim_folder(state_dir)
    ask, held = embedded.ask, embedded.try_lock(state_dir / "start.lock")
    assert held is not None
    turn = [held]

    def ask_slowly(path: Path, command: str, *, seconds: float = 1.0) -> bytes | None:
        """Load until it is ready; the one before is over with the first look."""
        if turn:
            os.close(turn.pop())
        return ask(path, command, seconds=seconds) or b"-LOADING it takes its time"

    for limit in ("START_SECONDS", "TURN_SECONDS"):
        monkeypatch.setattr(embedded, limit, 0)
    monkeypatch.setattr(embedded, "ask", ask_slowly)

    assert embedded.start(state_dir).is_new
    assert not turn


def test_the_server_is_closed_to_others_and_never_evicts(state_dir: Path) -> None:
    """What is acknowledged is kept, and nobody else on the machine can reach it."""
    server = embedded.start(state_dir)

    settings = client(server).config_get("*")

    wanted = {"port": "0", "appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction", "save": ""}
    assert {name: settings[name] for name in wanted} == wanted
    assert stat.S_IMODE(state_dir.stat().st_mode) == 0o700
    assert stat.S_IMODE(server.socket.stat().st_mode) == 0o700


def test_a_folder_that_others_could_read_is_closed(state_dir: Path) -> None:
    """A folder made by hand is rarely made private."""
    state_dir.mkdir(mode=0o755)

    embedded.start(state_dir)

    assert stat.S_IMODE(state_dir.stat().st_mode) == 0o700


def test_a_killed_server_comes_back_with_its_data(state_dir: Path) -> None:
    """A session that was acknowledged survives the death of the server."""
    server = embedded.start(state_dir)
    first = client(server)
    for number in range(500):
        first.set(f"key:{number}", number)
    first.xadd("journal", {"a": 1})
    kill(server.pid)
    assert embedded.status(state_dir).state == "stopped"

    again = embedded.start(state_dir)

    assert again.is_new
    assert again.pid != server.pid
    assert client(again).dbsize() == 501
    assert client(again).get("key:499") == "499"


def test_stop_ends_the_server_and_keeps_its_data(state_dir: Path) -> None:
    """The next `up` goes on where the last one ended."""
    server = embedded.start(state_dir)
    client(server).set("kept", "yes")

    assert embedded.stop(state_dir)

    assert not embedded.stop(state_dir)
    assert embedded.status(state_dir).state == "stopped"
    assert client(embedded.start(state_dir)).get("kept") == "yes"


def test_stop_of_a_folder_that_never_was_does_nothing(tmp_path: Path) -> None:
    """`down` after `down` is no error, and makes no folder."""
    assert not embedded.stop(tmp_path / "none")
    assert embedded.status(tmp_path / "none").state == "stopped"
    assert not (tmp_path / "none").exists()


def test_the_server_is_out_of_reach_of_ctrl_c(state_dir: Path) -> None:
    """A terminal signals its whole process group; workers need the server to the end of their drain."""
    server = embedded.start(state_dir)

    assert os.getsid(server.pid) != os.getsid(0)
    assert os.getpgid(server.pid) != os.getpgid(0)


def test_the_server_sees_nothing_of_our_environment(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process shows its environment to its user; keys of model services do not belong there."""
    monkeypatch.setenv("SOME_API_KEY", "swordfish")

    server = embedded.start(state_dir)

    assert b"swordfish" not in Path(f"/proc/{server.pid}/environ").read_bytes()


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    """A mistyped path must not fill somebody's home with a database."""
    (tmp_path / "thesis.txt").write_text("text")

    with pytest.raises(ConfigError, match="holds files of something else"):
        embedded.start(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_folder_of_another_version_is_refused(state_dir: Path) -> None:
    """Data of a later layout must not be opened by an earlier one."""
    state_dir.mkdir()
    (state_dir / ".baton-server-9").touch()

    with pytest.raises(ConfigError, match="another version"):
        embedded.start(state_dir)


def test_a_path_that_is_a_file_is_refused(tmp_path: Path) -> None:
    """The message says so, instead of a stack."""
    (tmp_path / "file").touch()

    with pytest.raises(ConfigError, match="not a folder"):
        embedded.start(tmp_path / "file")
    with pytest.raises(ConfigError, match="not a folder"):
        embedded.start(tmp_path / "file" / "below")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_refused(state_dir: Path) -> None:
    """Whoever owns the folder could read the data and replace the socket."""
    state_dir.mkdir()
    os.chown(state_dir, 12345, 12345)

    with pytest.raises(ConfigError, match="belongs to user 12345"):
        embedded.start(state_dir)


@pytest.mark.parametrize("name", ["a b%20c?#'", "x" * 120, "é" * 50], ids=["odd", "long", "wide"])
def test_any_path_works_for_the_store_and_the_broker(tmp_path: Path, state_dir: Path, name: str) -> None:
    """A checkout lies where its owner put it: with spaces, or too deep for a socket."""
    server = embedded.start(tmp_path / name / "state")

    client(server).set("in store", 1)
    with Connection(server.broker_url) as broker:  # type: ignore[no-untyped-call]
        queue = broker.SimpleQueue("some")
        queue.put("a message")
        client(server).flushdb()
        assert queue.get(timeout=60).payload == "a message"
        queue.close()

    assert client(server).dbsize() == 0
    assert stat.S_IMODE(server.socket.parent.stat().st_mode) == 0o700


def test_a_server_that_refuses_its_data_says_why(state_dir: Path) -> None:
    """The operator reads the server's own words."""
    server = embedded.start(state_dir)
    client(server).set("a", "b")
    embedded.stop(state_dir)
    [manifest] = state_dir.glob("data/appendonlydir/*.manifest")
    manifest.write_text("nonsense\n")

    with pytest.raises(ConfigError, match="manifest"):
        embedded.start(state_dir)
    manifest.unlink()


def test_a_silent_server_is_told_from_a_dead_one_and_can_be_ended(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stopped process holds its data; a second server beside it would destroy it."""
    server = embedded.start(state_dir)
    os.kill(server.pid, signal.SIGSTOP)
    monkeypatch.setattr(embedded, "START_SECONDS", 0.2)
    monkeypatch.setattr(embedded, "STOP_SECONDS", 0.2)

    assert embedded.status(state_dir).state == "silent"
    with pytest.raises(StoreUnreachable, match="lives and does not answer"):
        embedded.start(state_dir)
    assert embedded.stop(state_dir)
    assert embedded.status(state_dir).state == "stopped"


def fail_on(lent: list[RunningServer]) -> None:
    """Use a temporary server, and fail."""
    with embedded.temporary() as server:
        lent.append(server)
        assert client(server).ping()
        raise ZeroDivisionError


def test_a_temporary_server_leaves_nothing() -> None:
    """A demo and a test run clean up, also when what they did failed."""
    lent: list[RunningServer] = []

    with pytest.raises(ZeroDivisionError):
        fail_on(lent)

    [server] = lent
    wait_dead(server.pid)
    assert not server.state_dir.exists()
    assert not server.socket.exists()


OWNER = """
import os, sys
from orchestrator import embedded
with embedded.temporary() as server:
    if sys.argv[1] == "forks" and os.fork() == 0:
        os.write(1, f"child {os.getpid()}\\n".encode())
        sys.stdin.read()
        os._exit(0)
    os.write(1, f"server {server.pid} {server.state_dir}\\n".encode())
    sys.stdin.read()
"""


@pytest.mark.parametrize("how", ["alone", "forks"])
def test_a_temporary_server_dies_with_its_owner(how: str) -> None:
    """A demo that is killed leaves no server behind, even if a child of it lives on with all its descriptors."""
    owner = run_python(OWNER, how)
    assert owner.stdout is not None
    said = dict(line.split(maxsplit=1) for line in (owner.stdout.readline() for _ in range(1 + (how == "forks"))))
    pid, state_dir = said["server"].split()
    watches = [child for child in psutil.Process(owner.pid).children() if "embedded_watch" in " ".join(child.cmdline())]

    kill(owner.pid)

    wait_dead(int(pid))
    for watch in watches:
        wait_dead(watch.pid)
    assert len(watches) == 1
    assert not Path(state_dir).exists()
    owner.communicate()


def test_a_configured_store_starts_no_server(state_dir: Path) -> None:
    """An operator's own server is the only one then."""
    address = embedded.find_store("redis://host:6380/4", "", state_dir=state_dir)

    assert (address.url, address.broker_url, address.server) == ("redis://host:6380/4", "redis://host:6380/5", None)
    assert not state_dir.exists()


def test_without_a_configured_store_the_embedded_one_serves(state_dir: Path) -> None:
    """Nothing needs to be set up."""
    address = embedded.find_store("", "", state_dir=state_dir)

    assert address.server is not None
    assert address.url == address.server.url
    assert address.broker_url == address.server.broker_url


@pytest.mark.parametrize("url", ["redis+cluster://a:1", "redis://host/name", "sentinel://a:1/name?db=x"])
def test_a_broker_that_cannot_be_guessed_is_asked_for(url: str) -> None:
    """A wrong guess would mix the broker's keys with the store's."""
    with pytest.raises(ConfigError, match="set BATON_BROKER_URL"):
        embedded.broker_beside(url)


def test_the_fixtures_lend_an_empty_server(store_url: str, broker_url: str) -> None:
    """A test finds nothing of the test before it."""
    store = redis.Redis.from_url(store_url)

    assert store.dbsize() == 0
    assert broker_url.startswith("redis+socket://")
