"""Ask an app's model services: the first that may be called and answers, in the order that the app declares.

Before a call the gate is asked (store/model_gate.py): a service whose circuit is open, that asked to be left alone, or whose
rate is spent, is passed over. Where none may be called now, the call's place at the soonest is reserved and HeldBack
says until when: the session then waits as a due entry, and no worker waits for it. It waits in turn for a rate, for as long
as that takes; for services that are left alone only as long as the app's patience lasts, and then the call has failed. Nothing
is tried twice here.
"""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, NamedTuple

from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.errors import BatonError, ConfigError
from orchestrator.contracts.failures import FailureRecord, to_record
from orchestrator.contracts.messages import ModelRequest, ModelResponse
from orchestrator.contracts.ports import Piece, Provider, StreamingProvider
from orchestrator.contracts.provider_errors import CircuitOpenError, LLMError, LLMTimeoutError
from orchestrator.contracts.rates import Price
from orchestrator.kernel.failover import choose_failure, judge, may_fall_back, plan_hold, signature_of
from orchestrator.kernel.rates import estimate_tokens, find_price, plan_buckets
from orchestrator.settings_model import ModelsSettings
from orchestrator.store.model_gate import Admitted, Charge, ModelGate, NotNow
from orchestrator.tracing import Attribute, span

#: Providers without a service: their calls cannot be too many, and pass no gate unless a rate is set.
LOCAL: Final = frozenset({"rules", "scripted"})
#: A probe that says nothing for longer than its call may take is given up by the others.
PROBE_SPARE_SECONDS: Final = 15.0


class HeldBack(BatonError):
    """No service may be called now. `service` is where the place is reserved, None where it must be asked again.

    `since` is when the call was first held back by services that are left alone (ms), None where it only waits its turn.
    """

    def __init__(
        self,
        wait_ms: int,
        why: str,
        service: str | None,
        failures: tuple[FailureRecord, ...],
        since: int | None = None,
    ) -> None:
        self.wait_ms, self.why, self.service, self.failures, self.since = wait_ms, why, service, failures, since
        super().__init__(f"model: {why}; it is asked again in {wait_ms / 1000:.1f} s")


class Use(NamedTuple):
    """One answered call: who answered, what it took, and who had failed or been passed over before."""

    service: str
    response: ModelResponse
    cost: Decimal | None
    failures: tuple[FailureRecord, ...] = ()
    passed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Route:
    """One service of an app. `where` tells it apart from others of its kind; `timeout_seconds` is for one call."""

    provider: Provider
    name: str
    model: str
    where: str = ""
    timeout_seconds: float | None = None

    def service(self, model: str) -> str:
        """Return the service's name with a model: what circuits and rates go by."""
        return f"{self.name}/{model}@{self.where}" if self.where else f"{self.name}/{model}"


class _Refused(NamedTuple):
    """A service that may not be called now; `charges` is what a place there takes."""

    route: Route
    model: str
    said: NotNow
    charges: tuple[Charge, ...]


class Models:
    """The services of one app, in the order in which they are asked; without a patience of its own, with the settings'."""

    def __init__(
        self,
        routes: Sequence[Route],
        settings: ModelsSettings,
        *,
        jitter: float = 0.2,
        patience_seconds: float | None = None,
    ) -> None:
        self.routes = tuple(routes)
        self._settings = settings
        self._jitter = jitter
        patience = settings.patience_seconds if patience_seconds is None else patience_seconds
        self._patience_ms = int(patience * 1000)

    async def ask(
        self,
        gate: ModelGate,
        request: ModelRequest,
        *,
        mark: str,
        now: int,
        admitted: str | None = None,
        held_at: int | None = None,
        begin_stream: Callable[[], Callable[[Piece], None] | None] = lambda: None,
    ) -> Use:
        """Return the first answer.

        `mark` names this try, `admitted` the service where its place was reserved; `held_at` is since when the call has been
        held back, in ms like `now`. Where a service streams, `begin_stream` is asked before its call for what takes the
        pieces.

        Raise HeldBack where no service may be called now, CircuitOpenError where that has lasted for too long, else the
        LLMError that decides.
        """
        failures: list[LLMError] = []
        refused: list[_Refused] = []
        for number, route in enumerate(self.routes):
            model = (request.model or route.model) if number == 0 else route.model
            service = route.service(model)
            limits = self._settings.limits
            buckets = plan_buckets(limits, route.name, model, route.where) if limits else ()
            charges: tuple[Charge, ...] = ()
            guarded = bool(buckets) or route.name not in LOCAL
            timeout = request.timeout_seconds
            if number and route.timeout_seconds is not None:
                timeout = min(timeout, route.timeout_seconds)
            asked = request.model_copy(update={"model": model, "timeout_seconds": timeout})
            gone: Admitted | None = None
            if guarded:
                if buckets:
                    tokens = estimate_tokens(request)
                    charges = tuple(Charge(one, 1 if one.unit == "requests" else tokens) for one in buckets)
                said = await gate.admit(
                    route.name,
                    service,
                    () if admitted == service else charges,
                    mark=mark,
                    probe_ms=int((timeout + PROBE_SPARE_SECONDS) * 1000),
                )
                if isinstance(said, NotNow):
                    refused.append(_Refused(route, model, said, charges))
                    continue
                gone = said
            is_told = False
            try:
                response = await self._call(route, asked, begin_stream)
                is_told = True
            except LLMError as error:
                is_told = True
                if gone is not None:
                    await self._report_failure(gate, route, service, error, charges)
                failures.append(error)
                if not may_fall_back(error):
                    raise
                continue
            finally:
                if gone is not None and gone.probing and not is_told:  # stopped: it must not hold up the others
                    await asyncio.shield(gate.report(route.name, service, "unknown"))
            if gone is not None:
                await self._report_answer(gate, route, service, response, gone, charges)
            return Use(
                service,
                response,
                self._cost(route, model, response),
                tuple(to_record(error) for error in failures),
                tuple(one.route.service(one.model) for one in refused),
            )
        raise await self._decide(gate, refused, failures, mark, now, now if held_at is None else held_at)

    async def _call(
        self, route: Route, request: ModelRequest, begin_stream: Callable[[], Callable[[Piece], None] | None]
    ) -> ModelResponse:
        """Make one call within its time; raise an LLMError."""
        provider = route.provider
        try:
            with span(f"chat {request.model}", attributes=_about(route, request)):
                async with asyncio.timeout(request.timeout_seconds):
                    on_piece = begin_stream() if isinstance(provider, StreamingProvider) else None
                    if on_piece is not None and isinstance(provider, StreamingProvider):
                        return await provider.stream(request, on_piece)
                    return await provider.complete(request)
        except TimeoutError as error:
            message = f"{route.name}: no answer in {request.timeout_seconds:g} s; it may pass; if it stays, look at the service"
            raise LLMTimeoutError(message, provider=route.name, model=request.model or None) from error

    async def _report_failure(
        self, gate: ModelGate, route: Route, service: str, error: LLMError, charges: tuple[Charge, ...]
    ) -> None:
        settings, verdict = self._settings, judge(error)
        hold_ms = int(error.retry_after * 1000) if error.retry_after is not None and error.retry_after > 0 else 0
        await gate.report(
            route.name,
            service,
            verdict,
            signature=signature_of(error),
            hold_ms=hold_ms,
            threshold=settings.breaker_failures,
            open_ms=int(settings.breaker_seconds * 1000),
            # A call that failed has used its place among the requests, and no tokens that anybody counts.
            used=[(charge, 0) for charge in charges if charge.bucket.unit == "tokens"],
        )

    async def _report_answer(
        self,
        gate: ModelGate,
        route: Route,
        service: str,
        response: ModelResponse,
        gone: Admitted,
        charges: tuple[Charge, ...],
    ) -> None:
        """Say that it answered, where that changes anything: the ordinary call of a sound service says nothing."""
        tokens = response.usage.input_tokens + response.usage.output_tokens
        used = [(charge, tokens) for charge in charges if charge.bucket.unit == "tokens" and tokens]
        if used or gone.probing or gone.failures:
            await gate.report(route.name, service, "answered", used=used)

    async def _decide(
        self,
        gate: ModelGate,
        refused: Sequence[_Refused],
        failures: Sequence[LLMError],
        mark: str,
        now: int,
        since: int,
    ) -> Exception:
        """Return what follows when nobody answered: a wait for the soonest service, or the failure that decides.

        A rate gives way by itself, so it is waited for. A service that is held back may not come back: where another
        has failed, that failure counts, or a session would go on for ever; and where none was asked, the patience ends it.
        """
        rated = [one for one in refused if one.said.why == "rate"]
        if failures and not rated:
            return choose_failure(failures)
        soonest = min(rated or refused, key=lambda one: one.said.wait_ms)
        service, said = soonest.route.service(soonest.model), soonest.said
        records = tuple(to_record(error) for error in failures)
        if said.why == "rate":
            place = await gate.admit(soonest.route.name, service, soonest.charges, mark=mark, probe_ms=1, reserve=True)
            if isinstance(place, Admitted):  # it came free in this very moment, and the place is ours
                return HeldBack(0, "rate", service, records)
            return HeldBack(place.wait_ms, place.why, service if place.reserved else None, records)
        spread = 1 + self._jitter * random.random()  # noqa: S311 - spreads those who wait, guards nothing
        wait_ms = plan_hold(
            int(said.wait_ms * spread) + 1,
            now=now,
            since=since,
            patience_ms=self._patience_ms,
            is_asked=said.why == "asked",
        )
        if wait_ms is not None:
            return HeldBack(wait_ms, said.why, None, records, since)
        why = "asked to be left alone" if said.why == "asked" else "fails again and again"
        return CircuitOpenError(
            f"{service}: it {why}, and was not asked for {(now - since) / 1000:.0f} s; look at the service, "
            "or name a fallback",
            provider=soonest.route.name,
            model=soonest.model or None,
        )

    def _cost(self, route: Route, model: str, response: ModelResponse) -> Decimal | None:
        price = price_of(self._settings.prices, route.name, model)
        return None if price is None else price.cost(response.usage.input_tokens, response.usage.output_tokens)

    async def aclose(self) -> None:
        """Release every service's connections."""
        for route in self.routes:
            await route.provider.aclose()


def _about(route: Route, request: ModelRequest) -> dict[str, Attribute]:
    """Return a span's attributes, by OpenTelemetry's names for model calls."""
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": route.name,
        "gen_ai.request.model": request.model or "",
        "gen_ai.conversation.id": request.session_id,
    }


def price_of(prices: Mapping[str, Price], provider: str, model: str) -> Price | None:
    """Return what a model costs; one that runs here and has no price is free."""
    found = find_price(prices, provider, model)
    if found is None and provider in LOCAL:
        return Price(input=Decimal(0), output=Decimal(0))
    return found


def check_models(spec: AppSpec, settings: ModelsSettings, routes: Sequence[Route]) -> None:
    """Refuse an app whose budget counts money while a model of it has no price; raise ConfigError."""
    budget = spec.budget
    if budget is None or (budget.session.cost is None and (budget.app is None or budget.app.cost is None)):
        return
    first = routes[0]
    models = {
        first.model,
        *(skill.model for skill in spec.skills.values() if skill.kind == "responsive" and skill.model),
    }
    asked = [(first.name, model) for model in sorted(models)] + [(one.name, one.model) for one in routes[1:]]
    missing = [f"{name}/{model}" for name, model in asked if price_of(settings.prices, name, model) is None]
    if missing:
        raise ConfigError(
            f"app {spec.name!r}: budget: it counts cost, and {', '.join(missing)} has no price; add it to models.prices"
        )
