"""Which step a session's phase, wait and cursor call for."""

from orchestrator.contracts.session import Record
from orchestrator.kernel.change import Change, finish
from workers.steps import agent_turn, dispatch, escalate, finalize, monitor, plain, plugin_pass, tool_calls
from workers.steps.hook_events import tell_before
from workers.steps.world import World


async def perform_step(world: World, record: Record) -> Change:
    """Perform a session's next step."""
    if world.hooks is not None:
        await tell_before(world.hooks, record)
    if record.phase == "finalizing":
        return await finalize.perform(world, record)
    cursor = record.cursor
    if record.wait is not None:
        return await dispatch.perform(world, record)
    if cursor.stage in {"enter", "route", "model"} and world.spec.skills[cursor.skill].kind == "monitor":
        return await monitor.perform(world, record)
    match cursor.stage:
        case "tools" if not cursor.calls:
            return await escalate.perform(world, record)
        case "tools":
            return await tool_calls.perform(world, record)
        case "model":
            return await agent_turn.perform(world, record)
        case "route":
            return await plain.perform_route(world, record)
        case "end":
            return finish(record, "wait")
        case "enter":
            match world.spec.skills[cursor.skill].kind:
                case "compute":
                    return await plain.perform_compute(world, record)
                case "responsive":
                    return await agent_turn.perform(world, record)
                case "plugin_pass":
                    return await plugin_pass.perform(world, record)
                case "supervisor":
                    return await dispatch.perform(world, record)
                case _:
                    return await plain.enter_plain(world, record)
