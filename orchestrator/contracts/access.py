"""Who may do what: roles, the caller that a request comes from, and tokens as they are kept.

A token is shown once, when it is made, and kept as its SHA-256: 256 random bits need no slower hash.
Which role a route asks for is said where the route is; how a caller is told from another is
the work of the interfaces.
"""

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Final, Literal, TypeAlias, get_args

from pydantic import Field

from orchestrator.contracts.base import Frozen

Role: TypeAlias = Literal["viewer", "submitter", "approver", "operator"]

ROLES: Final[tuple[Role, ...]] = get_args(Role)

#: What each role brings along: everybody may look, and an operator may do everything.
_BRINGS: Final[dict[Role, frozenset[Role]]] = {
    "viewer": frozenset({"viewer"}),
    "submitter": frozenset({"viewer", "submitter"}),
    "approver": frozenset({"viewer", "approver"}),
    "operator": frozenset(ROLES),
}

TOKEN_MARK: Final = "baton_"  # noqa: S105 - how a token begins, not one

#: A token's name is the actor of what is done with it.
TokenName: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@:-]{0,99}$")]
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@:-]{0,99}")


def expand_roles(roles: tuple[Role, ...]) -> frozenset[Role]:
    """Return these roles and all that they bring along.

    >>> sorted(expand_roles(("submitter", "approver")))
    ['approver', 'submitter', 'viewer']
    """
    return frozenset().union(*(_BRINGS[role] for role in roles))


def is_token_name(text: str) -> bool:
    """Say whether a token may be called so.

    >>> is_token_name("ci@builds"), is_token_name("a b")
    (True, False)
    """
    return _NAME.fullmatch(text) is not None


def digest_token(secret: str) -> str:
    """Return what is kept of a token: the hex digits of its SHA-256."""
    return sha256(secret.encode()).hexdigest()


class Token(Frozen):
    """A token as it is kept. Times are the store's ms; without `expires_at` it lasts until it is revoked."""

    name: TokenName
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    roles: Annotated[tuple[Role, ...], Field(min_length=1)]
    created_at: int = 0
    created_by: str = ""
    expires_at: int | None = None
    #: Where it is kept: the store, or the file of the settings.
    source: Literal["store", "file"] = "store"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a request: the name that the journal will show, and all that it may do.

    `way` is how it said who it is; `open` is the one caller of a loopback address without tokens.
    """

    name: str
    roles: frozenset[Role]
    way: Literal["token", "jwt", "open"]
