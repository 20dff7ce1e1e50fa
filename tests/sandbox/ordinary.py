"""Runs a program of the sandbox as an ordinary user, who has none of root's rights and reaches none of its folders."""

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

import pytest

ORDINARY = 12_345


def python_for_all() -> str:
    """Return an interpreter of this version that an ordinary user may start."""
    found = f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    assert Path(found).exists(), f"{found} is missing: install it, so that the suite can run as an ordinary user"
    return found


def start_as(uid: int, arguments: Sequence[str], home: Path, *, files: Sequence[Path] = ()) -> "subprocess.Popen[str]":
    """Start Python with these arguments in a copy of the package, as this user; `home/tmp` is the user's own."""
    if os.geteuid() != 0 and uid != os.geteuid():
        pytest.skip("only root can become another user")
    if not (home / "plugin_sandbox").exists():
        shutil.copytree("plugin_sandbox", home / "plugin_sandbox", ignore=shutil.ignore_patterns("__pycache__"))
    for file in files:
        shutil.copyfile(file, home / file.name)
    for folder in (home / "tmp", home / "tmp" / "run"):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o777)
    return subprocess.Popen(
        [python_for_all(), *arguments],
        cwd=home,
        user=uid if os.geteuid() == 0 else None,
        group=uid if os.geteuid() == 0 else None,
        extra_groups=[] if os.geteuid() == 0 else None,
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(home / "tmp"),
            "TMPDIR": str(home / "tmp"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": f"{home}:{sysconfig.get_path('purelib')}",
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_as(uid: int, arguments: Sequence[str], home: Path, *, files: Sequence[Path] = ()) -> str:
    """Run it as `start_as` does; return what it printed."""
    with start_as(uid, arguments, home, files=files) as process:
        try:
            said, complaint = process.communicate(timeout=280)
        finally:
            process.kill()
    assert said, complaint
    return said
