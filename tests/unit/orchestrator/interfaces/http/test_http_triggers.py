"""Webhooks that come in: who may send, what a payload comes to, and one session for one key."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from orchestrator.app_loader import load_app
from orchestrator.contracts.errors import AppInvalid, ConfigError
from orchestrator.kernel.signatures import sign
from orchestrator.triggers import Triggers
from tests.api_stage import ApiStage, api_stage, bearer

FOLDER = Path(__file__).parents[4] / "apps" / "triggered"
ENV = {
    "BEARER_SECRET": "a secret of enough letters",
    "OLD_SECRET": "the secret that goes away",
    "NEW_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
}
GOOD = {"Authorization": f"Bearer {ENV['BEARER_SECRET']}"}


def play(store_url: str, act: Any) -> Any:
    """Do something with an API that has the app of triggers."""

    async def run() -> Any:
        async with api_stage(store_url, env=ENV, specs={"triggered": load_app(FOLDER)}) as api:
            return await act(api)

    return asyncio.run(run())


def test_each_way_to_prove_oneself(store_url: str) -> None:
    """The right proof starts a session in the trigger's name; no proof, a wrong one and a late one do not."""

    async def act(api: ApiStage) -> tuple[list[int], Any, Any, Any]:
        now = int(time.time())
        body = json.dumps({"text": "hello"}).encode()
        old, new = ENV["OLD_SECRET"], ENV["NEW_SECRET"]
        asked: list[tuple[str, dict[str, str], bytes]] = [
            ("by_bearer", GOOD, b'{"title": "disk", "level": 2}'),
            ("by_bearer", {}, b"{}"),
            ("by_bearer", {"Authorization": "Bearer wrong"}, b"{}"),
            ("by_bearer", bearer("operator"), b"{}"),
            ("by_signature", sign([new], "m1", now, body), body),
            ("by_signature", sign([old, "another one entirely"], "m2", now, body), body),
            ("by_signature", sign(["another one entirely"], "m3", now, body), body),
            ("by_signature", sign([new], "m4", now, body), body + b" "),
            ("by_signature", sign([new], "m5", now - 1000, body), body),
            ("by_signature", {}, body),
            ("by_token", bearer("submitter"), body),
            ("by_token", bearer("viewer"), body),
            ("by_token", {}, body),
            ("by_anybody", {}, body),
        ]
        answers = [
            await api.call("POST", f"/v1/triggers/{name}", None, headers=headers, content=content)
            for name, headers, content in asked
        ]
        show = api.on.client.show
        records = [await show(answers[number].json()["session_id"]) for number in (0, 4, 10)]
        return [one.status_code for one in answers], *records

    statuses, alert, signed, other = play(store_url, act)

    assert statuses == [202, 401, 401, 401, 202, 202, 401, 401, 401, 401, 202, 403, 401, 202]
    assert (alert.actor, alert.text, alert.state) == ("trigger:by_bearer", "disk", {"level": 2})
    assert (signed.text, signed.priority) == ("hello", "high")
    assert other.cursor.skill == "other"


@pytest.mark.parametrize(
    ("name", "body", "status", "problem"),
    [
        ("by_bearer", b"{", 422, "invalid-request"),
        ("by_bearer", b"", 422, "invalid-request"),
        ("by_bearer", b'{"level": 2}', 422, "invalid-request"),
        ("by_bearer", b'{"title": "x", "level": 0}', 422, "invalid-request"),
        ("by_anybody", b'{"title": "x"}', 500, "app-failed"),
        ("by_anybody", b'"fail"', 500, "app-failed"),
        ("by_anybody", b'"defect"', 500, "app-failed"),
        ("by_bearer", b'{"title": "defect"}', 500, "app-failed"),
        ("by_anybody", b'{"state": {"unknown": 1}}', 422, "invalid-request"),
        ("every_minute", b"{}", 404, "not-found"),
    ],
)
def test_a_payload_that_does_not_fit_starts_nothing(
    store_url: str, name: str, body: bytes, status: int, problem: str
) -> None:
    """What is the sender's to mend is told; what is the app's is in the log, and named."""

    async def act(api: ApiStage) -> tuple[Any, int]:
        answer = await api.call("POST", f"/v1/triggers/{name}", None, headers=GOOD, content=body)
        return answer, sum(one.count for one in await api.app.state.parts.operations.groups())

    answer, sessions = play(store_url, act)

    assert (answer.status_code, answer.json()["type"]) == (status, f"urn:baton:problem:{problem}")
    assert sessions == 0


def test_a_key_means_one_session_however_often_it_is_sent(store_url: str) -> None:
    """Twenty at once, then one later with another body: a sender that repeats itself starts nothing twice."""

    async def act(api: ApiStage) -> tuple[set[str], int, list[bool], int]:
        headers = {**GOOD, "Idempotency-Key": "alert-9"}

        async def send(number: int) -> Any:
            body = {"title": f"the same, number {number}"}
            return (await api.call("POST", "/v1/triggers/by_bearer", None, headers=headers, json=body)).json()

        told = [*await asyncio.gather(*(send(number) for number in range(20))), await send(99)]
        key = "baton:idem:triggered:trigger/by_bearer/alert-9"
        seconds = int(await api.on.store.command("TTL", key))
        count = sum(one.count for one in await api.app.state.parts.operations.groups())
        return {one["session_id"] for one in told}, count, [one["created"] for one in told], seconds

    sessions, count, created, seconds = play(store_url, act)

    assert (len(sessions), count, created.count(True)) == (1, 1, 1)
    assert 7000 < seconds <= 7200


def test_what_is_signed_once_starts_one_session(store_url: str) -> None:
    """Whoever overhears a signed message may send it again while it is fresh: a key that nobody signed must not make it another one."""

    async def act(api: ApiStage) -> list[tuple[str, bool]]:
        body = json.dumps({"text": "hello"}).encode()
        signed = sign([ENV["NEW_SECRET"]], "m1", int(time.time()), body)
        told = []
        for more in ({}, {"Idempotency-Key": "another"}, {"Idempotency-Key": "one more"}):
            answer = await api.call("POST", "/v1/triggers/by_signature", None, headers={**signed, **more}, content=body)
            told.append((answer.json()["session_id"], answer.json()["created"]))
        return told

    first, *again = play(store_url, act)

    assert first[1]
    assert again == [(first[0], False)] * 2


def test_a_start_that_failed_leaves_its_key_free(store_url: str) -> None:
    """The sender mends its payload and sends it under the same key: it must not be told that it is done."""

    async def act(api: ApiStage) -> list[int]:
        headers = {**GOOD, "Idempotency-Key": "k"}
        bodies: list[dict[str, Any]] = [{"title": "x", "level": 0}, {"title": "x", "level": 1}]
        return [
            (await api.call("POST", "/v1/triggers/by_bearer", None, headers=headers, json=body)).status_code
            for body in bodies
        ]

    assert play(store_url, act) == [422, 202]


def test_a_secret_that_is_not_set_stops_the_start(store_url: str) -> None:
    """An API that came up without it would refuse every sender, or let in everybody."""

    async def act(api: ApiStage) -> None:
        for env in ({}, {**ENV, "NEW_SECRET": "short"}, {**ENV, "NEW_SECRET": "whsec_not base64 at all"}):
            with pytest.raises(ConfigError, match="SECRET"):
                Triggers(api.on.client, env)

    play(store_url, act)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("* * * * *", "* * * *", "4 fields"),
        ("* * * * *", "0 0 * * * *", "6 fields"),
        ("Europe/Berlin", "Middle/Earth", "is no time zone"),
        ("Europe/Berlin", "../etc/passwd", "is no time zone"),
        ("secret_env: [BEARER_SECRET], ", "", "needs the name of the variable"),
        ("auth: token,", "auth: token, secret_env: [X],", "is not read with auth: token"),
        ("skill: other", "skill: othr", "unknown skill 'othr'"),
        ("name: by_token", "name: by_bearer", "is there twice"),
        ("steps.py:read_alert", "steps.py:nothing", "nothing"),
        ("steps.py:Alert", "steps.py:work", "is no pydantic model"),
    ],
)
def test_a_trigger_that_does_not_hold_together_is_refused(tmp_path: Path, before: str, after: str, said: str) -> None:
    """With its place in the file, before anything starts."""
    for file in ("app.yaml", "steps.py"):
        text = (FOLDER / file).read_text(encoding="utf-8")
        (tmp_path / file).write_text(text.replace(before, after, 1) if file == "app.yaml" else text, encoding="utf-8")

    with pytest.raises(AppInvalid, match=said) as refused:
        load_app(tmp_path)

    assert "app.yaml:" in str(refused.value)


def test_triggers_are_no_part_of_an_apps_version(tmp_path: Path) -> None:
    """A secret that is renamed must not turn every waiting session's app into another one."""
    spec = load_app(FOLDER)

    assert spec.model_copy(update={"triggers": ()}).digest() == spec.digest()
