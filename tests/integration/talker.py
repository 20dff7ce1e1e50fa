"""An app with one agent that has one turn with a model behind an HTTP API, and a stage to run it on."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from orchestrator.contracts.app import AppSpec, FallbackModel, ModelSpec, StatusDef
from orchestrator.contracts.skill import Responsive, Route
from orchestrator.settings import Settings
from tests.stage import Stage

Play = Callable[[Stage], Awaitable[None]]
PROVIDER = "openai_compat"


def talker(stub: str, model: str = "stub", *, fallback: tuple[str, ...] = (), **changes: Any) -> AppSpec:
    """Return an app with one agent, who has one turn."""
    options = {"base_url": stub, "api_key": "k"}
    return AppSpec(
        name="talker",
        entry_skill="talk",
        statuses={"fine": StatusDef(kind="success"), "broke": StatusDef(kind="failure")},
        default_terminal_status="fine",
        skills={"talk": Responsive(name="talk", prompt="Talk.", routes=(Route(when="default", next="__end__"),))},
        model=ModelSpec(
            provider=PROVIDER,
            model=model,
            options=options,
            fallback=tuple(FallbackModel(provider=PROVIDER, model=one, options=options) for one in fallback),
        ),
        **changes,
    )


def play(url: str, spec: AppSpec, scene: Play, **models: Any) -> None:
    """Run a scene on a stage of its own."""

    async def run() -> None:
        settings = Settings.model_validate({"models": models, "apps": {"bundled": False}})
        on = Stage(url, settings, {spec.name: spec})
        try:
            await scene(on)
        finally:
            await on.aclose()

    asyncio.run(run())


async def submit(on: Stage, **state: object) -> str:
    """Submit a session of the stage's app."""
    (app,) = on.specs
    return (await on.client.submit(app, text="go on", overrides=state, actor="ada")).session_id
