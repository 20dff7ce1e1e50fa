"""Tokens that an operator keeps in a file: by digest, for who would rather mount a secret than write to the store."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from orchestrator.contracts.access import Role, Token, TokenName
from orchestrator.contracts.base import Frozen
from orchestrator.yaml_source import load


class _Line(Frozen):
    name: TokenName
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    roles: Annotated[tuple[Role, ...], Field(min_length=1)]


class _File(Frozen):
    tokens: tuple[_Line, ...] = ()


def load_tokens(path: Path) -> tuple[Token, ...]:
    """Return the tokens of a file `tokens: [{name, sha256, roles}]`; raise SourceInvalid with all that is wrong."""
    return tuple(
        Token(name=line.name, sha256=line.sha256, roles=line.roles, source="file") for line in load(_File, path).tokens
    )
