"""Providers for tests: a model whose every answer the test decides, and that keeps what it was asked."""

from collections.abc import Callable
from dataclasses import replace

from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.messages import ModelRequest, ModelResponse, ToolRequest
from orchestrator.kernel.transcript import is_whole
from tests.stage import Stage
from workers.executor import Executor
from workers.models import Models


class Talker:
    """Answers by a function of the request; refuses a transcript that no service would take."""

    def __init__(self, answer: Callable[[ModelRequest], ModelResponse]) -> None:
        self._answer = answer
        self.requests: list[ModelRequest] = []

    async def complete(self, request: ModelRequest) -> ModelResponse:
        """Answer as the test says."""
        assert is_whole(request.messages), "a call without its answer was shown to the model"
        self.requests.append(request)
        return self._answer(request)

    async def aclose(self) -> None:
        """Do nothing: there is no connection."""


def asks(tool: str, **args: object) -> ModelResponse:
    """Return an answer that asks for one call."""
    return ModelResponse(tool_calls=(ToolRequest(call_id="c", tool=tool, args=args),))  # type: ignore[arg-type]


def says(text: str, **more: object) -> ModelResponse:
    """Return a last word."""
    return ModelResponse(content=text, **more)  # type: ignore[arg-type]


def worker_that_talks(on: Stage, talker: Talker, **changes: object) -> Executor:
    """Return a worker of the stage's app, with these changes of its spec, that asks this talker."""
    specs: dict[str, AppSpec] = {name: spec.model_copy(update=changes) for name, spec in on.specs.items()}
    on.specs = specs
    on.client.specs = specs
    executor = on.worker(specs=specs)
    host = on.hosts[-1]
    host.apps = {
        name: replace(app, models=Models([replace(app.models.routes[0], provider=talker)], on.settings.models))
        for name, app in host.apps.items()
    }
    return executor
