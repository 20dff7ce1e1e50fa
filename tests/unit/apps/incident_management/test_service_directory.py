"""A service directory names a command that a repair will run, so it is trusted with care."""

import json
import os
from pathlib import Path

import pytest

from apps.incident_management.service import ServiceError, find_process, load_service

GOOD = {"name": "shop", "url": "http://127.0.0.1:8000", "log": "a.log", "command": ["/bin/true"]}


def declare(folder: Path, **changes: object) -> Path:
    """Write a declaration and return its folder."""
    folder.mkdir(mode=0o700, exist_ok=True)
    (folder / "service.json").write_text(json.dumps({**GOOD, **changes}))
    return folder


def test_a_good_declaration_is_read(tmp_path: Path) -> None:
    """The plain case."""
    service = load_service(str(declare(tmp_path / "s")))

    assert (service.name, service.log_path, service.starts()) == ("shop", tmp_path / "s" / "a.log", [])


@pytest.mark.parametrize(
    "url",
    [
        *(
            "http://10.0.0.1:80",
            "http://example.com:80",
            "https://127.0.0.1:80",
            "file:///etc/passwd",
            "http://127.0.0.1",
        ),
        *(
            "http://user@127.0.0.1:80",
            "http://127.0.0.1:80/path",
            "http://127.0.0.1.example.com:80",
            "http://169.254.169.254:80",
        ),
        *("http://127.0.0.1:80?x", "ftp://127.0.0.1:80", "http://:80", "http://127.0.0.1:99999"),
    ],
)
def test_only_this_machines_loopback_is_asked(tmp_path: Path, url: str) -> None:
    """A declaration must not turn a worker into a way into other networks."""
    with pytest.raises(ServiceError, match="url"):
        load_service(str(declare(tmp_path / "s", url=url)))


@pytest.mark.parametrize(
    "changes",
    [
        {"command": []},
        {"name": "../x"},
        {"health_path": "health"},
        {"health_path": "/a b\r\nX: y"},
        {"extra": 1},
        {"pid": -1},
    ],
)
def test_a_bad_declaration_is_refused_with_the_field(tmp_path: Path, changes: dict[str, object]) -> None:
    """An operator mends it by the message alone."""
    with pytest.raises(ServiceError, match=next(iter(changes))):
        load_service(str(declare(tmp_path / "s", **changes)))


@pytest.mark.parametrize("text", ["", "{", "[]", "x" * 100_000])
def test_what_is_no_declaration_is_refused(tmp_path: Path, text: str) -> None:
    """Broken or huge files are told, and never read whole."""
    declare(tmp_path / "s")
    (tmp_path / "s" / "service.json").write_text(text)

    with pytest.raises(ServiceError, match=r"service\.json"):
        load_service(str(tmp_path / "s"))


def test_a_missing_directory_is_told(tmp_path: Path) -> None:
    """Also where the session knows of none."""
    for folder in ("", str(tmp_path / "none"), "a\x00b"):
        with pytest.raises(ServiceError):
            load_service(folder)


def test_what_others_can_write_is_refused(tmp_path: Path) -> None:
    """Whoever writes the declaration chooses what is run."""
    folder = declare(tmp_path / "s")
    folder.chmod(0o777)
    with pytest.raises(ServiceError, match="others can write"):
        load_service(str(folder))

    folder.chmod(0o700)
    (folder / "service.json").chmod(0o666)
    with pytest.raises(ServiceError, match="others can write"):
        load_service(str(folder))


@pytest.mark.parametrize(("folder_mode", "file_mode"), [(0o770, 0o600), (0o720, 0o600), (0o750, 0o660)])
def test_what_a_group_can_write_is_refused(tmp_path: Path, folder_mode: int, file_mode: int) -> None:
    """A group is others, too; one that cannot come to a file cannot write it, whatever its mode says."""
    folder = declare(tmp_path / "s")
    (folder / "service.json").chmod(0o660)
    assert load_service(str(folder)).name == "shop"
    (folder / "service.json").chmod(file_mode)
    folder.chmod(folder_mode)

    with pytest.raises(ServiceError, match="others can write"):
        load_service(str(folder))


def test_a_link_or_pipe_in_place_of_the_declaration_is_refused(tmp_path: Path) -> None:
    """A link may point to a file of another service, a pipe would block for ever."""
    real = declare(tmp_path / "real")
    linked = tmp_path / "linked"
    linked.mkdir(mode=0o700)
    (linked / "service.json").symlink_to(real / "service.json")
    piped = tmp_path / "piped"
    piped.mkdir(mode=0o700)
    os.mkfifo(piped / "service.json")

    for folder in (linked, piped):
        with pytest.raises(ServiceError):
            load_service(str(folder))


def test_nothing_outside_the_allowed_folder_is_acted_on(tmp_path: Path) -> None:
    """The operator says which services a worker may restart; a link is no way around it."""
    outside = declare(tmp_path / "s")
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    (allowed / "link").symlink_to(outside)
    inside = declare(allowed / "s")

    for folder in (outside, allowed / "link", allowed / ".." / "s"):
        with pytest.raises(ServiceError, match="outside the allowed folder"):
            load_service(str(folder), root=str(allowed))
    assert load_service(str(inside), root=str(allowed)).name == "shop"


@pytest.mark.parametrize("log", ["/etc/passwd", "../other.log", "link.log"])
def test_a_log_outside_the_directory_is_not_read(tmp_path: Path, log: str) -> None:
    """The log is shown to models and stored with the session."""
    folder = declare(tmp_path / "s", log=log)
    (folder / "link.log").symlink_to("/etc/passwd")

    with pytest.raises(ServiceError, match="log lies outside"):
        _ = load_service(str(folder)).log_path


def test_a_reused_pid_is_not_the_service() -> None:
    """This very process has the pid, and was not started then."""
    assert find_process(os.getpid(), 1_000.0) is None
    assert find_process(0, 0.0) is None


def test_half_a_line_of_the_history_is_passed_over(tmp_path: Path) -> None:
    """A crash may leave one."""
    folder = declare(tmp_path / "s")
    line = '{"pid": 5, "create_time": 1.0, "at": 2.0, "reason": "x"}\n'
    (folder / "starts.jsonl").write_text(line + line + '{"pid": 5, "crea')

    service = load_service(str(folder))

    assert len(service.starts()) == 2
    assert (service.restarts_since(0), service.restarts_since(3)) == (1, 0)
