"""Recordings of sessions for the process that goes through them with another version of their app.

The command line knows neither an app's code nor the steps: `python -m workers.rehearsal` does, and reads the recordings from
its standard input.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from orchestrator.contracts.base import JsonObject, dump_json, load_json
from orchestrator.contracts.errors import ConfigError
from orchestrator.interfaces.cli.stack import with_import_path

if TYPE_CHECKING:
    from orchestrator.client import Client

#: How long all sessions of one command may take together.
REHEARSAL_SECONDS: Final = 600.0


async def read_recording(client: "Client", session_id: str) -> JsonObject:
    """Return a session's id, app and whole journal."""
    from orchestrator.forks import read_entries

    record = await client.show(session_id)
    stored = await read_entries(client, session_id, after=0, upto=record.seq)
    entries: list[JsonObject] = [{**body, "seq": seq, "at": at} for seq, at, body in stored]
    return {"session_id": session_id, "app": record.app, "entries": list(entries)}


def rehearse(folder: Path, recordings: Sequence[JsonObject]) -> list[JsonObject]:
    """Return what each recording would be with the app in this folder; raise ConfigError with what the process says."""
    command = [sys.executable, "-P", "-m", "workers.rehearsal", str(folder)]
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter, our own module
            command,
            env=with_import_path(os.environ),
            input=dump_json(list(recordings)),
            capture_output=True,
            text=True,
            timeout=REHEARSAL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ConfigError(f"replay: not done within {REHEARSAL_SECONDS:.0f} s; name fewer sessions") from error
    if done.returncode != 0:
        raise ConfigError(done.stderr.strip() or f"replay: it ended with {done.returncode} and said nothing")
    return cast("list[JsonObject]", load_json(done.stdout))
