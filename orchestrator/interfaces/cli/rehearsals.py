"""Recordings of sessions for the process that goes through them with another version of their app.

The command line knows neither an app's code nor the steps: `python -m workers.rehearsal` does, and reads the recordings from
its standard input.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from orchestrator.contracts.base import JsonObject, dump_json
from orchestrator.interfaces.cli.modules import ask_module

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
    return ask_module(
        "workers.rehearsal",
        [folder],
        where="replay",
        seconds=REHEARSAL_SECONDS,
        advice="name fewer sessions",
        said=dump_json(list(recordings)),
    )
