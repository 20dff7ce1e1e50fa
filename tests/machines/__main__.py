"""`python -m tests.machines arm64|amd64`: the sandbox's attacks on another machine, made from the distribution's packages.

Builds a Debian 12 (building.py) that boots its own kernel and systemd under qemu, runs jobs in it (inside.py), and prints what came
of each. The machine has no network: code goes in, and output comes out, on disks. Emulated it is some ten times slower than this
one, so what measures time may end otherwise there. Exit code: 0 where each job ended with 0, 1 where one did not, 2 where nothing
could be run.
"""

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tests.machines.building import KINDS, ROOT, CannotRun, Kind, build, check_tools

#: Who runs a job: root's service, one with User=, a service of an ordinary user's own manager.
WHO: Final = ("root", "user", "manager")
DELEGATED: Final = ("Delegate=memory pids cpu",)
#: What goes into the machine: no more than the sandbox and its tests import.
CODE: Final = (
    "plugin_sandbox tests/sandbox tests/unit/plugin_sandbox tests/machines tests/plugin_runs.py pyproject.toml"
)
_PLUGINS_UNIT: Final = "deploy/systemd/baton-worker-plugins@.service"
_HANDED_BYTES: Final = 64 << 20


def make_job(
    name: str, who: str, command: str, *more: str, properties: Sequence[str] = DELEGATED, seconds: int = 3600
) -> dict[str, Any]:
    """Return a job as inside.py reads it. properties: lines of a service's section; seconds: after which systemd ends it."""
    argv = [*command.split(), *more]
    return {"name": f"{name}-{who}", "as": who, "argv": argv, "properties": properties, "seconds": seconds}


def list_jobs(tests: Sequence[str]) -> list[dict[str, Any]]:
    """Return what is run, the quick first; tests: arguments of pytest's, for a last run as root and as an ordinary user."""
    sandbox = "python3 -m plugin_sandbox"
    doctor = f"{sandbox} doctor -o json"
    jobs = [make_job("doctor", who, doctor) for who in WHO]
    jobs.append(make_job("doctor-alone", "user", doctor, properties=()))
    shipped = [*confine((ROOT / _PLUGINS_UNIT).read_text()), "Environment=XDG_STATE_HOME=%S"]
    jobs.append(make_job("doctor-unit", "root", doctor, properties=shipped))
    jobs += [make_job("limits", who, "python3 -m tests.sandbox.caps") for who in WHO]
    for tier in ("strict", "standard"):
        attack = f"{sandbox} attack -o json --patience 8 --tier {tier}"
        jobs += [make_job(f"attack-{tier}", who, attack) for who in ("root", "user")]
    pytest = "python3 -m pytest -q -p no:cacheprovider --confcutdir=tests/sandbox -o timeout=1200"
    return jobs + [make_job("tests", who, pytest, *tests, seconds=7200) for who in ("root", "user") if tests]


def confine(unit: str) -> list[str]:
    """Return the lines of a shipped unit that say who its worker is and what it may do, without what starts and feeds it."""
    lines = unit.partition("[Service]\n")[2].partition("\n[")[0].splitlines()
    others = ("#", "Type=", "Exec", "Environment", "LoadCredential=", "Restart=", "RestartSec=")
    return [line for line in lines if line and not line.startswith(others)]


def pack(jobs: Sequence[dict[str, Any]], folder: Path) -> None:
    """Write the disk that takes code and jobs in, and an empty one for what comes out."""

    def root_owned(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
        entry.uid = entry.gid = 0
        return None if "__pycache__" in entry.name else entry

    with tarfile.open(folder / "in.tar", "w") as tar:
        for name in CODE.split():
            tar.add(ROOT / name, name, filter=root_owned)
        entry = tarfile.TarInfo("jobs.json")
        raw = json.dumps(jobs).encode()
        entry.size, entry.mode = len(raw), 0o644
        tar.addfile(entry, io.BytesIO(raw))
    with (folder / "out.tar").open("wb") as out:
        out.truncate(_HANDED_BYTES)


def command_of(kind: Kind, folder: Path, *, lends: bool) -> list[str]:
    """Return the emulator's command line; lends: the host is of this kind and runs the machine on its own processor."""
    words = [kind.emulator, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-nic", "none"]
    words += ["-machine", kind.board, "-smp", "2", "-m", "3072", "-serial", f"file:{folder}/console.log"]
    words += ["-accel", "kvm", "-cpu", "host"] if lends else ["-accel", "tcg,thread=multi", "-cpu", kind.processor]
    words += ["-kernel", f"{folder}/kernel", "-initrd", f"{folder}/initrd"]
    words += ["-append", f"console={kind.console} rw quiet panic=-1 systemd.show_status=0"]
    for number, name in enumerate(("disk.img,snapshot=on", "in.tar,readonly=on", "out.tar")):
        words += ["-drive", f"if=none,id=d{number},format=raw,file={folder}/{name}"]
        words += ["-device", f"virtio-blk-pci,drive=d{number}"]
    return words


def tell(folder: Path) -> int:
    """Print what came of each job that was done; return the exit code."""
    results = folder / "results"
    shutil.rmtree(results, ignore_errors=True)
    try:
        with tarfile.open(folder / "out.tar") as tar:
            tar.extractall(results, filter="data")
        done = [json.loads(line) for line in (results / "jobs.jsonl").read_text().splitlines()]
    except (tarfile.ReadError, FileNotFoundError) as error:
        raise CannotRun(f"the machine: did no job; {folder}/console.log says why") from error
    for job in done:
        said = (results / f"{job['name']}.out").read_text(errors="replace").splitlines()
        print(f"{job['name']:22} code {job['code']:<3} {job['took_seconds']:>5} s  {sum_up(said)}")
    return 1 if any(job["code"] for job in done) else 0


def sum_up(said: Sequence[str]) -> str:
    """Return in one line what a job said."""
    found = [json.loads(line) for line in said if line.startswith('{"')]
    if not found:
        return said[-1] if said else "it said nothing"
    if "layers" in found[0]:
        lacking = ", ".join(f"{layer} ({found[0]['layers'][layer]})" for layer in found[0]["missing"])
        return f"tier {found[0]['tier']}, missing: {lacking or 'nothing'} {found[0]['error']}"
    if "stopped" in found[0]:
        wrong = [f"{one['name']} (by {one['by']}: {one['outcome']})" for one in found if not one["stopped"]]
        what = "attacks stopped"
    else:
        wrong = [
            f"{one['cap']} {one['amount']} {one['found']}"
            for one in found
            if one["found"] != [one["status"], one["limit"]]
        ]
        what = "tries of a limit ended as they should"
    return f"{len(found) - len(wrong)} of {len(found)} {what}" + (f"; not: {', '.join(wrong)}" if wrong else "")


def main() -> int:
    """Build where needed, boot, tell."""
    parser = argparse.ArgumentParser(prog="python -m tests.machines", description=__doc__)
    parser.add_argument("kind", choices=sorted(KINDS), help="Debian's name for the machine")
    parser.add_argument("--backports", action="store_true", help="the newer kernel of the release's backports")
    parser.add_argument("--folder", type=Path, default=ROOT / ".runtime" / "machines", help="keeps images and results")
    parser.add_argument("--rebuild", action="store_true", help="make the image again, of what the mirror has now")
    parser.add_argument(
        "--only", action="append", default=[], metavar="JOB", help="jobs whose name begins so; may be repeated"
    )
    parser.add_argument(
        "--tests", nargs="*", default=[], metavar="ARG", help="arguments of pytest's, run in the machine too"
    )
    parser.add_argument("--kvm", action="store_true", help="on the host's own processor, where it is of this kind")
    parser.add_argument("--seconds", type=float, default=4 * 3600, help="the machine is ended after that")
    given = parser.parse_args()
    kind = KINDS[given.kind]
    folder = given.folder.resolve() / (kind.debian + ("-backports" if given.backports else ""))
    try:
        check_tools(kind)
        if given.kvm and (os.uname().machine != kind.machine or not os.access("/dev/kvm", os.R_OK | os.W_OK)):
            raise CannotRun("--kvm: /dev/kvm cannot be used for this kind of machine here; leave it out to emulate")
        folder.mkdir(parents=True, exist_ok=True)
        if given.rebuild or not (folder / "disk.img").exists():
            print(f"building {folder}/disk.img", flush=True)
            build(kind, folder, backports=given.backports)
        jobs = [job for job in list_jobs(given.tests) if not given.only or job["name"].startswith(tuple(given.only))]
        pack(jobs, folder)
        print(f"running {len(jobs)} jobs; {folder}/console.log tells how far they are", flush=True)
        try:
            subprocess.run(
                command_of(kind, folder, lends=given.kvm), stdin=subprocess.DEVNULL, timeout=given.seconds, check=False
            )
        except subprocess.TimeoutExpired:
            print(f"the machine was ended after {given.seconds:.0f} s; raise --seconds")
        return tell(folder)
    except CannotRun as error:
        print(f"machines: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
