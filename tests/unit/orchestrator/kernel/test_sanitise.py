"""What is deleted from a text before a model sees it, and that nothing else is."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.kernel.sanitise import sanitise_for_model

DELETED = {*range(9), 0x0B, 0x0C, *range(0x0E, 0x20), *range(0x7F, 0xA0), *range(0xD800, 0xE000)}


def test_exactly_these_code_points_are_deleted() -> None:
    """A filter that takes more loses what people wrote; one that takes less lets control characters through."""
    gone = {point for point in range(0x110000) if chr(point) not in sanitise_for_model(chr(point))}

    assert gone == DELETED


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=[])))
def test_sanitising_keeps_order_and_is_done_once(text: str) -> None:
    """What is stored is sanitised again when it is shown."""
    once = sanitise_for_model(text)

    assert once == "".join(char for char in text if ord(char) not in DELETED)
    assert sanitise_for_model(once) == once
    once.encode()


@pytest.mark.parametrize("value", [None, 5, b"bytes"])
def test_what_is_no_text_is_refused(value: str) -> None:
    """Whoever sanitises must know that nothing was let through."""
    with pytest.raises(TypeError):
        sanitise_for_model(value)
