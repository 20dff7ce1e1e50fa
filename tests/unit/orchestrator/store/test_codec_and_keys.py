"""Where things lie, and how a record is stored: both must never change under a store that exists."""

from binascii import crc_hqx
from typing import Any

import pytest

from orchestrator.contracts.errors import Unreadable
from orchestrator.contracts.ids import partition_of
from orchestrator.contracts.session import Cursor, ToolCall, Wait
from orchestrator.store.codec import OUTLINE, decode_record, encode_changes, encode_submission, pairs
from orchestrator.store.keys import Keys
from tests.property.store_lab import draft

BOOKKEEPING = {
    "phase": "ready",
    "status": "",
    "rev": "0",
    "fence": "0",
    "attempts": "0",
    "seq": "1",
    "created": "1",
    "since": "1",
    "updated": "1",
}


def test_a_partition_is_the_checksum_of_the_session() -> None:
    """The checksum is the one of Redis Cluster; its known value pins it, and these ids pin ours."""
    assert crc_hqx(b"123456789", 0) == 0x31C3
    ids = ["SES-20261120-001", "SES-20261120-002", "LED-20261121-1000", "A-20260101-001"]

    assert [partition_of(one, 64) for one in ids] == [50, 17, 63, 45]
    assert all(partition_of(one, 1) == 0 for one in ids)


def test_partitions_are_used_evenly() -> None:
    """A hot partition would be a hot slot."""
    counts = [0] * 64
    for number in range(6_400):
        counts[partition_of(f"SES-20261120-{number:03d}", 64)] += 1

    assert min(counts) > 60
    assert max(counts) < 140


def test_all_keys_of_a_session_share_one_hash_tag() -> None:
    """One slot of a cluster: a script that names two would be refused."""
    keys = Keys(64)
    names = ("record", "journal", "context", "mailbox", "intents", "seen", "due", "leases", "by", "sent", "stats")

    tags = {key[key.index("{") : key.index("}") + 1] for key in keys.for_script(names, "SES-20261120-001")}

    assert tags == {"{p50}"}


def test_a_record_is_read_as_it_was_written() -> None:
    """Submission, then every change that a step can make."""
    before = decode_record("SES-1", {**encode_submission(draft(text="hi")), **BOOKKEEPING})
    call = ToolCall(call_id="c", tool="s:t", args={"a": [1, None]}, result={"b": False}, outcome="executed")
    after = before.model_copy(
        update={
            "cursor": Cursor(skill="next", stage="tools", serial=3, confidence=0.5),
            "state": {"n": 0, "empty": None},
            "wait": Wait(wait_id="w", kind="input", deadline_at=5),
            "terminal_call": call,
            "fields": {"team": "x"},
            "reason": "rule",
            "spec": "digest-2",
            "catalogue": "c1",
        }
    )

    stored = {**encode_submission(draft(text="hi")), **BOOKKEEPING, **encode_changes(before, after)}

    assert decode_record("SES-1", stored) == after
    assert encode_changes(after, after) == {}


def test_what_is_taken_away_is_gone_when_it_is_read() -> None:
    """A wait that is over leaves an empty field, which means none."""
    before = decode_record("SES-1", {**encode_submission(draft()), **BOOKKEEPING})
    waiting = before.model_copy(update={"wait": Wait(wait_id="w", kind="input")})

    stored = {**encode_submission(draft()), **BOOKKEEPING}
    stored |= encode_changes(before, waiting)
    stored |= encode_changes(waiting, before)

    assert decode_record("SES-1", stored).wait is None


class Asked(dict[str, str]):
    """A stored record that notes which of its fields were asked for."""

    def __init__(self, stored: dict[str, str]) -> None:
        super().__init__(stored)
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.names.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        """Return a field, and note that it was asked for."""
        self.names.add(name)
        return super().get(name, default)


def test_an_outline_lacks_the_large_fields_and_no_other() -> None:
    """Whoever adds a field to a record says here whether lists need it."""
    stored = Asked({**encode_submission(draft()), **BOOKKEEPING})

    decode_record("SES-1", stored)

    assert stored.names - set(OUTLINE) == {"state", "fields", "terminal", "compacted"}
    assert set(OUTLINE) - stored.names == {"format"}, "which says why a record cannot be read"


@pytest.mark.parametrize("field", sorted({*BOOKKEEPING, "app", "spec", "rank", "cursor"} - {"status"}))
def test_a_record_that_lacks_a_field_is_unreadable(field: str) -> None:
    """It is named, so that a person can mend it."""
    stored = {**encode_submission(draft()), **BOOKKEEPING}
    del stored[field]

    with pytest.raises(Unreadable, match=field):
        decode_record("SES-1", stored)


def test_pairs_must_be_pairs() -> None:
    """A reply cut in the middle is no record."""
    assert pairs(["a", "1", "b", "2"]) == {"a": "1", "b": "2"}
    with pytest.raises(ValueError, match="argument"):
        pairs(["a"])
