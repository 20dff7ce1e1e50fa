"""What other parts write into sessions, on their pages: hooks, limits, budgets, compactions, grants, forks, models' words."""

import html
import re
import shlex
from typing import Any

from orchestrator.app_loader import load_app
from orchestrator.contracts.budgets import BudgetSpec, SessionBudget
from orchestrator.contracts.context import ContextSpec
from orchestrator.contracts.streaming import StreamPiece
from orchestrator.interfaces.console.shown import link
from orchestrator.settings import Settings
from orchestrator.store.fleet import WorkerInfo
from orchestrator.store.leases import Claimed
from orchestrator.store.token_stream import TokenStream
from tests.api_stage import ApiStage, api_settings
from tests.console_stage import Browser, Document, play
from tests.deploy.test_runbooks import find_problem
from tests.hook_stage import HOOKED
from tests.integration.talker import PROVIDER, talker
from tests.talkers import Talker, asks, says, worker_that_talks
from workers.stub_llm import running


def hrefs(page: Document) -> list[str]:
    """Return where a page's links lead."""
    return [attributes.get("href", "") for tag, attributes in page.elements if tag == "a"]


def test_what_hooks_did_is_told_once_and_with_its_reason(store_url: str) -> None:
    """Who asks why a session did another thing than its model said finds the hook, the event and the words."""
    spec = load_app(HOOKED)

    async def act(api: ApiStage, browser: Browser) -> dict[str, str]:
        worker = api.on.worker(specs={spec.name: spec})
        scenes: dict[str, dict[str, Any]] = {
            "secret": {},
            "deny": {},
            "durable": {},
            "notice": {"calls": [{"strike": ["deny"]}, {"strike": ["ask"]}]},
        }
        told = {}
        for text, state in scenes.items():
            made = await api.on.client.submit("hooked", text=text, overrides=state, actor="ada")
            await api.on.run(worker, made.session_id)
            told[text] = (await browser.open(link(made.session_id))).text
        return told

    told = play(store_url, act, specs={spec.name: spec})

    assert 'hook prompt:submit modify prompt "secret" became "redacted"' in told["secret"]
    assert told["deny"].count("hook prompt:submit deny prompt not this") == 1
    assert "hook prompt:submit inject context prompt 11 characters, as system" in told["durable"]
    assert "hook prompt:submit message prompt begun" in told["notice"]
    assert "hook tool:pre deny before_tool not that" in told["notice"]
    assert told["notice"].count("hook tool:pre ask user before_tool Do ask?") == 1
    assert "The hook before_tool asks" in told["notice"]


def test_an_approval_may_hold_from_now_on(store_url: str) -> None:
    """One button allows the very same call for good; the page says what is allowed, and who said so."""

    async def act(api: ApiStage, browser: Browser) -> tuple[str, str, Any]:
        worker, session_id = api.on.worker(), await api.on.submit(plan="danger")
        await api.on.run(worker, session_id)
        inbox = await browser.open("/console/inbox")
        after = await browser.submit(inbox, f"{link(session_id)}/decide", decision="always")
        await api.on.run(worker, session_id)
        return after.text, (await browser.open(link(session_id))).text, await api.on.client.show(session_id)

    after, page, record = play(store_url, act)

    assert "does not ask about the same call again" in after
    assert 'Always allowed hands:danger {"target":"x"}, asked by gateway, allowed by ada' in page
    assert [grant.actor for grant in record.hooks.grants] == ["ada"]


def test_a_session_is_cancelled_at_once(store_url: str) -> None:
    """The box says that calls which run are left; the journal and the page say that it was so."""

    async def act(api: ApiStage, browser: Browser) -> tuple[str, Any]:
        session_id = await api.on.submit("until")
        await api.on.run(api.on.worker(), session_id)
        page = await browser.open(link(session_id))
        after = await browser.submit(page, f"{link(session_id)}/cancel", reason="enough", immediate="yes")
        return after.text, await api.on.client.show(session_id)

    text, record = play(store_url, act)

    assert "told to stop at once" in text
    assert record.cancel_immediate or record.phase == "ended"


def test_a_session_is_forked_from_its_timeline(store_url: str) -> None:
    """From the entry where it went wrong, with another state; pressing twice is one fork, and both know each other."""

    async def act(api: ApiStage, browser: Browser) -> dict[str, Any]:
        origin = await api.on.submit()
        await api.on.run(api.on.worker(), origin)
        page = await browser.open(link(origin))
        path = f"{link(origin)}/fork"
        form = await browser.open(f"{path}?at=1")
        wrong = await browser.send("POST", path, {**form.form(path), "at": "9999", "state": '{"answer": "kept"}'})
        odd = await browser.send("POST", path, {**form.form(path), "state": "{"})
        first = await browser.submit(form, path, state='{"answer": "other"}')
        again = await browser.submit(form, path, state='{"answer": "other"}')
        parts = api.app.state.parts
        forks = (await parts.operations.page(wanted(origin))).records
        listed = await browser.open(f"/console/sessions?parent={origin}")
        return {
            "origin": origin,
            "links": hrefs(page),
            "form": form,
            "wrong": wrong,
            "odd": odd,
            "first": first,
            "again": again,
            "forks": [await parts.client.show(one.session_id) for one in forks],
            "listed": hrefs(listed),
        }

    found = play(store_url, act)

    origin, (fork,) = found["origin"], found["forks"]
    assert f"{link(origin)}/fork?at=1" in found["links"]
    assert f"/console/sessions?parent={origin}" in found["links"]
    assert found["form"].form(f"{link(origin)}/fork")["at"] == "1"
    assert (found["wrong"].status_code, found["odd"].status_code) == (422, 422)
    assert "no entry 9999" in found["wrong"].text and "kept" in found["wrong"].text
    assert "This session was forked" in found["first"].text
    assert "made this fork before" in found["again"].text
    assert (fork.parent, fork.forked_at, fork.state["answer"], fork.actor) == (origin, 1, "other", "ada")
    assert f"{link(origin)}?before=2#entry-1" in hrefs(found["first"])
    assert "fork at 1" in found["first"].text
    assert link(fork.session_id) in found["listed"]


def wanted(parent: str) -> Any:
    """Return the query of a session's forks."""
    from orchestrator.operations import Query

    return Query(parent=parent)


def test_what_is_being_written_is_on_the_page_and_streamed_to_it(store_url: str) -> None:
    """Also without JavaScript; nothing of it can pretend to be something else, and nothing of it stays once it is whole."""

    async def act(api: ApiStage, browser: Browser) -> tuple[Any, ...]:
        session_id = await api.on.submit()
        claimed = await api.on.worker()._host.leases.claim(session_id, "w:1", api.on.hosts[0].digests)
        assert isinstance(claimed, Claimed)
        stream, fence = TokenStream(api.on.store), claimed.record.fence
        pieces = [
            StreamPiece(kind="begin", skill="start", attempt=1),
            StreamPiece(kind="text", text="<b>half\u202e an"),
            StreamPiece(kind="text", text=" answer"),
        ]
        await stream.append(session_id, fence, 1, pieces)
        during = await browser.send("GET", link(session_id))
        await stream.append(session_id, fence, 4, [StreamPiece(kind="end")])
        after = await browser.open(link(session_id))
        await api.on.lose_lease(session_id)
        await api.on.run(api.on.worker(), session_id)
        told = await browser.send("GET", f"{link(session_id)}/stream?after={fence}-2")
        return during.text, after.text, told

    during, after, told = play(store_url, act)

    assert "&lt;b&gt;half\\u202e an answer" in during
    assert "half" not in after
    assert told.headers["content-type"].startswith("text/event-stream")
    assert [line for line in told.text.splitlines() if line.startswith("event:")] == [
        "event: text",
        "event: end",
        "event: settled",
    ]


def test_budgets_and_compactions_are_told(store_url: str) -> None:
    """What was used of how much, what is nearly spent, and what its models no longer see word for word."""
    budget = BudgetSpec(session=SessionBudget(turns=20, tool_calls=100), warn_at=0.5)

    def answer(request: Any) -> Any:
        if request.skill == "start" and request.turn < 12:
            return asks("hands:look", value=request.turn).model_copy(update={"content": "word " * 200})
        if request.skill == "last" and request.turn == 0:
            return asks("hands:finish", word="ok")
        return says("done", signal="success", confidence=0.9)

    async def act(api: ApiStage, browser: Browser) -> tuple[str, Any]:
        spec = api.on.specs["everything"].model_copy(update={"budget": budget})
        api.on.specs = {"everything": spec}
        api.on.client.specs = api.on.specs
        worker = worker_that_talks(api.on, Talker(answer), context=ContextSpec(max_tokens=1_200))
        session_id = await api.on.submit()
        record = await api.on.run(worker, session_id)
        return (await browser.open(link(session_id))).text, record

    page, record = play(store_url, act)

    assert record.compacted is not None and record.spent is not None
    assert f"turns {record.spent.turns} of 20" in page
    assert "budget nearly spent" in page and "turns nearly spent" in page
    assert "context compacted" in page
    assert f"messages 1 to {record.compacted.upto} are left out" in page


def test_a_wait_for_a_models_turn_is_told_as_such(store_url: str) -> None:
    """Nobody is asked anything and nothing failed: it is the rate that was agreed with the service."""
    with running() as url:
        spec = talker(f"{url}/v1")
        limits = {f"{PROVIDER}/stub": {"requests_per_minute": 1, "burst": 0}}
        settings = Settings.model_validate({**api_settings().model_dump(), "models": {"limits": limits}})

        async def act(api: ApiStage, browser: Browser) -> tuple[Any, str]:
            worker = api.on.worker(specs={spec.name: spec})
            made = [(await api.on.client.submit("talker", text="go", actor="ada")).session_id for _ in range(2)]
            records = [await api.on.run(worker, one) for one in made]
            return records[1], (await browser.open(link(made[1]))).text

        record, page = play(store_url, act, settings=settings, specs={spec.name: spec})

    assert record.wait is not None and record.wait.kind == "limit"
    assert "its turn to call a model" in page
    assert "limit waits talk rate" in page


def test_every_command_to_copy_is_one_that_there_is(store_url: str) -> None:
    """Each action has the same one on the command line: whoever pastes it must not be told that there is no such option."""

    async def act(api: ApiStage, browser: Browser) -> dict[str, list[str]]:
        worker, on = api.on.worker(), api.on
        made = {
            name: await on.submit(plan=plan) for name, plan in (("asks", "danger"), ("gated", "gate"), ("ends", "look"))
        }
        made["dies"] = await on.submit("broken")
        for session_id in made.values():
            await on.run(worker, session_id)
        await on.client.fleet.beat(WorkerInfo(name="host:1:a"))
        paths = [link(one) for one in made.values()] + [f"{link(made['ends'])}/fork?at=2"]
        paths += [f"/console/{page}" for page in ("submit", "inbox", "dead", "queues", "workers", "apps/everything")]
        found = {path: await _commands(browser, path) for path in paths}
        for target in ("queue:steps", "app:everything"):
            await api.app.state.parts.operations.pause(target, actor="ada")
        return {**found, "/console/queues paused": await _commands(browser, "/console/queues")}

    found = play(store_url, act)

    wrong = [
        (path, one, why)
        for path, all_of in found.items()
        for one in all_of
        if (why := find_problem(shlex.split(one)[1:]))
    ]
    assert wrong == []
    assert [path for path, all_of in found.items() if not all_of] == ["/console/apps/everything"]


async def _commands(browser: Browser, path: str) -> list[str]:
    """Return the commands that a page offers to copy."""
    page = (await browser.send("GET", path)).text
    return [html.unescape(one) for one in re.findall(r'<div class="command"><code>(.*?)</code>', page, re.DOTALL)]
