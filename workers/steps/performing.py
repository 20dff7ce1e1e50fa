"""Which step a session's phase, wait and cursor call for."""

from collections.abc import Awaitable

from orchestrator.contracts.session import Record
from orchestrator.kernel.change import Change, finish
from workers.steps import agent_turn, dispatch, escalate, finalize, monitor, plain, plugin_pass, tool_calls
from workers.steps.hook_events import tell_before
from workers.steps.hook_run import HookRun
from workers.steps.world import World


def perform_step(world: World, record: Record) -> Awaitable[Change]:
    """Return what performs a session's next step; without hooks the step itself, for each wait goes through all that waits."""
    return _choose(world, record) if world.hooks is None else _perform_hooked(world, world.hooks, record)


async def _perform_hooked(world: World, hooks: HookRun, record: Record) -> Change:
    await tell_before(hooks, record)
    return await _choose(world, record)


def _choose(world: World, record: Record) -> Awaitable[Change]:
    if record.phase == "finalizing":
        return finalize.perform(world, record)
    cursor = record.cursor
    if record.wait is not None:
        return dispatch.perform(world, record)
    if cursor.stage in {"enter", "route", "model"} and world.spec.skills[cursor.skill].kind == "monitor":
        return monitor.perform(world, record)
    match cursor.stage:
        case "tools" if not cursor.calls:
            return escalate.perform(world, record)
        case "tools":
            return tool_calls.perform(world, record)
        case "model":
            return agent_turn.perform(world, record)
        case "route":
            return plain.perform_route(world, record)
        case "end":
            return _finish(record)
        case "enter":
            match world.spec.skills[cursor.skill].kind:
                case "compute":
                    return plain.perform_compute(world, record)
                case "responsive":
                    return agent_turn.perform(world, record)
                case "plugin_pass":
                    return plugin_pass.perform(world, record)
                case "supervisor":
                    return dispatch.perform(world, record)
                case _:
                    return plain.enter_plain(world, record)


async def _finish(record: Record) -> Change:
    return finish(record, "wait")
