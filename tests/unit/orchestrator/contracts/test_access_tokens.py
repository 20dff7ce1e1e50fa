"""What is kept of a token, and what is not."""

import pytest
from pydantic import ValidationError

from orchestrator.contracts.access import Token, digest_token


def test_a_token_is_kept_as_its_digest_and_never_as_itself() -> None:
    """Who reads the store or its backups gets no key of anybody's."""
    kept = Token(name="ci", sha256=digest_token("correct horse"), roles=("viewer",))

    assert kept.sha256 == "4104d36f8da2c254349f85836793ebe029e0c957063a34c91c2e9203187b5631"
    with pytest.raises(ValidationError):
        Token(name="ci", sha256="correct horse", roles=("viewer",))
