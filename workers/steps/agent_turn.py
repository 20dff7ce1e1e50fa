"""One call of an agent's model. Its errors are the executor's to retry; nothing is retried here."""

import asyncio
from typing import cast

from orchestrator.contracts.messages import ModelRequest, ModelResponse
from orchestrator.contracts.provider_errors import LLMTimeoutError
from orchestrator.contracts.session import Record
from orchestrator.contracts.skill import Responsive
from orchestrator.kernel.advance import current_skill
from orchestrator.kernel.change import Change
from orchestrator.kernel.turns import build_request, settle_turn
from workers.steps.world import World


async def perform(world: World, record: Record) -> Change:
    """Ask the model once, within its time, and settle what it said."""
    skill = cast("Responsive", current_skill(world.spec, record))
    digest, catalogue = await world.load_catalogue(record)
    if record.catalogue != digest:
        record = record.model_copy(update={"catalogue": digest})
    request = build_request(world.spec, skill, record, await world.messages(), catalogue)
    response = await ask_model(world, request)
    return settle_turn(world.spec, skill, record, response, catalogue, world.now())


async def ask_model(world: World, request: ModelRequest) -> ModelResponse:
    """Make one model call within the request's time; raise LLMTimeoutError when it runs out."""
    try:
        async with asyncio.timeout(request.timeout_seconds):
            return await world.app.provider.complete(request)
    except TimeoutError as error:
        message = f"{world.spec.model.provider}: no answer in {request.timeout_seconds:g} s; it will be asked again"
        raise LLMTimeoutError(message, provider=world.spec.model.provider, model=request.model or None) from error
