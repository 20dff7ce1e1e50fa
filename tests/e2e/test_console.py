"""The console in a real browser, over a real stack: with JavaScript and without, by day and by night, on a phone.

With BATON_SCREENSHOTS=1 the pictures of docs/images are made anew; otherwise no file is changed.
"""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api_stage import served
from tests.browser import CONTRAST, chromium, tab
from tests.commands import ROOT, Baton, run_up
from tests.console_hostile import SESSION, poison_client, poisoned_record
from tests.deploy.drills.lab import wait_until

pytestmark = [pytest.mark.integration]

#: Asked when this module is read: what is in the environment is taken away for each test.
WANTS_PICTURES = bool(os.environ.get("BATON_SCREENSHOTS"))
PAGES = ("", "sessions", "inbox", "dead", "queues", "workers", "apps", "apps/journey", "submit", "audit")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Lend the module's browser."""
    with chromium() as one:
        yield one


class Site:
    """A stack with three workers, its console, and the token of an operator who may answer what the test app asks."""

    def __init__(self, baton: Baton, base: str, token: str) -> None:
        self.baton = baton
        self.base = base
        self.token = token

    def log_in(self, page: Any, then: str = "") -> None:
        """Log in where the page leads, and end there."""
        page.goto(f"{self.base}{then}")
        page.get_by_label("Token").fill(self.token)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url(f"{self.base}{then}")


@pytest.fixture(scope="module")
def site(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Lend the stack; a test that asks for it also needs a browser, and is skipped before anything is started."""
    takes_pictures = {"BATON_APPS_BUNDLED": "true"} if WANTS_PICTURES else {}
    baton = Baton(tmp_path_factory.mktemp("console") / "state", takes_pictures)
    with run_up(baton, "--workers", "3"):
        token = baton("tokens", "new", "ada", "--role", "operator", "-o", "json").json("token")["secret"]
        api = baton.open("api", "--port", "0", "-o", "json")
        try:
            assert api.stdout is not None
            yield Site(baton, f"{json.loads(api.stdout.readline())['api']['url']}/console/", token)
        finally:
            api.terminate()
            api.communicate(timeout=60)


@pytest.fixture(scope="session")
def pictures() -> Path | None:
    """Return the folder of pictures where they were asked for."""
    return ROOT / "docs" / "images" if WANTS_PICTURES else None


def shoot(page: Any, pictures: Path | None, name: str, *, whole: bool = False) -> None:
    """Take a picture, where pictures were asked for."""
    if pictures is not None:
        page.screenshot(path=pictures / f"console-{name}.png", full_page=whole)


def until(page: Any, text: str, *, is_live: bool) -> None:
    """Wait until the page says so: by itself where it lives, else by being loaded again as a person would."""
    said = page.get_by_text(text).first
    if is_live:
        said.wait_for()
        return

    def is_said() -> bool:
        page.reload()
        return bool(said.is_visible())

    wait_until(is_said, f"the page says {text!r}")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("is_live", [True, False], ids=["with JavaScript", "without JavaScript"])
def test_a_person_walks_through_the_console(site: Site, browser: Any, pictures: Path | None, is_live: bool) -> None:
    """Submit, watch, approve, replay, drain: everything that the night shift does, in a browser and nowhere else."""
    complaints: list[str] = []
    shown = pictures if is_live else None
    with (
        tab(browser, complaints=complaints, java_script_enabled=is_live) as page,
        tab(browser, complaints=complaints, java_script_enabled=is_live) as inbox,
    ):
        site.log_in(inbox, "inbox")
        if is_live:
            inbox.get_by_text("live", exact=True).wait_for()
        site.log_in(page, "submit")
        page.locator("select[name=app]").select_option("journey")
        page.get_by_label("What it is asked").fill("Switch the eastern line to the spare feed")
        page.get_by_label("State, a JSON object").fill('{"plan": "danger", "answer": "switched"}')
        page.locator("main").get_by_role("button", name="Submit").click()
        session_id = page.locator("h1").inner_text()
        watched = f"{site.base}sessions/{session_id}"
        assert page.url.startswith(watched)
        until(page, "It waits for a person", is_live=is_live)
        shoot(page, shown, "session")

        if not is_live:
            inbox.reload()
        ask = inbox.locator(f"#ask-{session_id}")
        ask.wait_for()  # with JavaScript the list grows while nobody touches it
        assert '"target": "x"' in ask.inner_text()
        shoot(inbox, shown, "inbox")
        ask.get_by_label("Reason").fill("the feed was checked")
        ask.get_by_role("button", name="Approve").click()
        inbox.get_by_text("Approved.").wait_for()
        assert inbox.locator(f"#ask-{session_id}").count() == 0

        until(page, "Why it ended", is_live=is_live)
        assert "fine" in page.inner_text("#top")
        page.goto(watched)
        assert "the feed was checked" in page.inner_text("#decisions")
        assert "hands:danger" in page.inner_text("#calls")
        shoot(page, shown, "ended", whole=True)

        for number in (1, 2):
            site.baton("submit", "journey", "--skill", "broken", "--text", f"try {number}", "--wait", code=1)
        page.goto(f"{site.base}dead")
        pile = page.locator("section.card").first
        shoot(page, shown, "dead")
        pile.get_by_text(re.compile(r"^Replay all \d+")).first.click()
        pile.get_by_label("Note").fill("nothing was mended")
        pile.get_by_role("button", name="of this kind").click()
        page.get_by_text(re.compile(r"Dead letters sent again: [2-9]\.")).wait_for()

        page.goto(f"{site.base}workers")
        shoot(page, shown, "workers")
        row = page.locator("tr", has=page.locator("details.act")).first
        name = row.locator("strong").first.inner_text()
        row.get_by_text("Drain", exact=True).click()
        row.get_by_role("button", name=f"Drain {name} now").click()
        page.get_by_text("told to finish what runs").wait_for()
        if is_live:
            page.locator(f"#worker-{name.replace(':', '-')}").get_by_text("draining").or_(
                page.locator("#members:not(:has-text('" + name + "'))")
            ).first.wait_for()
        if shown is not None:
            take_the_rest(site, page, shown)
    entries = site.baton("events", session_id, "-o", "json").out

    assert complaints == []
    assert "the feed was checked" in entries


def take_the_rest(site: Site, page: Any, pictures: Path) -> None:
    """Take pictures of pages that the walk does not pass, with something on them."""
    lines = "".join(json.dumps({"text": f"Order {number}"}) + "\n" for number in range(300))
    for _ in range(3):
        site.baton("submit", "journey", "-f", "-", stdin=lines)
        page.goto(site.base)
        page.locator("svg.chart").nth(2).wait_for()
        page.wait_for_timeout(6_000)
    shoot(page, pictures, "overview", whole=True)
    for path, name in (("sessions", "sessions"), ("queues", "queues"), ("apps/incident_management", "app")):
        page.goto(f"{site.base}{path}")
        shoot(page, pictures, name)
    page.emulate_media(color_scheme="dark")
    page.goto(site.base)
    shoot(page, pictures, "overview-dark")
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{site.base}sessions")
    shoot(page, pictures, "phone")


@pytest.mark.timeout(600)
def test_pages_can_be_read_by_everybody(site: Site, browser: Any) -> None:
    """Contrast of WCAG AA by day and by night, nothing wider than a phone, and a keyboard that reaches the content first."""
    complaints: list[str] = []
    asked = site.baton("submit", "journey", "--set", "plan=danger", "--wait", "-o", "json", code=4).json("submission")
    site.baton("submit", "journey", "--skill", "broken", "--wait", code=1)
    paths = [*PAGES, f"sessions/{asked['session_id']}", "sessions/TRIP-20260101-999"]
    faint, wide, first = {}, {}, ""
    for scheme in ("light", "dark"):
        with tab(browser, complaints=complaints, color_scheme=scheme) as page:
            site.log_in(page)
            for path in paths:
                page.set_viewport_size({"width": 1280, "height": 900})
                page.goto(f"{site.base}{path}")
                if found := page.evaluate(CONTRAST):
                    faint[scheme, path] = found
                for width in (1280, 390):
                    page.set_viewport_size({"width": width, "height": 844})
                    over = page.evaluate("document.documentElement.scrollWidth - innerWidth")
                    if over > 0:
                        wide[width, path] = over
            page.keyboard.press("Tab")
            first = page.evaluate("document.activeElement.className")

    assert faint == {}
    assert wide == {}
    assert first == "skip"
    assert [line for line in complaints if "404" not in line] == []


@pytest.mark.parametrize(
    ("phase", "wait"), [("waiting", "approval"), ("waiting", "input"), ("ended", "child"), ("dead", "retry")]
)
def test_hostile_content_does_nothing_in_a_browser(browser: Any, store_url: str, phase: str, wait: str) -> None:
    """Journal, findings, names, arguments: whatever they hold, no script of theirs runs and no picture is fetched."""
    complaints: list[str] = []
    asked: list[str] = []
    with served(store_url, open_actor="ada") as api:
        assert api.app is not None
        parts = api.app.state.parts
        poison_client(parts.client, parts.operations, poisoned_record(phase, wait))
        with tab(browser, complaints=complaints) as page:
            page.on("request", lambda request: asked.append(request.url))
            for path in (f"sessions/{SESSION}", "sessions?q=x", "inbox", "dead", "queues", "audit", ""):
                page.goto(f"{api.base}/console/{path}")
                page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
                page.mouse.move(300, 300)

    assert complaints == []
    assert {url.removeprefix(api.base).split("/")[1] for url in asked} == {"console"}
