"""The points at which hooks may stop a step: several questions in one, calls that are made together, failures, cancels."""

from collections.abc import Callable

from orchestrator.contracts.messages import ModelRequest
from tests.hook_stage import Ledger, Play, Scene, listen

Playing = Callable[[Play], None]


async def allow_all(on: Scene, session_id: str) -> list[str]:
    """Allow whatever is asked, each time to another worker; return the questions."""
    asked = []
    while (record := await on.run(session_id)).wait is not None:
        asked.append(record.wait.wait_id)
        await on.on.client.decide(session_id, allow=True, actor="ada", wait_id=record.wait.wait_id)
    return asked


def test_every_question_of_one_turn_is_asked_once(play: Playing, ledger: Ledger) -> None:
    """Three workers stand in one turn, one after another; an answer to one question answers no other."""

    async def scene(on: Scene) -> None:
        session_id = await on.submit("ask everywhere")

        asked = await allow_all(on, session_id)

        # The first agent's prompt, request and response; the second one's prompt, and its two requests.
        assert len(asked) == len(set(asked)) == 6
        assert (await on.on.client.show(session_id)).status == "fine"
        assert len(ledger.lines("hook prompt")) == 2
        assert len(ledger.lines("hook before_model")) == 3
        assert len(ledger.lines("hook after_model ask")) == 1
        assert len(ledger.told("llm:response")) == 3

    play(scene)


def test_a_question_about_one_of_many_results_holds_those_behind_it(play: Playing, ledger: Ledger) -> None:
    """All were made; the ones before are told, the rest keep their ends until the answer, and come in their order."""

    async def scene(on: Scene) -> None:
        session_id, record = await on.play(calls=[{"look": ["one", "then ask", "two"]}])
        assert [call.done is not None for call in record.cursor.calls] == [True, True]
        assert record.state["seen"] == ["one"]
        await on.on.client.decide(session_id, allow=True, actor="ada")

        record = await on.run(session_id)

        assert (record.status, record.state["seen"]) == ("fine", ["one", "then ask", "two"])
        assert sorted(ledger.lines("look")) == ["look one", "look then ask", "look two"]
        assert ledger.lines("hook after_tool t") == ["hook after_tool then ask", "hook after_tool two"]
        tools = [one.content for one in await on.on.client.context(session_id) if one.role == "tool"]
        assert tools[:3] == ['{"value":"one"}', '{"value":"then ask"}', '{"value":"two"}']

    play(scene)


def test_a_result_that_a_person_withholds_reaches_nobody(play: Playing, ledger: Ledger) -> None:
    """The tool has acted; neither the model nor the state gets what it gave."""

    async def scene(on: Scene) -> None:
        session_id, _ = await on.play(calls=[{"look": ["then ask"]}])
        await on.on.client.decide(session_id, allow=False, actor="ada", reason="private")

        record = await on.run(session_id)

        assert (record.status, record.state["seen"]) == ("fine", [])
        (first, *_) = [one.content for one in await on.on.client.context(session_id) if one.role == "tool"]
        assert first == '{"error":"withheld by hook after_tool: User denied: Show it? (private)"}'
        assert ledger.lines("look") == ["look then ask"]

    play(scene)


def test_a_changed_response_is_what_was_said(play: Playing, ledger: Ledger) -> None:
    """The context has the words as hooks left them, the journal both."""

    async def scene(on: Scene) -> None:
        session_id, _ = await on.play("change after model")

        said = [one.content for one in await on.on.client.context(session_id) if one.role == "assistant"]
        assert said[0] == "changed"
        (note,) = await on.notes(session_id, action="modify", event="provider:response")
        assert (note["before"]["content"], note["after"]["content"]) == ("change after model", "changed")
        assert ledger.told("prompt:complete")[0]["response_preview"] == "changed"

    play(scene)


def test_a_model_call_that_fails_is_told_and_its_gates_are_behind_it(play: Playing, ledger: Ledger) -> None:
    """The next try is another worker's: no gate is asked again for the same call."""

    async def scene(on: Scene) -> None:
        session_id = await on.submit("go")
        seen: list[ModelRequest] = []
        first = on.on.worker()
        listen(on.on, seen, fail=1)
        assert (await on.on.run(first, session_id)).phase == "waiting"
        await on.on.skip_to_due(session_id)

        assert (await on.run(session_id)).status == "fine"

        (error,), (retry,) = ledger.told("provider:error"), ledger.told("provider:retry")
        assert error["error"] == {"msg": "slow down", "type": "RateLimitError"}
        assert (error["provider"], error["retryable"]) == ("rules", True)
        assert (retry["attempt"], retry["delay"] > 0) == (1, True)
        assert ledger.lines("hook prompt") == ["hook prompt go"] * 2  # one for each agent
        assert len(ledger.lines("hook before_model")) == 3  # one for each turn
        assert ledger.told("session:resume") == []

    play(scene)


def test_a_cancel_ends_a_question(play: Playing, ledger: Ledger) -> None:
    """Nothing of it is left: neither the question, nor what would go on if it were allowed."""

    async def scene(on: Scene) -> None:
        session_id, _ = await on.play(calls=[{"strike": ["ask changed"]}])
        await on.on.client.cancel(session_id, actor="ada", reason="enough")

        record = await on.run(session_id)

        assert (record.phase, record.status, record.wait) == ("ended", "unclear", None)
        assert record.hooks is not None
        assert (record.hooks.asked, record.hooks.passed, record.hooks.running) == (None, (), False)
        assert ledger.lines("strike") == []
        assert ledger.told("approval:granted") == []

    play(scene)


def test_a_child_tells_whose_it_is(play: Playing, ledger: Ledger) -> None:
    """Once, before it begins; its parent began as nobody's."""

    async def scene(on: Scene) -> None:
        client = on.on.client
        made = await client.submit("hooked", overrides={"seen": ["x"]}, actor="ada", entry_skill="pair")
        record = await on.run(made.session_id)
        assert record.wait is not None
        (child,) = record.wait.children

        assert (await on.run(child)).status == "fine"
        assert (await on.run(made.session_id)).phase == "ended"

        assert ledger.told("session:fork") == [{"parent": made.session_id}]
        assert ledger.told("session:start") == [{}, {}]

    play(scene)
