"""Hooks of durable sessions over a real store: every action, and what is left when another worker goes on."""

from collections.abc import Callable

import pytest

from orchestrator.contracts.messages import ModelRequest
from tests.hook_stage import Ledger, Play, Scene, listen, texts

# --- deny


def test_a_denied_call_is_not_made_and_the_model_is_told(play: Callable[[Play], None], ledger: Ledger) -> None:
    """A policy that stops one call must not stop the session: the agent goes on, knowing why."""

    async def scene(on: Scene) -> None:
        session_id, record = await on.play(calls=[{"strike": ["deny", "ok"]}])

        assert record.status == "fine"
        assert ledger.lines("strike") == ["strike ok"]
        calls = [call for entry in await on.entries(session_id) for call in entry.calls]
        denied = calls[0]
        assert (denied.outcome, denied.approver, denied.rationale) == ("rejected", "hook:before_tool", "not that")
        assert denied.result == {"rejected": True, "rationale": "not that"}
        assert await on.notes(session_id, action="deny", hook="before_tool", reason="not that")
        assert ledger.told("policy:violation") == [{"event": "tool:pre", "hook": "before_tool", "reason": "not that"}]

    play(scene)


@pytest.mark.parametrize("text", ["deny", "nonsense", "deny model", "deny after model"])
def test_a_denied_turn_ends_the_agents_work(play: Callable[[Play], None], ledger: Ledger, text: str) -> None:
    """Whichever gate denies, nothing of the turn reaches the context, and the route for failures is taken."""

    async def scene(on: Scene) -> None:
        session_id, record = await on.play(text)

        assert (record.phase, record.status) == ("ended", "unclear")
        roles = [message.role for message in await on.on.client.context(session_id)]
        assert "assistant" not in roles
        assert ledger.told("execution:end")[0]["status"] == "error"
        assert ledger.told("orchestrator:complete")[0]["status"] == "incomplete"
        assert len(await on.notes(session_id, action="deny")) == 1

    play(scene)


@pytest.mark.parametrize("wanted", ["unreadable", "raise", "hang"])
def test_what_does_not_answer_denies_where_it_is_critical(
    play: Callable[[Play], None], ledger: Ledger, wanted: str
) -> None:
    """Fail closed: an unreadable answer always, a critical hook that raises or is late; others are passed over, noted."""

    async def scene(on: Scene) -> None:
        session_id, record = await on.play(calls=[{"strike": [wanted]}])

        assert record.status == "fine"
        assert ledger.lines("strike") == []
        failed = await on.notes(session_id, action="failed")
        names = ["before_tool"] if wanted == "unreadable" else ["frail", "strict"]
        assert [note["hook"] for note in failed] == names
        assert len(await on.notes(session_id, action="deny", hook=names[-1])) == 1

    play(scene)


# --- modify


def test_changed_arguments_are_called_and_the_journal_has_both(play: Callable[[Play], None], ledger: Ledger) -> None:
    """What ran must be readable beside what was asked for."""

    async def scene(on: Scene) -> None:
        session_id, record = await on.play(calls=[{"strike": ["change"]}])

        assert record.status == "fine"
        assert ledger.lines("strike") == ["strike change!"]
        (note,) = await on.notes(session_id, action="modify")
        assert (note["hook"], note["before"], note["after"]) == ("first", {"target": "change"}, {"target": "change!"})
        call = next(call for entry in await on.entries(session_id) for call in entry.calls)
        assert call.args == {"target": "change!"}
        asked = next(one for one in await on.on.client.context(session_id) if one.tool_calls)
        assert asked.tool_calls[0].args == {"target": "change"}

    play(scene)


def test_an_approval_is_bound_to_the_changed_arguments(play: Callable[[Play], None], ledger: Ledger) -> None:
    """A person allows what will be done, not what the model wrote."""

    async def scene(on: Scene) -> None:
        session_id, record = await on.play(calls=[{"danger": ["change me"]}])
        assert record.wait is not None and record.wait.call is not None
        assert record.wait.call.args == {"target": "change me!"}

        await on.on.client.decide(session_id, allow=True, actor="ada")

        assert (await on.run(session_id)).status == "fine"
        assert ledger.lines("danger") == ["danger change me!"]
        assert ledger.lines("hook before_tool c") == ["hook before_tool change me!"]

    play(scene)


def test_a_changed_prompt_is_what_the_model_sees(play: Callable[[Play], None], ledger: Ledger) -> None:
    """The context keeps what was written; no model call sees it again."""

    async def scene(on: Scene) -> None:
        session_id = await on.submit("secret")
        seen: list[ModelRequest] = []
        worker = on.on.worker()
        listen(on.on, seen)
        record = await on.on.run(worker, session_id)

        assert record.status == "fine"
        assert all("secret" not in message.content for request in seen for message in request.messages)
        assert seen[0].messages[0].content == "redacted"
        assert (await on.on.client.context(session_id))[0].content == "secret"

    play(scene)


def test_a_changed_result_is_what_everyone_reads(play: Callable[[Play], None], ledger: Ledger) -> None:
    """Model and state get the masked value; the journal has both."""

    async def scene(on: Scene) -> None:
        session_id, record = await on.play(calls=[{"look": ["mask", "withhold", "plain"]}])

        assert record.state["seen"] == ["***", "plain"]
        tools = [one.content for one in await on.on.client.context(session_id) if one.role == "tool"]
        assert tools[:3] == ['{"value":"***"}', '{"error":"withheld by hook after_tool: private"}', '{"value":"plain"}']
        (note,) = await on.notes(session_id, action="modify")
        assert (note["before"], note["after"]) == ({"value": "mask"}, {"value": "***"})

    play(scene)


# --- inject_context


def test_an_ephemeral_text_reaches_exactly_the_next_call(play: Callable[[Play], None], ledger: Ledger) -> None:
    """Also when another worker makes that call, and when it has to be made again."""

    async def scene(on: Scene) -> None:
        session_id = await on.submit(calls=[{"danger": ["ephemeral"]}, {"look": [1]}])
        await on.run(session_id)
        await on.on.client.decide(session_id, allow=True, actor="ada")
        seen: list[ModelRequest] = []
        first = on.on.worker()
        listen(on.on, seen, fail=1)
        assert (await on.on.run(first, session_id)).phase == "waiting"
        await on.on.skip_to_due(session_id)
        second = on.on.worker()
        listen(on.on, seen)

        assert (await on.on.run(second, session_id)).status == "fine"

        assert [texts(request).count("only now") for request in seen] == [1, 1, 0, 0, 0]
        assert "only now" not in [one.content for one in await on.on.client.context(session_id)]

    play(scene)


def test_a_durable_text_waits_until_no_call_is_open(play: Callable[[Play], None], ledger: Ledger) -> None:
    """Between a call and its result nothing may stand: providers refuse it."""

    async def scene(on: Scene) -> None:
        session_id, record = await on.play("durable", calls=[{"strike": ["durable", "other"]}])

        assert record.status == "fine"
        messages = await on.on.client.context(session_id)
        shape = [(one.role, one.content if one.role in {"user", "system"} else "") for one in messages[:6]]
        assert shape == [
            ("user", "durable"),
            ("system", "house rules"),
            ("assistant", ""),
            ("tool", ""),
            ("tool", ""),
            ("user", "from now on"),
        ]
        assert (messages[1].source, messages[5].source) == ("hook:prompt@prompt:submit", "hook:first@tool:pre")
        assert ledger.lines("hook prompt") == ["hook prompt durable"] * 2  # no agent is asked what a hook has said

    play(scene)


def test_a_text_is_appended_to_the_result(play: Callable[[Play], None], ledger: Ledger) -> None:
    """Where the hook asks for it, in the very message of the result."""

    async def scene(on: Scene) -> None:
        session_id, _ = await on.play(calls=[{"look": ["append"]}])

        tools = [one.content for one in await on.on.client.context(session_id) if one.role == "tool"]
        assert tools[0] == '{"value":"append"}\n\nmind this'

    play(scene)


def test_a_text_over_its_limit_is_refused_in_the_known_words(play: Callable[[Play], None], ledger: Ledger) -> None:
    """Not cut, not shown, not charged; hooks know these words."""

    async def scene(on: Scene) -> None:
        session_id, record = await on.play(calls=[{"strike": ["huge"]}])

        assert record.status == "fine"
        assert await on.notes(session_id, refused="Context injection exceeds 100 characters")
        assert record.hooks is not None
        assert record.hooks.spent == 0

    play(scene)


def test_the_budget_is_the_turns_and_a_warning(play: Callable[[Play], None], ledger: Ledger) -> None:
    """The eleventh text of 2 tokens is over 20; the next turn begins at 0."""

    async def scene(on: Scene) -> None:
        session_id, record = await on.play(calls=[{"strike": ["durable"] * 11}, {"strike": ["durable"]}])

        assert record.status == "fine"
        added = await on.notes(session_id, action="inject_context")
        assert ["over_budget" in note for note in added] == [False] * 10 + [True] + [False]
        assert record.hooks is not None
        assert record.hooks.spent == 0

    play(scene)


# --- ask_user


@pytest.mark.parametrize(("answer", "struck"), [("allow", True), ("deny", False), ("silence", False)])
def test_a_question_about_a_call_frees_the_worker(
    play: Callable[[Play], None], ledger: Ledger, answer: str, struck: bool
) -> None:
    """The wait is a commit; what ran before it is not run again by whoever goes on."""

    async def scene(on: Scene) -> None:
        session_id, record = await on.play(calls=[{"strike": ["ok", "ask changed"]}])
        assert record.wait is not None
        assert (record.phase, record.wait.kind, record.wait.hook) == ("waiting", "approval", "before_tool")
        assert (record.wait.prompt, record.wait.options) == ("Do ask changed!?", ("Allow", "Deny"))
        assert record.wait.deadline_at == record.wait.since_at + 60_000
        assert record.wait.call is not None and record.wait.call.args == {"target": "ask changed!"}

        if answer == "silence":
            await on.on.skip_to_due(session_id)
        else:
            await on.on.client.decide(session_id, allow=answer == "allow", actor="grace")
        record = await on.run(session_id)

        assert record.status == "fine"
        assert ledger.lines("strike") == ["strike ok", *(["strike ask changed!"] if struck else [])]
        assert ledger.lines("hook before_tool")[:-1] == ["hook before_tool ok", "hook before_tool ask changed!"]
        event = "approval:granted" if struck else "approval:denied"
        (told,) = ledger.told(event)
        assert (told["hook"], told["actor"]) == ("before_tool", "system" if answer == "silence" else "grace")
        if not struck:
            rationale = [call.rationale for entry in await on.entries(session_id) for call in entry.calls][1]
            said = "User denied" if answer == "deny" else "Approval timeout - denied by default"
            assert rationale is not None and rationale.startswith(f"{said}: Do ask changed!?")

    play(scene)


def test_questions_around_a_model_call_do_not_repeat_it(play: Callable[[Play], None], ledger: Ledger) -> None:
    """Before it nothing is asked of the model; after it the response is kept, and the model not asked again."""

    async def scene(on: Scene) -> None:
        session_id, record = await on.play("ask before model")
        assert record.wait is not None and record.wait.reason == "provider:request"
        assert ledger.told("llm:request") == []
        await on.on.client.decide(session_id, allow=True, actor="ada")
        assert (await on.run(session_id)).status == "fine"
        assert ledger.lines("hook prompt") == ["hook prompt ask before model"] * 2  # one for each agent
        assert len(ledger.lines("hook before_model 0")) == 3  # the second agent's first call asks, too

    async def after(on: Scene) -> None:
        ledger.path.write_text("")
        session_id, record = await on.play("ask after model")
        assert record.wait is not None and record.wait.default == "allow"
        assert len(ledger.told("llm:response")) == 1
        await on.on.skip_to_due(session_id)  # silence allows here
        assert (await on.run(session_id)).status == "fine"
        said = [one.content for one in await on.on.client.context(session_id) if one.role == "assistant"]
        assert said[0] == "ask after model"
        assert ledger.lines("hook after_model ask") == ["hook after_model ask after model"]

    play(after)


def test_a_question_about_a_result_keeps_the_result(play: Callable[[Play], None], ledger: Ledger) -> None:
    """The tool has acted: it is asked about what it gave, and never made again."""

    async def scene(on: Scene) -> None:
        session_id, record = await on.play(calls=[{"strike": ["then ask"]}])
        assert record.wait is not None and record.wait.reason == "tool:post"
        assert await on.on.client.intents(session_id) == {}
        assert record.cursor.calls[0].done is not None

        await on.on.client.decide(session_id, allow=True, actor="ada")
        record = await on.run(session_id)

        assert record.status == "fine"
        assert ledger.lines("strike", "hook after_tool then") == ["strike then ask", "hook after_tool then ask"]

    play(scene)


def test_a_question_at_a_prompt_has_the_hooks_own_approvers(play: Callable[[Play], None], ledger: Ledger) -> None:
    """Who may answer is the hook's to say; another one is refused."""

    async def scene(on: Scene) -> None:
        session_id, record = await on.play("ask")
        assert record.wait is not None
        assert (record.wait.roster, record.wait.call, record.wait.options) == (("ada",), None, ("Allow", "No"))
        await on.on.client.decide(session_id, allow=True, actor="ada")

        record = await on.run(session_id)  # the second agent is asked the same

        assert record.cursor.skill == "last"
        assert record.wait is not None
        assert len(ledger.told("execution:start")) == 2
        assert ledger.told("session:start") == [{}]

    play(scene)


# --- events


def test_a_session_tells_its_life_in_order(play: Callable[[Play], None], ledger: Ledger) -> None:
    """Once each, however many workers held it."""

    async def scene(on: Scene) -> None:
        session_id, _ = await on.play("notice", calls=[{"danger": ["x"], "look": ["broken"]}])
        await on.on.client.decide(session_id, allow=False, actor="ada", reason="no")
        assert (await on.run(session_id)).status == "fine"

        events = [line.split(" ")[0] for line in ledger.lines() if ":" in line.split(" ")[0]]
        assert events[:6] == [
            "session:start",
            "execution:start",
            "user:notification",
            "llm:request",
            "llm:response",
            "tool:error",
        ]
        assert [events.count(name) for name in ("session:start", "session:end", "session:resume")] == [1, 1, 1]
        assert events.count("execution:start") == events.count("execution:end") == 2
        (end,) = ledger.told("session:end")
        assert (end["status"], end["reason"]) == ("fine", "rule")
        assert end["state"] == (await on.on.client.show(session_id)).state  # a hook that clears up needs to know where
        assert ledger.told("session:resume") == [{"wait": "approval"}]
        assert ledger.told("approval:denied")[0]["reason"] == "no"
        assert ledger.told("user:notification")[0] == {"level": "warning", "message": "begun", "source": "hook:prompt"}

    play(scene)


def test_a_cancelled_session_tells_so(play: Callable[[Play], None], ledger: Ledger) -> None:
    """Asked for and done, with the end of the agent's work between."""

    async def scene(on: Scene) -> None:
        session_id, _ = await on.play(calls=[{"danger": ["x"]}])
        await on.on.client.cancel(session_id, actor="ada", reason="enough")
        assert (await on.run(session_id)).status == "unclear"

        assert ledger.told("cancel:requested") == [{"immediate": False, "reason": "enough"}]
        assert ledger.told("cancel:completed") == [{"reason": "enough", "was_immediate": False}]
        assert [one["status"] for one in ledger.told("execution:end")] == ["cancelled"]

    play(scene)


def test_a_hook_may_deny_in_a_persons_place(play: Callable[[Play], None], ledger: Ledger) -> None:
    """What a policy never allows need not wake anybody."""

    async def scene(on: Scene) -> None:
        session_id, record = await on.play(calls=[{"danger": ["never"]}])

        assert record.status == "fine"
        call = next(call for entry in await on.entries(session_id) for call in entry.calls)
        assert (call.outcome, call.approver) == ("rejected", "hook:approvals")

    play(scene)
