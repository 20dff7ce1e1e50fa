"""The search for a linear order finds each violation that is planted, and accepts what may have been."""

import asyncio
import random
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.store.due import Due
from orchestrator.store.durability import Confirmer
from orchestrator.store.leases import Commit, Leases
from orchestrator.store.store import Store
from tests.chaos.history import doubt, find_shrinking_fences, install, judge_histories, read_histories, split_at
from tests.chaos.lease_models import Lease, Revision, lease_model, revisions
from tests.chaos.linear import Model, Op, check_history, lock, register

LEASE_MS = 3_000.0


def holds(model: Model, initial: object, *ops: Op) -> bool:
    """Say whether there is an order."""
    return check_history(model, initial, ops).is_linearizable  # type: ignore[arg-type]


def test_a_concurrent_read_may_see_either_value() -> None:
    """What overlaps has no order of its own."""
    write = Op("write", (1,), 0, 10)

    assert holds(register, 0, write, Op("read", (), 5, 6, 1))
    assert holds(register, 0, write, Op("read", (), 5, 6, 0))


def test_a_read_may_not_go_back() -> None:
    """Two reads in a row, the new value and then the old one: no register answers so."""
    write = Op("write", (1,), 0, 10)

    assert not holds(register, 0, write, Op("read", (), 2, 3, 1), Op("read", (), 4, 5, 0))


def test_what_nobody_heard_of_may_have_happened_late_or_never() -> None:
    """A killed process leaves a question; its act counts from the moment at which somebody sees it."""
    lost = Op("write", (1,), 0)

    assert holds(register, 0, lost, Op("read", (), 5, 6, 0), Op("read", (), 7, 8, 1))
    assert holds(register, 0, lost, Op("read", (), 5, 6, 0))
    assert not holds(register, 0, lost, Op("read", (), 5, 6, 1), Op("read", (), 7, 8, 0))


def test_only_one_of_two_compares_succeeds() -> None:
    """Two that both changed zero: a lost update."""
    first, second = Op("cas", (0, 1), 0, 10, True), Op("cas", (0, 2), 1, 9, True)

    assert not holds(register, 0, first, second)
    assert holds(register, 0, first, Op("cas", (0, 2), 1, 9, False))


def test_a_lock_has_one_holder() -> None:
    """Given to two, one after the other and never given back."""
    assert not holds(lock, None, Op("lock", ("a",), 0, 1, True), Op("lock", ("b",), 2, 3, True))
    assert holds(
        lock, None, Op("lock", ("a",), 0, 1, True), Op("unlock", ("a",), 0.5, 4, True), Op("lock", ("b",), 2, 3, True)
    )


@pytest.mark.parametrize("seed", range(20))
def test_any_history_of_a_real_register_has_an_order(seed: int) -> None:
    """Operations that really happened at one moment within their time are never refused; a forged read is."""
    chance = random.Random(seed)
    value, ops, now = 0, [], 0.0
    for number in range(60):
        now += 1
        began, ended = now - chance.uniform(0, 6), now + chance.uniform(0, 6)
        what = chance.choice(["read", "write", "cas"])
        if what == "write":
            value = number
            ops.append(Op("write", (number,), began, ended if chance.random() < 0.8 else None))
        elif what == "cas":
            expected = value if chance.random() < 0.5 else -5
            ops.append(Op("cas", (expected, number), began, ended, value == expected))
            value = number if value == expected else value
        else:
            ops.append(Op("read", (), began, ended, value))

    assert holds(register, 0, *ops)
    assert not holds(register, 0, *ops, Op("read", (), 1000, 1001, "nobody wrote this"))


def claim(began: float, fence: int, rev: int, *, took: float = 5) -> Op:
    """Return a claim that got the lease."""
    return Op("claim", (False,), began, began + took, (fence, rev))


def commit(
    began: float, fence: int, rev: int, answer: str = "committed", *, ends: bool = False, again: bool = False
) -> Op:
    """Return a commit."""
    return Op("commit", (fence, rev, ends, False, again), began, began + 5, answer)


def is_kept(*ops: Op) -> bool:
    """Say whether both models could have answered so."""
    return not judge_histories({"SES": list(ops)}, lease_ms=LEASE_MS)


def test_a_slice_and_the_next_one_have_an_order() -> None:
    """A claim, two commits, the second of which gives the session back, and another worker's claim."""
    assert is_kept(claim(0, 10, 0), commit(10, 10, 0), commit(20, 10, 1, ends=True), claim(40, 50, 2))


def test_two_commits_of_one_revision_are_found() -> None:
    """The double commit: two holders were both told that theirs is the next step."""
    ops = claim(0, 10, 0), claim(4_000, 20, 0), commit(4_010, 20, 0), commit(4_020, 10, 0)

    assert not is_kept(*ops)
    assert not is_kept(claim(0, 10, 0), commit(10, 10, 0), commit(20, 10, 0))


def test_a_commit_under_an_old_fence_is_found() -> None:
    """The paused worker that comes back and is believed."""
    assert not is_kept(claim(0, 10, 0), claim(4_000, 20, 0), commit(4_010, 10, 0))


def test_a_commit_that_is_forgotten_is_found() -> None:
    """The next holder reads a revision from before an acknowledged commit."""
    assert not is_kept(claim(0, 10, 0), commit(10, 10, 0, ends=True), claim(40, 50, 0))


def test_a_refusal_without_a_reason_is_found() -> None:
    """Who has the newest fence and revision is not stale - unless an earlier try of the same commit was done."""
    assert not is_kept(claim(0, 10, 0), commit(10, 10, 0, "stale"), commit(30, 10, 0))
    assert is_kept(claim(0, 10, 0), commit(10, 10, 0, "stale", again=True), claim(4_000, 50, 1))


def test_a_settling_that_is_put_off_writes_nothing_and_is_the_holders_own() -> None:
    """Somebody has spoken: the same holder commits its step without it. Who holds nothing must be told that instead."""
    assert is_kept(claim(0, 10, 0), commit(10, 10, 0, "unsettled", ends=True), commit(30, 10, 0))
    assert not is_kept(claim(0, 10, 0), claim(4_000, 20, 0), commit(4_010, 10, 0, "unsettled", ends=True))


def test_a_lease_that_is_given_twice_is_found() -> None:
    """The second claim comes before the first lease can be over, and nobody has given it back."""
    assert not is_kept(claim(0, 10, 0), claim(2_000, 20, 0))
    assert is_kept(claim(0, 10, 0), claim(2_999, 20, 0, took=20))


def test_a_renewed_lease_is_not_given_away() -> None:
    """What counts is the last renewal that was answered."""
    renewal = Op("renew", (10, False), 2_000, 2_005, "renewed")

    assert not is_kept(claim(0, 10, 0), renewal, claim(4_000, 20, 0))
    assert is_kept(claim(0, 10, 0), renewal, claim(5_100, 20, 0))


def test_a_rescue_of_the_living_is_found() -> None:
    """A scheduler that takes a session away whose lease still runs."""
    assert not is_kept(claim(0, 10, 0), Op("rescue", (False,), 1_000, 1_005, "rescued"))
    assert is_kept(claim(0, 10, 0), Op("rescue", (False,), 3_100, 3_105, "rescued"), commit(3_200, 10, 0, "stale"))
    assert not is_kept(claim(0, 10, 0), Op("rescue", (False,), 3_100, 3_105, "rescued"), commit(3_200, 10, 0))


def test_a_claim_that_nobody_heard_of_may_have_taken_the_lease() -> None:
    """Its process was killed: the old holder is stale from then on, if it happened."""
    unheard = Op("claim", (False,), 3_100)

    assert is_kept(claim(0, 10, 0), unheard, commit(3_200, 10, 0, "stale"))
    assert is_kept(claim(0, 10, 0), unheard, commit(3_200, 10, 0))


def test_a_fence_that_does_not_grow_is_found_even_across_a_cut() -> None:
    """A server that went back in time may forget a claim, and must not give its fence again."""
    ops = [claim(0, 10, 0), claim(9_000, 10, 0)]

    assert find_shrinking_fences(ops)
    assert judge_histories({"SES": ops}, lease_ms=LEASE_MS, cuts=[5_000])


def test_after_a_cut_nothing_is_known() -> None:
    """A commit that is forgotten breaks a history, but not one that is cut in between: then it is a loss, and counted."""
    ops = [claim(0, 10, 0), commit(10, 10, 0, ends=True), claim(5_000, 5_000, 0)]

    assert judge_histories({"SES": ops}, lease_ms=LEASE_MS)
    assert not judge_histories({"SES": ops}, lease_ms=LEASE_MS, cuts=[1_000])


def test_what_is_under_way_at_a_cut_belongs_to_both_sides() -> None:
    """It may have been done before, and lost; the answer it got is that of its repetition."""
    across = commit(995, 10, 0)

    before, after = split_at([claim(0, 10, 0), across, claim(2_000, 20, 1)], [998])

    assert [op.ended for op in before] == [5, None]
    assert [op.what for op in after] == ["commit", "claim"]


def test_what_two_servers_answered_as_one_may_be_gone() -> None:
    """A master that stands still and goes on answers beside its successor: each history is whole, and one of them is kept."""
    both = [claim(0, 10, 0), claim(4_000, 20, 0), commit(4_100, 20, 0), commit(4_200, 10, 0), claim(9_000, 9_000, 1)]

    assert judge_histories({"SES": both}, lease_ms=LEASE_MS)
    assert not judge_histories({"SES": both}, lease_ms=LEASE_MS, cuts=[2_000], spans=[(2_000, 6_000)])
    assert judge_histories({"SES": both}, lease_ms=LEASE_MS, cuts=[2_000], spans=[(2_000, 3_900)])


def test_only_what_was_answered_in_such_a_span_is_in_doubt() -> None:
    """What nobody heard of needs no doubt; what ended before and what began behind it is one server's."""
    before, heard_in_it, unheard, behind = (
        claim(0, 10, 0),
        replace(commit(990, 10, 0), ended=1_500),
        Op("renew", (10, False), 1_200),
        claim(2_100, 20, 1),
    )

    assert [op.may_be_undone for op in doubt([before, heard_in_it, unheard, behind], [(1_000, 2_000)])] == [
        False,
        True,
        False,
        False,
    ]


def test_what_was_answered_before_the_server_went_back_and_heard_afterwards_may_be_gone() -> None:
    """A process that was stopped reads its answer when it goes on; a repeated act was answered by the server that came back."""
    heard_late = replace(commit(995, 10, 4), ended=3_000)
    repeated = replace(commit(995, 10, 4, again=True), ended=3_000)

    _, after = split_at([heard_late, claim(4_000, 20, 4)], [998])
    _, kept = split_at([repeated, claim(4_000, 20, 4)], [998])
    _, begun_later = split_at([claim(0, 10, 4), commit(1_500, 10, 4)], [998])

    assert holds(revisions, Revision(), *after)
    assert holds(revisions, Revision(), *after[:1], claim(4_000, 20, 5))
    assert not holds(revisions, Revision(), *kept)
    assert not holds(revisions, Revision(), *begun_later, claim(4_000, 20, 4))


@pytest.mark.parametrize(("confirmations", "is_repeated"), [((True,), False), ((False, True), True)])
def test_an_act_that_is_done_again_for_want_of_a_confirmation_counts_as_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, confirmations: tuple[bool, ...], *, is_repeated: bool
) -> None:
    """Its last answer may be a refusal although it happened: a checker that does not know that finds a violation."""
    wrapped = [(Leases, name) for name in ("claim", "commit", "renew", "release")]
    wrapped += [
        (Due, "rescue"),
        (Store, "_repeat_after"),
        (Confirmer, "confirm"),
        (Confirmer, "_mark"),
        (Confirmer, "_ask"),
    ]
    for owner, name in wrapped:  # `install` is for a process of its own: let it be undone
        monkeypatch.setattr(owner, name, getattr(owner, name))
    answers = iter(confirmations)

    async def confirm(*_: object) -> bool:
        return next(answers)

    async def write(self: Leases, *_: object) -> str:
        while not await Confirmer.confirm(self, "run"):  # type: ignore[arg-type]
            pass
        return "written"

    monkeypatch.setattr(Confirmer, "confirm", confirm)
    monkeypatch.setattr(Leases, "commit", write)
    install(tmp_path)
    asyncio.run(Leases.commit(object.__new__(Leases), "SES-20261121-001", 7, 0, Commit("continue", {}, ("{}",))))

    [op] = read_histories(tmp_path)["SES-20261121-001"]
    assert op.args[-1] is is_repeated


def test_the_models_start_with_what_they_are_told() -> None:
    """A history that begins in the middle is checked from its first answer on."""
    assert holds(revisions, Revision(), claim(0, 500, 17), commit(10, 500, 17))
    assert holds(lease_model(LEASE_MS), Lease(), commit(10, 500, 17, ends=True), claim(20, 900, 18))
