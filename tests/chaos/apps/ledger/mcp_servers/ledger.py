"""Tools that act on the outside world, which here is a folder: every act leaves one line or one file."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastmcp import FastMCP

from ..steps import work  # noqa: TID252 - an app's own folder has no name that could be imported


def write_line(path: Path, line: str) -> None:
    """Append one line in one write: it is there whole, or it is not there."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, f"{line}\n".encode())
    finally:
        os.close(descriptor)


def act_once(folder: Path, key: str) -> bool:
    """Act under a key; what was done under it before is not done again."""
    try:
        os.close(os.open(folder / key.replace("/", "_"), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return False
    return True


def register(mcp_app: FastMCP[Any], cfg: Mapping[str, Any]) -> None:
    """Offer the tools."""
    folder = Path(cfg["folder"])

    @mcp_app.tool
    def note(number: int, session_id: str, idempotency_key: str) -> dict[str, Any]:
        """Act once per key."""
        write_line(folder / "note.calls", f"{session_id} {number} {idempotency_key}")
        return {"number": number, "new": act_once(folder / "note", idempotency_key)}

    @mcp_app.tool
    def permit(number: int, session_id: str, idempotency_key: str) -> dict[str, Any]:
        """Act once per key, where a person allowed it."""
        write_line(folder / "permit.calls", f"{session_id} {number} {idempotency_key}")
        return {"number": number, "new": act_once(folder / "permit", idempotency_key)}

    @mcp_app.tool
    async def act(number: int, session_id: str) -> dict[str, Any]:
        """Act again at every call, in the middle of some work: a crash leaves open whether it was before or after."""
        await work(0.15)
        write_line(folder / "act.calls", f"{session_id} {number} {time.monotonic() * 1000:.0f}")
        await work(0.15)
        return {"number": number}
