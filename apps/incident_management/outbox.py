"""Pages to people on call: one JSON line each in an outbox file, once for each idempotency key.

A real pager reads the file, or takes the place of this module. The file is locked while it is read
and written, so that two workers cannot page twice for one key.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from pydantic import BaseModel, ValidationError


class Page(BaseModel):
    """One page. `page_id` follows from the key, so a repetition finds the first."""

    page_id: str
    incident_id: str
    team: str
    message: str
    delivered_at: str


class OutboxError(Exception):
    """The page was not delivered; the message may be shown to a model."""


def deliver_page(path: Path, *, incident_id: str, team: str, message: str, key: str) -> tuple[Page, bool]:
    """Append a page and return it, or the one that was delivered under this key; say which it was."""
    page_id = f"page-{sha256((key or f'{incident_id}|{team}|{message}').encode()).hexdigest()[:12]}"
    try:
        with _locked(path) as file:
            for line in file:
                earlier = _parse(line)
                if earlier is not None and earlier.page_id == page_id:
                    return earlier, True
            page = Page(
                page_id=page_id,
                incident_id=incident_id,
                team=team,
                message=message,
                delivered_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
            )
            text = json.dumps(page.model_dump()) + "\n"
            if file.tell() and not _ends_with_newline(file):
                text = "\n" + text  # a crash left half a line: keep it apart
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
            return page, False
    except OSError as error:
        raise OutboxError(f"outbox {path}: cannot be written ({error.strerror}); page the team by hand") from error


def _ends_with_newline(file: BinaryIO) -> bool:
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"


def _parse(line: bytes) -> Page | None:
    try:
        return Page.model_validate_json(line)
    except ValidationError:  # half a line after a crash
        return None


@contextmanager
def _locked(path: Path) -> Iterator[BinaryIO]:
    with path.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        yield file
