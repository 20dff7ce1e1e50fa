"""A monitor's steps: wait for the time, look, judge (kernel/monitoring.py).

The session that a look calls for is submitted under a key made of the look's own call: a worker that dies between the
submission and its commit submits the same one again, which changes nothing.
"""

from typing import cast

from orchestrator.contracts.base import JsonObject, dump_json
from orchestrator.contracts.own_keys import OwnKey
from orchestrator.contracts.session import Record
from orchestrator.contracts.skill import Monitor
from orchestrator.kernel.advance import current_skill
from orchestrator.kernel.change import Change
from orchestrator.kernel.monitoring import await_time, judge, read_observation
from workers.steps.plain import line_up_call
from workers.steps.world import World


async def perform(world: World, record: Record) -> Change:
    """Do what comes next of a monitor, by the cursor's stage."""
    skill = cast("Monitor", current_skill(world.spec, record))
    match record.cursor.stage:
        case "route":  # its time has come
            return await line_up_call(world, record, skill.observe, {})
        case "model":
            return await _judge(world, skill, record)
        case _:
            return await_time(skill, record, world.now())


async def _judge(world: World, skill: Monitor, record: Record) -> Change:
    if record.cursor.signal == "failed":
        return await_time(skill, record, world.now(), {"look": "failed"})
    observation = read_observation(await world.messages())
    calls, why = judge(skill, observation)
    if why:
        return await_time(skill, record, world.now(), {"look": "not judged", "error": why})
    if not calls:
        return await_time(skill, record, world.now(), {"look": "nothing"})
    submitted = await world.client.submit(
        world.spec.name,
        text=f"{skill.name} saw that {skill.emit_signal_when}: {dump_json(observation)}",
        actor=f"session:{record.session_id}",
        key=OwnKey.LOOK.make(record.session_id, record.cursor.serial),
        entry_skill=skill.trigger_target,
    )
    data: JsonObject = {"look": "submitted", "session": submitted.session_id}
    return await_time(skill, record, world.now(), data)
