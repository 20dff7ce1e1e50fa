"""One call of an agent's model. Its errors are the executor's to retry; nothing is retried here."""

import asyncio
from typing import cast

from orchestrator.contracts.messages import ModelRequest, ModelResponse
from orchestrator.contracts.provider_errors import ContextLengthError, LLMTimeoutError
from orchestrator.contracts.session import Record
from orchestrator.contracts.skill import Responsive
from orchestrator.kernel.advance import current_skill
from orchestrator.kernel.change import Change
from orchestrator.kernel.turns import build_request, settle_turn
from orchestrator.tracing import Attribute, span
from workers.steps.context import compact_refused, show_context
from workers.steps.world import World


async def perform(world: World, record: Record) -> Change:
    """Ask the model once, within its time, and settle what it said."""
    skill = cast("Responsive", current_skill(world.spec, record))
    digest, catalogue = await world.load_catalogue(record)
    if record.catalogue != digest:
        record = record.model_copy(update={"catalogue": digest})
    seen = await show_context(world, record, ask_model)
    if isinstance(seen, Change):
        return seen
    request = build_request(world.spec, skill, record, seen.messages, catalogue)
    try:
        response = await ask_model(world, request)
    except ContextLengthError:
        compacted = await compact_refused(world, record, ask_model)
        if compacted is None:
            raise
        return compacted
    return seen.settle(settle_turn(world.spec, skill, record, response, catalogue, world.now()))


async def ask_model(world: World, request: ModelRequest) -> ModelResponse:
    """Make one model call within the request's time; raise LLMTimeoutError when it runs out."""
    try:
        with span(f"chat {request.model}", attributes=_about(world, request)):
            async with asyncio.timeout(request.timeout_seconds):
                return await world.app.provider.complete(request)
    except TimeoutError as error:
        message = f"{world.spec.model.provider}: no answer in {request.timeout_seconds:g} s; it will be asked again"
        raise LLMTimeoutError(message, provider=world.spec.model.provider, model=request.model or None) from error


def _about(world: World, request: ModelRequest) -> dict[str, Attribute]:
    """Return a span's attributes, by OpenTelemetry's names for model calls."""
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": world.spec.model.provider,
        "gen_ai.request.model": request.model or "",
        "gen_ai.conversation.id": request.session_id,
    }
