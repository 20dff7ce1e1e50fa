"""A session's life over HTTP: submitted once, listed, read, answered, followed to its end; errors as problems."""

import asyncio
import json
from typing import Any

import pytest

from orchestrator.contracts.errors import NotPermitted
from orchestrator.four_eyes import check_four_eyes
from orchestrator.interfaces.http.problems import NAMES
from orchestrator.store.fleet import WorkerInfo
from orchestrator.telemetry import hide
from tests.api_stage import ApiStage, api_settings, play


def test_a_submission_is_accepted_once_for_a_key(store_url: str) -> None:
    """A caller that got no answer asks again: it must get the same session, and a different request must not."""

    async def act(api: ApiStage) -> list[Any]:
        body = {"app": "everything", "text": "go on"}
        key = {"Idempotency-Key": "order-17"}
        return [
            await api.call("POST", "/v1/sessions", "submitter", json=body, headers=key),
            await api.call("POST", "/v1/sessions", "submitter", json=body, headers=key),
            await api.call("POST", "/v1/sessions", "submitter", json={**body, "text": "else"}, headers=key),
        ]

    first, again, other = play(store_url, act)

    assert [one.status_code for one in (first, again, other)] == [202, 202, 422]
    assert first.headers["location"] == f"/v1/sessions/{first.json()['session_id']}"
    assert first.json()["created"] and not again.json()["created"]
    assert again.json()["session_id"] == first.json()["session_id"]
    assert other.json()["type"] == "urn:baton:problem:key-conflict"


def test_pages_hold_every_session_once_and_the_newest_first(store_url: str) -> None:
    """Whoever walks the pages sees all of them, whatever partitions they lie in."""

    async def act(api: ApiStage) -> tuple[list[str], list[str], list[str]]:
        made = [
            (await api.on.client.submit("everything", actor=f"a{n % 3}", text=f"t{n}")).session_id for n in range(53)
        ]
        seen, filtered, cursor = [], [], None
        while True:
            query = f"?limit=10&phase=ready{f'&cursor={cursor}' if cursor else ''}"
            page = (await api.call("GET", f"/v1/sessions{query}", "viewer")).json()
            seen += [one["session_id"] for one in page["sessions"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        page = (await api.call("GET", "/v1/sessions?actor=a1&q=T1&limit=200", "viewer")).json()
        filtered = [one["text"] for one in page["sessions"]]
        return made, seen, filtered

    made, seen, filtered = play(store_url, act)

    assert len(seen) == len(set(seen)) == 53
    assert sorted(seen) == sorted(made)
    assert sorted(filtered) == ["t1", "t10", "t13", "t16", "t19"]


def test_a_list_by_status_is_by_time_and_not_by_word(store_url: str) -> None:
    """The newest end stands first, whichever way the sessions ended."""

    async def act(api: ApiStage) -> tuple[list[str], list[str]]:
        worker, ended = api.on.worker(), []
        for skill in ("start", "plain_tool", "start"):
            session_id = await api.on.submit(skill)
            await api.on.run(worker, session_id)
            record = await api.on.client.show(session_id)
            if record.phase == "ended":
                ended.append((record.since_at, session_id))
        page = (await api.call("GET", "/v1/sessions?phase=ended", "viewer")).json()
        return [one for _, one in sorted(ended, reverse=True)], [one["session_id"] for one in page["sessions"]]

    ended, listed = play(store_url, act)

    assert ended
    assert listed == ended


def test_a_person_answers_over_http_and_the_session_goes_on(store_url: str) -> None:
    """The inbox shows the question; an answer to a wait that is over is refused, and does not reach the next one."""

    async def act(api: ApiStage) -> tuple[Any, list[int], str]:
        session_id = await api.on.submit("ask_first")
        await api.on.run(api.on.worker(), session_id)
        inbox = (await api.call("GET", "/v1/approvals", "viewer")).json()["approvals"]
        wait = inbox[0]["wait"]
        path = f"/v1/sessions/{session_id}"
        statuses = [
            (await api.call("POST", f"{path}/answer", "approver", json={"text": "x", "wait_id": "other"})).status_code,
            (
                await api.call("POST", f"{path}/answer", "approver", json={"text": "x", "wait_id": wait["wait_id"]})
            ).status_code,
            (
                await api.call("POST", f"{path}/answer", "approver", json={"text": "y", "wait_id": wait["wait_id"]})
            ).status_code,
            (
                await api.call("POST", f"{path}/decision", "approver", json={"decision": "approve", "wait_id": "w"})
            ).status_code,
        ]
        entries = (await api.call("GET", f"{path}/journal", "viewer")).json()["entries"]
        return inbox, statuses, next(one["actor"] for one in entries if one["kind"] == "posted")

    inbox, statuses, actor = play(store_url, act)

    assert len(inbox) == 1
    assert inbox[0]["wait"]["kind"] == "input"
    assert statuses == [409, 202, 409, 409]
    assert actor == "the-approver"


def test_cancel_retry_and_dead_letters(store_url: str) -> None:
    """A dead session is found, shown, replayed in a dry run and for real; an ended one can no longer be cancelled."""

    async def act(api: ApiStage) -> dict[str, Any]:
        worker = api.on.worker()
        dead = await api.on.submit("broken")
        await api.on.run(worker, dead)
        found: dict[str, Any] = {"dead": dead}
        found["list"] = (await api.call("GET", "/v1/dead-letters", "viewer")).json()["dead_letters"]
        found["one"] = (await api.call("GET", f"/v1/dead-letters/{dead}", "viewer")).json()
        body: dict[str, Any] = {"all": True, "reason": "permanent_error", "dry_run": True}
        found["dry"] = (await api.call("POST", "/v1/dead-letters/replay", "operator", json=body)).json()
        found["still"] = (await api.on.client.show(dead)).phase
        found["none"] = (await api.call("POST", "/v1/dead-letters/replay", json={"all": True, "reason": "x"})).json()
        found["sent"] = (await api.call("POST", "/v1/dead-letters/replay", json={"all": True})).json()
        found["then"] = (await api.on.client.show(dead)).phase
        found["again"] = (await api.call("POST", f"/v1/sessions/{dead}/retry", json={"note": "n"})).status_code
        found["both"] = (await api.call("POST", "/v1/dead-letters/replay", json={})).status_code
        found["cancel"] = (await api.call("POST", f"/v1/sessions/{dead}/cancel", "submitter")).status_code
        return found

    found = play(store_url, act)

    assert [one["session_id"] for one in found["list"]] == [found["dead"]]
    assert found["one"]["reason"] == "permanent_error" and "ZeroDivisionError" in found["one"]["detail"]
    assert found["dry"] == {"session_ids": [found["dead"]], "dry_run": True} and found["still"] == "dead"
    assert found["none"]["session_ids"] == []
    assert found["sent"]["session_ids"] == [found["dead"]] and found["then"] == "ready"
    assert (found["again"], found["both"], found["cancel"]) == (409, 422, 202)


def read_events(text: str) -> list[dict[str, str]]:
    """Return the events of a stream."""
    blocks = [block for block in text.split("\n\n") if block and not block.startswith((":", "retry"))]
    return [dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks]


def test_a_stream_tells_everything_once_and_goes_on_where_it_broke(store_url: str) -> None:
    """A reader that comes back with the number it saw last misses nothing; one that has seen the end is told to stop."""

    async def act(api: ApiStage) -> tuple[Any, ...]:
        session_id = await api.on.submit()
        path = f"/v1/sessions/{session_id}/events"
        whole = asyncio.create_task(api.call("GET", path, "viewer"))
        while not api.app.state.parts.hub.streams:  # noqa: ASYNC110 - the loop only lets the stream begin
            await asyncio.sleep(0)
        record = await api.on.run(api.on.worker(), session_id)
        async with asyncio.timeout(60):
            told = await whole
        rest = await api.call("GET", path, "viewer", headers={"Last-Event-ID": "2"})
        over = await api.call("GET", path, "viewer", headers={"Last-Event-ID": str(record.seq)})
        foreign = await api.call("GET", path, "viewer", headers={"Last-Event-ID": str(10**11)})
        return record, told, rest, over, foreign, api.app.state.parts.hub.streams

    record, told, rest, over, foreign, left = play(store_url, act)

    events = read_events(told.text)
    assert told.headers["content-type"].startswith("text/event-stream")
    assert [int(one["id"]) for one in events[:-1]] == list(range(1, record.seq + 1))
    assert events[-1]["event"] == "end" and json.loads(events[-1]["data"])["phase"] == record.phase
    assert [int(one["id"]) for one in read_events(rest.text)[:-1]] == list(range(3, record.seq + 1))
    assert over.status_code == 204
    assert read_events(foreign.text) == events, "a number of another journal means that nothing of this one is known"
    assert left == 0


def test_a_reader_with_a_number_of_another_journal_is_told_of_the_end(store_url: str) -> None:
    """While the session runs, it must not hold a stream on which nothing ever comes."""

    async def act(api: ApiStage) -> Any:
        session_id = await api.on.submit()
        path = f"/v1/sessions/{session_id}/events"
        whole = asyncio.create_task(api.call("GET", path, "viewer", headers={"Last-Event-ID": "99999"}))
        while not api.app.state.parts.hub.streams:  # noqa: ASYNC110 - the loop only lets the stream begin
            await asyncio.sleep(0)
        await api.on.run(api.on.worker(), session_id)
        async with asyncio.timeout(60):
            return await whole

    events = read_events(play(store_url, act).text)

    assert (events[0]["id"], events[-1]["event"]) == ("1", "end")


@pytest.mark.parametrize(
    ("method", "path", "near"),
    [
        ("GET", "/v1/apps/everythin", "did you mean 'everything'?"),
        ("POST", "/v1/apps/everythin/pause", "did you mean 'everything'?"),
        ("POST", "/v1/workers/host:1:b/drain", "did you mean 'host:1:a'?"),
        ("POST", "/v1/sessions/EVERY-20260101-777/cancel", "see `baton list`"),
        ("GET", "/v1/dead-letters/{made}", "it is ready, not a dead letter"),
        ("POST", "/v1/sessions/{typo}/cancel", "did you mean {made}?"),
        ("POST", "/v1/sessions/{typo}/retry", "did you mean {made}?"),
        ("GET", "/v1/sessions/{typo}", "did you mean {made}?"),
    ],
)
def test_what_is_not_there_is_told_with_what_is_near_it(store_url: str, method: str, path: str, near: str) -> None:
    """A person who mistyped need not ask for a list first."""

    async def act(api: ApiStage) -> tuple[Any, dict[str, str]]:
        made = await api.on.submit()
        await api.on.client.fleet.beat(WorkerInfo(name="host:1:a"))
        names = {"made": made, "typo": f"{made[:-3]}777"}
        return await api.call(method, path.format(**names)), names

    answer, names = play(store_url, act)

    assert answer.status_code in {404, 422}
    assert near.format(**names) in answer.json()["detail"]


def test_streams_are_bounded(store_url: str) -> None:
    """The one too many is told to come back, and those that are there go on."""

    async def act(api: ApiStage) -> Any:
        session_id = await api.on.submit()
        api.app.state.parts.hub.streams = 1
        return await api.call("GET", f"/v1/sessions/{session_id}/events", "viewer")

    answer = play(store_url, act, settings=api_settings(streams=1))

    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"


def test_operators_pause_and_their_log_says_who(store_url: str) -> None:
    """What is paused is shown with its reason; doing it twice changes nothing; what cannot be paused is refused."""

    async def act(api: ApiStage) -> tuple[list[Any], Any, Any]:
        await api.on.submit()
        asked = [
            await api.call("POST", "/v1/queues/steps/pause", json={"reason": "maintenance"}),
            await api.call("POST", "/v1/queues/steps/pause"),
            await api.call("POST", "/v1/apps/everything/pause"),
            await api.call("POST", "/v1/apps/unknown/pause"),
            await api.call("POST", "/v1/queues/other/pause"),
            await api.call("POST", "/v1/apps/everything/unpause"),
            await api.call("POST", "/v1/workers/nobody/drain"),
        ]
        queues = (await api.call("GET", "/v1/queues", "viewer")).json()
        acts = (await api.call("GET", "/v1/audit")).json()["acts"]
        return [(one.status_code, one.json().get("changed")) for one in asked], queues, acts

    asked, queues, acts = play(store_url, act)

    assert asked == [(200, True), (200, False), (200, True), (422, None), (422, None), (200, True), (404, None)]
    assert [one["target"] for one in queues["pauses"]] == ["queue:steps"]
    assert queues["queues"][0]["paused"] and queues["queues"][0]["in_line"] == 1
    assert [(one["act"], one["target"], one["actor"]) for one in acts][::-1] == [
        ("pause", "queue:steps", "the-operator"),
        ("pause", "app:everything", "the-operator"),
        ("unpause", "app:everything", "the-operator"),
    ]


@pytest.mark.parametrize(
    ("method", "path", "more", "status", "name"),
    [
        ("GET", "/v1/nothing", {}, 404, "not-found"),
        ("DELETE", "/v1/sessions", {}, 405, "method-not-allowed"),
        ("GET", "/v1/sessions/EVERY-20260101-999", {}, 404, "session-not-found"),
        ("GET", "/v1/sessions/..%2f..%2fetc%2fpasswd", {}, 404, "not-found"),
        ("GET", "/v1/sessions/%2e%2e", {}, 422, "invalid-request"),
        ("GET", "/v1/../../etc/passwd", {}, 404, "not-found"),
        ("GET", "/v1/sessions/x", {}, 422, "invalid-request"),
        ("GET", "/v1/sessions?limit=0", {}, 422, "invalid-request"),
        ("GET", "/v1/sessions?cursor=zzz", {}, 422, "invalid-request"),
        ("GET", "/v1/sessions?phase=unknown", {}, 422, "invalid-request"),
        ("POST", "/v1/sessions", {"json": {"app": "other"}}, 422, "unknown-app"),
        ("POST", "/v1/sessions", {"json": {"app": "everything", "more": 1}}, 422, "invalid-request"),
        ("POST", "/v1/sessions", {"json": {"app": "everything", "state": {"nope": 1}}}, 422, "invalid-request"),
        ("POST", "/v1/sessions", {"json": {"app": "everything", "text": "x" * 70_000}}, 413, "too-large"),
        ("POST", "/v1/sessions", {"content": b"{"}, 422, "invalid-request"),
        ("POST", "/v1/sessions", {"content": b'{"app": "everything", "text": "\\ud800"}'}, 422, "invalid-request"),
        ("POST", "/v1/sessions", {"content": b'{"app": "everything", "state": {"n": NaN}}'}, 422, "invalid-request"),
        ("POST", "/v1/sessions", {"content": b"[" * 100_000}, 422, "invalid-request"),
        ("POST", "/v1/triggers/none", {"json": {}}, 404, "not-found"),
    ],
)
def test_every_refusal_is_a_problem(
    store_url: str, method: str, path: str, more: dict[str, Any], status: int, name: str
) -> None:
    """A program reads the type, a person the detail; neither has to guess, whatever layer refuses."""

    async def act(api: ApiStage) -> Any:
        headers = {"content-type": "application/json"} if "content" in more else {}
        return await api.call(method, path, headers=headers, **more)

    answer = play(store_url, act)

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["type"] == f"urn:baton:problem:{name}" and name in NAMES
    assert body["status"] == status and body["detail"]
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_body_that_is_not_said_to_be_json_is_told_how(store_url: str) -> None:
    """`curl -d '{}'` says that it sends a form; that its body is no dictionary helps nobody."""

    async def act(api: ApiStage) -> Any:
        headers = {"content-type": "application/x-www-form-urlencoded"}
        return await api.call("POST", "/v1/undelivered/replay", headers=headers, content=b"{}")

    answer = play(store_url, act)

    assert answer.status_code == 422
    assert answer.json()["detail"].endswith("; send a JSON object, with `Content-Type: application/json`")


def test_a_refusal_shows_no_secret_that_was_loaded_here(store_url: str) -> None:
    """What an app's code or a server said may hold what it was given."""
    hide("loaded_and_hidden_1")

    async def act(api: ApiStage) -> Any:
        return await api.call("GET", "/v1/apps/loaded_and_hidden_1", "viewer")

    assert "loaded_and_hidden_1" not in play(store_url, act).json()["detail"]


def test_a_store_that_is_away_is_said_so(store_url: str) -> None:
    """The process lives, is not ready, and every request is told to come back."""

    async def act(api: ApiStage) -> list[Any]:
        api.on.store.wire._socket = "/nowhere"
        await api.on.store.wire.aclose()
        api.on.store.patience_seconds = 0
        return [await api.call("GET", path, None) for path in ("/healthz", "/readyz")] + [
            await api.call("GET", "/v1/sessions", "viewer")
        ]

    health, ready, listed = play(store_url, act)

    assert (health.status_code, ready.status_code, listed.status_code) == (200, 503, 503)
    assert listed.json()["type"] == "urn:baton:problem:store-unreachable"
    assert listed.headers["retry-after"]
    assert "nowhere" not in listed.text


def test_four_eyes_see_more_than_two(store_url: str) -> None:
    """Who submitted a session cannot allow what it, or a child of it, asks for; somebody else can."""

    async def act(api: ApiStage) -> None:
        submit, show = api.on.client.submit, api.on.client.show
        made = await submit("everything", actor="ada", entry_skill="ask_first")
        child = await submit("everything", actor=f"session:{made.session_id}", parent=made.session_id)
        for session_id in (made.session_id, child.session_id):
            record = await show(session_id)
            with pytest.raises(NotPermitted, match="started it"):
                await check_four_eyes(show, record, "ada")
            await check_four_eyes(show, record, "grace")

    play(store_url, act)


def test_four_eyes_hold_over_http(store_url: str) -> None:
    """The setting reaches the route: the submitter's own token is refused, and nothing was answered."""

    async def act(api: ApiStage) -> tuple[Any, Any]:
        spec = api.on.specs["everything"]
        assert spec.gateway is not None
        gateway = spec.gateway.model_copy(update={"approvers": ()})
        opened = {"everything": spec.model_copy(update={"gateway": gateway, "max_turns": spec.max_turns - 1})}
        api.on.specs = api.on.client.specs = opened
        made = await api.call(
            "POST", "/v1/sessions", json={"app": "everything", "text": "go on", "state": {"plan": "danger"}}
        )
        session_id = made.json()["session_id"]
        record = await api.on.run(api.on.worker(specs=opened), session_id)
        assert record.wait is not None and record.wait.kind == "approval"
        body = {"decision": "approve", "wait_id": record.wait.wait_id}
        mine = await api.call("POST", f"/v1/sessions/{session_id}/decision", "operator", json=body)
        theirs = await api.call("POST", f"/v1/sessions/{session_id}/decision", "approver", json=body)
        return mine, theirs

    mine, theirs = play(store_url, act, settings=api_settings(four_eyes=True))

    assert (mine.status_code, mine.json()["type"]) == (403, "urn:baton:problem:not-permitted")
    assert theirs.status_code == 202
