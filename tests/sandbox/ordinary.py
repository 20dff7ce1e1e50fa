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


def run_as(uid: int, arguments: Sequence[str], home: Path, *, files: Sequence[Path] = ()) -> str:
    """Run Python with these arguments in a copy of the package, as this user; return what it printed."""
    if os.geteuid() != 0 and uid != os.geteuid():
        pytest.skip("only root can become another user")
    shutil.copytree("plugin_sandbox", home / "plugin_sandbox", ignore=shutil.ignore_patterns("__pycache__"))
    for file in files:
        shutil.copyfile(file, home / file.name)
    for path in (*home.parents, home):
        if path.is_relative_to("/tmp") and path != Path("/tmp"):
            path.chmod(0o755)
    (home / "tmp").mkdir()
    (home / "tmp").chmod(0o777)
    done = subprocess.run(
        [python_for_all(), *arguments],
        cwd=home,
        user=uid,
        group=uid,
        extra_groups=[],
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(home / "tmp"),
            "TMPDIR": str(home / "tmp"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": f"{home}:{sysconfig.get_path('purelib')}",
        },
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.stdout, done.stderr
    return done.stdout
