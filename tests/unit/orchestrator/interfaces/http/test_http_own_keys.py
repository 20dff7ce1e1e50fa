"""Keys under which Baton submits by itself are no caller's: who had one would be taken for a child, a webhook, a day's watch."""

from typing import Any

from orchestrator.contracts.own_keys import OwnKey
from orchestrator.interfaces.console.shown import link
from orchestrator.kernel.children import child_key
from orchestrator.kernel.monitoring import watch_key
from orchestrator.watches import Watches
from tests.api_stage import ApiStage, play
from tests.console_stage import Browser
from tests.console_stage import play as play_console
from tests.unit.orchestrator.interfaces.http.test_http_triggers import GOOD
from tests.unit.orchestrator.interfaces.http.test_http_triggers import play as play_triggers


async def submit(api: ApiStage, key: str, app: str = "everything") -> Any:
    """Ask for a session under a key, as one who may do no more than that."""
    return await api.call(
        "POST", "/v1/sessions", "submitter", json={"app": app, "text": "mine"}, headers={"Idempotency-Key": key}
    )


async def count(api: ApiStage) -> int:
    """Return how many sessions there are."""
    return sum(one.count for one in await api.app.state.parts.operations.groups())


def test_a_webhook_is_answered_with_its_own_session(store_url: str) -> None:
    """Under its trigger's key somebody else's session would have been the answer, and the event gone."""

    async def act(api: ApiStage) -> tuple[Any, Any, Any]:
        mine = await submit(api, OwnKey.TRIGGER.make("by_bearer", "alert-17"), "triggered")
        alert, headers = b'{"title": "disk", "level": 2}', {**GOOD, "Idempotency-Key": "alert-17"}
        fired = await api.call("POST", "/v1/triggers/by_bearer", None, content=alert, headers=headers)
        return mine, fired, await api.on.client.show(fired.json()["session_id"])

    mine, fired, record = play_triggers(store_url, act)

    assert (mine.status_code, mine.headers["content-type"]) == (422, "application/problem+json")
    assert mine.json()["detail"] == (
        "idempotency key 'trigger/by_bearer/alert-17': keys of this form are Baton's own; use another one"
    )
    assert (fired.json()["created"], record.actor, record.text) == (True, "trigger:by_bearer", "disk")


def test_a_parent_finds_its_own_children(store_url: str) -> None:
    """Under a child's key it found a session that asks for something else, and died of that."""

    async def act(api: ApiStage) -> tuple[int, Any]:
        parent = await api.on.submit(entry_skill="fan", items=["a"])
        mine = await submit(api, child_key(await api.on.client.show(parent), 0))
        return mine.status_code, await api.on.run(api.on.worker(), parent)

    status, parent = play(store_url, act)

    assert (status, parent.phase, parent.wait.kind) == (422, "waiting", "child")


def test_a_day_has_its_watch(store_url: str) -> None:
    """Under the day's key another session stood, and the monitor was believed to be at work."""

    async def act(api: ApiStage) -> tuple[int, list[str]]:
        mine = await submit(api, watch_key("watch", await api.on.store.now_ms()))
        await Watches(api.on.store, api.on.client, api.on.specs).look()
        return mine.status_code, [one.record.actor for one in (await api.on.client.list_sessions()).listed]

    assert play(store_url, act) == (422, ["monitor:watch"])


def test_a_fork_takes_no_such_key(store_url: str) -> None:
    """It has one door with submissions: what stands under a key is a session."""

    async def act(api: ApiStage) -> tuple[list[int], int]:
        origin = await api.on.submit()
        keys = [OwnKey.LOOK.make(origin, 3), "look-3"]
        asked = [
            await api.call("POST", f"/v1/sessions/{origin}/fork", "submitter", headers={"Idempotency-Key": key})
            for key in keys
        ]
        return [one.status_code for one in asked], await count(api)

    assert play(store_url, act) == ([422, 202], 2)


def test_the_forms_of_the_console_take_no_such_key(store_url: str) -> None:
    """They bring a key of their own; whoever writes another into its place is told what is wrong with it."""

    async def act(api: ApiStage, browser: Browser) -> tuple[list[Any], int]:
        origin, answers = await api.on.submit(), []
        for path, more in (("/console/submit", {"app": "everything"}), (f"{link(origin)}/fork", {})):
            form = (await browser.open(path)).form(path)
            answers.append(await browser.send("POST", path, {**form, **more, "key": OwnKey.LOOK.make(origin, 3)}))
            answers.append(await browser.send("POST", path, {**form, **more}))
        return answers, await count(api)

    answers, sessions = play_console(store_url, act)

    assert [one.status_code for one in answers] == [422, 303, 422, 303]
    assert all("keys of this form are Baton&#39;s own; use another one" in one.text for one in answers[::2])
    assert sessions == 3
