"""What the machines are made of, as far as it needs no emulator: sources, versions, modules, archives, units, refusals."""

from pathlib import Path

import pytest

from tests.machines.__main__ import WHO, confine, list_jobs, sum_up
from tests.machines.building import (
    KINDS,
    ROOT,
    WHEELS,
    CannotRun,
    check_tools,
    choose_sources,
    order_modules,
    pack_cpio,
    pick_versions,
)

LOCK = "one==1.2 ; python_full_version < '3.12' \\\n    --hash=sha256:00\none==1.3 ; python_full_version >= '3.12' \\\ntwo-c==2\n"


def test_the_mirror_is_the_one_that_the_hosts_apt_names() -> None:
    """No host's name is written anywhere; what is not the distribution's own is left out."""
    told = (
        "Debian|http://a/debian/|bookworm|main\nOther|http://b/|bookworm|main\nDebian|http://a/debian/|bookworm|contrib"
    )

    found = choose_sources(told, backports=True)

    assert [line.partition("] ")[2] for line in found] == [
        "http://a/debian/ bookworm main",
        "http://a/debian/ bookworm-backports main",
    ]


def test_a_host_without_the_distribution_is_refused() -> None:
    """It says what to do, in one sentence."""
    with pytest.raises(CannotRun, match="names no mirror of Debian bookworm; run it where"):
        choose_sources("Ubuntu|http://a/|noble|main", backports=False)


def test_a_host_without_the_emulator_is_told_its_package(tmp_path: Path) -> None:
    """Before anything is fetched."""
    with pytest.raises(CannotRun, match="qemu-system-aarch64: is not there; apt-get install qemu-system-arm"):
        check_tools(KINDS["arm64"], path=str(tmp_path))


def test_wheels_come_at_the_versions_of_the_lock() -> None:
    """Those of the machine's Python; a name that the lock has not is an error, and not the newest version."""
    assert pick_versions(LOCK, ["two-c", "one"]) == ["two-c==2", "one==1.2"]
    assert len(pick_versions((ROOT / "requirements.lock").read_text(), WHEELS.split())) == len(WHEELS.split())
    with pytest.raises(CannotRun, match="does not name three"):
        pick_versions(LOCK, ["three"])


def test_a_module_is_loaded_after_what_it_needs(tmp_path: Path) -> None:
    """There is no modprobe before there is a disk; what is not there is built in."""
    needs = {"disk": "ring,bus", "ring": "bus", "bus": ""}
    for name, others in needs.items():
        (tmp_path / name).write_bytes(b"code\0depends=" + others.encode() + b"\0code")

    assert list(order_modules(["built_in", "disk", "bus"], {name: tmp_path / name for name in needs})) == [
        "bus",
        "ring",
        "disk",
    ]


def test_the_first_root_is_an_archive_as_others_read_it(tmp_path: Path) -> None:
    """The kernel would say nothing but that there is no init."""
    raw = pack_cpio([("bin", 0o040755, b""), ("bin/init", 0o100755, b"odd"), ("last", 0o100644, b"1234")])
    (tmp_path / "a.cpio").write_bytes(raw)

    assert len(raw) % 4 == 0
    assert [raw[raw.index(name) - 110 :][:6] for name in (b"bin\0", b"bin/init\0", b"last\0")] == [b"070701"] * 3
    assert raw.endswith(b"TRAILER!!!\0\0\0\0")


def test_the_shipped_unit_is_tried_with_all_that_confines_it() -> None:
    """What starts and feeds its worker is left out; a line that forbids something is not."""
    lines = confine((ROOT / "deploy/systemd/baton-worker-plugins@.service").read_text())

    assert {
        "Delegate=memory pids cpu",
        "DynamicUser=yes",
        "NoNewPrivileges=yes",
        "SystemCallFilter=@system-service",
    } <= {*lines}
    assert [line for line in lines if line.startswith(("Exec", "LoadCredential", "Environment", "["))] == []


def test_every_kind_of_worker_is_tried() -> None:
    """Names are those of files, so each is there once."""
    names = [job["name"] for job in list_jobs(["tests/sandbox/test_attacks.py"])]

    assert len({*names}) == len(names)
    assert {f"doctor-{who}" for who in WHO} | {"attack-strict-root", "attack-strict-user", "tests-user"} <= {*names}


def test_what_got_through_is_named() -> None:
    """A count alone would send the reader to the archive."""
    said = [
        '{"name": "spin", "stopped": true, "outcome": "", "by": ""}',
        '{"name": "kcmp", "stopped": false, "outcome": "read", "by": "seccomp"}',
    ]

    assert sum_up(said) == "1 of 2 attacks stopped; not: kcmp (by seccomp: read)"
    assert sum_up(["....", "4 passed"]) == "4 passed"
    assert sum_up([]) == "it said nothing"
