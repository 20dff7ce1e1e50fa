"""Forks, checks of journals, models' words as they are written, and how a pool is advised: over HTTP as anywhere else."""

import asyncio
import json
from typing import Any

from orchestrator.contracts.streaming import StreamPiece
from orchestrator.pool_load import PoolWatch
from orchestrator.store.fleet import WorkerInfo
from orchestrator.store.leases import Claimed
from orchestrator.store.token_stream import TokenStream
from tests.api_stage import ApiStage, play


def read_events(text: str) -> list[dict[str, str]]:
    """Return the events of a stream."""
    blocks = [block for block in text.split("\n\n") if block and not block.startswith((":", "retry"))]
    return [dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks]


async def write(api: ApiStage, session_id: str, fence: int, *pieces: tuple[str, str], first: int = 1) -> None:
    """Write pieces of a model's answer as the session's holder does."""
    made = [StreamPiece(kind=kind, text=text) for kind, text in pieces]  # type: ignore[arg-type]
    assert await TokenStream(api.on.store).append(session_id, fence, first, made)


async def take(api: ApiStage, session_id: str) -> int:
    """Let a session be held, and return the fence under which it may be written."""
    claimed = await api.on.worker()._host.leases.claim(session_id, "w:1", api.on.hosts[0].digests)
    assert isinstance(claimed, Claimed)
    return claimed.record.fence


def test_a_session_is_forked_once_for_a_key_and_both_are_sound(store_url: str) -> None:
    """A caller that got no answer asks again; the origin is as it was, and the fork says where it comes from."""

    async def act(api: ApiStage) -> dict[str, Any]:
        origin = await api.on.submit()
        before = await api.on.run(api.on.worker(), origin)
        path, key = f"/v1/sessions/{origin}/fork", {"Idempotency-Key": "again-1"}
        body = {"at": 1, "state": {"answer": "other"}, "version": "current"}
        found: dict[str, Any] = {"origin": origin, "before": before, "after": await api.on.client.show(origin)}
        found["first"] = await api.call("POST", path, "submitter", json=body, headers=key)
        found["again"] = await api.call("POST", path, "submitter", json=body, headers=key)
        found["other"] = await api.call("POST", path, "submitter", json={**body, "at": 2}, headers=key)
        found["plain"] = await api.call("POST", path, "submitter")
        forked = found["first"].json()["session_id"]
        found["shown"] = (await api.call("GET", f"/v1/sessions/{forked}", "viewer")).json()
        found["children"] = (await api.call("GET", f"/v1/sessions?parent={origin}", "viewer")).json()["sessions"]
        found["verified"] = [
            (await api.call("GET", f"/v1/sessions/{one}/verify", "viewer")).json() for one in (origin, forked)
        ]
        found["wrong"] = [
            (await api.call("POST", path, "submitter", json=one)).status_code
            for one in ({"at": 0}, {"at": 10_000}, {"state": {"nope": 1}}, {"version": "zzz"}, {"more": 1})
        ]
        found["unknown"] = (await api.call("POST", "/v1/sessions/EVERY-20260101-999/fork", json={})).status_code
        return found

    found = play(store_url, act)

    first, forked = found["first"], found["first"].json()
    assert (first.status_code, found["again"].status_code, found["plain"].status_code) == (202, 202, 202)
    assert first.headers["location"] == f"/v1/sessions/{forked['session_id']}"
    assert (forked["parent"], forked["forked_at"], forked["created"]) == (found["origin"], 1, True)
    assert found["again"].json() == {**forked, "created": False}
    assert (found["other"].status_code, found["other"].json()["type"]) == (422, "urn:baton:problem:key-conflict")
    assert (found["shown"]["actor"], found["shown"]["forked_at"]) == ("the-submitter", 1)
    assert found["shown"]["state"]["answer"] == "other"
    assert forked["session_id"] in [one["session_id"] for one in found["children"]]
    assert [(one["ok"], one["differences"]) for one in found["verified"]] == [(True, []), (True, [])]
    assert found["after"] == found["before"]
    assert found["wrong"] == [422] * 5
    assert found["unknown"] == 404


def test_what_was_changed_behind_the_journal_is_found(store_url: str) -> None:
    """The answer names what differs; that is for whoever restores a backup."""

    async def act(api: ApiStage) -> Any:
        session_id = await api.on.submit()
        await api.on.run(api.on.worker(), session_id)
        await api.on.store.command("HSET", api.on.store.keys.of_session("record", session_id), "reason", "edited")
        return (await api.call("GET", f"/v1/sessions/{session_id}/verify", "viewer")).json()

    found = play(store_url, act)

    assert not found["ok"]
    assert any("reason" in line for line in found["differences"])


def test_what_models_write_is_streamed_and_goes_on_where_it_broke(store_url: str) -> None:
    """A reader that comes back with the offset it saw last misses nothing; once it is settled and told, it is told to stop."""

    async def act(api: ApiStage) -> tuple[Any, ...]:
        session_id = await api.on.submit()
        path = f"/v1/sessions/{session_id}/stream"
        fence = await take(api, session_id)
        await write(api, session_id, fence, ("begin", ""), ("text", "one "))
        whole = asyncio.create_task(api.call("GET", path, "viewer"))
        while not api.app.state.parts.hub.streams:  # noqa: ASYNC110 - the loop only lets the stream begin
            await asyncio.sleep(0)
        await write(api, session_id, fence, ("text", "two"), ("end", ""), first=3)
        await api.on.lose_lease(session_id)
        record = await api.on.run(api.on.worker(), session_id)
        async with asyncio.timeout(60):
            told = await whole
        events = read_events(told.text)
        rest = await api.call("GET", path, "viewer", headers={"Last-Event-ID": events[1]["id"]})
        over = await api.call("GET", path, "viewer", headers={"Last-Event-ID": events[-2]["id"]})
        odd = await api.call("GET", path, "viewer", headers={"Last-Event-ID": "17"})
        return record, told, events, rest, over, odd, api.app.state.parts.hub.streams

    record, told, events, rest, over, odd, left = play(store_url, act)

    assert told.headers["content-type"].startswith("text/event-stream")
    assert [one["event"] for one in events] == ["begin", "text", "text", "end", "settled"]
    assert "".join(json.loads(one["data"])["text"] for one in events[:-1]) == "one two"
    assert json.loads(events[-1]["data"])["phase"] == record.phase
    assert [one["event"] for one in read_events(rest.text)] == ["text", "end", "settled"]
    assert (over.status_code, odd.status_code, left) == (204, 422, 0)


def test_an_approval_may_hold_from_now_on_and_a_cancel_need_not_wait(store_url: str) -> None:
    """What the command line can say, a program can say; a denial that shall hold is refused as a contradiction."""

    async def act(api: ApiStage) -> tuple[Any, ...]:
        worker, session_id = api.on.worker(), await api.on.submit(plan="danger")
        record = await api.on.run(worker, session_id)
        assert record.wait is not None
        path = f"/v1/sessions/{session_id}"
        body = {"wait_id": record.wait.wait_id, "always": True}
        # The roster of the app names those who may; a caller's name is its token's.
        refused = await api.call("POST", f"{path}/decision", None, json={**body, "decision": "deny"})
        allowed = await api.call("POST", f"{path}/decision", None, json={**body, "decision": "approve"})
        await api.on.run(worker, session_id)
        shown = (await api.call("GET", path, None)).json()
        waiting = await api.on.submit("until")
        await api.on.run(worker, waiting)
        cancelled = await api.call("POST", f"/v1/sessions/{waiting}/cancel", None, json={"immediate": True})
        posts = [entry.data["post"] async for entry in api.on.client.events(waiting) if entry.kind == "posted"]
        return refused, allowed, shown, cancelled, posts

    refused, allowed, shown, cancelled, posts = play(store_url, act, open_actor="ada")

    assert (refused.status_code, allowed.status_code, cancelled.status_code) == (422, 202, 202)
    assert [(one["tool"], one["actor"]) for one in shown["always_allowed"]] == [("hands:danger", "ada")]
    assert posts[0]["immediate"] is True


def test_the_api_advises_what_the_command_line_advises(store_url: str) -> None:
    """Two answers to one question would let people and autoscalers work against each other."""

    async def act(api: ApiStage) -> tuple[Any, ...]:
        fleet = api.on.client.fleet
        await fleet.beat(WorkerInfo(name="a:1:x", host="a", slots=2, queues=("baton.steps",)))
        await fleet.beat(WorkerInfo(name="b:1:x", host="b", slots=2, plugin_slots=3, queues=("baton.plugins",)))
        for _ in range(5):
            await api.on.submit()
        watch = PoolWatch(api.on.client, api.on.settings)
        said = {}
        for pool in ("steps", "plugins"):
            _, advice = await watch.advise(pool, over_seconds=0)  # type: ignore[arg-type]
            said[pool] = advice.model_dump(mode="json")
        told = {pool: (await api.call("GET", f"/v1/scale/{pool}?over=0", "viewer")).json() for pool in said}
        await api.call("POST", "/v1/queues/steps/pause")
        paused = (await api.call("GET", "/v1/scale/steps?over=0", "viewer")).json()
        none = (await api.call("GET", "/v1/scale/finalize?over=0", "viewer")).status_code
        return said, told, paused, none

    said, told, paused, none = play(store_url, act)

    for pool, advice in said.items():
        assert advice.items() <= told[pool].items()
    assert (told["steps"]["workers"], told["steps"]["in_line"], told["steps"]["desired_workers"]) == (1, 5, 3)
    assert told["plugins"]["workers"] == 1
    assert (paused["desired_workers"], paused["paused"]) == (1, True)
    assert paused["reason"].endswith("what there is stays: 1")
    assert none == 422


def test_what_no_worker_could_begin_asks_for_none(store_url: str) -> None:
    """An autoscaler would add workers without end for an app that a person has paused, or that is at its max_running."""

    async def act(api: ApiStage) -> list[tuple[int, int, bool, int]]:
        client = api.on.client
        await client.fleet.beat(WorkerInfo(name="a:1:x", host="a", slots=2, queues=("baton.steps",)))
        first = await api.on.submit()
        app = (await client.show(first)).app
        for _ in range(4):
            await api.on.submit()
        spec, said = client.specs[app], []
        for limit, paused in ((None, False), (2, False), (None, True)):
            client.specs = {**client.specs, app: spec.model_copy(update={"max_running": limit})}
            if paused:
                await api.call("POST", f"/v1/apps/{app}/pause")
            load, advice = await PoolWatch(client, api.on.settings).advise("steps", over_seconds=0)
            said.append((load.in_line, load.held, bool(load.held and load.oldest_seconds), advice.desired_workers))
        return said

    assert play(store_url, act) == [(5, 0, False, 3), (5, 3, False, 1), (5, 5, False, 0)]


def test_who_asks_regularly_does_not_wait_for_the_pace(store_url: str) -> None:
    """The second look takes its pace from the first one: an autoscaler's timeout is short."""

    async def act(api: ApiStage) -> float:
        watch: PoolWatch = api.app.state.parts.pool_watch
        await watch.advise("steps", over_seconds=0)
        await api.on.store.command("PING")
        while (await api.on.store.now_ms()) - watch._last.now < 5:  # type: ignore[union-attr]
            pass
        loop = asyncio.get_running_loop()
        at = loop.time()
        async with asyncio.timeout(60):
            await watch.advise("steps", over_seconds=0.004)
        return loop.time() - at

    assert play(store_url, act) < 20
