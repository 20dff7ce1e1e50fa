"""One call of an agent's model. Its errors are the executor's to retry; nothing is retried here."""

from collections.abc import Callable
from typing import cast

from orchestrator.contracts.messages import ModelRequest, ModelResponse
from orchestrator.contracts.ports import Piece
from orchestrator.contracts.provider_errors import ContextLengthError
from orchestrator.contracts.session import Record
from orchestrator.contracts.skill import Responsive
from orchestrator.kernel.advance import current_skill
from orchestrator.kernel.budgets import ends_at
from orchestrator.kernel.change import Change
from orchestrator.kernel.turns import build_request, settle_turn
from orchestrator.store.model_gate import ModelGate
from orchestrator.store.token_stream import TokenStream
from workers.steps.context import compact_refused, show_context
from workers.steps.hooked_turn import perform_hooked
from workers.steps.world import World
from workers.streaming import TokenSink


async def perform(world: World, record: Record) -> Change:
    """Ask the model once, within its time, and settle what it said."""
    skill = cast("Responsive", current_skill(world.spec, record))
    digest, catalogue = await world.load_catalogue(record)
    if record.catalogue != digest:
        record = record.model_copy(update={"catalogue": digest})
    if world.hooks is not None:
        return await perform_hooked(world, world.hooks, skill, record, catalogue, ask_model)
    seen = await show_context(world, record, await world.messages(), ask_model)
    if isinstance(seen, Change):
        return seen
    request = build_request(world.spec, skill, record, seen.messages, catalogue)
    try:
        response = await ask_model(world, record, request)
    except ContextLengthError:
        compacted = await compact_refused(world, record, await world.messages(), ask_model)
        if compacted is None:
            raise
        return compacted
    return seen.settle(settle_turn(world.spec, skill, record, response, catalogue, world.now()))


async def ask_model(world: World, record: Record, request: ModelRequest) -> ModelResponse:
    """Make one model call; raise the LLMError that decides, or HeldBack where the call may not go yet.

    What the call used is noted in `world.uses`.
    """
    cursor, until = record.cursor, ends_at(world.spec, record)
    if until is not None:  # the answer would come too late for anything
        seconds = max((until - world.now()) / 1000, 0.001)
        request = request.model_copy(update={"timeout_seconds": min(request.timeout_seconds, seconds)})
    mark = f"{record.session_id}/{cursor.serial}-{cursor.failures}"
    store, sink = world.client.store, world.sink
    if sink is None and world.spec.model.stream:
        sink = world.sink = TokenSink(TokenStream(store), record.session_id, record.fence)

    def begin_stream() -> Callable[[Piece], None] | None:
        return None if sink is None else sink.begin(request.skill, cursor.turn, cursor.failures + 1)

    is_whole = False
    try:
        use = await world.app.models.ask(
            ModelGate(store),
            request,
            mark=mark,
            now=world.now(),
            admitted=cursor.admitted,
            held_at=cursor.held_at,
            begin_stream=begin_stream,
        )
        is_whole = True
    finally:
        if sink is not None:
            await sink.end(is_whole=is_whole)
    world.uses.append(use)
    return use.response
