"""Whole sessions over a real store: every kind of step, every kind of wait, and what a crash leaves."""

import asyncio
from pathlib import Path

import pytest

from orchestrator.contracts.errors import InputError, InvalidOverrides, NotPermitted, NotWaiting, PhaseRefused
from orchestrator.contracts.messages import ModelRequest, ModelResponse
from orchestrator.contracts.session import Post
from orchestrator.store.fleet import WorkerInfo
from tests.stage import Stage, play


def test_tools_run_and_the_rule_settles(store_url: str, ledger: Path) -> None:
    """The ordinary way: a model asks, tools answer, state changes with the commit, a rule ends the session."""

    async def scene(on: Stage) -> None:
        session_id = await on.submit(plan="look", answer="ok")
        record = await on.run(on.worker(), session_id)

        assert (record.phase, record.status, record.fields) == ("ended", "fine", {"word": "ok"})
        assert record.state["seen"] == [1, 2]
        assert sorted(ledger.read_text().split("\n")) == ["", "look 1", "look 2"]
        explained = await on.client.explain(session_id)
        assert explained is not None
        assert explained.data["tool"] == "hands:finish"

    play(store_url, scene)


def test_a_call_with_wrong_arguments_is_told_to_the_model(store_url: str, ledger: Path) -> None:
    """A mistake of the model's is its to mend, and changes nothing."""

    async def scene(on: Stage) -> None:
        session_id = await on.submit(plan="unknown_tool")
        record = await on.run(on.worker(), session_id)

        assert record.status == "fine"
        assert record.state["seen"] == []
        calls = [call async for entry in on.client.events(session_id) for call in entry.calls]
        assert [call.outcome for call in calls] == ["failed", "executed"]

    play(store_url, scene)


def test_an_approval_frees_the_worker_and_is_taken_once(store_url: str, ledger: Path) -> None:
    """Another worker goes on after the answer; a second answer is refused; the tool acts once."""

    async def scene(on: Stage) -> None:
        session_id = await on.submit(plan="danger")
        record = await on.run(on.worker(), session_id)
        assert (record.phase, record.wait and record.wait.kind) == ("waiting", "approval")
        assert ledger.read_text() == ""

        with pytest.raises(NotPermitted):
            await on.client.decide(session_id, allow=True, actor="mallory")
        await on.client.decide(session_id, allow=True, actor="grace", reason="go")
        with pytest.raises(NotWaiting):
            await on.client.decide(session_id, allow=False, actor="ada")
        record = await on.run(on.worker(), session_id)

        assert record.status == "fine"
        assert ledger.read_text() == "danger x\n"
        calls = [call async for entry in on.client.events(session_id) for call in entry.calls]
        assert (calls[0].outcome, calls[0].approver, calls[0].rationale) == ("approved", "grace", "go")

    play(store_url, scene)


@pytest.mark.parametrize(("how", "outcome"), [("denied", "rejected"), ("expired", "timeout")])
def test_a_call_that_nobody_allows_is_not_made(store_url: str, ledger: Path, how: str, outcome: str) -> None:
    """Denied or out of time: the tool does not act, and the model is told which."""

    async def scene(on: Stage) -> None:
        session_id = await on.submit(plan="danger")
        await on.run(on.worker(), session_id)
        if how == "denied":
            await on.client.decide(session_id, allow=False, actor="ada", reason="too risky")
        else:
            await on.skip_to_due(session_id)
        record = await on.run(on.worker(), session_id)

        assert record.phase == "ended"
        assert ledger.read_text() == ""
        calls = [call async for entry in on.client.events(session_id) for call in entry.calls]
        assert calls[0].outcome == outcome

    play(store_url, scene)


def test_an_answer_bound_to_other_arguments_decides_nothing(store_url: str, ledger: Path) -> None:
    """A grant counts for the arguments that were shown; the session goes on waiting for a real one."""

    async def scene(on: Stage) -> None:
        session_id = await on.submit(plan="danger")
        record = await on.run(on.worker(), session_id)
        assert record.wait is not None
        post = Post(
            post_id="forged",
            kind="decision",
            actor="ada",
            wait_id=record.wait.wait_id,
            verdict="allow",
            digest="0" * 16,
        )
        await on.client.deliver(session_id, post, answers=record.wait.wait_id)
        record = await on.run(on.worker(), session_id)

        assert (record.phase, record.wait and record.wait.kind) == ("waiting", "approval")
        assert ledger.read_text() == ""
        await on.client.decide(session_id, allow=True, actor="ada")
        assert (await on.run(on.worker(), session_id)).status == "fine"

    play(store_url, scene)


@pytest.mark.parametrize(
    ("answer", "status", "fields"),
    [
        ({"text": "trust it"}, "fine", {"word": None}),
        ({"verdict": "stop"}, "unclear", {}),
        ({"verdict": "escalate"}, "handed_over", {"team": "night", "given_to": "night"}),
    ],
)
def test_a_gate_offers_three_ways_on(
    store_url: str, ledger: Path, answer: dict[str, str], status: str, fields: dict[str, object]
) -> None:
    """Too little confidence stops the session for a person, who goes on, stops, or hands over."""

    async def scene(on: Stage) -> None:
        session_id = await on.submit(plan="gate")
        record = await on.run(on.worker(), session_id)
        assert record.wait is not None
        assert (record.wait.reason, record.wait.options) == (
            "low_confidence",
            ("resume_with_input", "escalate", "stop"),
        )

        await on.client.answer(session_id, actor="ada", **answer)
        record = await on.run(on.worker(), session_id)

        assert record.status == status
        for name, value in fields.items():
            assert record.fields.get(name) == value
        paged = [line for line in ledger.read_text().splitlines() if line.startswith("page")]
        assert len(paged) == (1 if status == "handed_over" else 0)

    play(store_url, scene)


def test_refused_answers_change_nothing(store_url: str, ledger: Path) -> None:
    """A blank input, an unknown action, a team that is not on the roster: refused before anything is posted."""

    async def scene(on: Stage) -> None:
        session_id = await on.submit(plan="gate")
        before = await on.run(on.worker(), session_id)
        for answer in ({"text": "  "}, {"verdict": "maybe"}, {"verdict": "escalate", "team": "marketing"}):
            with pytest.raises(InputError):
                await on.client.answer(session_id, actor="ada", **answer)
        assert await on.client.show(session_id) == before

    play(store_url, scene)


def test_an_escalation_that_reaches_nobody_does_not_settle(store_url: str, ledger: Path) -> None:
    """A page that failed must not end as if somebody had been told: the session becomes a dead letter."""

    async def scene(on: Stage) -> None:
        session_id = await on.submit(plan="gate")
        await on.run(on.worker(), session_id)
        await on.client.answer(session_id, actor="ada", verdict="escalate", team="day")
        record = await on.run(on.worker(), session_id)

        assert (record.phase, record.status) == ("dead", None)
        [(dead, info)] = await on.client.dead_letters()
        assert dead == session_id
        assert "nobody is there by day" in str(info["detail"])

    play(store_url, scene)


def test_a_question_takes_its_answer_into_the_state(store_url: str, ledger: Path) -> None:
    """An ask step needs no model, and no worker while it waits."""

    async def scene(on: Stage) -> None:
        session_id = await on.submit("ask_first")
        record = await on.run(on.worker(), session_id)
        assert record.wait is not None
        assert record.wait.prompt == "What now?"
        with pytest.raises(InputError):
            await on.client.answer(session_id, actor="ada", text=" ")

        await on.client.answer(session_id, actor="ada", text="forty-two")
        record = await on.run(on.worker(), session_id)

        assert (record.status, record.fields) == ("fine", {"word": "forty-two"})

    play(store_url, scene)


@pytest.mark.parametrize("verdict", ["stop", "escalate", "allow"])
def test_a_question_that_offers_no_verdict_takes_none_and_stays_open(
    store_url: str, ledger: Path, verdict: str
) -> None:
    """Neither the word nor what another caller posts past the check may use up the one answer that the store accepts."""

    async def scene(on: Stage) -> None:
        session_id = await on.submit("ask_first")
        record = await on.run(on.worker(), session_id)
        assert record.wait is not None
        with pytest.raises(InputError, match="it asks for words, and offers no verdict"):
            await on.client.answer(session_id, actor="ada", text="forty-two", verdict=verdict)
        stray = Post(post_id="p", kind="decision", actor="ada", wait_id=record.wait.wait_id, verdict=verdict)
        assert await on.client.deliver(session_id, stray, answers=record.wait.wait_id)
        assert (await on.run(on.worker(), session_id)).phase == "waiting"

        await on.client.answer(session_id, actor="ada", text="forty-two")

        assert (await on.run(on.worker(), session_id)).fields == {"word": "forty-two"}
        assert (await on.client.verify(session_id)).differences == ()

    play(store_url, scene)


@pytest.mark.parametrize(("skill", "status"), [("ask_shortly", "unclear"), ("nap", "fine")])
def test_time_alone_goes_on(store_url: str, ledger: Path, skill: str, status: str) -> None:
    """A timer is over when its time has come; a question that nobody answers in time has failed."""

    async def scene(on: Stage) -> None:
        session_id = await on.submit(skill)
        assert (await on.run(on.worker(), session_id)).phase == "waiting"
        assert await on.worker().run_slice(session_id) == "refused"
        await on.skip_to_due(session_id)
        assert (await on.run(on.worker(), session_id)).status == status

    play(store_url, scene)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_signal_is_kept_until_somebody_waits(store_url: str, ledger: Path, when: str) -> None:
    """A signal that comes early is not lost; another signal does not wake."""

    async def scene(on: Stage) -> None:
        session_id = await on.submit("until")
        if when == "before":
            await on.client.signal(session_id, "go", actor="ada")
        record = await on.run(on.worker(), session_id)
        if when == "after":
            assert record.phase == "waiting"
            await on.client.signal(session_id, "stay", actor="ada")
            assert (await on.run(on.worker(), session_id)).phase == "waiting"
            await on.client.signal(session_id, "go", actor="ada")
            record = await on.run(on.worker(), session_id)

        assert record.status == "fine"

    play(store_url, scene)


def test_plain_steps_need_no_model(store_url: str, ledger: Path) -> None:
    """A declared tool call and a calculation change the state and choose the route."""

    async def scene(on: Stage) -> None:
        tool = await on.submit("plain_tool", plan=5)
        record = await on.run(on.worker(), tool)
        assert (record.status, record.state["seen"]) == ("fine", [5])

        computed = await on.submit("sum", total=3)
        record = await on.run(on.worker(), computed)
        assert (record.status, record.state["total"]) == ("fine", 7)

    play(store_url, scene)


def test_a_passing_failure_is_a_wait_and_a_lasting_one_a_dead_letter(
    store_url: str, ledger: Path, tmp_path: Path
) -> None:
    """Back-off holds no worker; what cannot pass by itself waits for a person, who sends it again."""

    async def scene(on: Stage) -> None:
        flaky = await on.submit("flaky", ledger=str(tmp_path / "once"))
        record = await on.run(on.worker(), flaky)
        assert (record.phase, record.wait and record.wait.kind) == ("waiting", "retry")
        await on.skip_to_due(flaky)
        assert (await on.run(on.worker(), flaky)).status == "fine"

        broken = await on.submit("broken")
        record = await on.run(on.worker(), broken)
        assert (record.phase, record.reason) == ("dead", "permanent_error")
        assert [info["attempts"] for _, info in await on.client.dead_letters()] == [1]
        await on.client.replay([broken], actor="ada", note="try")
        assert (await on.client.show(broken)).phase == "ready"
        with pytest.raises(PhaseRefused):
            await on.client.replay([broken], actor="ada")

    play(store_url, scene)


def test_children_are_submitted_once_and_joined(store_url: str, ledger: Path) -> None:
    """A supervisor waits for its children without a worker; a child that dies is an end, too."""

    async def scene(on: Stage) -> None:
        parent = await on.submit("fan", items=["a", "b", "bad"])
        record = await on.run(on.worker(), parent)
        assert record.wait is not None
        children = list(record.wait.children)
        assert len(children) == 3
        for child in children:
            await on.run(on.worker(), child)
        record = await on.run(on.worker(), parent)

        assert record.status == "fine"
        ends = record.state["ends"]
        assert isinstance(ends, dict)
        assert sorted(str(end["phase"]) for end in ends.values() if isinstance(end, dict)) == ["dead", "ended", "ended"]

    play(store_url, scene)


def test_a_parent_looks_for_itself_if_no_word_came(store_url: str, ledger: Path) -> None:
    """A child's word can be lost with its worker; the parent asks after a while."""

    async def scene(on: Stage) -> None:
        parent = await on.submit("fan", items=["a"])
        record = await on.run(on.worker(), parent)
        assert record.wait is not None
        [child] = record.wait.children
        await on.run(on.worker(), child)
        key = on.store.keys.of_session("mailbox", parent)
        await on.store.command("DEL", key)
        await on.store.command("HSET", on.store.keys.of_session("record", parent), "posts", 0, "phase", "ready")
        record = await on.client.show(parent)
        assert record.wait is not None
        stale = record.wait.model_copy(update={"deadline_at": 1}).to_json()
        await on.store.command("HSET", on.store.keys.of_session("record", parent), "wait", stale)

        assert (await on.run(on.worker(), parent)).status == "fine"

    play(store_url, scene)


def test_a_supervisor_sends_on_by_rule(store_url: str, ledger: Path) -> None:
    """The first rule that holds chooses, else the first subordinate."""

    async def scene(on: Stage) -> None:
        by_rule = await on.run(on.worker(), await on.submit("pick", plan="two"))
        by_default = await on.run(on.worker(), await on.submit("pick", plan="other", total=1))

        assert (by_rule.status, by_rule.state["total"]) == ("fine", 0)
        assert by_default.state["total"] == 3

    play(store_url, scene)


def test_a_cancel_ends_a_waiting_session_and_reaches_no_settled_one(store_url: str, ledger: Path) -> None:
    """Stopping is an end with the app's word for it; what is settled stays."""

    async def scene(on: Stage) -> None:
        session_id = await on.submit("until")
        await on.run(on.worker(), session_id)
        await on.client.cancel(session_id, actor="ada", reason="not needed")
        record = await on.run(on.worker(), session_id)

        assert (record.status, record.reason) == ("unclear", "cancelled")
        with pytest.raises(PhaseRefused):
            await on.client.cancel(session_id, actor="ada")

    play(store_url, scene)


@pytest.mark.parametrize(
    ("plan", "acts", "phase"),
    [("strike", 1, "waiting"), ("strike_again", 2, "ended"), ("strike_never", 1, "ended"), ("put", 2, "ended")],
)
def test_a_crash_between_intent_and_commit_repeats_nothing_unnoticed(
    store_url: str, ledger: Path, plan: str, acts: int, phase: str
) -> None:
    """The tool acted, its worker died before the commit: ask, repeat with the same key, or count as failed."""

    async def scene(on: Stage) -> None:
        session_id = await on.submit(plan=plan)
        await die_after_the_act(on, session_id, ledger)
        assert len(ledger.read_text().splitlines()) == 1
        await on.lose_lease(session_id)

        record = await on.run(on.worker(), session_id)

        assert record.phase == phase
        lines = ledger.read_text().splitlines()
        assert len(lines) == acts
        assert len(set(lines)) == 1  # the same key, where there is one
        if phase == "waiting":
            assert record.wait is not None
            assert (record.wait.kind, record.wait.options) == ("uncertain", ("retry", "happened", "failed"))
            await on.client.answer(session_id, actor="ada", verdict="happened", text="I looked")
            assert (await on.run(on.worker(), session_id)).status == "fine"
            assert len(ledger.read_text().splitlines()) == 1
        assert "orphaned" in await on.kinds(session_id)

    play(store_url, scene)


async def die_after_the_act(on: Stage, session_id: str, ledger: Path) -> None:
    """Let a worker make the call and die before its commit."""
    doomed = on.worker("doomed")
    host = on.hosts[-1]
    commit, before = host.leases.commit, ledger.read_text()

    async def commit_until_the_act(*args: object, **more: object) -> object:
        if ledger.read_text() != before:
            raise asyncio.CancelledError
        return await commit(*args, **more)  # type: ignore[arg-type]

    host.leases.commit = commit_until_the_act  # type: ignore[assignment]
    host.leases.release = _no_release  # type: ignore[assignment]
    await doomed.run_slice(session_id)


def test_a_word_to_repeat_a_call_is_good_for_one_attempt(store_url: str, ledger: Path) -> None:
    """The repeated call's worker dies as well: the person is asked again, and nothing happens a third time."""

    async def scene(on: Stage) -> None:
        session_id = await on.submit(plan="strike")
        await die_after_the_act(on, session_id, ledger)
        await on.lose_lease(session_id)
        await on.run(on.worker(), session_id)
        await on.client.answer(session_id, actor="ada", verdict="retry")
        await die_after_the_act(on, session_id, ledger)
        await on.lose_lease(session_id)

        record = await on.run(on.worker(), session_id)

        assert record.wait is not None
        assert record.wait.kind == "uncertain"
        assert len(ledger.read_text().splitlines()) == 2

    play(store_url, scene)


def test_a_call_whose_time_ran_out_is_as_uncertain_as_after_a_crash(store_url: str, ledger: Path) -> None:
    """Nobody knows whether it acted: a person is asked, and it is not made again."""

    async def scene(on: Stage) -> None:
        session_id = await on.submit(plan="strike_slowly")
        record = await on.run(on.worker(), session_id)
        assert (record.wait and record.wait.kind) == "retry"
        await on.skip_to_due(session_id)
        record = await on.run(on.worker(), session_id)

        assert (record.wait and record.wait.kind) == "uncertain"
        await on.client.answer(session_id, actor="ada", verdict="failed", text="it did not arrive")
        assert (await on.run(on.worker(), session_id)).status == "fine"
        assert len(ledger.read_text().splitlines()) == 1

    play(store_url, scene)


async def _no_release(*_: object) -> bool:
    """A dead process hands nothing back."""
    return False


def test_bad_overrides_leave_no_record(store_url: str, ledger: Path) -> None:
    """What the schema refuses is refused before anything exists."""

    async def scene(on: Stage) -> None:
        with pytest.raises(InvalidOverrides):
            await on.submit(nonsense=1)
        assert not (await on.client.list_sessions()).listed

    play(store_url, scene)


def test_the_same_key_means_the_same_session(store_url: str, ledger: Path) -> None:
    """A repeated submission finds its session; eight at once make one."""

    async def scene(on: Stage) -> None:
        made = await asyncio.gather(*(on.client.submit("everything", actor="ada", key="k") for _ in range(8)))

        assert len({one.session_id for one in made}) == 1
        assert [one.created for one in made].count(True) == 1
        with pytest.raises(InputError):
            await on.client.submit("everything", text="another", actor="ada", key="k")

    play(store_url, scene)


def test_an_answer_reaches_the_very_next_model_call(store_url: str, ledger: Path) -> None:
    """What a person says at a gate is in the context of the step that the answer woke, not of the one after."""

    async def scene(on: Stage) -> None:
        session_id = await on.submit(plan="gate")
        await on.run(on.worker(), session_id)
        executor = on.worker()
        provider, seen = on.hosts[-1].apps["everything"].models.routes[0].provider, []
        complete = provider.complete

        async def watched(request: ModelRequest) -> ModelResponse:
            seen.append([message.content for message in request.messages if message.role == "user"])
            return await complete(request)

        provider.complete = watched  # type: ignore[method-assign]
        await on.client.answer(session_id, actor="ada", text="trust it")
        await on.run(executor, session_id)

        assert seen[0][-1] == "trust it"
        messages = [message.content for message in await on.client.views.context(session_id)]
        assert messages.count("trust it") == 1

    play(store_url, scene)


def test_another_version_is_left_to_whoever_has_it(store_url: str, ledger: Path) -> None:
    """A worker with another version takes a session over only when nobody alive has the session's own."""

    async def scene(on: Stage) -> None:
        session_id = await on.submit("nap")
        spec = on.specs["everything"]
        newer = {"everything": spec.model_copy(update={"version": "2"})}
        executor = on.worker("new", newer)
        old = WorkerInfo(name="old", digests={"everything": spec.digest()})
        await on.client.fleet.beat(old)
        assert await executor.run_slice(session_id) == "refused"

        await on.client.fleet.leave("old")
        await on.run(executor, session_id)

        assert (await on.client.show(session_id)).spec == newer["everything"].digest()
        assert (await on.client.show(session_id)).phase == "waiting"

    play(store_url, scene)
