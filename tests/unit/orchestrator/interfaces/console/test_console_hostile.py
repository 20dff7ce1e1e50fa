"""What models, tools, plugins and callers write is shown as text, in every field and on every page."""

import asyncio
import re
import types
from collections.abc import AsyncIterator
from typing import Any, Literal, Union, get_args, get_origin

import pytest
from pydantic import BaseModel

from orchestrator.contracts.messages import Message
from orchestrator.contracts.session import Entry, PendingCall, Record
from orchestrator.interfaces.console.shown import visible
from tests.api_stage import ApiStage, api_stage
from tests.console_stage import Document, browse

SESSION = "EVERY-20260101-001"
EVIL = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>{{7*7}}\u202egpj.exe"
#: The same as a page must show it.
SHOWN = visible(EVIL)
PLAIN_TAGS = frozenset(
    re.findall(
        r"\w+",
        "html head meta title link script body a div nav img ul li span strong form input button main h1 h2 h3 p dl dt dd "
        "section header code pre details summary label select option textarea table thead tbody tr th td time ol noscript "
        "svg g rect path line circle text defs marker i b br article fieldset legend",
    )
)
DATA: dict[str, Any] = {EVIL: EVIL, "deep": [{EVIL: [EVIL]}, 1, None]}


def poison(kind: Any) -> Any:
    """Return a value of this type in which every text that is free is hostile."""
    origin, args = get_origin(kind), get_args(kind)
    if origin in {Union, types.UnionType}:
        return poison(next(one for one in args if one is not type(None)))
    if origin is Literal:
        return args[0]
    if origin is tuple:
        return (poison(args[0]),) if args else ()
    if origin is dict:
        return {EVIL: poison(args[1])}
    if hasattr(kind, "__value__"):
        return poison(kind.__value__)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return poison_model(kind)
    return {str: EVIL, int: 3, float: 0.5, bool: False}.get(kind, DATA)


def poison_model(model: type[BaseModel], /, **given: Any) -> Any:
    """Return a model with every field hostile, unchecked: as if a check had been forgotten."""
    values = {name: poison(field.annotation) for name, field in model.model_fields.items()}
    return model.model_construct(**{**values, **given})


def poisoned_record(phase: str, wait_kind: str = "approval") -> Record:
    """Return a session of that phase that holds nothing but evil."""
    record: Record = poison_model(Record, session_id=SESSION, phase=phase, parent="EVERY-20260101-002", seq=9)
    assert record.wait is not None
    children = {f"{SESSION}0": None, EVIL: {EVIL: EVIL}}
    wait = record.wait.model_copy(update={"kind": wait_kind, "children": children})
    return record.model_copy(update={"wait": wait, "state": DATA, "fields": DATA, "answered": False})


def poisoned_entries() -> list[Entry]:
    """Return a journal in which each kind of entry says everything in evil."""
    hooks = [{"event": EVIL, "hook": EVIL, "action": EVIL, "reason": EVIL}]
    posts = [{"what": EVIL, "actor": EVIL, "wait": EVIL}]
    isolation = {"tier": EVIL, "duration_ms": EVIL, "exit_code": EVIL, "peak_memory_mb": EVIL, EVIL: EVIL}
    plugin = {
        "plugin": EVIL,
        "version": EVIL,
        "status": EVIL,
        "error": EVIL,
        "violations": [DATA],
        "isolation": isolation,
    }
    changes = [{"path": EVIL, "kind": EVIL, "summary": EVIL, "detail": DATA}, {"path": {"no": "path"}, "kind": ["x"]}]
    data: list[dict[str, Any]] = [
        {"post": {"kind": EVIL, "verdict": EVIL, "text": EVIL, "name": EVIL}},
        {"hooks": hooks, "denied": True, "hook": EVIL, "reason": EVIL, "posts": posts},
        {"plugin": plugin, "changes": changes, "logs": [DATA], "aborted": EVIL},
        {"error": EVIL, "message": EVIL, "decision": EVIL},
        {"status": EVIL, "reason": EVIL, "rule": 0, "rule_text": {"tool_name": EVIL, "match_args": DATA}, "tool": EVIL},
        {"wait": "input", "asks": EVIL, "call": EVIL},
        {"reason": EVIL, "detail": EVIL},
        {EVIL: EVIL},
    ]
    made = [
        poison_model(Entry, seq=seq, at=1_000 * seq, data=one, set={}, messages=(), step="agent_turn")
        for seq, one in enumerate(data, 1)
    ]
    made[4] = made[4].model_copy(update={"step": "finalize"})
    made[5] = made[5].model_copy(update={"outcome": "suspended"})
    return [*made, poison_model(Entry, seq=9, at=9_000, data={}, set={}, messages=(), step=None, kind=EVIL)]


async def poison_client(api: ApiStage, record: Record) -> None:
    """Let the client tell of nothing but that session; no validated runtime could have written it."""
    client, operations = api.on.client, api.app.state.parts.operations

    async def events(*_: Any, **__: Any) -> AsyncIterator[Entry]:
        for entry in poisoned_entries():
            yield entry

    def answer(value: Any) -> Any:
        async def give(*_: Any, **__: Any) -> Any:
            return value

        return give

    messages = tuple(
        poison_model(Message, role=role, content=EVIL * many) for role in ("user", "tool") for many in (1, 60)
    )
    page = await operations.page(api_query())
    letters = [{"reason": EVIL, "error": EVIL, "detail": f"{EVIL}\n{EVIL}", "attempts": EVIL, "at": 1, EVIL: EVIL}]
    given = {
        "show": answer(record),
        "context": answer(messages),
        "intents": answer({EVIL: poison_model(PendingCall)}),
        "events": events,
        "search": answer([types.SimpleNamespace(record=record)]),
    }
    for name, value in given.items():
        setattr(client, name, value)
    operations.page = answer(type(page)((record,), None))
    operations.letters = answer(letters)
    operations.acts = answer([types.SimpleNamespace(number="1-1", at=1, actor=EVIL, act=EVIL, target=EVIL, data=DATA)])
    operations.pauses = answer([types.SimpleNamespace(target="queue:steps", at=1, actor=EVIL, reason=EVIL)])
    info = (await client.workers())[:1]
    assert info == []


def api_query() -> Any:
    """Return the query of everything."""
    from orchestrator.operations import Query

    return Query()


def check(page: Document) -> None:
    """Fail where a page has anything that a template of ours does not write."""
    for tag, attributes in page.elements:
        assert tag in PLAIN_TAGS, tag
        assert not [name for name in attributes if name.startswith("on") or name == "style"], (tag, attributes)
        if tag == "script":
            assert attributes["src"].startswith("/console/static/console.js?v=")
        if tag == "img":
            assert attributes["src"].startswith("/console/static/icon.svg?v=")
        for name in ("href", "action"):
            if name in attributes:
                assert attributes[name].startswith(("/console", "#", "?")), (tag, attributes)
    assert "49gpj" not in page.text
    assert "\u202e" not in page.text


@pytest.mark.parametrize(
    ("phase", "wait"),
    [
        ("running", "timer"),
        ("waiting", "approval"),
        ("waiting", "input"),
        ("waiting", "uncertain"),
        ("ended", "child"),
        ("dead", "retry"),
    ],
)
def test_a_sessions_page_shows_evil_as_text(store_url: str, phase: str, wait: str) -> None:
    """Record, journal, context, calls, hooks, plugin results and changes, waits, children: none can write HTML."""

    async def run() -> Document:
        async with api_stage(store_url) as api:
            browser = await browse(api)
            await poison_client(api, poisoned_record(phase, wait))
            return await browser.open(f"/console/sessions/{SESSION}")

    page = asyncio.run(run())

    check(page)
    assert page.text.count(SHOWN) > 40


@pytest.mark.parametrize(
    ("path", "least"),
    [
        ("/console/sessions", 4),
        ("/console/sessions?q=x", 3),
        ("/console/inbox", 8),
        ("/console/dead", 4),
        ("/console/queues", 2),
        ("/console/audit", 5),
        ("/console/", 2),
    ],
)
def test_lists_show_evil_as_text(store_url: str, path: str, least: int) -> None:
    """A list is where everybody looks first, with everybody's rights."""

    async def run() -> Document:
        async with api_stage(store_url) as api:
            browser = await browse(api)
            await poison_client(api, poisoned_record("waiting" if path != "/console/dead" else "dead"))
            return await browser.open(path)

    page = asyncio.run(run())

    check(page)
    assert page.text.count("alert(1)") >= least


@pytest.mark.parametrize(
    "path",
    [
        "/console/sessions/%3Cscript%3Ealert(1)%3C%2Fscript%3E",
        "/console/%3Cscript%3Ealert(1)%3C%2Fscript%3E",
        "/console/apps/%22%3E%3Cscript%3E",
        "/console/audit?before=%3Cscript%3Ealert(1)",
        "/console/?note=%3Cscript%3E&count=%3Cb%3E",
        "/console/login?next=javascript:alert(1)",
        "/console/sessions?cursor=%3Cscript%3E",
        "/console/sessions?app=%3Cscript%3E&q=%22%3E%3Cimg%20src%3Dx%3E",
    ],
)
def test_addresses_write_no_html(store_url: str, path: str) -> None:
    """A link that somebody is made to open carries its evil in the address; errors repeat what was asked."""

    async def run() -> Document:
        async with api_stage(store_url) as api:
            browser = await browse(api)
            answer = await browser.send("GET", path)
            while answer.status_code == 303:
                assert answer.headers["location"].startswith("/console/")
                answer = await browser.send("GET", answer.headers["location"])
            return Document(answer.text)

    check(asyncio.run(run()))


def test_what_was_sent_comes_back_as_text(store_url: str) -> None:
    """A form that is shown again with what is wrong holds what was typed, and nothing of it runs."""

    async def run() -> tuple[int, Document]:
        async with api_stage(store_url) as api:
            browser = await browse(api)
            page = await browser.open("/console/submit")
            form = {
                **page.form("/console/submit"),
                "app": EVIL,
                "text": f"</textarea>{EVIL}",
                "state": EVIL,
                "key": EVIL,
            }
            answer = await browser.send("POST", "/console/submit", form)
            return answer.status_code, Document(answer.text)

    status, page = asyncio.run(run())

    assert status == 422
    check(page)
    assert page.text.count("alert(1)") >= 2
