"""Check an app's words about tools against the tools that its servers really have.

Only running servers can tell which tools there are; who has a catalogue - `baton apps check`, a
worker at its start - asks here. A gate on a tool that is not there, or a rule about an argument that
a tool does not take, would never apply and nobody would notice. Pure but for reading the app's files
again, for the places of what is wrong.
"""

import os
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from orchestrator import app_source
from orchestrator.app_check import Check
from orchestrator.contracts.app import AppSpec, PolicyCall
from orchestrator.contracts.errors import suggest
from orchestrator.contracts.messages import ToolSchema
from orchestrator.contracts.skill import Monitor, Responsive, ToolStep
from orchestrator.kernel.inject import accepted_args
from orchestrator.kernel.lookup import name_suffixes, names_match
from orchestrator.yaml_document import Document, Where
from orchestrator.yaml_source import lines

#: The argument by which an idempotent tool knows a repetition.
KEY_ARGUMENT = "idempotency_key"


def check_tools(
    spec: AppSpec, catalogue: Mapping[str, ToolSchema], *, env: Mapping[str, str] | None = None
) -> tuple[str, ...]:
    """Return what does not fit the catalogue (tools by full name), as `file:line:col: path: message`."""
    document = (
        app_source.gather(Path(spec.root), os.environ if env is None else env) if spec.root else Document(spec.name)
    )
    document.problems.clear()  # what is wrong with the files alone was told when they were loaded
    check = Check(spec, document)
    for path, name, is_key in _named(spec):
        if not _is_disabled(spec, name):
            _check_name(check, path, name, catalogue, is_key=is_key)
    _check_rules(check, catalogue)
    _check_specs(check, catalogue)
    _check_globs(check, catalogue)
    _check_policies(check, catalogue)
    for arg in spec.injected_args:
        if catalogue and not any(arg in accepted_args(tool.parameters) for tool in catalogue.values()):
            check.say(("injected_args", arg), f"no tool takes the argument {arg!r}; remove it", key=True)
    return tuple(lines(document.problems))


def _named(spec: AppSpec) -> Iterator[tuple[Where, str, bool]]:
    """Yield where a tool is named, its name, and whether it stands there as a key."""
    for index, rule in enumerate(spec.terminal_tools):
        yield ("terminal_tools", index, "tool_name"), rule.tool_name, False
    for index, name in enumerate(spec.patch_tools):
        yield ("patch_tools", index), name, False
    for index, name in enumerate(spec.harvest_terminal_tools):
        yield ("harvest_terminal_tools", index), name, False
    for name in spec.tools:
        yield ("tools", name), name, True
    for name in spec.gateway.policy if spec.gateway else ():
        yield ("gateway", "policy", name), name, True
    if spec.escalate_action_tool_name is not None:
        yield ("escalate_action_tool_name",), spec.escalate_action_tool_name, False
    for skill in spec.skills.values():
        if isinstance(skill, Responsive):
            for server, tools in skill.tools.items():
                for index, tool in enumerate(tools):
                    if tool != "*":
                        yield ("skills", skill.name, "tools", server, index), f"{server}:{tool}", False
        elif isinstance(skill, ToolStep):
            yield ("skills", skill.name, "tool"), skill.tool, False
        elif isinstance(skill, Monitor):
            yield ("skills", skill.name, "observe"), skill.observe, False


def _is_disabled(spec: AppSpec, name: str) -> bool:
    return any(not server.enabled and name.startswith(f"{server.name}:") for server in spec.mcp_servers)


def _check_name(check: Check, path: Where, name: str, catalogue: Mapping[str, ToolSchema], *, is_key: bool) -> None:
    found = _find(name, catalogue)
    if not found:
        known = catalogue if ":" in name else {full.rpartition(":")[2] for full in catalogue}
        message = f"references tool {name!r} which is not registered; {suggest(name, known)}"
        check.say(path, message, key=is_key)
    elif len(found) > 1 and path[-1] in ("tool", "observe", "escalate_action_tool_name"):
        check.say(path, f"tool {name!r} is ambiguous: {', '.join(sorted(found))}; name its server")


def _find(name: str, catalogue: Mapping[str, ToolSchema]) -> dict[str, ToolSchema]:
    return {full: tool for full, tool in catalogue.items() if names_match(name, full)}


def _check_rules(check: Check, catalogue: Mapping[str, ToolSchema]) -> None:
    for index, rule in enumerate(check.spec.terminal_tools):
        tools = _find(rule.tool_name, catalogue)
        at: Where = ("terminal_tools", index)
        for arg in rule.match_args:
            _check_arg(check, (*at, "match_args", arg), rule.tool_name, arg, tools, is_key=True)
        for field, lookups in rule.extract_fields.items():
            for number, lookup in enumerate(lookups):
                scope, _, path = lookup.partition(".")
                if scope == "args":
                    where: Where = (*at, "extract_fields", field, number)
                    _check_arg(check, where, rule.tool_name, path.split(".")[0], tools, is_key=False)


def _check_specs(check: Check, catalogue: Mapping[str, ToolSchema]) -> None:
    for name, tool in check.spec.tools.items():
        found = _find(name, catalogue)
        if tool.effect == "idempotent":
            _check_arg(check, ("tools", name, "effect"), name, KEY_ARGUMENT, found, is_key=False)
        for number, update in enumerate(tool.updates):
            scope, _, path = (update.source or "").partition(".")
            if scope == "args":
                where: Where = ("tools", name, "updates", number, "from")
                _check_arg(check, where, name, path.split(".")[0], found, is_key=False)


def _check_globs(check: Check, catalogue: Mapping[str, ToolSchema]) -> None:
    globs = check.spec.gateway.prod_overrides.resolution_trigger_tools if check.spec.gateway else ()
    names = [suffix for full in catalogue for suffix in name_suffixes(full)]
    for index, glob in enumerate(globs):
        if not any(fnmatchcase(name, glob) for name in names):
            path: Where = ("gateway", "prod_overrides", "resolution_trigger_tools", index)
            check.say(path, f"no tool is named like {glob!r}; the gate would never apply")


def _check_policies(check: Check, catalogue: Mapping[str, ToolSchema]) -> None:
    for skill, rules in check.spec.model.rules.items():
        for index, rule in enumerate(rules):
            for number, call in enumerate(rule.call):
                _check_call(check, ("model", "rules", skill, index, "call", number), call, catalogue)


def _check_call(check: Check, at: Where, call: PolicyCall, catalogue: Mapping[str, ToolSchema]) -> None:
    tools = _find(call.tool, catalogue)
    if not tools:
        _check_name(check, (*at, "tool"), call.tool, catalogue, is_key=False)
    for arg in call.args:
        _check_arg(check, (*at, "args", arg), call.tool, arg, tools, is_key=True)
    # An argument that the runtime fills in need not be given.
    given = {*call.args, *check.spec.injected_args, KEY_ARGUMENT}
    for full, tool in tools.items():
        required = tool.parameters.get("required")
        for needed in required if isinstance(required, list) else ():
            if needed not in given:
                check.say(at, f"tool {full!r} needs the argument {needed!r}; give it")


def _check_arg(
    check: Check, path: Where, name: str, arg: str, tools: Mapping[str, ToolSchema], *, is_key: bool
) -> None:
    """Note a problem if none of these tools takes the argument; a tool that takes any is content."""
    for tool in tools.values():
        if arg in accepted_args(tool.parameters) or tool.parameters.get("additionalProperties") not in (None, False):
            return
    if tools:
        known = {one for tool in tools.values() for one in accepted_args(tool.parameters)}
        check.say(path, f"tool {name!r} takes no argument {arg!r}; {suggest(arg, known)}", key=is_key)
