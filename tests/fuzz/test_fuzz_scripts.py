"""Every script of the store, with argument lists that nobody meant: a documented answer, or a refusal that wrote nothing.

A script cannot be rolled back. So what it is given is checked before its first write, and after every act, whatever it
was, each session still stands in one place and its journal has no gap.
"""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.contracts.phases import TRANSITIONS
from orchestrator.store.leases import Claimed
from orchestrator.store.scripts import FOLDER, load_scripts
from orchestrator.store.wire import ServerRefused
from tests.property.store_lab import DIGEST, SMALL, Lab, build_commit, entry

#: What each act may answer. Two acts answer with figures alone: `measure` always, `tick` unless it is malformed.
ANSWERS: dict[str, frozenset[str]] = {
    path.stem: frozenset(re.findall(r"return \{'(\w+)'", path.read_text(encoding="utf-8")))
    | frozenset(
        word
        for line in re.findall(r"return \{is_same and '(\w+)' or '(\w+)'", path.read_text(encoding="utf-8"))
        for word in line
    )
    for path in FOLDER.glob("*.lua")
}
FIGURES = {"measure", "tick"}
#: Keys that belong to no session.
MODEL, REQUEST, COUNTER = "baton:model:x", "baton:idem:app:x", "baton:ids:SES:20260101"

#: Texts that stand where numbers, ids or JSON are expected; none names a field of the store's own bookkeeping.
ODD = (
    "", "0", "1", "-1", "2", "3", "007", "1.0", "1e3", "0x10", " 5", "5 ", "+1", "-0", "1.5", "nan", "inf", "1e309", "x",
    "99999999999999", "999999999999999", "9" * 40, "None", "{}", "{", "[]", '"', ":", "app:ready", "\n", "é", "\x00", "SES-1",
    "continue", "waiting", "ended", "dead", "keep", "finalizing", "app", "rank", "x" * 300,
)  # fmt: skip
odd = st.sampled_from(ODD) | st.integers(-2, 12).map(str) | st.text(st.characters(codec="utf-8"), max_size=4)


@st.composite
def changed(draw: st.DrawFn, good: list[str]) -> list[str]:
    """Return a good list of arguments with some of it exchanged, cut off, doubled or added to; or none of it."""
    args = list(good)
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(args)))
        match draw(st.sampled_from(("put", "put", "cut", "drop", "add", "all"))):
            case "put":
                args[place : place + 1] = [draw(odd)]
            case "cut":
                del args[place:]
            case "drop":
                del args[place : place + 1]
            case "add":
                args[place:place] = draw(st.lists(odd, min_size=1, max_size=3))
            case _:
                args = draw(st.lists(odd, max_size=12))
    return args


class Scene:
    """A store with a session in each phase that an act may find, and a good list of arguments for every act."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        lab.flush()
        self.ready, self.held, self.waiting, self.dead = (lab.submit(text="hello") for _ in range(4))
        self.fence, self.rev = self.claim(self.held)
        fence, rev = self.claim(self.waiting)
        lab.commit(self.waiting, fence, rev, waits())
        lab.pass_due(self.waiting)
        fence, rev = self.claim(self.dead)
        lab.commit(self.dead, fence, rev, dies())

    def claim(self, session_id: str) -> tuple[int, int]:
        claimed = self.lab.run(self.lab.leases.claim(session_id, f"w:{session_id}", (DIGEST,), known=0))
        assert isinstance(claimed, Claimed)
        return claimed.record.fence, claimed.record.rev

    @property
    def sessions(self) -> tuple[str, ...]:
        return self.ready, self.held, self.waiting, self.dead

    def good(self, name: str) -> list[str]:
        """Return arguments (after the session's id) with which an act does its work on the session that is held."""
        fence, rev, told = str(self.fence), str(self.rev), entry()
        counts = ["1", "1", "1", "0", "1", "1", "1"]
        values = ["state", "{}", told, '{"role":"user"}', "call-1", "{}", "call-2", "step:x", "3"]
        return {
            "admit": ["mark", "1", "1000", "bucket", "1", "1000", "10", "0"],
            "advance": [fence, rev, "400", told, "state", "{}"],
            "bury": ["why", ""],
            "claim": ["w:9", "60000", "3", "0", "0", "0", DIGEST],
            "commit": [fence, rev, "ready", "-1", "0", "", "why", "400", "99", *counts, *values],
            "fork": ["stamp", "bell", told, "2", "1", "ada", "2", "999", "app", "app", "rank", "1", "c", "{}", "{}", "{}"],
            "leave": ["1000"],
            "limit": ["1000", "5"],
            "mark": [],
            "measure": [],
            "mint": ["60"],
            "move_key": ["SES-1 digest", "60"],
            "note": ["{}", "100"],
            "page": ["", "", "", "", "10"],
            "post": ["p1", "{}", entry("posted"), "", "3", "", "bell", "cancels", ""],
            "prune": [rev, "2"],
            "refuse": [entry("refused"), "3", "400", "request"],
            "release": [fence],
            "renew": [fence, "60000"],
            "replay": [entry("replayed"), "bell", "", "1", "request", "1"],
            "report": ["failed", "sig", "10", "3", "1000", "0f", "bucket", "1000", "5", "7"],
            "rescue": [],
            "stream": [fence, "10", "1000", "1", "piece"],
            "submit": ["digest", "bell", entry("submitted"), "2", "app", "app", "rank", "1", "{}"],
            "take_deliveries": ["1000"],
            "tally": [],
            "tick": ["9", "60000", "5000", "30000", "app"],
            "wake": [],
        }[name]  # fmt: skip

    def everything(self) -> dict[str, Any]:
        async def read() -> dict[str, Any]:
            keys = sorted(await self.lab.store.command("KEYS", "*"))
            return {key: await self.lab.store.command("DUMP", key) for key in keys}

        return self.lab.run(read())

    def act(self, name: str, session_id: str, args: list[str]) -> None:
        """Do one act; fail for an answer that is not documented, and for a refusal that wrote something."""
        before = self.everything()
        store = self.lab.store
        first = {"take_deliveries": "9", "tick": "9", "page": "app", "measure": "app", "mint": "1"}.get(
            name, session_id
        )
        of_none = {"admit": MODEL, "report": MODEL, "move_key": REQUEST, "note": "baton:audit", "mint": COUNTER}
        keys = [of_none[name]] if name in of_none else None
        script = load_scripts()[name]
        named = keys or list(store.keys.for_script(script.keys, session_id))
        try:
            reply = self.lab.run(store.command("EVALSHA", script.sha, len(named), *named, first, *args))
        except ServerRefused as error:
            assert self.everything() == before, f"{name} {args}: it wrote something and then failed: {error}"
            return
        if name in FIGURES and isinstance(reply[0], int):
            return
        assert reply[0] in ANSWERS[name], f"{name} {args}: {reply} is no answer of it"
        if reply[0] == "malformed":
            assert self.everything() == before, f"{name} {args}: malformed, but it wrote something"

    def check(self) -> None:
        """One place each, no gap, counts that are true: what tests/property/store_checks.py asks, without a model."""
        for session_id in self.sessions:
            now = self.lab.run(self.raw(session_id))
            record, journal, posts, places = now
            phase = record["phase"]
            assert phase in TRANSITIONS
            assert [number for number, _ in journal] == [f"{one}-0" for one in range(1, int(record["seq"]) + 1)]
            assert int(record["posts"]) == posts
            lease, due, dead = (places[name] is not None for name in ("leases", "due", "dead"))
            assert not (lease and due)
            assert dead is (phase == "dead")
            assert not lease or phase in {"running", "finalizing"}
            assert not due or phase == "waiting"
            assert len([member for member in places["by"] if ":asks/" not in member]) == 1

    async def raw(self, session_id: str) -> tuple[dict[str, str], list[Any], int, dict[str, Any]]:
        command, key = self.lab.store.command, self.lab.key
        flat = await command("HGETALL", key("record", session_id))
        scores = {
            name: await command("ZSCORE", key(name, session_id), session_id) for name in ("leases", "due", "dead")
        }
        members = await command("ZRANGE", key("by", session_id), 0, -1)
        scores["by"] = [member for member in members if member.endswith(f":{session_id}")]
        return (
            dict(zip(flat[::2], flat[1::2], strict=True)),
            await command("XRANGE", key("journal", session_id), "-", "+"),
            int(await command("LLEN", key("mailbox", session_id))),
            scores,
        )


def waits() -> Any:
    """Return the commit of a session that waits for an answer."""
    return build_commit(1, "waiting", taken=0, due=False, wait_id="wait-1", messages=1, keep=False)


def dies() -> Any:
    """Return the commit of a session that becomes a dead letter."""
    return build_commit(1, "dead", taken=0, due=None, wait_id="", messages=0, keep=False)


@pytest.fixture
def scene_lab(store_url: str) -> Iterator[Lab]:
    """Lend a store whose limits are small."""
    made = Lab(store_url, partitions=1, limits=SMALL)
    yield made
    made.close()


def test_every_act_has_an_example_and_answers() -> None:
    """A new script is fuzzed from its first day: whoever adds one says here what a good call of it is."""
    scene = object.__new__(Scene)
    scene.fence = scene.rev = 1

    for name in load_scripts():
        scene.good(name)
        assert ANSWERS[name] or name in FIGURES


def test_the_good_arguments_are_good(scene_lab: Lab) -> None:
    """What is then broken worked before it was broken."""
    for name in load_scripts():
        scene = Scene(scene_lab)
        session_id = {"replay": scene.dead, "claim": scene.ready, "fork": "SES-9", "submit": "SES-9"}.get(
            name, scene.held
        )
        scene.act(name, session_id, scene.good(name))
        scene.check()


@pytest.mark.parametrize("name", sorted(load_scripts()))
def test_arguments_that_nobody_meant_leave_the_store_whole(scene_lab: Lab, name: str) -> None:
    """What a script is given is judged before it writes: nothing would undo the first half."""

    @settings(max_examples=12, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def act(data: st.DataObject) -> None:
        scene = Scene(scene_lab)
        for _ in range(4):
            session_id = data.draw(st.sampled_from(scene.sessions), label="session")
            scene.act(name, session_id, data.draw(changed(scene.good(name)), label="args"))
        scene.check()

    act()


@pytest.mark.parametrize("name", sorted(load_scripts()))
def test_an_act_whose_last_arguments_are_missing_writes_nothing_or_all(scene_lab: Lab, name: str) -> None:
    """A caller of an older version sends fewer: the act is done as far as it is asked, or not begun."""
    scene = Scene(scene_lab)
    sessions = {"replay": scene.dead, "claim": scene.ready, "fork": "SES-9", "submit": "SES-9"}

    for count in range(len(scene.good(name))):
        scene.act(name, sessions.get(name, scene.held), scene.good(name)[:count])
        scene.check()
