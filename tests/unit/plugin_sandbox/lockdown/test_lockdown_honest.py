"""What honest plugins do goes on in a locked-down process; what only looks like it does not."""

import asyncio
import contextlib
import ctypes
import importlib.util
import os
import shutil
import sqlite3
import subprocess
import sys
import sysconfig
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plugin_sandbox.inner.box import LAYERS, Box
from tests.unit.plugin_sandbox.lockdown.users import MiB, as_users, uid_of, user_of


async def _ask_a_thread() -> str:
    return await asyncio.to_thread(lambda: "answered")


def _honest(box: Box) -> list[object]:
    """What plugins do."""
    work, tmp = Path(box.work), Path(box.tmp)
    (work / "folder").mkdir()
    (work / "folder" / "a.txt").write_text("a")
    shutil.copy2(work / "folder" / "a.txt", work / "b.txt")
    (work / "touched").touch()
    (work / "b.txt").rename(work / "folder" / "c.txt")
    shutil.move(work / "folder" / "c.txt", tmp / "c.txt")
    with tempfile.NamedTemporaryFile(dir=tmp) as file:
        file.write(b"x")
    with contextlib.closing(sqlite3.connect(work / "data.db")) as database:
        database.execute("create table t (a)")
        database.execute("insert into t values (7)")
        database.commit()
        (kept,) = database.execute("select a from t").fetchone()
    said: list[int] = []
    threads = [threading.Thread(target=said.append, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(lambda number: number + 1)
    answer = asyncio.run(_ask_a_thread())
    shutil.rmtree(work / "folder")
    return [kept, sorted(said), callback(1), answer, sorted(os.listdir(work)), len(os.urandom(4)), os.uname().machine]


@as_users()
def test_honest_work_goes_on(who: str, make_box: Any, run_child: Any) -> None:
    """Files, copies, a database, threads, callbacks from C, an event loop."""
    asyncio.run(_ask_a_thread())  # what it imports late must be there: the ordinary user may not walk to it

    found = run_child(make_box(**user_of(who)), _honest, user=uid_of(who))

    assert found == [7, [0, 1, 2, 3], 2, "answered", ["data.db", "touched"], 4, os.uname().machine]


@pytest.mark.parametrize("name", ["numpy", "pydantic"])
def test_wheels_with_native_code_work(name: str, make_box: Any, run_child: Any) -> None:
    """They map code, start threads, ask for processors: what the filter knows nothing about must be harmless to them."""
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed; it comes with the project's dev dependencies")

    def work(_: Box) -> object:
        for loaded in [module for module in sys.modules if module.partition(".")[0] in {name, name + "_core"}]:
            del sys.modules[loaded]
        module = importlib.import_module(name)
        if name == "numpy":
            return float(module.linalg.inv(module.eye(300) * 2).sum())
        return module.TypeAdapter(list[int]).validate_json("[1, 2]")

    roots = {os.path.realpath(path) for path in (*sys.path, sysconfig.get_path("stdlib")) if Path(path).is_dir()}
    box = make_box(sys_path=tuple(sorted(roots)), threads=64, memory_bytes=1024 * MiB, file_bytes=64 * MiB)

    assert run_child(box, work) == (150.0 if name == "numpy" else [1, 2])


def _run(path: str) -> Callable[[Box], object]:
    def work(_: Box) -> object:
        try:
            return subprocess.run([path], check=False, capture_output=True).returncode
        except OSError as error:
            return f"errno {error.errno}"

    return work


@as_users()
def test_only_granted_programs_are_executed(who: str, make_box: Any, run_child: Any) -> None:
    """By name of the file; its loader comes with it, and nothing that lies beside."""
    granted, other = (os.path.realpath(shutil.which(name) or "") for name in ("true", "id"))
    user = uid_of(who)
    box = make_box(processes=2, programs=(granted,), **user_of(who))

    assert run_child(box, _run(granted), user=user) == 0
    assert run_child(box, _run(other), user=user) == "errno 13"
    assert run_child(make_box(processes=2, **user_of(who)), _run(granted), user=user) == "errno 1"
    assert run_child(make_box(off=LAYERS), _run(other), user=user) == 0


def test_a_program_of_its_own_is_not_executed(make_box: Any, run_child: Any) -> None:
    """Neither from its workspace nor from its temporary folder."""
    granted = os.path.realpath(shutil.which("true") or "")

    def work(box: Box) -> object:
        found = []
        for folder in (box.work, box.tmp):
            shutil.copyfile(granted, folder + "/mine")
            Path(folder, "mine").chmod(0o755)
            found.append(_run(folder + "/mine")(box))
        return found

    assert run_child(make_box(processes=2, programs=(granted,)), work) == ["errno 13"] * 2
    assert run_child(make_box(off=LAYERS), work) == [0, 0]


def test_another_abi_ends_the_process(make_box: Any, run_child: Any) -> None:
    """x32's numbers are judged as what they are: an attempt."""

    def work(_: Box) -> int:
        return int(ctypes.CDLL(None).syscall(ctypes.c_long(0x4000_0000 | 39)))

    if os.uname().machine != "x86_64":
        pytest.skip("x86_64 alone has it")
    assert run_child(make_box(), work) == "ended with -31"
