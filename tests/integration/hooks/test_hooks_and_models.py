"""Hooks beside what else may stand before a model call: a compaction, a rate that is spent, a call that is made again."""

from collections.abc import Callable

from orchestrator.contracts.context import ContextSpec
from orchestrator.contracts.messages import ModelRequest
from orchestrator.settings import Settings
from tests.hook_stage import Ledger, Play, Scene, listen

Playing = Callable[[Play], None]
LONG = "x" * 500


def with_context(on: Scene, context: ContextSpec) -> None:
    """Keep what the app's models see within a budget."""
    on.on.specs = {name: spec.model_copy(update={"context": context}) for name, spec in on.on.specs.items()}
    on.on.client.specs = on.on.specs


def test_a_compaction_tells_its_events_and_repeats_no_hook(play: Playing, ledger: Ledger) -> None:
    """A compaction is a step of its own between a prompt and its model call: what hooks did to the prompt stays done."""

    async def scene(on: Scene) -> None:
        with_context(on, ContextSpec(max_tokens=300, keep_tokens=100))
        session_id, record = await on.play("secret", calls=[{"look": [LONG]}] * 4)

        assert (record.status, record.phase) == ("fine", "ended")
        assert record.compacted is not None
        steps = [entry.step for entry in await on.entries(session_id)]
        before, after = ledger.told("context:pre_compact"), ledger.told("context:post_compact")
        assert len(before) == len(after) == steps.count("compact") > 0
        assert all(one["token_count"] > 300 for one in before)
        assert ledger.lines("hook prompt") == ["hook prompt secret"] * 2  # one a skill, not one a step
        assert len(ledger.told("llm:request")) == steps.count("agent_turn")

    play(scene)


def test_a_call_over_the_rate_is_told_and_repeats_no_hook(play: Playing, ledger: Ledger) -> None:
    """The session waits for the service, on no worker; the hooks before the call have had their say."""

    async def scene(on: Scene) -> None:
        limits = {"limits": {"rules": {"requests_per_minute": 1, "burst": 0}}}
        on.on.settings = Settings.model_validate({"models": limits})
        first, _ = await on.play()
        session_id, record = await on.play("ask before model")
        assert record.wait is not None
        await on.on.client.decide(session_id, allow=True, actor="ada")
        record = await on.run(session_id)
        assert record.wait is not None
        assert (record.wait.kind, record.phase) == ("limit", "waiting")

        await on.on.skip_to_due(session_id)
        record = await on.run(session_id)

        assert first != session_id
        assert record.cursor.skill == "last"
        assert ledger.lines("hook prompt ask before model") == ["hook prompt ask before model"]
        throttled = ledger.told("provider:throttle")
        assert (throttled[0]["provider"], throttled[0]["reason"]) == ("rules", "rate")
        assert throttled[0]["delay"] > 0

    play(scene)


def test_the_model_that_a_hook_chose_is_asked_again_after_a_failure(play: Playing, ledger: Ledger) -> None:
    """What a hook did before a call that failed holds for the call that is made in its place."""

    async def scene(on: Scene) -> None:
        seen: list[ModelRequest] = []
        session_id = await on.submit("another model")
        executor = on.on.worker()
        listen(on.on, seen, fail=1)
        record = await on.on.run(executor, session_id)
        assert record.wait is not None
        await on.on.skip_to_due(session_id)

        await on.on.run(executor, session_id)

        assert [request.model for request in seen[:2]] == ["larger", "larger"]
        assert ledger.lines("hook before_model 0")[:1] == ["hook before_model 0"]
        assert len(await on.notes(session_id, event="provider:request", action="modify")) == 3  # one a model call

    play(scene)
