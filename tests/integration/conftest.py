"""Whole sessions on both kinds of store: what the modules below play on one server, they play on a cluster of three masters too.

A few modules, chosen for what they do to a store together: steps, waits, children, timers, idempotent submissions; forks; the
archive that lists, loads and prunes. The acts themselves are tried on both by the tests of the store.
"""

import pytest

ON_BOTH = frozenset({"test_sessions", "test_forks", "test_archive"})


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give these modules' tests a URL of each kind."""
    if "store_url" in metafunc.fixturenames and metafunc.module.__name__.rsplit(".", 1)[-1] in ON_BOTH:
        metafunc.parametrize("store_url", ["server", "cluster"], indirect=True)
