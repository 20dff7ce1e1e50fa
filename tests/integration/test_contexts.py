"""What the models of a durable session see: compacted within the budget, mended where a crash left a hole."""

from collections.abc import Callable
from pathlib import Path

from orchestrator.contracts.context import ContextSpec
from orchestrator.contracts.messages import Message, ModelRequest, ModelResponse, ToolRequest
from orchestrator.contracts.provider_errors import ContextLengthError
from orchestrator.kernel.rebuild import find_differences, fold
from tests.stage import Stage, play
from tests.talkers import Talker, asks, says, worker_that_talks

LONG = "word " * 200


def looks(times: int) -> Callable[[ModelRequest], ModelResponse]:
    """Return a model that looks so often, talks much meanwhile, and has a last word."""

    def answer(request: ModelRequest) -> ModelResponse:
        if request.skill == "context:summary":
            return says(f"summary {request.turn}", model="talker")
        if request.skill == "start" and request.turn < times:
            return asks("hands:look", value=request.turn).model_copy(update={"content": LONG})
        if request.skill == "last" and request.turn == 0:
            return asks("hands:finish", word="ok")
        return says("done", signal="success", confidence=0.9)

    return answer


async def events_of(on: Stage, session_id: str) -> list[str]:
    """Return the names of the events that the journal tells of."""
    told = [entry.data.get("events") async for entry in on.client.events(session_id)]
    return [str(one["event"]) for events in told if isinstance(events, list) for one in events if isinstance(one, dict)]


async def differences(on: Stage, session_id: str) -> list[str]:
    """Return where the session is not what its journal describes."""
    record = await on.client.show(session_id)
    stored = await on.store.command("LRANGE", on.store.keys.of_session("context", session_id), 0, -1)
    return find_differences(record, stored, 0, fold([entry async for entry in on.client.events(session_id)]))


def test_a_long_context_is_summarised_and_the_stored_one_stays_whole(store_url: str, tmp_path: Path) -> None:
    """One model call for each summary, journaled and committed before the turn; every message is still there."""

    async def scene(on: Stage) -> None:
        talker = Talker(looks(12))
        spec = ContextSpec(manager="summarising", max_tokens=1_200)
        executor = worker_that_talks(on, talker, context=spec)
        session_id = await on.submit()
        record = await on.run(executor, session_id)

        assert (record.phase, record.status) == ("ended", "fine")
        assert record.compacted is not None
        assert record.compacted.count >= 2
        assert "summary" in record.compacted.words
        summaries = [request for request in talker.requests if request.skill == "context:summary"]
        assert [request.turn for request in summaries] == list(range(record.compacted.count))
        assert "summary 0" in summaries[1].messages[0].content
        turns = [request for request in talker.requests if request.skill == "start"]
        assert all(sum(len(m.content) for m in request.messages) < 1_600 * 4 for request in turns)
        assert turns[-1].messages[0].role == "system"
        assert turns[-1].messages[1].content == "go on"
        context = await on.client.context(session_id)
        assert sum(LONG in message.content for message in context) == 12
        names = await events_of(on, session_id)
        assert names == ["context:pre_compact", "context:post_compact"] * record.compacted.count
        steps = await on.kinds(session_id)
        assert steps.count("compact") == record.compacted.count
        assert await differences(on, session_id) == []

    play(store_url, scene)


def test_a_simple_manager_asks_nobody(store_url: str) -> None:
    """The oldest messages are left out, and the model is told so."""

    async def scene(on: Stage) -> None:
        talker = Talker(looks(6))
        executor = worker_that_talks(on, talker, context=ContextSpec(max_tokens=800, keep_tokens=300))
        record = await on.run(executor, await on.submit())

        assert record.status == "fine"
        assert all(request.skill != "context:summary" for request in talker.requests)
        assert "are left out here" in talker.requests[-1].messages[0].content

    play(store_url, scene)


def test_a_function_of_the_apps_finds_the_words(store_url: str) -> None:
    """A manager can be mounted: it is handed what is left out, and its own words of before."""

    async def scene(on: Stage) -> None:
        talker = Talker(looks(5))
        executor = worker_that_talks(on, talker, context=ContextSpec(manager="steps.py:shorten", max_tokens=800))
        record = await on.run(executor, await on.submit())

        assert record.compacted is not None
        assert "shortened" in record.compacted.words

    play(store_url, scene)


def test_a_service_that_finds_it_too_long_is_asked_with_half(store_url: str) -> None:
    """Tokens are estimated: the service's own count decides, and the session is not buried for it."""

    async def scene(on: Stage) -> None:
        answer = looks(4)

        def refuse(request: ModelRequest) -> ModelResponse:
            if sum(len(message.content) for message in request.messages) > 2_500:
                raise ContextLengthError("talker: too long; send less", provider="talker")
            return answer(request)

        executor = worker_that_talks(on, Talker(refuse), context=ContextSpec(max_tokens=100_000))
        session_id = await on.submit()
        record = await on.run(executor, session_id)

        assert record.status == "fine"
        why = [entry.data["why"] async for entry in on.client.events(session_id) if entry.step == "compact"]
        assert why
        assert set(why) == {"refused as too long"}

    play(store_url, scene)


def test_without_a_context_a_length_error_is_what_it_was(store_url: str) -> None:
    """An app that declares no manager gets its dead letter with the class of the error."""

    async def scene(on: Stage) -> None:
        def refuse(request: ModelRequest) -> ModelResponse:
            raise ContextLengthError("talker: too long; send less", provider="talker")

        record = await on.run(worker_that_talks(on, Talker(refuse)), await on.submit())

        assert record.phase == "dead"
        assert record.failure is not None
        assert record.failure.error == "ContextLengthError"

    play(store_url, scene)


def test_a_hole_in_the_transcript_is_mended_once_and_journaled(store_url: str) -> None:
    """A call that nothing answered would make every later model call a refused one."""

    async def scene(on: Stage) -> None:
        talker = Talker(looks(2))
        executor = worker_that_talks(on, talker)
        session_id = await on.submit()
        orphan = Message(
            role="assistant",
            tool_calls=(ToolRequest(call_id="lost-1", tool="hands:look"), ToolRequest(call_id="lost-2", tool="x")),
        )
        # As a step of an earlier version, or of a hook, would have left it: in the context and in the journal.
        key = on.store.keys.of_session("context", session_id)
        await on.store.command("RPUSH", key, orphan.to_json())
        record = await on.run(executor, session_id)

        assert record.status == "fine"
        assert [one.call_id for one in talker.requests[0].messages[-2:]] == ["lost-1", "lost-2"]
        assert await events_of(on, session_id) == ["provider:tool_sequence_repaired"]
        context = await on.client.context(session_id)
        assert [one.call_id for one in context if one.role == "tool"][:2] == ["lost-1", "lost-2"]
        told = [entry.data["events"] async for entry in on.client.events(session_id) if "events" in entry.data]
        assert told[0][0]["repair_count"] == 2  # type: ignore[index,call-overload]

    play(store_url, scene)
