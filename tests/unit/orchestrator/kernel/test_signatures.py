"""Webhooks that are believed, and those that are not."""

import pytest

from orchestrator.kernel.signatures import ID_HEADER, SIGNATURE_HEADER, TIME_HEADER, find_fault, read_secret, sign

OLD, NEW = "the old secret, long", "whsec_bmV3IHNlY3JldCBvZiBvdXJz"
BODY = b'{"a":1}'
AT = 1_000_000
GOOD = sign([OLD], "m1", AT, BODY)


def test_a_secret_is_base64_behind_its_mark_and_itself_without_one() -> None:
    """As the specification writes them, and as people do."""
    assert read_secret(NEW) == b"new secret of ours"
    assert read_secret("plain text") == b"plain text"
    with pytest.raises(ValueError, match="a secret that begins with whsec_ goes on in base64; mend it"):
        read_secret("whsec_no base64!")


@pytest.mark.parametrize("missing", [ID_HEADER, TIME_HEADER, SIGNATURE_HEADER])
def test_a_message_without_one_of_its_headers_is_not_believed(missing: str) -> None:
    """An empty one is a missing one."""
    said = f"it needs the headers {ID_HEADER}, {TIME_HEADER} and {SIGNATURE_HEADER}"

    assert find_fault([OLD], {name: text for name, text in GOOD.items() if name != missing}, BODY, AT) == said
    assert find_fault([OLD], {**GOOD, missing: ""}, BODY, AT) == said


@pytest.mark.parametrize("at", ["soon", "-5", "1e6", "1000000.0", "１０００", "1" * 13])
def test_a_time_that_is_none_is_not_believed(at: str) -> None:
    """Only digits that everybody reads the same way, and not so many that they are no second."""
    assert find_fault([OLD], {**GOOD, TIME_HEADER: at}, BODY, AT) == f"{TIME_HEADER} is no time in seconds"


def test_the_longest_time_is_still_one() -> None:
    """Twelve digits last for thirty thousand years."""
    late = sign([OLD], "m1", 10**12 - 1, BODY)

    assert find_fault([OLD], late, BODY, 10**12 - 1) is None


@pytest.mark.parametrize(("apart", "is_good"), [(-301, False), (-300, True), (300, True), (301, False)])
def test_a_message_is_believed_for_five_minutes_either_way(apart: int, is_good: bool) -> None:
    """An old one cannot be played again; clocks may differ."""
    fault = find_fault([OLD], GOOD, BODY, AT + apart)

    assert fault == (None if is_good else f"{TIME_HEADER} is more than 300 s from now")


def test_while_a_secret_is_changed_either_one_is_believed() -> None:
    """A sender signs with both, or a receiver knows both: nothing is lost in between."""
    both = sign([OLD, NEW], "m1", AT, BODY)

    assert both[SIGNATURE_HEADER].count(" ") == 1
    assert [find_fault([one], both, BODY, AT) for one in (OLD, NEW)] == [None, None]
    assert find_fault([NEW, OLD], GOOD, BODY, AT) is None
    assert find_fault([NEW], GOOD, BODY, AT) == "no signature fits"
    assert find_fault([], GOOD, BODY, AT) == "no signature fits"


@pytest.mark.parametrize("change", [{ID_HEADER: "m2"}, {TIME_HEADER: str(AT + 1)}, {SIGNATURE_HEADER: "v1,é"}])
def test_id_time_and_body_are_all_signed(change: dict[str, str]) -> None:
    """Whoever changes one of them has to sign again."""
    assert find_fault([OLD], {**GOOD, **change}, BODY, AT) == "no signature fits"
    assert find_fault([OLD], GOOD, BODY + b" ", AT) == "no signature fits"


def test_only_the_first_ten_signatures_are_looked_at() -> None:
    """A header may not make the receiver work."""
    tenth, eleventh = (" ".join([*["v1,x"] * count, GOOD[SIGNATURE_HEADER]]) for count in (9, 10))

    assert find_fault([OLD], {**GOOD, SIGNATURE_HEADER: tenth}, BODY, AT) is None
    assert find_fault([OLD], {**GOOD, SIGNATURE_HEADER: eleventh}, BODY, AT) == "no signature fits"
