"""Values as the API answers them: those of the command line, and cursors."""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode

from pydantic import JsonValue

from orchestrator.contracts.base import JsonObject, dump_json, load_json
from orchestrator.contracts.errors import InputError
from orchestrator.contracts.session import Record
from orchestrator.interfaces.cli.shapes import entry_shape, iso, message_shape, session_shape, unread_shape, wait_shape
from orchestrator.operations import Page, Place

__all__ = [
    "entry_shape",
    "iso",
    "letter_shape",
    "line_shape",
    "message_shape",
    "pack_cursor",
    "read_cursor",
    "session_shape",
    "unread_shape",
    "unread_shapes",
    "wait_shape",
    "waiting_shape",
]


def line_shape(record: Record) -> JsonObject:
    """Return a session as a list shows it."""
    return {
        "session_id": record.session_id,
        "app": record.app,
        "phase": record.phase,
        "status": record.status or None,
        "skill": record.cursor.skill,
        "waits_for": record.wait.kind if record.wait else None,
        "priority": record.priority,
        "text": record.text,
        "parent": record.parent,
        "actor": record.actor,
        "reason": record.reason,
        "created_at": iso(record.created_at),
        "since_at": iso(record.since_at),
        "updated_at": iso(record.updated_at),
    }


def waiting_shape(record: Record) -> JsonObject:
    """Return a session that waits, with what it waits for."""
    return {**line_shape(record), "wait": wait_shape(record)}


def letter_shape(record: Record, info: JsonObject) -> JsonObject:
    """Return a dead letter."""
    attempts, at = info.get("attempts"), info.get("at")
    return {
        "session_id": record.session_id,
        "app": record.app,
        "skill": record.cursor.skill,
        "reason": str(info.get("reason", "")),
        "detail": str(info.get("detail", "")),
        "attempts": attempts if isinstance(attempts, int) else 0,
        "since_at": iso(at if isinstance(at, int) else record.since_at),
    }


def unread_shapes(page: Page) -> list[JsonValue]:
    """Return the sessions of a page that could not be read."""
    return [unread_shape(one) for one in page.unread]


def pack_cursor(place: Place | None) -> str | None:
    """Return a cursor for a place; what is in it is nobody's business but ours.

    >>> read_cursor(pack_cursor(Place(17, "SES-20261121-001")))
    Place(since_at=17, session_id='SES-20261121-001')
    """
    if place is None:
        return None
    return urlsafe_b64encode(dump_json([place.since_at, place.session_id]).encode()).decode().rstrip("=")


def read_cursor(cursor: str | None) -> Place | None:
    """Return the place of a cursor; raise InputError for what is none."""
    if cursor is None:
        return None
    try:
        found = load_json(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, binascii.Error):
        found = None
    match found:
        case [int(since), str(session_id)] if 0 <= since < 10**15 and session_id.isascii():
            return Place(since, session_id)
    raise InputError("cursor: not one of ours; take `next_cursor` of the page before")
