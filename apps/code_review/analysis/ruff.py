"""Run the real ruff over one file's content and turn what it says of changed lines into findings.

The file is given on stdin under a neutral name, with `--isolated`: no configuration, cache or
plugin of the reviewed repository takes part. Rules that our own analysers cover are left out.
"""

import os
import shutil
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from ..process import ProgramMissing, ProgramTimeout, run_bounded
from .findings import Finding, Severity

_SELECT: Final = "E9,F,B,PLE,W605,ASYNC"
#: E722 and B006 are ours (python_ast); B008, B904, B905, B028 are matters of taste here.
_IGNORE: Final = "E722,B006,B008,B028,B904,B905,ASYNC109"
_ERRORS: Final = ("F5", "F6", "F7", "F82", "PLE", "E9")
_NOT_ERRORS: Final = ("F541", "F632")
_INFOS: Final = ("F401", "F541", "F841", "B007", "B009", "B010")
_SECONDS: Final = 20.0
_OUTPUT_BYTES: Final = 4 * 1024 * 1024


class RuffUnavailable(Exception):
    """Ruff is not installed or did not answer; the message says which."""


class _Place(BaseModel):
    row: int


class _Remark(BaseModel):
    code: str | None
    message: str
    location: _Place
    end_location: Annotated[_Place | None, Field(default=None)]


_REMARKS: Final = TypeAdapter(list[_Remark])


def find_ruff() -> str:
    """Return the path of ruff, beside this interpreter or on PATH; raise RuffUnavailable."""
    beside = Path(sys.executable).parent / "ruff"
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which("ruff")
    if found is None:
        raise RuffUnavailable("ruff: not installed beside this Python nor on PATH; install it where the workers run")
    return found


def run_ruff(path: str, source: bytes, changed: Collection[int] | None) -> list[Finding]:
    """Return ruff's findings on changed lines (None: all); raise RuffUnavailable."""
    argv = (
        *(find_ruff(), "check", "--isolated", "--no-cache", "--exit-zero", "--quiet", "--output-format", "json"),
        *("--target-version", "py314", "--select", _SELECT, "--ignore", _IGNORE),
        *("--stdin-filename", _neutral_name(path), "-"),
    )
    try:
        done = run_bounded(
            argv,
            cwd=os.sep,
            env={"PATH": os.defpath, "LC_ALL": "C"},
            stdin=source,
            timeout_seconds=_SECONDS,
            max_bytes=_OUTPUT_BYTES,
        )
    except (ProgramMissing, ProgramTimeout) as error:
        raise RuffUnavailable(f"ruff: {error}") from error
    if done.truncated:
        raise RuffUnavailable(f"ruff: more than {_OUTPUT_BYTES} bytes of findings on one file")
    try:
        remarks = _REMARKS.validate_json(done.stdout or b"[]")
    except ValidationError as error:
        reason = done.stderr.strip()[:200] or "its answer was not understood"
        raise RuffUnavailable(f"ruff: exit {done.returncode}: {reason}") from error
    return [_finding(path, remark) for remark in remarks if _is_changed(remark, changed)]


def _neutral_name(path: str) -> str:
    """Keep of a path what changes a rule's meaning: the suffix, and being a package's face."""
    name = path.rpartition("/")[2]
    if name in ("__init__.py", "__init__.pyi"):
        return name
    return "module.pyi" if name.endswith(".pyi") else "module.py"


def _is_changed(remark: _Remark, changed: Collection[int] | None) -> bool:
    return changed is None or _is_syntax_error(remark) or remark.location.row in changed


def _is_syntax_error(remark: _Remark) -> bool:
    return remark.code in (None, "invalid-syntax", "syntax-error")


def _finding(path: str, remark: _Remark) -> Finding:
    syntax = _is_syntax_error(remark)
    code = "invalid-syntax" if syntax else remark.code or ""
    return Finding(
        file=path,
        line=max(remark.location.row, 1),
        severity="error" if syntax else _severity(code),
        category="syntax" if syntax else "correctness",
        message=f"Not valid Python: {remark.message}"[:600] if syntax else f"{remark.message} ({code})"[:600],
        rule=code,
    )


def _severity(code: str) -> Severity:
    if code in _INFOS:
        return "info"
    return "error" if code.startswith(_ERRORS) and code not in _NOT_ERRORS else "warning"
