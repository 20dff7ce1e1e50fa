"""A script touches no key that it did not declare: on a cluster it would fail, and only for some sessions."""

import re
from pathlib import Path

import pytest

from orchestrator.embedded import RunningServer
from orchestrator.store.keys import KEY_NAMES, OF_NO_SESSION
from orchestrator.store.leases import Claimed, Commit
from orchestrator.store.scripts import FOLDER, Script, load_scripts
from tests.property.store_lab import APP, DIGEST, Lab, entry

SCRIPTS = sorted(load_scripts().values(), key=lambda script: script.name)
CALL = re.compile(r"redis\.p?call\(\s*'(\w+)'(?:\s*,\s*([\w.\[\]]+))?")
FUNCTION = re.compile(r"^local function (\w+)\(([^)]*)\)(.*?)^end$", re.MULTILINE | re.DOTALL)
NO_KEYS = {"TIME", "PUBLISH"}


def used_keys(source: str) -> set[str]:
    """Return the names of keys that a script can reach: its own text, and the functions that it calls."""
    functions = {name: body for name, _, body in FUNCTION.findall(source)}
    text = FUNCTION.sub("", source)
    reached: set[str] = set()
    while called := {name for name in functions if re.search(rf"\b{name}\(", text)} - reached:
        reached |= called
        text += "".join(functions[name] for name in called)
    return set(re.findall(r"\bK\.(\w+)", text)) - {""}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_a_script_declares_what_it_touches_and_nothing_else(script: Script) -> None:
    """The header is what a reader believes, and what the cluster routes by."""
    used = used_keys(script.source)
    if "K[" in script.source:  # bury walks over a table of names
        used |= set(re.findall(r"\{'(\w+)', '(?:hash|stream|list|zset)'\}", script.source))

    assert set(script.keys) <= KEY_NAMES
    assert used == set(script.keys)


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.lua")), ids=lambda path: path.stem)
def test_every_call_names_its_key_through_the_declared_table(path: Path) -> None:
    """A key that is built from text inside a script is on no list."""
    named = {"by", "journal"}  # parameters of functions that are given K.by and K.journal
    wrong = [
        f"{command} {key}"
        for command, key in CALL.findall(path.read_text(encoding="utf-8"))
        if command not in NO_KEYS and not (key.startswith("K") or key in named)
    ]

    assert wrong == []


def test_acts_need_no_key_beyond_those_of_their_session(lab: Lab, empty_server: RunningServer) -> None:
    """The server itself says so: a user who may touch exactly these keys can do a session's whole life."""
    session_id = lab.submit(text="hello", key="once")
    of_sessions = [script for script in SCRIPTS if not OF_NO_SESSION & set(script.keys)]
    keys = {f"~{key}" for script in of_sessions for key in lab.store.keys.for_script(script.keys, session_id)}
    lab.run(
        lab.store.command(
            "ACL", "SETUSER", "narrow", "reset", "on", ">secret", *keys, "&*", "+@all", "-keys", "-flushall"
        )
    )
    narrow = Lab(empty_server.url.replace("unix://", "unix://narrow:secret@", 1))
    try:
        fence, rev = claim(narrow, session_id)
        narrow.commit(
            session_id, fence, rev, Commit("continue", {}, (entry(),), ('{"role":"user"}',), intents={"c": "{}"})
        )
        narrow.run(narrow.leases.renew(session_id, fence))
        narrow.commit(session_id, fence, rev + 1, Commit("waiting", {}, (entry(),), due_at=1, cleared=("c",)))
        tick = narrow.run(narrow.due.tick(narrow.store.keys.partition(session_id), [APP], most=9, each=9))
        assert tick.due == (session_id,)
        assert narrow.run(narrow.due.wake(session_id))
        fence, rev = claim(narrow, session_id)
        assert narrow.run(narrow.leases.release(session_id, fence))
        fence, rev = claim(narrow, session_id)
        narrow.expire_lease(session_id)
        assert narrow.run(narrow.due.rescue(session_id))
        fence, rev = claim(narrow, session_id)
        narrow.commit(session_id, fence, rev, Commit("dead", {}, (entry(),), reason="why", status="so"))
        narrow.run(narrow.intake.replay(session_id, "al"))
        fence, rev = claim(narrow, session_id)
        narrow.commit(session_id, fence, rev, Commit("finalizing", {}, (entry(),)))
        fence, rev = claim(narrow, session_id)
        done = narrow.commit(session_id, fence, rev, Commit("ended", {}, (entry(),), status="done"))
    finally:
        narrow.close()
        lab.run(lab.store.command("ACL", "DELUSER", "narrow"))

    assert done.phase == "ended"


def claim(lab: Lab, session_id: str) -> tuple[int, int]:
    """Claim and return fence and revision."""
    claimed = lab.run(lab.leases.claim(session_id, f"w:{lab.run(lab.store.now_ms())}", (DIGEST,), known=0))
    assert isinstance(claimed, Claimed)
    return claimed.record.fence, claimed.record.rev


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_no_script_asks_for_what_a_server_of_6_2_has_not(script: Script) -> None:
    """An option of EXPIRE is an error there, in the middle of an act; ZADD has had its own since then."""
    assert not re.findall(r"'P?EXPIRE(?:AT)?',[^\n]*'(?:NX|XX|GT|LT)'", script.source)
