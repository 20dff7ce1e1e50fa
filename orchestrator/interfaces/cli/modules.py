"""A question to a module of ours that the command line must not import, asked in a process of its own.

The command line knows neither an app's code nor the sandbox's rules: such a module does, and answers on its standard output.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from orchestrator.contracts.base import JsonObject, load_json
from orchestrator.contracts.errors import ConfigError
from orchestrator.interfaces.cli.stack import with_import_path


def ask_module(
    module: str, folders: Sequence[Path], *, where: str, seconds: float, advice: str, said: str = ""
) -> list[JsonObject]:
    """Return what `python -m module FOLDER...` answers to what is `said` on its standard input.

    Raises ConfigError, which begins with `where`, with what the process says, and with the `advice` where it takes longer.
    """
    command = [sys.executable, "-P", "-m", module, *(str(folder) for folder in folders)]
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter, our own module
            command,
            env=with_import_path(os.environ),
            input=said,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ConfigError(f"{where}: not done within {seconds:.0f} s; {advice}") from error
    if done.returncode != 0:
        raise ConfigError(done.stderr.strip() or f"{where}: it ended with {done.returncode} and said nothing")
    return cast("list[JsonObject]", load_json(done.stdout))
