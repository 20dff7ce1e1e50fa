"""What a session leaves behind when it ends: its project, or what a person is to look at, and nothing half made.

A project that is published has left its staging folder; one that is withheld stays in it, for somebody to look at. What an
intake has made that was abandoned is of no use to anybody, and its images have not been scrubbed. A session that is buried
keeps its folder: it may be sent again, and goes on from there.
"""

from typing import Any, Final

from .project import drop_project

_KEPT: Final = "withheld"


def drop_remains(event: str, data: dict[str, Any]) -> None:
    """At `session:end`: remove what was made for this session, but for what is withheld; raise OSError."""
    del event
    if data["status"] != _KEPT:
        drop_project(data["state"].get("projects") or "", data["session_id"])
