"""Arguments that the runtime fills in and a model never sees.

An app declares `injected_args: {arg: session.PATH}`. `strip` hides those arguments in the schema
that a model is shown; `fill` writes their values before a call's risk is rated. What a model says
for such an argument is never passed on. Pure: inputs are left untouched. The argument
`idempotency_key` is the caller's, who knows the key.
"""

from collections.abc import Collection, Mapping
from typing import Literal

from pydantic import JsonValue

from orchestrator.contracts.base import Frozen, JsonObject, dump_json
from orchestrator.contracts.errors import ConfigError
from orchestrator.kernel.lookup import MISSING, read_path


class SessionView(Frozen):
    """What of a session may be injected: `session.id`, `session.text`, `session.state.KEY`."""

    id: str
    text: str = ""
    state: JsonObject = {}


class InjectionNote(Frozen):
    """Something about an injected argument that a person may ask for later.

    overridden: the model gave another value than the session has. emptied: the model gave one and
    the session has none. not_accepted: the tool does not take the argument, which is ordinary.
    `given` is what the model said, `value` what the session says.
    """

    arg: str
    kind: Literal["overridden", "emptied", "not_accepted"]
    given: JsonValue = None
    value: JsonValue = None


def check_path(arg: str, path: str) -> str:
    """Return a path that can be followed, or raise ConfigError; for the loader as for a call."""
    root, _, rest = path.partition(".")
    part, _, key = rest.partition(".")
    if root != "session":
        raise ConfigError(f"injected_args.{arg}: {path!r} must start with 'session.'; write e.g. session.id")
    if rest in ("id", "text") or (part == "state" and key):
        return path
    raise ConfigError(f"injected_args.{arg}: {path!r} names nothing; use session.id, session.text or session.state.KEY")


def resolve(arg: str, path: str, view: SessionView) -> JsonValue:
    """Return the value at a path, None where the state has none; raise ConfigError for a bad path."""
    rest = check_path(arg, path).removeprefix("session.")
    if rest == "id":
        return view.id
    if rest == "text":
        return view.text
    value = read_path(view.state, rest.removeprefix("state."))
    return None if value is MISSING else value


def strip(schema: JsonObject, injected: Collection[str]) -> JsonObject:
    """Return a tool's JSON Schema without the injected arguments.

    >>> strip({"properties": {"a": {}, "b": {}}, "required": ["a", "b"]}, {"a": "session.id"})
    {'properties': {'b': {}}, 'required': ['b']}
    """
    out = dict(schema)
    properties, required = schema.get("properties"), schema.get("required")
    if isinstance(properties, dict):
        out["properties"] = {name: value for name, value in properties.items() if name not in injected}
    if isinstance(required, list):
        out["required"] = [name for name in required if name not in injected]
    return out


def accepted_args(schema: JsonObject) -> frozenset[str]:
    """Return the names of the arguments that a tool's schema declares."""
    properties = schema.get("properties")
    return frozenset(properties) if isinstance(properties, dict) else frozenset()


def fill(
    args: JsonObject, injected: Mapping[str, str], view: SessionView, accepted: Collection[str]
) -> tuple[JsonObject, tuple[InjectionNote, ...]]:
    """Return the arguments with the injected ones filled in, and what is worth noting.

    An argument without a value in the session is left out, whatever the model gave for it.

    >>> fill({"id": "S-2"}, {"id": "session.id"}, SessionView(id="S-1"), {"id"})[0]
    {'id': 'S-1'}
    """
    out, notes = dict(args), []
    for arg, path in injected.items():
        value = resolve(arg, path, view)
        is_given, given = arg in out, out.pop(arg, None)
        if arg not in accepted:
            notes.append(InjectionNote(arg=arg, kind="not_accepted", given=given, value=value))
        elif value is None:
            if is_given:
                notes.append(InjectionNote(arg=arg, kind="emptied", given=given))
        else:
            out[arg] = value
            # Compared as JSON, because to Python True is 1.
            if is_given and dump_json(given) != dump_json(value):
                notes.append(InjectionNote(arg=arg, kind="overridden", given=given, value=value))
    return out, tuple(notes)
