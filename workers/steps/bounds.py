"""Around a step: is there anything left of its budget, may its model be called now, and what has it used.

The kernel decides (kernel/budgets.py). What a step used goes into the session's record and, for the app's budget, into
the store's counters, both in the step's own commit; a step that is not committed has used nothing that anybody counts.
An app without a budget pays nothing for any of this.
"""

import logging
import time
from collections.abc import Awaitable, Callable
from decimal import Decimal

from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.budgets import AppBudget, BudgetSpec, Resource, Spent
from orchestrator.contracts.session import Record, Wait
from orchestrator.kernel.budgets import (
    Use,
    add,
    as_counts,
    count_calls,
    describe_limit,
    find_near,
    find_spent,
    limits_of,
    next_needs,
    period_of,
    previous_period,
    used_by_app,
    used_of,
)
from orchestrator.kernel.cancelling import end_stopped, stopped
from orchestrator.kernel.change import Change, suspend
from orchestrator.store.spending import counter_name
from workers.models import HeldBack
from workers.steps.world import World

log = logging.getLogger(__name__)


def perform(world: World, record: Record, step: Callable[[World, Record], Awaitable[Change]]) -> Awaitable[Change]:
    """Perform a step within the session's budget; one whose model may not be called now waits."""
    budget = world.spec.budget
    world.uses.clear()
    if budget is None or record.phase == "finalizing":
        return _perform(world, record, step)
    return _perform_within(budget, world, record, step)


async def _perform_within(
    budget: BudgetSpec, world: World, record: Record, step: Callable[[World, Record], Awaitable[Change]]
) -> Change:
    app_used = await _used_by_app(world, budget.app)
    reason = None if _is_announced(world, record) else _find_end(world, budget, record, app_used)
    if reason is not None:
        log.warning("session %s: stopped, its budget is spent: %s", record.session_id, reason)
        data: JsonObject = {"budget": {"spent": reason}}
        over = stopped(record, "over_budget", f"budget: {reason}")
        return end_stopped(over, world.intents, world.announced, world.begun, data)
    began = time.monotonic()
    change = await _perform(world, record, step)
    return _charge(world, budget, change, app_used, int((time.monotonic() - began) * 1000))


async def _perform(world: World, record: Record, step: Callable[[World, Record], Awaitable[Change]]) -> Change:
    try:
        change = await step(world, record)
    except HeldBack as held:
        return _held_back(world, record, held)
    if world.uses:
        change = change._replace(data={**change.data, **_told(world)})
    cursor = change.record.cursor
    if cursor.admitted is not None or cursor.held_at is not None:  # the place is used, the wait is over
        gone = cursor.model_copy(update={"admitted": None, "held_at": None})
        change = change._replace(record=change.record.model_copy(update={"cursor": gone}))
    return change


def _held_back(world: World, record: Record, held: HeldBack) -> Change:
    """Return the wait of a call that may not go yet. It is no failure, and counts as none."""
    now, serial = world.now(), record.cursor.serial
    wait = Wait(
        wait_id=f"{record.session_id}/limit-{serial}",
        kind="limit",
        since_at=now,
        deadline_at=now + held.wait_ms,
        reason=held.why,
        target=held.service,
    )
    data: JsonObject = {"wait": "limit", "why": held.why, "wait_ms": held.wait_ms}
    if held.service is not None:
        data["reserved"] = held.service
    if held.failures:
        data["failures"] = [failure.to_data() for failure in held.failures]
    cursor = record.cursor.model_copy(update={"admitted": None, "held_at": held.since})
    return suspend(record, wait, "wait", cursor=cursor, data=data)._replace(outcome="snoozed")


def _told(world: World) -> JsonObject:
    """Return what the journal is told of the step's model calls beyond what every turn tells."""
    told: JsonObject = {}
    costs = [use.cost for use in world.uses if use.cost is not None]
    if any(costs):
        told["cost"] = str(sum(costs, Decimal(0)))
    for use in world.uses:
        if use.failures or use.passed:
            told["service"] = use.service
            told["failures"] = [failure.to_data() for failure in use.failures]
            told["passed_over"] = list(use.passed)
    return told


def _is_announced(world: World, record: Record) -> bool:
    """Say whether the next step makes a call that is announced: it is made, or nobody would know whether it was."""
    cursor = record.cursor
    return cursor.stage == "tools" and bool(cursor.calls) and cursor.calls[0].call_id in world.announced


async def _used_by_app(world: World, budget: AppBudget | None) -> dict[Resource, Decimal] | None:
    if budget is None:
        return None
    now = world.now()
    period, previous = period_of(budget.per, now), previous_period(budget.per, now)
    return used_by_app(await world.client.spending.total(world.spec.name, period, previous))


def _find_end(world: World, budget: BudgetSpec, record: Record, app_used: dict[Resource, Decimal] | None) -> str | None:
    """Return which limit leaves nothing for the next step, in words, or None."""
    needs = next_needs(world.spec, record)
    used = used_of(record.spent or Spent(), world.now() - record.created_at)
    resource = find_spent(budget.session, used, needs)
    if resource is not None:
        return f"session's {describe_limit(resource, used[resource], limits_of(budget.session)[resource])}"
    if budget.app is None or app_used is None:
        return None
    resource = find_spent(budget.app, app_used, needs)
    if resource is None:
        return None
    return (
        f"app's {describe_limit(resource, app_used[resource], limits_of(budget.app)[resource])} this {budget.app.per}"
    )


def _charge(
    world: World, budget: BudgetSpec, change: Change, app_used: dict[Resource, Decimal] | None, ms: int
) -> Change:
    """Return the change with what its step used, and with the warnings that are due."""
    use = Use(
        turns=sum(1 for _ in world.uses),
        tool_calls=count_calls(change.step, change.calls),
        input_tokens=sum(one.response.usage.input_tokens for one in world.uses),
        output_tokens=sum(one.response.usage.output_tokens for one in world.uses),
        cost=sum((one.cost for one in world.uses if one.cost is not None), Decimal(0)),
        ms=ms if budget.app is not None and budget.app.wall_seconds is not None else 0,
    )
    record = change.record
    before = record.spent or Spent()
    spent = add(record.spent, use) if any(use[:5]) else before
    used = used_of(spent, world.now() - record.created_at)
    near: dict[str, JsonObject] = {}
    for resource in find_near(budget.session, used, budget.warn_at):
        near[resource] = _near(used[resource], limits_of(budget.session)[resource])
    if budget.app is not None and app_used is not None:
        for resource in find_near(budget.app, app_used, budget.warn_at):
            near[f"app.{resource}"] = _near(app_used[resource], limits_of(budget.app)[resource])
    new = {name: told for name, told in near.items() if name not in spent.warned}
    data = change.data
    if new:
        log.warning("session %s: nearly spent: %s", record.session_id, ", ".join(new))
        spent = spent.model_copy(update={"warned": (*spent.warned, *new)})
        data = {**data, "budget": {"warning": dict(new)}}
    if spent is not before:
        record = record.model_copy(update={"spent": spent})
    counters = change.counters
    if budget.app is not None:
        period = period_of(budget.app.per, world.now())
        counts = {counter_name(world.spec.name, period, what): count for what, count in as_counts(use).items()}
        counters = {**counters, **counts}
    return change._replace(record=record, data=data, counters=counters)


def _near(used: Decimal, limit: Decimal) -> JsonObject:
    return {"used": f"{used.normalize():f}", "limit": f"{limit.normalize():f}"}
