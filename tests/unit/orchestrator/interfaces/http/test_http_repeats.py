"""Whoever lost an answer on the way says the same again under the same key, and it counts once."""

from typing import Any

import httpx2
import pytest

import tests.api_stage as stage_of_api
from orchestrator.contracts.access import Token, digest_token
from tests.api_stage import ApiStage, play
from workers.executor import Executor

KEY = {"Idempotency-Key": "k1"}


async def posted(api: ApiStage, session_id: str) -> list[str]:
    """Return the kinds of posts that the journal knows, in order."""
    entries = (await api.call("GET", f"/v1/sessions/{session_id}/journal", "viewer")).json()["entries"]
    return [one["data"]["post"]["kind"] for one in entries if one["kind"] == "posted"]


async def ask(api: ApiStage) -> tuple[str, str, Executor]:
    """Have a session that asks something; return it, what it waits for, and a worker."""
    session_id, worker = await api.on.submit("ask_first"), api.on.worker()
    await api.on.run(worker, session_id)
    wait = (await api.on.client.show(session_id)).wait
    assert wait is not None
    return session_id, wait.wait_id, worker


@pytest.mark.parametrize(
    ("word", "body"),
    [("signal", {"name": "order", "value": 1}), ("cancel", {"reason": "enough"}), ("cancel", None)],
)
def test_what_is_said_again_under_its_key_counts_once(store_url: str, word: str, body: Any) -> None:
    """And the caller is told that it was heard before; under another key, or by somebody else, it is another one."""

    async def act(api: ApiStage) -> tuple[list[Any], list[str]]:
        session_id = await api.on.submit("ask_first")
        path = f"/v1/sessions/{session_id}/{word}"
        said = [
            await api.call("POST", path, role, json=body, headers=key)
            for role, key in (
                ("submitter", KEY),
                ("submitter", KEY),
                ("operator", KEY),
                ("submitter", {"Idempotency-Key": "k2"}),
            )
        ]
        return [(one.status_code, one.json()["changed"]) for one in said], await posted(api, session_id)

    said, kinds = play(store_url, act)

    assert said == [(202, True), (202, False), (202, True), (202, True)]
    assert kinds == [word] * 3


def test_an_answer_that_was_heard_is_heard_however_late_it_is_repeated(store_url: str) -> None:
    """Before the session took it, after it went on, and after it ended: without its key it is refused."""

    async def act(api: ApiStage) -> tuple[list[Any], int, list[str]]:
        session_id, wait_id, worker = await ask(api)
        path, body = f"/v1/sessions/{session_id}/answer", {"text": "blue", "wait_id": wait_id}
        said = [await api.call("POST", path, "approver", json=body, headers=KEY) for _ in range(2)]
        said.append(await api.call("POST", path, "approver", json={"text": "blue"}, headers=KEY))
        await api.on.run(worker, session_id)
        said.append(await api.call("POST", path, "approver", json=body, headers=KEY))
        bare = await api.call("POST", path, "approver", json=body)
        return (
            [(one.status_code, one.json()["changed"]) for one in said],
            bare.status_code,
            await posted(api, session_id),
        )

    said, bare, kinds = play(store_url, act)

    assert said == [(202, True), (202, False), (202, False), (202, False)]
    assert bare == 409
    assert kinds == ["input"]


@pytest.mark.parametrize(("word", "said"), [("answer", {}), ("resume", {"action": "resume_with_input"})])
def test_what_was_looked_at_is_answered_and_nothing_else(store_url: str, word: str, said: dict[str, str]) -> None:
    """With the name of another question nothing is said, with its own, or with none, it is; under a key, another name is another answer."""

    async def act(api: ApiStage) -> tuple[list[int], list[str]]:
        session_id, wait_id, _ = await ask(api)
        path, body = f"/v1/sessions/{session_id}/{word}", {**said, "text": "blue"}
        asked = [{**body, "wait_id": "another"}, {**body, "wait_id": wait_id}, body, {**body, "wait_id": "another"}]
        answers = [await api.call("POST", path, "approver", json=one, headers=KEY) for one in asked]
        return [one.status_code for one in answers], await posted(api, session_id)

    codes, kinds = play(store_url, act)

    assert codes == [409, 202, 202, 422]
    assert kinds == ["input"]


def is_refused(answer: httpx2.Response) -> bool:
    """Say whether a request was refused for its key, in the words in which a submission would be."""
    told = answer.json()
    return answer.status_code == 422 and told["type"] == "urn:baton:problem:key-conflict" and "'k1'" in told["detail"]


@pytest.mark.parametrize(
    ("word", "body", "others"),
    [
        ("signal", {"name": "order", "value": 1}, [{"name": "order", "value": 2}, {"name": "stop", "value": 1}]),
        ("cancel", {"reason": "enough"}, [{"reason": "late"}, {"reason": "enough", "immediate": True}]),
    ],
)
def test_a_key_that_stands_for_something_else_is_refused(
    store_url: str, word: str, body: Any, others: list[Any]
) -> None:
    """As for a submission: nothing is said, and whoever asks must not believe that it was."""

    async def act(api: ApiStage) -> tuple[list[bool], list[int], list[str]]:
        session_id = await api.on.submit("ask_first")
        path = f"/v1/sessions/{session_id}/{word}"
        first = await api.call("POST", path, "submitter", json=body, headers=KEY)
        for number in range(5):  # the first is not the last that the journal knows
            await api.on.client.signal(session_id, f"more-{number}", actor="ada")
        refused = [is_refused(await api.call("POST", path, "submitter", json=one, headers=KEY)) for one in others]
        again = await api.call("POST", path, "submitter", json=body, headers=KEY)
        return refused, [first.status_code, again.status_code], await posted(api, session_id)

    refused, codes, kinds = play(store_url, act)

    assert (refused, codes) == ([True, True], [202, 202])
    assert kinds == [word, *["signal"] * 5]


def test_an_answer_under_a_key_of_another_one_is_refused_before_and_after_it_is_taken(store_url: str) -> None:
    """Another text, another question, a verdict: each would be taken for heard. Without the name of the question it is the same."""

    async def act(api: ApiStage) -> tuple[list[bool], list[int], list[str]]:
        session_id, wait_id, worker = await ask(api)
        path, body = f"/v1/sessions/{session_id}/answer", {"text": "blue", "wait_id": wait_id}
        codes = [(await api.call("POST", path, "approver", json=body, headers=KEY)).status_code]
        others = ({"text": "red"}, {**body, "wait_id": "another"}, {**body, "value": 1}, {**body, "verdict": "stop"})
        refused = []
        for _ in range(2):
            refused += [is_refused(await api.call("POST", path, "approver", json=one, headers=KEY)) for one in others]
            resumed = {"action": "resume_with_input", "text": "blue"}
            said = await api.call("POST", path.replace("answer", "resume"), "approver", json=resumed, headers=KEY)
            refused.append(is_refused(said))
            codes.append((await api.call("POST", path, "approver", json={"text": "blue"}, headers=KEY)).status_code)
            await api.on.run(worker, session_id)
        return refused, codes, await posted(api, session_id)

    refused, codes, kinds = play(store_url, act)

    assert refused == [True] * 10
    assert codes == [202] * 3
    assert kinds == ["input"]


@pytest.mark.usefixtures("ledger")
def test_a_decision_is_made_once_and_its_repetition_is_no_refusal(store_url: str) -> None:
    """The journal tells of refused decisions; whoever only did not hear that he was heard is none of these."""

    async def act(api: ApiStage) -> tuple[list[Any], list[str], list[str]]:
        spec = api.on.specs["everything"]
        assert spec.gateway is not None
        opened = {"everything": spec.model_copy(update={"gateway": spec.gateway.model_copy(update={"approvers": ()})})}
        api.on.specs = api.on.client.specs = opened
        session_id = await api.on.submit(plan="danger")
        await api.on.run(api.on.worker(), session_id)
        wait = (await api.on.client.show(session_id)).wait
        assert wait is not None
        path, body = f"/v1/sessions/{session_id}/decision", {"decision": "approve", "wait_id": wait.wait_id}
        said = [await api.call("POST", path, "approver", json=body, headers=KEY) for _ in range(2)]
        await api.on.run(api.on.worker(), session_id)
        said.append(await api.call("POST", path, "approver", json=body, headers=KEY))
        for other in ({"decision": "deny"}, {"wait_id": "another"}, {"always": True}, {"reason": "sure"}):
            assert is_refused(await api.call("POST", path, "approver", json={**body, **other}, headers=KEY)), other
        entries = (await api.call("GET", f"/v1/sessions/{session_id}/journal", "viewer")).json()["entries"]
        return (
            [(one.status_code, one.json()["changed"]) for one in said],
            await posted(api, session_id),
            [one["kind"] for one in entries if one["kind"] == "refused"],
        )

    said, kinds, refused = play(store_url, act)

    assert said == [(202, True), (202, False), (202, False)]
    assert (kinds, refused) == (["decision"], [])


def test_no_key_is_the_id_of_a_post_of_our_own(store_url: str) -> None:
    """A child's end has an id that anybody can guess: who may only send signals must not be able to keep it away."""

    async def act(api: ApiStage) -> tuple[int, bool]:
        session_id = await api.on.submit("ask_first")
        path = f"/v1/sessions/{session_id}/signal"
        key = {"Idempotency-Key": "child:SES-20261121-001"}
        said = await api.call("POST", path, "submitter", json={"name": "order"}, headers=key)
        return said.status_code, await api.on.client.took(session_id, "child:SES-20261121-001")

    assert play(store_url, act) == (202, False)


def test_what_is_said_without_a_key_was_not_said_before(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer of the store was lost, and the act done again: its first doing was our own, and whoever asked is told so."""

    async def act(api: ApiStage) -> tuple[list[Any], list[str]]:
        session_id = await api.on.submit("ask_first")
        await api.on.run(api.on.worker(), session_id)
        wire, path = api.on.store.wire, f"/v1/sessions/{session_id}"
        really = wire.command

        async def say_it_twice(*args: Any, **more: Any) -> Any:
            await really(*args, **more)
            return await really(*args, **more)

        monkeypatch.setattr(wire, "command", say_it_twice)
        said = [
            await api.call("POST", f"{path}/{word}", "operator", json=body)
            for word, body in (("signal", {"name": "order"}), ("answer", {"text": "blue"}), ("cancel", {}))
        ]
        return [(one.status_code, one.json()["changed"]) for one in said], await posted(api, session_id)

    said, kinds = play(store_url, act)

    assert said == [(202, True)] * 3
    assert kinds == ["signal", "input", "cancel"]


def test_a_callers_name_and_its_key_are_never_those_of_another(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names may hold colons: of two callers whose names and keys read the same in one line, the second was not heard."""
    asked = (("ci", "eu:7"), ("ci:eu", "7"), ("ci", ":5:ci:eu:7"), ("ci:eu", "eu:7"), ("ci", "eu:7"))
    secrets = {name: f"baton_{name}-{'y' * 40}" for name, _ in asked}
    tokens = [
        Token(name=name, sha256=digest_token(secret), roles=("submitter",), source="file")
        for name, secret in secrets.items()
    ]
    monkeypatch.setattr(stage_of_api, "TOKENS", (*stage_of_api.TOKENS, *tokens))

    async def act(api: ApiStage) -> tuple[list[bool], bool]:
        session_id = await api.on.submit("ask_first")
        said = [
            await api.call(
                "POST",
                f"/v1/sessions/{session_id}/signal",
                None,
                json={"name": "order"},
                headers={"Authorization": f"Bearer {secrets[name]}", "Idempotency-Key": key},
            )
            for name, key in asked
        ]
        return [one.json()["changed"] for one in said], await api.on.client.took(session_id, "signal:ci:eu:7")

    said, is_named_as_ever = play(store_url, act)

    assert said == [True, True, True, True, False]
    assert is_named_as_ever  # a request that is repeated while Baton is upgraded finds what it said before


def test_a_post_that_another_caller_has_left_under_this_id_is_no_repetition(store_url: str) -> None:
    """An older Baton joined names and keys so that two callers could mean one post: the second is told that it was not heard."""

    async def act(api: ApiStage) -> tuple[int, str]:
        session_id = await api.on.submit("ask_first")
        await api.on.client.signal(session_id, "order", actor="somebody", post_id="signal:the-submitter:k1")
        path = f"/v1/sessions/{session_id}/signal"
        said = await api.call("POST", path, "submitter", json={"name": "order"}, headers=KEY)
        return said.status_code, said.json()["type"]

    assert play(store_url, act) == (422, "urn:baton:problem:key-conflict")
