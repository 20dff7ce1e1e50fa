"""What models, tools, plugins and callers write is shown as text, in every field and on every page."""

import asyncio
import re

import pytest

from tests.api_stage import api_stage
from tests.console_hostile import EVIL, SESSION, SHOWN, poison_client, poisoned_record
from tests.console_stage import Document, browse

PLAIN_TAGS = frozenset(
    re.findall(
        r"\w+",
        "html head meta title link script body a div nav img ul li span strong form input button main h1 h2 h3 p dl dt dd "
        "section header code pre details summary label select option textarea table thead tbody tr th td time ol noscript "
        "svg g rect path line circle text defs marker i b br article fieldset legend",
    )
)


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
            poison_client(api.on.client, api.app.state.parts.operations, poisoned_record(phase, wait))
            return await browser.open(f"/console/sessions/{SESSION}")

    page = asyncio.run(run())

    check(page)
    assert page.text.count(SHOWN) > 40


@pytest.mark.parametrize(
    ("path", "least"),
    [
        ("/console/sessions", 7),
        ("/console/sessions?q=x", 6),
        ("/console/inbox", 11),
        ("/console/dead", 7),
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
            poison_client(
                api.on.client,
                api.app.state.parts.operations,
                poisoned_record("waiting" if path != "/console/dead" else "dead"),
            )
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
