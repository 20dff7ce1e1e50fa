"""Who the children of these tests run as: a slot's user, or an ordinary one who owns what lies outside the box too."""

import os
from typing import Any

import pytest

SLOT, ORDINARY = 100_000 + os.getpid(), 200_000 + os.getpid()  # nobody else is, in no other run of this suite
IS_ROOT = os.getuid() == 0
as_root = pytest.mark.skipif(not IS_ROOT, reason="only root has an identity to give up")
MiB = 2**20


def as_users() -> Any:
    """Run as the slot's user, and as an ordinary user that shares its identity with all that is outside."""
    return pytest.mark.parametrize("who", ["slot", "ordinary"] if IS_ROOT else ["ordinary"])


def user_of(who: str) -> dict[str, Any]:
    """Return what the box says about its user."""
    return {"uid": SLOT, "gid": SLOT} if who == "slot" else {}


def uid_of(who: str) -> int | None:
    """Return whom the child becomes before it locks itself down; None: it stays who it is."""
    return ORDINARY if IS_ROOT and who == "ordinary" else None
