"""Any interleaving of posts and commits leaves a transcript that a model service accepts, and a session that its journal tells.

Real store, real steps, one step a slice: between any two commits anybody may post, a holder may die, and somebody may fork.
"""

import asyncio
from collections.abc import Callable, Coroutine

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.contracts.errors import BatonError
from orchestrator.contracts.messages import ModelRequest, ModelResponse, ToolRequest
from orchestrator.kernel.transcript import is_whole, repair
from orchestrator.settings import Settings
from orchestrator.store.leases import Claimed
from tests.stage import Stage, stage
from tests.talkers import Talker, asks, says, worker_that_talks

STEPPED = Settings()
ONE_STEP = STEPPED.model_copy(update={"lanes": STEPPED.lanes.model_copy(update={"drain_steps": 1})})

TURNS = {
    "look": asks("hands:look", value=1),
    "danger": asks("hands:danger", target="x"),
    "put": asks("hands:put", value=2),
    "none": asks("hands:nothing"),
    "many": ModelResponse(
        content="several",
        tool_calls=(
            ToolRequest(call_id="a", tool="hands:look", args={"value": 1}),
            ToolRequest(call_id="a", tool="hands:danger", args={"target": "y"}),
            ToolRequest(call_id="b", tool="hands:look", args={"value": 2}),
        ),
    ),
    "guess": asks("hands:guess", confidence=0.2, confidence_rationale="thin"),
    "say": says("that was it", signal="success", confidence=0.9),
    "unsure": says("hm", signal="success", confidence=0.1),
}
ACTS = ("step", "step", "step", "allow", "deny", "answer", "stop", "signal", "die", "due", "fork", "rewind", "cancel")


async def act(on: Stage, executor_step: Callable[[str], Coroutine[object, object, object]], what: str, sid: str) -> str:
    """Do one thing to a session; return the session to go on with. What is refused has changed nothing."""
    try:
        match what:
            case "step":
                await executor_step(sid)
            case "allow" | "deny":
                await on.client.decide(sid, allow=what == "allow", actor="ada")
            case "answer":
                await on.client.answer(sid, actor="ada", text="go on")
            case "stop":
                await on.client.answer(sid, actor="ada", verdict="stop")
            case "signal":
                await on.client.signal(sid, "go", actor="ada")
            case "cancel":
                await on.client.cancel(sid, actor="ada")
            case "fork":
                return (await on.client.fork(sid, actor="ada")).session_id
            case "rewind":
                middle = max((await on.client.show(sid)).seq // 2, 1)
                return (await on.client.fork(sid, at=middle, actor="ada")).session_id
            case "die":  # a holder that claims, is gone, and is rescued
                host = on.hosts[0]
                claimed = await host.leases.claim(sid, host.new_holder(), host.digests, known=0)
                if isinstance(claimed, Claimed):
                    await on.lose_lease(sid)
            case _:
                record = await on.client.show(sid)
                # One whose answer has come is in line, and no deadline wakes it.
                if record.phase == "waiting" and record.wait is not None and record.wait.deadline_at is not None:
                    await on.skip_to_due(sid)
                    await executor_step(sid)  # the stage has moved a stored time: nothing may look at it but this step
    except BatonError:
        return sid
    return sid


@given(
    turns=st.lists(st.sampled_from(sorted(TURNS)), min_size=1, max_size=6),
    acts=st.lists(st.sampled_from(ACTS), min_size=4, max_size=24),
)
@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
def test_any_interleaving_keeps_the_transcript_valid(store_url: str, turns: list[str], acts: list[str]) -> None:
    """No call is left without its answer where a model is asked, and nothing that was said is lost."""

    def answer(request: ModelRequest) -> ModelResponse:
        return TURNS[turns[request.turn % len(turns)]]

    async def go() -> None:
        async with stage(store_url, ONE_STEP) as on:
            executor = worker_that_talks(on, Talker(answer))
            executor._is_contended = lambda: True
            sessions = [await on.submit()]
            for what in acts:
                sid = await act(on, executor.run_slice, what, sessions[-1])
                if sid != sessions[-1]:
                    sessions.append(sid)
                context = await on.client.context(sid)
                mended = repair(context).messages
                record = await on.client.show(sid)

                assert is_whole(mended)
                assert {one.content for one in context} <= {one.content for one in mended}
                if record.cursor.stage == "model":  # where a model is asked next there is nothing to be mended
                    assert is_whole(context)
            for sid in sessions:
                assert (await on.client.verify(sid)).differences == ()

    asyncio.run(go())
