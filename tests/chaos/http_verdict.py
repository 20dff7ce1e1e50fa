"""What the API told those who asked it over HTTP, held against what is stored: an answer may not be taken back, nor be out of date.

    reads       a read is never older than what was acknowledged before it was asked for, nor than an earlier read
    kept        what was acknowledged is in the journal, and is known when it is said again under its key
    keys        a key of a submission names one session
    answers     no request was answered with 500

A store that went back in time may explain the first two (cuts.py), unless it promised that nothing of the kind is lost. Pure.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from orchestrator.contracts.session import Entry
from tests.chaos.caller import Exchange, Try
from tests.chaos.cuts import Windows


def is_explained(one: Try, cuts: Windows) -> bool:
    """Say whether what was acknowledged then may be gone: it was done within what a cut took, however late its answer came."""
    return any(until - back <= one.ended and one.began <= until for until, back in cuts)


def judge_reads(
    exchanges: Sequence[Exchange], journals: Mapping[str, Sequence[Entry]], cuts: Mapping[str, Windows]
) -> list[str]:
    """Return a line for each read that was older than what had been acknowledged before, with no cut in between.

    `journals` and `cuts` are by session: what its posts are numbered, and when its part of the store may have gone back.
    """
    wrong = []
    for sid in sorted({one.session_id for one in exchanges} & journals.keys()):
        numbers = _number_posts(journals[sid])
        mine = [one for one in exchanges if one.session_id == sid and one.is_acknowledged]
        known = sorted(((one.tries[-1].ended, one) for one in mine), key=lambda pair: pair[0])
        ends, windows = [ended for ended, _ in known], cuts.get(sid, ())
        floor, place, newest, teller = 0.0, 0, 0, None
        for read in sorted((one for one in mine if one.what == "read"), key=lambda one: one.tries[-1].began):
            asked = read.tries[-1].began
            if is_explained(read.tries[-1], windows):
                continue
            since = max((until for until, _ in windows if until < asked), default=0.0)
            if since > floor:
                floor, place, newest, teller = since, bisect_left(ends, since), 0, None
            while place < len(known) and ends[place] < asked:
                one = known[place][1]
                seq = one.seq or numbers.get(one.post_id, 0)
                if seq > newest and one.tries[-1].began > floor:
                    newest, teller = seq, one
                place += 1
            if teller is not None and newest > read.seq:
                after = f"{teller.what} {teller.key}".strip()
                wrong.append(
                    f"{sid}: a read was told of {read.seq} entries, after a {after} that was answered at entry {newest}"
                )
    return wrong


def judge_kept(
    exchanges: Sequence[Exchange],
    journals: Mapping[str, Sequence[Entry]],
    cuts: Mapping[str, Windows],
    of_keys: Mapping[str, Windows] = MappingProxyType({}),
    *,
    is_safe: bool,
) -> tuple[list[str], list[str]]:
    """Return what was acknowledged and is not kept: what of it a cut explains, and what is wrong.

    It is in its session's journal, and it is known when it is said again. `cuts` are by session, `of_keys` by the key of a submission,
    which is what that one is known by. With `is_safe` no cut explains anything.
    """
    lost, wrong = [], []
    posted = {sid: _number_posts(journal) for sid, journal in journals.items()}
    before: dict[tuple[str, str, str], Exchange] = {}

    def lose(one: Exchange, how: str) -> None:
        line = f"{one.what} {one.key} of {one.session_id}"
        windows = [*cuts.get(one.session_id, ()), *(of_keys.get(one.key, ()) if one.what == "submit" else ())]
        if not is_safe and is_explained(one.tries[-1], windows):
            lost.append(line)
        else:
            wrong.append(f"acknowledged over HTTP and {how}: {line}")

    for one in exchanges:
        if one.what == "read" or not one.is_acknowledged:
            continue
        name = (one.what, "" if one.what == "submit" else one.session_id, one.key)
        first = before.get(name)
        if first is not None and one.is_new and one.tries[0].began > first.tries[-1].ended:
            lose(first, "forgotten")
        before[name] = one
    for one in before.values():
        if one.what != "submit" and one.session_id in posted and one.post_id not in posted[one.session_id]:
            lose(one, "not in the journal")
    return lost, wrong


def _number_posts(journal: Sequence[Entry]) -> dict[str, int]:
    """Return which entry each post is, by its id."""
    posts = [(entry.seq, entry.data["post"]) for entry in journal if entry.kind == "posted"]
    return {str(post["post_id"]): seq for seq, post in posts if isinstance(post, dict)}


def judge_keys(
    exchanges: Sequence[Exchange],
    texts: Mapping[str, Sequence[str]],
    of_keys: Mapping[str, Windows] = MappingProxyType({}),
) -> list[str]:
    """Return a line for each key of a submission that there are several sessions of; `texts` are the ids of all sessions by their text.

    Each is submitted with a text of its own. A session that the store has taken back is not there any more; a key that it has
    taken back, and not its session, lay in another part of a cluster: then a cut of that part, of `of_keys`, explains the second session.
    """
    made: dict[str, list[Exchange]] = {}
    for one in exchanges:
        if one.what == "submit" and one.is_acknowledged:
            made.setdefault(one.text, []).append(one)
    wrong = [
        f"the submission of {text!r} made {len(found)} sessions: {sorted(found)}"
        for text, found in texts.items()
        if text in made
        and len(found) != 1
        and not any(is_explained(one.tries[-1], of_keys.get(one.key, ())) for one in made[text])
    ]
    return wrong + [
        f"the submission of {text!r} was acknowledged, and there is none" for text in made if text not in texts
    ]


def judge_answers(exchanges: Sequence[Exchange]) -> list[str]:
    """Return a line for each act that was answered as a defect."""
    return [
        f"{one.session_id}: {one.what} {one.key} was answered with 500"
        for one in exchanges
        if any(each.status == 500 for each in one.tries)
    ]
