"""What routes depend on costs no thread."""

import asyncio
import inspect
from collections.abc import Iterator

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from tests.api_stage import api_stage


def _calls(dependant: Dependant) -> Iterator[object]:
    for one in dependant.dependencies:
        yield one.call
        yield from _calls(one)


def test_no_request_waits_for_a_thread(store_url: str) -> None:
    """The framework runs a plain function of a route in a thread: a hop there and back for each, at every request."""

    async def play() -> list[APIRoute]:
        async with api_stage(store_url) as on:
            # FastAPI may keep an included router whole: its routes are then asked for by walking through it.
            found: list[APIRoute] = []
            left = list(on.app.routes)
            while left:
                route = left.pop()
                if isinstance(route, APIRoute):
                    found.append(route)
                inner = getattr(route, "original_router", None) or getattr(route, "router", None)
                left += getattr(inner, "routes", [])
            return found

    routes = asyncio.run(play())

    assert len(routes) > 30
    plain = {
        (route.path, getattr(call, "__qualname__", str(call)))
        for route in routes
        for call in (route.endpoint, *_calls(route.dependant))
        if not inspect.iscoroutinefunction(call) and not inspect.isasyncgenfunction(call)
    }
    assert plain == set()
