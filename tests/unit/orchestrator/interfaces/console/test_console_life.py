"""A session's life on the pages, without JavaScript: submitted, followed, answered, denied, cancelled, sent again."""

import asyncio
from typing import Any

import pytest

from orchestrator.store.fleet import WorkerInfo
from tests.api_stage import ApiStage, api_stage
from tests.console_stage import Browser, browse, play


async def journal(api: ApiStage, session_id: str) -> list[tuple[str, str]]:
    """Return who did what."""
    return [(entry.actor, entry.kind) async for entry in api.on.client.events(session_id) if entry.kind != "step"]


def test_a_session_is_submitted_once_for_its_form(store_url: str) -> None:
    """Whoever presses twice, or goes back and presses again, has started one session."""

    async def act(api: ApiStage, browser: Browser) -> tuple[str, str, int, Any]:
        page = await browser.open("/console/submit")
        fields = {
            "app": "everything",
            "text": "look twice",
            "state": '{"plan": "look"}',
            "skill": "",
            "priority": "high",
        }
        first = await browser.submit(page, "/console/submit", **fields)
        again = await browser.submit(page, "/console/submit", **fields)
        parts = api.app.state.parts
        records = (await parts.operations.page(wanted())).records
        return first.text, again.text, len(records), await parts.client.show(records[0].session_id)

    first, again, count, record = play(store_url, act)

    assert "Submitted." in first and "look twice" in first
    assert "started this session before" in again
    assert count == 1
    assert (record.actor, record.priority, record.state["plan"]) == ("ada", "high", "look")


def wanted() -> Any:
    """Return the query of everything."""
    from orchestrator.operations import Query

    return Query()


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"app": "nothing"}, "nothing"),
        ({"app": "everything", "state": "[1]"}, "JSON object"),
        ({"app": "everything", "state": "{"}, "no JSON"),
        ({"app": "everything", "state": '{"nope": 1}'}, "nope"),
        ({"app": "everything", "skill": "nowhere"}, "nowhere"),
        ({"app": "everything", "priority": "soon"}, "soon"),
    ],
)
def test_a_wrong_submission_is_shown_again_with_what_is_wrong(
    store_url: str, fields: dict[str, str], told: str
) -> None:
    """What was typed is still there."""

    async def act(api: ApiStage, browser: Browser) -> Any:
        page = await browser.open("/console/submit")
        form = {**page.form("/console/submit"), "text": "typed with care", **fields}
        return await browser.send("POST", "/console/submit", form)

    answer = play(store_url, act)

    assert answer.status_code == 422
    assert told in answer.text and "typed with care" in answer.text


@pytest.mark.parametrize("decision", ["approve", "deny"])
def test_an_approval_is_decided_in_the_inbox(store_url: str, decision: str) -> None:
    """The arguments that are shown are those that are called, and the journal says who allowed it and why."""

    async def act(api: ApiStage, browser: Browser) -> Any:
        worker = api.on.worker()
        session_id = await api.on.submit(plan="danger")
        await api.on.run(worker, session_id)
        inbox = await browser.open("/console/inbox")
        path = f"/console/sessions/{session_id}/decide"
        after = await browser.submit(inbox, path, decision=decision, reason="I looked")
        record = await api.on.run(worker, session_id)
        late = await browser.send("POST", path, {**inbox.form(path), "decision": decision})
        page = await browser.open(f"/console/sessions/{session_id}")
        return inbox.text, after.text, late.status_code, page.text, record, (await browser.open("/console/inbox")).text

    inbox, after, late, page, record, empty = play(store_url, act)

    word = {"approve": "approved", "deny": "rejected"}[decision]
    assert "hands:danger" in inbox and '"target": "x"' in inbox and "Only ada, grace may answer." in inbox
    assert {"approve": "Approved.", "deny": "Denied."}[decision] in after and "hands:danger" not in after
    assert late == 409
    assert f"{word} by ada" in page or f"{word}" in page
    assert "I looked" in page
    assert record.phase in {"ended", "waiting"}
    assert "Nobody is asked anything." in empty


def test_questions_and_gates_are_answered(store_url: str) -> None:
    """By words, by an escalation to a team, or by a stop; an old form answers nothing."""

    async def act(api: ApiStage, browser: Browser) -> Any:
        worker = api.on.worker()
        asked = await api.on.submit("ask_first")
        gated = await api.on.submit(plan="gate")
        for one in (asked, gated):
            await api.on.run(worker, one)
        inbox = await browser.open("/console/inbox")
        where = [f"/console/sessions/{one}/answer" for one in (asked, gated)]
        blank = await browser.send("POST", where[0], {**inbox.form(where[0]), "text": " "})
        await browser.submit(inbox, where[0], text="forty-two")
        answered = await api.on.run(worker, asked)
        old = await browser.send("POST", where[0], {**inbox.form(where[0]), "text": "late"})
        return blank.status_code, answered, old.status_code, inbox.text, await api.on.client.show(gated)

    blank, answered, old, inbox, gated = play(store_url, act)

    assert (blank, old) == (422, 409)
    assert answered.state["answer"] == "forty-two"
    assert "What now?" in inbox
    assert gated.app == "everything"


def test_dead_letters_that_died_alike_are_replayed_together(store_url: str) -> None:
    """One cause is mended once; another cause's letters stay."""

    async def act(api: ApiStage, browser: Browser) -> Any:
        worker = api.on.worker()
        alike = [await api.on.submit("broken") for _ in range(3)]
        for one in alike:
            await api.on.run(worker, one)
        page = await browser.open("/console/dead")
        one = await browser.send(
            "POST", "/console/dead/replay", {**page.form("/console/dead/replay"), "session_id": alike[0]}
        )
        dead = [(await api.on.client.show(session_id)).phase for session_id in alike]
        rest = await browser.open("/console/dead")
        fingerprint = next(fields["fingerprint"] for _, fields in rest.forms if "fingerprint" in fields)
        all_of_it = await browser.submit(
            rest, "/console/dead/replay", hidden={"fingerprint": fingerprint}, note="mended"
        )
        nothing = await browser.send("POST", "/console/dead/replay", rest.form("/console/dead/replay"))
        phases = [(await api.on.client.show(session_id)).phase for session_id in alike]
        return page.text, one.headers["location"], dead, all_of_it.text, nothing.status_code, phases

    page, location, dead, text, nothing, phases = play(store_url, act)

    assert "3 ×" in page and "everything, broken" in page
    assert location.endswith("?note=all-replayed&count=1")
    assert dead == ["ready", "dead", "dead"]
    assert "Dead letters sent again: 2." in text and "There is no dead letter." in text
    assert nothing == 422
    assert phases == ["ready"] * 3


def test_one_session_is_cancelled_signalled_and_retried_from_its_page(store_url: str) -> None:
    """Each act is in the journal with the caller's name; the page shows the command that does the same."""

    async def act(api: ApiStage, browser: Browser) -> Any:
        worker = api.on.worker()
        waits, broken = await api.on.submit("until"), await api.on.submit("broken")
        for one in (waits, broken):
            await api.on.run(worker, one)
        page = await browser.open(f"/console/sessions/{waits}")
        await browser.submit(page, f"/console/sessions/{waits}/signal", name="go")
        await browser.submit(page, f"/console/sessions/{waits}/cancel", reason="enough")
        dead = await browser.open(f"/console/sessions/{broken}")
        retried = await browser.submit(dead, f"/console/sessions/{broken}/retry", note="mended")
        unknown = await browser.open("/console/sessions/EVERY-20260101-999", 404)
        return page.text, dead.text, retried.text, unknown.text, await journal(api, waits), await journal(api, broken)

    page, dead, retried, unknown, first, second = play(store_url, act)

    assert "baton cancel EVERY-" in page and "baton signal EVERY-" in page
    assert "Dead letter: permanent_error" in dead and "ZeroDivisionError" in dead
    assert "its failures are forgotten" in retried
    assert "EVERY-20260101-999" in unknown
    assert first.count(("ada", "posted")) == 2
    assert ("ada", "replayed") in second


def test_children_are_drawn_and_linked(store_url: str) -> None:
    """Who fans out wants to see what became of it, from the parent and from a child."""

    async def act(api: ApiStage, browser: Browser) -> Any:
        parent = await api.on.submit("fan", items=["a", "b"])
        record = await api.on.run(api.on.worker(), parent)
        assert record.wait is not None
        child = next(iter(record.wait.children))
        return (
            parent,
            child,
            await browser.open(f"/console/sessions/{parent}"),
            await browser.open(f"/console/sessions/{child}"),
        )

    parent, child, above, below = play(store_url, act)

    links = [attributes.get("href") for tag, attributes in above.elements if tag == "a"]
    assert links.count(f"/console/sessions/{child}") == 2
    assert f"/console/sessions/{parent}" in [attributes.get("href") for tag, attributes in below.elements if tag == "a"]


def test_queues_and_apps_are_paused_and_workers_drained(store_url: str) -> None:
    """And the audit log says who did it."""

    async def act(api: ApiStage, browser: Browser) -> Any:
        await api.on.client.fleet.beat(
            WorkerInfo(name="host:1:abc", host="host", slots=4, version="9.9", tier="strict")
        )
        page = await browser.open("/console/queues")
        await browser.submit(page, "/console/pause", hidden={"target": "queue:steps"}, reason="look")
        paused = await browser.submit(page, "/console/pause", hidden={"target": "app:everything"}, reason="too")
        again = await browser.submit(page, "/console/pause", hidden={"target": "app:everything"})
        on = await browser.submit(paused, "/console/unpause", hidden={"target": "queue:steps"})
        workers = await browser.open("/console/workers")
        drained = await browser.submit(workers, "/console/workers/drain", worker="host:1:abc")
        order = await api.on.client.fleet.beat(WorkerInfo(name="host:1:abc"))
        return (
            paused.text,
            again.text,
            on.text,
            workers.text,
            drained.text,
            order,
            (await browser.open("/console/audit")).text,
        )

    paused, again, on, workers, drained, order, audit = play(store_url, act)

    assert paused.count("paused by ada") == 2
    assert "nothing changed" in again
    assert on.count("paused by ada") == 1
    assert "9.9, tier strict" in workers
    assert "told to finish" in drained and order == "drain"
    assert all(word in audit for word in ("pause", "unpause", "drain", "queue:steps", "host:1:abc", "look"))


def test_lists_are_filtered_searched_and_paged(store_url: str) -> None:
    """A filter that cannot be is an empty list; an id in the search leads to its session."""

    async def act(api: ApiStage, browser: Browser) -> Any:
        made = [
            (await api.on.client.submit("everything", actor=f"a{n % 2}", text=f"order {n}")).session_id
            for n in range(55)
        ]
        first = await browser.open("/console/sessions")
        older = next(one["href"] for tag, one in first.elements if tag == "a" and "cursor=" in one.get("href", ""))
        second = await browser.open(f"/console/sessions{older}")
        found = [
            (await browser.open(f"/console/sessions?{query}")).text.count("EVERY-")
            for query in (
                "q=order+17",
                "actor=a1&phase=ready",
                "phase=ended",
                "phase=nonsense",
                "app=a:b",
                "status=fine",
            )
        ]
        jump = await browser.send("GET", f"/console/sessions?q={made[0]}")
        return first.text.count("EVERY-"), second.text.count("EVERY-"), found, jump.headers["location"], made[0]

    first, second, found, jump, session_id = play(store_url, act)

    assert (first, second) == (50, 5)
    assert found == [2, 27, 0, 0, 0, 0]  # the text of one and the id of another
    assert jump == f"/console/sessions/{session_id}"


def test_a_search_that_left_out_older_sessions_says_so_and_goes_on(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was not looked at must not seem to be absent."""
    monkeypatch.setattr("orchestrator.search.LOOKED", 3)

    async def act(api: ApiStage, browser: Browser) -> list[tuple[bool, bool]]:
        for text in ("needle", "hay", "hay", "hay"):
            await api.on.client.submit("everything", actor="ada", text=text)
        found, path = [], "/console/sessions?q=needle"
        while path:
            page = await browser.open(path)
            found.append(("older ones may" in page.text, "EVERY-" in page.text))
            links = [one["href"] for tag, one in page.elements if tag == "a" and "cursor=" in one.get("href", "")]
            path = f"/console/sessions{links[0]}" if links else ""
        return found

    assert play(store_url, act) == [(True, False), (False, True)]


def test_apps_are_shown_with_their_rules(store_url: str) -> None:
    """Every skill and status of the app stands in the drawing."""

    async def act(api: ApiStage, browser: Browser) -> Any:
        return (
            await browser.open("/console/apps"),
            await browser.open("/console/apps/everything"),
            api.on.specs["everything"],
        )

    every, one, spec = play(store_url, act)

    assert spec.digest() in every.text
    for name in (*spec.skills, *(rule.status for rule in spec.terminal_tools)):
        assert name in one.text
    assert any(tag == "svg" for tag, _ in one.elements)


def test_an_open_page_is_told_of_changes(store_url: str) -> None:
    """The stream says that something changed, and what the page fetches then is new."""

    async def act(api: ApiStage, browser: Browser) -> Any:
        pulse = api.app.state.pulse
        await pulse.look()
        stream = pulse.follow()
        begun = await anext(stream)
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        await api.on.submit("ask_first")
        await pulse.look()
        told = await waiting
        api.app.state.parts.hub.is_closing = True
        refused = await browser.send("GET", "/console/live")
        await stream.aclose()
        return begun, told, refused.status_code, api.app.state.parts.hub.streams

    begun, told, refused, streams = play(store_url, act)

    assert begun.startswith("retry:")
    assert told.startswith("event: change\n")
    assert (refused, streams) == (503, 0)


def test_a_viewer_sees_and_is_not_offered_to_act(store_url: str) -> None:
    """A button that would be refused is not shown."""

    async def run() -> list[set[str]]:
        async with api_stage(store_url) as api:
            worker = api.on.worker()
            for skill, state in (("start", {"plan": "danger"}), ("broken", {}), ("ask_first", {})):
                await api.on.run(worker, await api.on.submit(skill, **state))
            browser = await browse(api, "viewer")
            paths = ["", "sessions", "inbox", "dead", "queues", "workers", "apps", "apps/everything"]
            pages = [await browser.open(f"/console/{path}") for path in paths]
            return [{form["action"] for form, _ in page.forms if form.get("method") == "post"} for page in pages]

    actions = asyncio.run(run())

    assert set().union(*actions) - {"/console/dead/replay"} == {"/console/logout"}
