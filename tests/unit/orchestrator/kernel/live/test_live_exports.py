"""What the live kernel offers by name."""

from orchestrator.kernel import live


def test_every_export_is_there_once_and_in_order() -> None:
    """The list is what other packages are written against."""
    assert sorted(set(live.__all__)) == live.__all__
    assert all(hasattr(live, name) for name in live.__all__)
