"""A real store for the tests of the store: its scripts are what is tested."""

from collections.abc import Iterator

import pytest

from tests.property.store_lab import Lab


@pytest.fixture
def lab(store_url: str) -> Iterator[Lab]:
    """Lend an empty store."""
    made = Lab(store_url)
    yield made
    made.close()
