"""Answers to what a call needs: twice, late, from the wrong person, for other arguments, and for good."""

import asyncio
from collections.abc import Callable

import pytest

from orchestrator.contracts.errors import InputError, NotPermitted, NotWaiting
from orchestrator.contracts.session import Post, Wait
from orchestrator.kernel.grants import find_grant
from tests.hook_stage import Ledger, Play, Scene

Playing = Callable[[Play], None]


async def refusals(on: Scene, session_id: str) -> list[tuple[str, object]]:
    """Return who was refused at the door, and why."""
    return [(entry.actor, entry.data["why"]) for entry in await on.entries(session_id) if entry.kind == "refused"]


def a_post(wait: Wait, **changes: object) -> Post:
    """Return a ready-made grant, as somebody might forge it."""
    made = Post(post_id="p1", kind="decision", actor="ada", wait_id=wait.wait_id, verdict="allow", digest=wait.digest)
    return made.model_copy(update=changes)


def test_the_wrong_person_is_refused_and_journaled(play: Playing, ledger: Ledger) -> None:
    """At the door by the client; and where a post gets in all the same, by the session."""

    async def scene(on: Scene) -> None:
        session_id, record = await on.play(calls=[{"strike": ["ask"]}])
        assert record.wait is not None
        with pytest.raises(NotPermitted):
            await on.on.client.decide(session_id, allow=True, actor="mallory")
        await on.on.client.deliver(session_id, a_post(record.wait, actor="mallory"), answers=record.wait.wait_id)

        record = await on.run(session_id)

        assert record.phase == "waiting"
        assert ledger.lines("strike") == []
        assert await refusals(on, session_id) == [("mallory", "NotPermitted")]
        posts = [note for entry in await on.entries(session_id) for note in entry.data.get("posts", [])]
        assert posts[-1]["what"] == "refused: not_on_roster"
        await on.on.client.decide(session_id, allow=True, actor="ada")
        assert (await on.run(session_id)).status == "fine"
        assert ledger.lines("strike", "hook before_tool a") == ["hook before_tool ask", "strike ask"]

    play(scene)


def test_the_second_of_two_answers_is_refused(play: Playing, ledger: Ledger) -> None:
    """Whoever is quicker decides, once; the other one is told, and the journal knows."""

    async def scene(on: Scene) -> None:
        session_id, _ = await on.play(calls=[{"strike": ["ask"]}])
        decide = on.on.client.decide
        answers = (decide(session_id, allow=True, actor="ada"), decide(session_id, allow=False, actor="grace"))
        said = await asyncio.gather(*answers, return_exceptions=True)
        assert sorted(type(one).__name__ for one in said) == ["NotWaiting", "bool"]

        assert (await on.run(session_id)).status == "fine"

        won = said[0] is True
        assert ledger.lines("strike") == (["strike ask"] if won else [])
        assert await refusals(on, session_id) == [("grace" if won else "ada", "NotWaiting")]

    play(scene)


def test_a_late_answer_changes_nothing(play: Playing, ledger: Ledger) -> None:
    """The deadline has answered; a grant after it finds no question, also when the session has ended."""

    async def scene(on: Scene) -> None:
        session_id, record = await on.play(calls=[{"strike": ["ask"]}, {"danger": ["x"]}])
        assert record.wait is not None
        late = record.wait.wait_id
        await on.on.skip_to_due(session_id)
        assert (await on.run(session_id)).phase == "waiting"  # for the next call's approval
        with pytest.raises(NotWaiting):
            await on.on.client.decide(session_id, allow=True, actor="ada", wait_id=late)
        await on.on.client.decide(session_id, allow=False, actor="ada")
        assert (await on.run(session_id)).status == "fine"
        with pytest.raises(NotWaiting):
            await on.on.client.decide(session_id, allow=True, actor="ada", wait_id=late)

        assert ledger.lines("strike", "danger") == []
        assert await refusals(on, session_id) == [("ada", "NotWaiting")] * 2

    play(scene)


def test_a_grant_of_other_arguments_is_refused(play: Playing, ledger: Ledger) -> None:
    """It is bound to what was shown, hook or gateway; the session goes on waiting."""

    async def scene(on: Scene) -> None:
        session_id, record = await on.play(calls=[{"strike": ["ask"]}])
        assert record.wait is not None
        forged = a_post(record.wait, digest="0" * 16)
        await on.on.client.deliver(session_id, forged, answers=record.wait.wait_id)

        record = await on.run(session_id)

        assert (record.phase, ledger.lines("strike")) == ("waiting", [])
        posts = [note for entry in await on.entries(session_id) for note in entry.data.get("posts", [])]
        assert posts[-1]["what"] == "refused: other_arguments"

    play(scene)


def test_refusals_are_bounded(play: Playing, ledger: Ledger) -> None:
    """Whoever tries for ever must not fill the journal."""

    async def scene(on: Scene) -> None:
        session_id, _ = await on.play(calls=[{"strike": ["ask"]}])
        for _ in range(40):
            with pytest.raises(NotPermitted):
                await on.on.client.decide(session_id, allow=True, actor="mallory")

        assert len(await refusals(on, session_id)) == 32

    play(scene)


@pytest.mark.parametrize("tool", ["danger", "strike"])
def test_allow_always_is_for_the_same_call_alone(play: Playing, ledger: Ledger, tool: str) -> None:
    """One for the gateway, one for a hook: the same arguments go through, others ask again."""

    async def scene(on: Scene) -> None:
        calls = [{tool: ["ask"]}, {tool: ["ask"]}, {tool: ["ask more"]}]
        session_id, record = await on.play(calls=calls)
        while record.wait is not None and "more" not in record.wait.prompt + str(record.wait.call):
            await on.on.client.decide(session_id, allow=True, always=True, actor="ada")
            record = await on.run(session_id)

        assert record.wait is not None and record.wait.call is not None
        assert record.wait.call.args == {"target": "ask more"}
        assert ledger.lines(tool) == [f"{tool} ask"] * 2
        assert record.hooks is not None
        assert {grant.tool for grant in record.hooks.grants} == {f"hands:{tool}"}
        assert len(record.hooks.grants) == (2 if tool == "danger" else 1)
        again = [call for entry in await on.entries(session_id) for call in entry.calls][1]
        if tool == "danger":
            assert (again.outcome, again.approver, again.rationale) == ("approved", "ada", "allowed always")
        assert find_grant(record.hooks, "hook:another@tool:pre", record.wait.call) is None

    play(scene)


def test_allow_always_ends_with_its_session(play: Playing, ledger: Ledger) -> None:
    """Never wider than asked: another session of the same app asks again."""

    async def scene(on: Scene) -> None:
        first, _ = await on.play(calls=[{"danger": ["x"]}])
        await on.on.client.decide(first, allow=True, always=True, actor="ada")
        assert (await on.run(first)).status == "fine"

        _, record = await on.play(calls=[{"danger": ["x"]}])

        assert record.phase == "waiting"

    play(scene)


def test_what_is_no_call_cannot_be_allowed_for_good(play: Playing, ledger: Ledger) -> None:
    """A prompt does not come again as the same one; the caller is told, and nothing is posted."""

    async def scene(on: Scene) -> None:
        session_id, before = await on.play("ask")
        with pytest.raises(InputError, match="approve without it"):
            await on.on.client.decide(session_id, allow=True, always=True, actor="ada")
        assert await on.on.client.show(session_id) == before

    play(scene)


@pytest.mark.parametrize("immediate", [False, True])
def test_a_call_that_acted_is_told_as_one_where_its_question_is_never_answered(
    play: Playing, ledger: Ledger, immediate: bool
) -> None:
    """A hook asks about its result, and the session is cancelled: nobody may read that the call was not made."""

    async def scene(on: Scene) -> None:
        session_id, _ = await on.play(calls=[{"strike": ["then ask"]}])
        assert ledger.lines("strike") == ["strike then ask"]
        await on.on.client.cancel(session_id, actor="ada", reason="enough", immediate=immediate)

        record = await on.run(session_id)

        [call] = [call for entry in await on.entries(session_id) for call in entry.calls]
        assert (record.phase, call.outcome) == ("ended", "executed")
        assert call.result == {
            "error": "hands:strike: it has acted; the session was stopped before its result was let through"
        }
        assert "it has acted" in (await on.on.client.context(session_id))[-1].content

    play(scene)
