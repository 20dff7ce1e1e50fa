"""A person handed the session to a team: call the app's escalation tool, then end.

The call goes the way of every call - announced, keyed, journaled - but asks nobody: a person has
already decided it. If it fails, the session is not settled as if somebody had been told.
"""

from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.errors import AppCodeFailed
from orchestrator.contracts.messages import ToolRequest
from orchestrator.contracts.session import Record
from orchestrator.kernel.change import Change, move
from orchestrator.kernel.turns import line_up
from workers.steps.world import World


async def perform(world: World, record: Record) -> Change:
    """Put the escalation call in line."""
    spec = world.spec
    wanted = spec.escalate_action_tool_name or ""
    _, catalogue = await world.load_catalogue(record)
    full = next((name for name in catalogue if name == wanted or name.split(":", 1)[1] == wanted), None)
    if full is None:
        raise AppCodeFailed(f"app {spec.name}: escalate_action_tool_name: no server has {wanted!r}; mend app.yaml")
    told = record.fields.get("escalated")
    given = told if isinstance(told, dict) else {}
    view: JsonObject = {
        "team": given.get("team"),
        "message": given.get("reason") or record.cursor.rationale or record.text or record.cursor.stop_reason,
        "session.id": record.session_id,
        "session.text": record.text,
    }
    accepted = catalogue[full].parameters.get("properties")
    names = accepted if isinstance(accepted, dict) else {}
    args: JsonObject = {name: view[name] for name in ("team", "message") if name in names and view[name] is not None}
    args |= {arg: view.get(source, source) for arg, source in spec.escalate_action_args.items()}
    request = ToolRequest(call_id=f"call-{record.cursor.serial}-0", tool=full, args=args)
    call = line_up(spec, record, request, catalogue[full]).model_copy(update={"action": "auto"})
    return Change(record=move(record, record.cursor.model_copy(update={"calls": (call,)})), step="route")
