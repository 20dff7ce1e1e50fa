"""The first page: where sessions are, how fast they go, what is late, and who is waited for. And the stream pages follow."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from orchestrator.contracts.phases import PHASES
from orchestrator.history import LINES
from orchestrator.interfaces.console import access
from orchestrator.interfaces.console.charts import latency_chart, line_chart, shares
from orchestrator.interfaces.console.pages import PageRoute, PartsOf, render
from orchestrator.interfaces.console.pulse import Pulse
from orchestrator.interfaces.console.shown import number, span
from orchestrator.interfaces.http.parts import needs
from orchestrator.interfaces.http.problems import Refused

router = APIRouter(prefix="/console", route_class=PageRoute, include_in_schema=False)

#: Phases as the bar shows them, from those that are under way to those that are over.
ORDER: Final = ("running", "finalizing", "ready", "waiting", "dead", "ended")
assert set(ORDER) == set(PHASES)  # noqa: S101 - a phase that is left out would be a defect of this table


@router.get("/", openapi_extra=needs("viewer"))
async def show_overview(request: Request, parts: PartsOf) -> Response:
    """Show the figures."""
    pulse: Pulse = request.app.state.pulse
    gauges, members, lines, pauses = await asyncio.gather(
        parts.client.measure(), parts.client.workers(), parts.operations.lines(), parts.operations.pauses()
    )
    pulse.history.add(gauges)
    rates, latencies = pulse.history.rates(), pulse.history.latencies()
    phases = {phase: sum(app.phases[phase] for app in gauges.apps.values()) for phase in ORDER}
    workers = [one for one in members if one.kind == "worker"]
    asks = sum(sum(app.asks.values()) for app in gauges.apps.values())
    first_asks = min((at for app in gauges.apps.values() for at in app.first_asks.values() if at), default=0)
    in_line = [one.oldest_at for one in lines if one.oldest_at]
    latest = rates[-1] if rates else None
    throughput = [
        ("steps", [(one.at, one.steps) for one in rates]),
        ("sessions ended", [(one.at, one.ended) for one in rates]),
    ]
    return render(
        request,
        "overview.html",
        gauges=gauges,
        phases=phases,
        shares=shares("Sessions by phase", list(phases.items())),
        schedulers=sum(1 for one in members if one.kind == "scheduler"),
        workers=workers,
        running=sum(one.running for one in workers),
        slots=sum(one.slots for one in workers),
        draining=sum(1 for one in workers if one.draining),
        asks=asks,
        first_asks=gauges.seconds_since(first_asks),
        oldest=gauges.seconds_since(min(in_line, default=0)),
        in_line=sum(one.in_line for one in lines),
        overdue=gauges.seconds_since(gauges.first_overdue),
        latest=latest,
        minutes=(rates[-1].at - rates[0].at) / 60_000 if len(rates) > 1 else 0,
        pauses=pauses,
        latencies=latencies,
        throughput=line_chart("Steps and ended sessions per second", throughput, number),
        ages=line_chart(
            "Age of the first in each line, in seconds",
            [(line, [(one.at, one.ages[line]) for one in rates]) for line in LINES],
            span,
        ),
        latency=latency_chart(
            "How long steps took: median, 95th and 99th percentile",
            [(one.kind, one.p50, one.p95, one.p99) for one in latencies],
            lambda ms: span(ms / 1000),
        ),
    )


@router.get("/live", openapi_extra=needs("viewer"))
async def follow(request: Request) -> Response:
    """Stream word of changes to an open page."""
    pulse: Pulse = request.app.state.pulse
    events = pulse.follow()
    first = await anext(events)  # refused before the answer begins, or not at all

    async def stream() -> AsyncIterator[str]:
        try:
            yield first
            async for event in events:
                await access.recognise(request, access.credential_of(request))
                yield event
        except Refused:  # a token that was revoked, or has run out, shows nothing more
            return
        finally:
            await events.aclose()

    return StreamingResponse(stream(), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})
