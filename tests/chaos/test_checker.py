"""The checker finds every violation that is planted into a run in which nothing went wrong.

One real session gives the evidence: its messages, questions, approvals, timers and effects. Each test forges one
thing in it - as a defect would have left it - and the ledger must say so; without a forgery it says nothing.
"""

import asyncio
import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import pytest

from orchestrator.app_loader import load_app
from orchestrator.contracts.base import dump_json
from orchestrator.contracts.session import Entry
from orchestrator.embedded import RunningServer
from orchestrator.embedded_wire import ask
from orchestrator.settings import Settings
from orchestrator.store.keys import Keys
from tests.chaos.driver import Driver
from tests.chaos.evidence import Evidence, Seen, gather_evidence
from tests.chaos.fleet import APPS
from tests.chaos.ledger import Ledger, judge
from tests.chaos.linear import Op
from tests.chaos.newer import FIELD, NEWER, OLDER
from tests.chaos.verdict import judge_commits, judge_run
from tests.stage import Stage

MESSAGES = 12
#: Changes one session's evidence, or returns another one.
Forgery: TypeAlias = Callable[[Seen], "Seen | None"]


async def _play(url: str, outside: Path) -> Evidence:
    """Drive one session to its end, with nobody in the way."""
    spec = load_app(APPS / "ledger")
    stage = Stage(url, Settings(), {spec.name: spec})
    driver = Driver(stage.client, outside, seed=1, messages=MESSAGES, spread_seconds=1, work_seconds=0)
    try:
        await driver.submit(1)
        [told] = driver.told.values()
        worker = stage.worker()
        async with asyncio.timeout(60):
            while told.ended_at is None:
                record = await stage.run(worker, told.session_id)
                if record.cursor.skill == "pause" and record.wait is not None and record.wait.kind == "timer":
                    await stage.skip_to_due(told.session_id)
                    continue
                await driver._look(told, MESSAGES)
        return await gather_evidence(stage.client, driver)
    finally:
        await stage.aclose()


@pytest.fixture(scope="module")
def recorded(temporary_server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """Return the evidence of the quiet run."""
    outside = tmp_path_factory.mktemp("outside")
    for name in ("note", "permit"):
        (outside / name).mkdir()
    assert ask(temporary_server.socket, "FLUSHALL", seconds=60) == b"+OK"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHAOS_LEDGER", str(outside))
        return asyncio.run(_play(temporary_server.url, outside))


@pytest.fixture
def evidence(recorded: Evidence) -> Evidence:
    """Return a copy that may be forged."""
    return copy.deepcopy(recorded)


def forge(evidence: Evidence, forgery: Forgery) -> Ledger:
    """Judge the evidence after a forgery."""
    [seen] = evidence.sessions
    return judge(replace(evidence, sessions=[forgery(seen) or seen]))


def step(seen: Seen, test: Callable[[Entry], bool]) -> int:
    """Return the place of the first committed step that fits."""
    return next(place for place, entry in enumerate(seen.journal) if entry.kind == "step" and test(entry))


def renumber(journal: list[Entry]) -> list[Entry]:
    """Return a journal without gaps again."""
    return [entry.model_copy(update={"seq": number}) for number, entry in enumerate(journal, 1)]


def test_a_run_in_which_nothing_went_wrong_is_clean(evidence: Evidence) -> None:
    """Else every test below would prove nothing."""
    ledger = judge(evidence)

    assert ledger.wrong == []
    assert (ledger.messages, ledger.questions, ledger.approvals, ledger.timers, ledger.notes, ledger.acts) == (
        MESSAGES,
        *(1, 1, 1, 1, 1),
    )


def _lose_a_message(seen: Seen) -> None:
    seen.told.posts.append("m99")


def _take_a_message_twice(seen: Seen) -> Seen:
    place = step(seen, lambda entry: entry.taken > 0)
    again = seen.journal[place]
    return replace(seen, journal=renumber([*seen.journal[: place + 1], again, *seen.journal[place + 1 :]]))


def _reorder_messages(seen: Seen) -> Seen:
    places = [number for number, entry in enumerate(seen.journal) if entry.kind == "posted"]
    journal = list(seen.journal)
    first, second = places[0], places[1]
    journal[first], journal[second] = journal[second], journal[first]
    return replace(seen, journal=renumber(journal))


def _count_wrongly(seen: Seen) -> Seen:
    state = {**seen.record.state, "log": [1, 1, *range(3, MESSAGES + 1)]}
    return replace(seen, record=seen.record.model_copy(update={"state": state}))


def _leave_a_gap(seen: Seen) -> Seen:
    return replace(seen, journal=[*seen.journal[:3], *seen.journal[4:]])


def _drop_the_last_entry(seen: Seen) -> Seen:
    return replace(seen, journal=seen.journal[:-1])


def _change_the_record(seen: Seen) -> Seen:
    return replace(seen, record=seen.record.model_copy(update={"rev": seen.record.rev + 1}))


def _change_the_context(seen: Seen) -> Seen:
    return replace(seen, context=[*seen.context, "{}"])


def _leave_a_post_behind(seen: Seen) -> Seen:
    return replace(seen, posts=1)


def _never_end(seen: Seen) -> Seen:
    return replace(seen, record=seen.record.model_copy(update={"phase": "waiting"}))


def _bury(seen: Seen) -> Seen:
    return replace(
        seen, record=seen.record.model_copy(update={"phase": "dead", "status": None, "reason": "unreadable"})
    )


def _end_differently(seen: Seen) -> Seen:
    return replace(seen, record=seen.record.model_copy(update={"status": "broken"}))


def _unsettle(seen: Seen) -> None:
    seen.told.settled = ("ended", "done", seen.record.rev - 1)


def _settle_twice(seen: Seen) -> Seen:
    return replace(seen, journal=renumber([*seen.journal, seen.journal[-1]]))


def _run_a_timer_out_twice(seen: Seen) -> Seen:
    def is_over(entry: Entry) -> bool:
        notes = entry.data.get("posts")
        return any(isinstance(note, dict) and note.get("what") == "deadline" for note in notes or [])  # type: ignore[union-attr]

    place = step(seen, is_over)
    return replace(seen, journal=renumber([*seen.journal[:place], seen.journal[place], *seen.journal[place:]]))


def _use_an_approval_twice(seen: Seen) -> Seen:
    place = step(seen, lambda entry: any(call.outcome == "approved" for call in entry.calls))
    entry = seen.journal[place]
    journal = list(seen.journal)
    journal[place] = entry.model_copy(update={"calls": (*entry.calls, *entry.calls)})
    return replace(seen, journal=journal)


def _use_an_approval_that_nobody_gave(seen: Seen) -> None:
    seen.told.permits.clear()


def _forget_an_answer(seen: Seen) -> None:
    seen.told.answers.append("99")


FORGERIES: dict[Forgery, str] = {
    _lose_a_message: "never taken",
    _take_a_message_twice: "twice",
    _reorder_messages: "posted",
    _count_wrongly: "its state counted",
    _leave_a_gap: "its journal is broken",
    _drop_the_last_entry: "journal and record differ",
    _change_the_record: "journal and record differ: rev",
    _change_the_context: "journal and record differ: messages",
    _leave_a_post_behind: "journal and record differ: posts",
    _never_end: "it is waiting",
    _bury: "it is dead as None for 'unreadable'",
    _end_differently: "it is ended as 'broken'",
    _unsettle: "it was settled as",
    _settle_twice: "it was settled 2 times",
    _run_a_timer_out_twice: "timers began",
    _use_an_approval_twice: "permitted",
    _use_an_approval_that_nobody_gave: "permitted",
    _forget_an_answer: "answered",
}


@pytest.mark.parametrize(("forgery", "said"), FORGERIES.items(), ids=lambda one: getattr(one, "__name__", ""))
def test_a_planted_violation_is_found(evidence: Evidence, forgery: Forgery, said: str) -> None:
    """A checker that finds nothing because it looks at nothing would be green for ever."""
    ledger = forge(evidence, forgery)

    assert any(said in line for line in ledger.wrong), ledger.wrong


def test_a_step_by_an_older_baton_after_one_by_a_newer_is_found(evidence: Evidence) -> None:
    """Whatever else is in order: it could not read what it went on from."""
    [seen] = evidence.sessions
    place = step(seen, lambda entry: entry.taken > 0)
    entry = seen.journal[place]
    newer = {**entry.set, "cursor": dump_json({**json.loads(entry.set["cursor"]), FIELD: NEWER})}
    clean, forged = (
        judge_run(
            replace(
                evidence, sessions=[replace(seen, journal=[*seen.journal[:place], one, *seen.journal[place + 1 :]])]
            ),
            {},
            [],
            keys=Keys(4),
            lease_ms=3_000,
            is_safe=True,
        )
        for one in (entry, entry.model_copy(update={"set": newer}))
    )

    assert (clean.wrong, clean.sides.newer, forged.sides.newer) == ([], 0, 1)
    [line] = forged.wrong
    assert f"was taken in format {OLDER} after one in format {NEWER}" in line


def _acts(evidence: Evidence) -> tuple[tuple[str, str], list[float]]:
    [(key, times)] = evidence.outside.acts.items()
    return key, times


def test_an_effect_that_happened_twice_unnoticed_is_found(evidence: Evidence) -> None:
    """The ledger outside has a line more than the journal and the people who were asked know of."""
    key, times = _acts(evidence)
    twice = replace(evidence, outside=replace(evidence.outside, acts={key: [*times, times[0] + 50]}))

    assert any("happened 2 times" in line for line in judge(twice).wrong)


def test_an_effect_that_was_committed_and_did_not_happen_is_found(evidence: Evidence) -> None:
    """An outcome that somebody invented."""
    nothing = replace(evidence, outside=replace(evidence.outside, acts={}, keys={}))

    wrong = judge(nothing).wrong
    assert any("happened 0 times" in line for line in wrong)
    assert any("note" in line and "did not happen" in line for line in wrong)


def test_an_effect_that_no_journal_knows_is_found(evidence: Evidence) -> None:
    """It acted without an intent."""
    (session_id, _), times = _acts(evidence)
    more = {**evidence.outside.acts, (session_id, "77"): [times[0]]}

    wrong = judge(replace(evidence, outside=replace(evidence.outside, acts=more))).wrong
    assert any("act 77 happened 1 times, and no journal knows of it" in line for line in wrong)


def test_only_a_cut_that_may_lose_data_excuses_a_repetition(evidence: Evidence) -> None:
    """And only for what happened just before it; a store that waits for its disk is excused nothing."""
    key, times = _acts(evidence)
    at = times[0]
    twice = replace(evidence, outside=replace(evidence.outside, acts={key: [at, at + 900]}))

    excused = judge(twice, cuts_of=lambda _: [(at + 500, 1_000)], is_safe=False)
    assert (excused.wrong, excused.repeated_by_loss) == ([], 1)
    assert judge(twice, cuts_of=lambda _: [(at + 5_000, 1_000)], is_safe=False).wrong
    assert judge(twice, cuts_of=lambda _: [(at + 500, 1_000)], is_safe=True).wrong


def test_an_act_after_a_cut_is_excused_once_for_each_announcement_that_is_known_to_be_lost(evidence: Evidence) -> None:
    """Whoever was about to act does so although the server is gone; without a lost announcement nothing explains it."""
    key, times = _acts(evidence)
    cut = times[0] - 100
    thrice = {key: [cut + 100, cut + 5_000, cut + 9_000]}
    acted = replace(evidence, outside=replace(evidence.outside, acts=thrice))

    def judged(*taken: float, is_safe: bool = False) -> Ledger:
        return judge(acted, cuts_of=lambda _: [(cut, 1_000)], taken_of=lambda _: taken, is_safe=is_safe)

    assert (judged(cut, cut).wrong, judged(cut, cut).repeated_by_loss) == ([], 2)
    [once] = judged(cut).wrong
    assert "happened 3 times, 0 retries were allowed; +100 ms from a cut of 1000 ms; +5000 ms" in once
    assert judged(cut + 20_000, cut + 20_000).wrong
    assert judged(cut, cut, is_safe=True).wrong


def test_a_loss_is_counted_and_is_wrong_where_it_was_promised_safe(evidence: Evidence) -> None:
    """What a cut took is told by name either way."""
    evidence.sessions[0].told.lost.append("signal m7")

    assert judge(evidence, is_safe=False).wrong == []
    assert judge(evidence, is_safe=False).forgotten == {"signal": 1}
    assert any("acknowledged and lost: signal m7" in line for line in judge(evidence, is_safe=True).wrong)


def _commits(seen: Seen, *, critical: bool) -> list[Op]:
    steps = [entry for entry in seen.journal if entry.kind == "step"]
    return [
        Op("commit", (entry.fence, rev, False, critical, False), rev * 10.0, rev * 10.0 + 5, "committed")
        for rev, entry in enumerate(steps)
    ]


def test_every_acknowledged_commit_is_looked_up_in_the_journal(evidence: Evidence) -> None:
    """One that is not there, or is somebody else's, was lost - or two were told that theirs is the one."""
    [seen] = evidence.sessions
    sid = seen.told.session_id
    histories, shorter = {sid: _commits(seen, critical=True)}, {sid: seen.journal[:-1]}

    assert judge_commits(histories, {sid: seen.journal}, [], is_safe=True) == ([], [])
    assert len(judge_commits(histories, shorter, [], is_safe=False)[1]) == 1
    other = {sid: [entry.model_copy(update={"fence": entry.fence + 1}) for entry in seen.journal]}
    assert len(judge_commits(histories, other, [], is_safe=False)[1]) == len(histories[sid])


def test_a_lost_commit_needs_a_cut_and_must_not_have_been_critical(evidence: Evidence) -> None:
    """What nobody outside has seen may be done again; what a tool or a person relies on may not be gone."""
    [seen] = evidence.sessions
    sid = seen.told.session_id
    shorter = {sid: seen.journal[:-1]}
    last = _commits(seen, critical=True)[-1].ended or 0
    cut = [(last + 100, 1_000.0)]

    [one], wrong = judge_commits({sid: _commits(seen, critical=False)}, shorter, cut, is_safe=True)
    assert (one.session_id, one.is_critical, one.at, wrong) == (sid, False, cut[0][0], [])
    lost, wrong = judge_commits({sid: _commits(seen, critical=True)}, shorter, cut, is_safe=True)
    assert (lost, len(wrong)) == ([], 1)


@pytest.mark.parametrize(("is_repeated", "is_explained"), [(False, True), (True, False)])
def test_an_answer_may_be_on_its_way_over_a_cut_unless_it_was_asked_for_again(
    evidence: Evidence, *, is_repeated: bool, is_explained: bool
) -> None:
    """A frozen network hands over what a master said before it died, long after another one took over. Who asked again was
    answered by that other one, which has to have it.
    """  # noqa: D205 - one sentence
    [seen] = evidence.sessions
    sid = seen.told.session_id
    *_, last = _commits(seen, critical=False)
    late = replace(last, args=(*last.args[:-1], is_repeated), ended=last.began + 60_000)

    gone, wrong = judge_commits({sid: [late]}, {sid: seen.journal[:-1]}, [(last.began + 100, 1_000.0)], is_safe=False)

    assert (len(gone), len(wrong)) == (is_explained, not is_explained)
