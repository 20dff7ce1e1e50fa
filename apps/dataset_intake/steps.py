"""Decide where an intake goes on: after the check of its request, and after its plugins. Pure."""

from collections.abc import Mapping
from typing import Any, Final

#: Without these nothing is published: what an image tells of people, and what shows that the files are whole.
REQUIRED: Final = ("image_scrub", "checksum_manifest")
#: All of them in their order, as app.yaml declares them.
EXPECTED: Final = ("image_scrub", "csv_profile", "units", "readme_front_matter", "checksum_manifest")
_WELL: Final = frozenset({"success", "skipped"})


def judge_request(state: Mapping[str, Any]) -> dict[str, Any]:
    """Go on only with a request that has no problem."""
    return {"signal": "invalid" if state["problems"] else "valid"}


def judge_pass(state: Mapping[str, Any]) -> dict[str, Any]:
    """Say what the plugins left: all there is to it, something less, or nothing that may be published.

    >>> judge_pass({"entries": [{"plugin": name, "status": "success"} for name in EXPECTED]})
    {'completeness': 'full', 'remarks': [], 'signal': 'publishable'}
    """
    remarks = [_tell(entry) for entry in state["entries"] if entry["status"] not in _WELL]
    ended_well = {entry["plugin"] for entry in state["entries"] if entry["status"] in _WELL}
    known = {entry["plugin"] for entry in state["entries"]}
    remarks += [f"{name}: was not run" for name in EXPECTED if name not in known]
    if not ended_well.issuperset(REQUIRED):
        return {"completeness": "none", "remarks": remarks, "signal": "withhold"}
    return {"completeness": "partial" if remarks else "full", "remarks": remarks, "signal": "publishable"}


def _tell(entry: Mapping[str, Any]) -> str:
    why = entry.get("error") or ", ".join(entry.get("violations") or ()) or entry.get("limit") or ""
    return f"{entry['plugin']}: {entry['status']}{f': {why}' if why else ''}"[:400]
