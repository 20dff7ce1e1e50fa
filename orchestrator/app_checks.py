"""Check that an app's own words hold together: statuses, rules, tools, servers, gates.

What one value must look like is said by the contracts; here is what several say to each other.
Skills are checked in `skill_checks`, code in `app_code_checks`.
"""

import re
from collections.abc import Collection, Iterator

from orchestrator.app_check import Check
from orchestrator.contracts.app import McpServer, TerminalRule
from orchestrator.contracts.budgets import SessionBudget
from orchestrator.contracts.context import MANAGERS, SIMPLE, SUMMARISING
from orchestrator.contracts.errors import ConfigError, suggest
from orchestrator.contracts.skill import Monitor, Responsive, ToolStep
from orchestrator.kernel.inject import check_path
from orchestrator.kernel.lookup import names_match
from orchestrator.kernel.risk import ENVIRONMENT_KEY
from orchestrator.yaml_document import Where

_LOOKUP = re.compile(r"(?:args|result)(?:\.[^.\s]+)+")
#: What of a session an argument of the escalation's call may be; anything else is a fixed text.
_ESCALATION_SOURCES = ("session.id", "session.text", "team", "message")
_SERVER = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_REFERENCE = re.compile(r"(?:[\w./-]+\.py:|[A-Za-z_][\w.]*[:.])[A-Za-z_]\w*")


def check_words(check: Check) -> None:
    """Check everything but skills and code."""
    check_statuses(check)
    check_rules(check)
    check_escalation(check)
    check_servers(check)
    check_tools(check)
    check_gates(check)
    check_budget(check)
    check_state(check)
    check_context(check)


def check_statuses(check: Check) -> None:
    """Statuses have kinds that fit, a default to end with, and copies that do not collide."""
    spec = check.spec
    for name, status in spec.statuses.items():
        at = ("statuses", name)
        if not name.strip() or name != name.strip():
            check.say(at, f"{name!r} is blank or has spaces around it; mend the word", key=True)
        if status.kind == "pending" and status.terminal:
            check.say((*at, "kind"), "a pending status does not end a session; write terminal: false")
        for copy, source in status.mirrors.items():
            if not copy.strip() or not source.strip() or copy == source:
                check.say((*at, "mirrors", copy), "copies one field under another name; give two names")
    if not check.knows("statuses"):
        return
    valid = f"valid statuses: {sorted(spec.statuses)}"
    if spec.statuses and spec.default_terminal_status is None:
        check.say(("default_terminal_status",), "default_terminal_status is required when statuses is non-empty")
    for field in ("default_terminal_status", "cancelled_status"):
        word: str | None = getattr(spec, field)
        if word is None:
            continue
        if not spec.statuses:
            check.say((field,), f"{field} is set but statuses is empty; declare the status vocabulary first")
        elif word not in spec.statuses:
            check.say((field,), f"{field}={word!r} is not a declared status; {valid}{_near(word, spec.statuses)}")
        elif not spec.statuses[word].terminal:
            which = "default" if field.startswith("default") else "cancelled status"
            reason = f"references a non-terminal status (terminal=False); the {which} must be terminal"
            check.say((field,), f"{field}={word!r} {reason}")


def check_budget(check: Check) -> None:
    """The status of a session whose budget is spent is declared and ends it; a day's budget holds a session's."""
    budget = check.spec.budget
    if budget is None:
        return
    status, statuses = budget.status, check.spec.statuses
    if status is not None and check.knows("statuses"):
        if status not in statuses:
            check.say(("budget", "status"), f"status={status!r} is not a declared status; {suggest(status, statuses)}")
        elif not statuses[status].terminal:
            check.say(("budget", "status"), f"status={status!r} does not end a session; name a terminal one")
    session, app = budget.session, budget.app
    if session == SessionBudget() and app is None:
        check.say(("budget",), "it limits nothing; set session or app", key=True)
    for name in ("turns", "tool_calls", "tokens", "cost"):
        one, all_of_them = getattr(session, name), getattr(app, name, None)
        if one is not None and all_of_them is not None and one > all_of_them:
            check.say(("budget", "session", name), f"{one} is over budget.app.{name} ({all_of_them}); lower it")


def check_rules(check: Check) -> None:
    """Each terminal rule leads to a declared end, can be reached, and reads what can be read."""
    spec = check.spec
    if spec.terminal_tools and not spec.statuses and check.knows("statuses"):
        message = "terminal_tools is non-empty but statuses is empty; declare the status vocabulary first"
        check.say(("terminal_tools",), message)
    for index, rule in enumerate(spec.terminal_tools):
        at: Where = ("terminal_tools", index)
        who = f"terminal_tools[{index}].status={rule.status!r} (tool_name={rule.tool_name!r})"
        if spec.statuses and check.knows("statuses"):
            if rule.status not in spec.statuses:
                valid = f"valid statuses: {sorted(spec.statuses)}{_near(rule.status, spec.statuses)}"
                check.say((*at, "status"), f"{who} is not a declared status; {valid}")
            elif not spec.statuses[rule.status].terminal:
                check.say((*at, "status"), f"{who} references a non-terminal status; a rule leads to an end")
        check_tool_name(check, (*at, "tool_name"), rule.tool_name)
        for earlier, before in enumerate(spec.terminal_tools[:index]):
            if _covers(before, rule):
                check.say(at, f"is never reached: terminal_tools[{earlier}] decides first; narrow that one or move it")
                break
        for name, lookups in rule.extract_fields.items():
            if not lookups:
                check.say((*at, "extract_fields", name), "no lookup; write e.g. [args.NAME]")
            for number, lookup in enumerate(lookups):
                check_lookup(check, (*at, "extract_fields", name, number), lookup)


def check_escalation(check: Check) -> None:
    """The escalation's tool is one that the app speaks of, its default team is on the roster."""
    spec = check.spec
    check.is_unique(("escalation_teams",), spec.escalation_teams)
    team, tool = spec.escalate_action_default_team, spec.escalate_action_tool_name
    if team is not None and spec.escalation_teams and check.knows("escalation_teams"):
        check.is_among(("escalate_action_default_team",), team, spec.escalation_teams, "team")
    if tool is not None:
        check_tool_name(check, ("escalate_action_tool_name",), tool)
        known = set(mentioned_tools(check))
        is_complete = check.knows(
            "skills", "terminal_tools", "tools", "gateway", "patch_tools", "harvest_terminal_tools"
        )
        if is_complete and not any(names_match(one, tool) or names_match(tool, one) for one in known):
            message = f"tool {tool!r} is named nowhere else in the app; {suggest(tool, known)}"
            check.say(("escalate_action_tool_name",), message)
        for arg, source in spec.escalate_action_args.items():
            if source.startswith("session.") and source not in _ESCALATION_SOURCES:
                check.say(
                    ("escalate_action_args", arg), f"{source!r} names nothing; use {', '.join(_ESCALATION_SOURCES)}"
                )
    elif spec.escalate_action_args:
        check.say(("escalate_action_args",), "there is no escalate_action_tool_name that they could go to", key=True)


def check_servers(check: Check) -> None:
    """Each server has a name of its own and exactly one way to it."""
    seen: dict[str, int] = {}
    for index, server in enumerate(check.spec.mcp_servers):
        at: Where = ("mcp_servers", index)
        if not _SERVER.fullmatch(server.name):
            check.say((*at, "name"), f"{server.name!r} is no name for a server; use letters, digits, _ and -")
        if server.name in seen:
            check.say((*at, "name"), f"{server.name!r} is already mcp_servers[{seen[server.name]}]; rename one")
        seen.setdefault(server.name, index)
        ways = [way for way in ("module", "url", "command") if getattr(server, way)]
        if len(ways) != 1 and server.enabled:
            given = " and ".join(ways) or "none"
            check.say(at, f"server {server.name!r} needs exactly one of module, url, command; {given} is given")
        if ways == ["url"] and server.url and not re.match(r"https?://[^/\s]", server.url):
            check.say((*at, "url"), "not a URL; write http://host/path or https://host/path")
        check_extras(check, at, server)


def check_extras(check: Check, at: Where, server: McpServer) -> None:
    """Headers go with a URL, variables with a command, settings with a module: elsewhere nobody reads them."""
    for extra, way in (("headers", "url"), ("env", "command"), ("config", "module")):
        if getattr(server, extra) and not getattr(server, way):
            check.say((*at, extra), f"is read only with {way}; remove it", key=True)


def check_tools(check: Check) -> None:
    """Names and lookups of tools are well formed wherever they stand."""
    spec = check.spec
    for field in ("patch_tools", "harvest_terminal_tools"):
        names: tuple[str, ...] = getattr(spec, field)
        check.is_unique((field,), names)
        for index, name in enumerate(names):
            check_tool_name(check, (field, index), name)
    for index, name in enumerate(spec.patch_tools):
        if name in spec.harvest_terminal_tools:
            check.say(("patch_tools", index), f"{name!r} is among harvest_terminal_tools too; keep one")
    for name, tool in spec.tools.items():
        check_tool_name(check, ("tools", name), name, key=True)
        for number, update in enumerate(tool.updates):
            at: Where = ("tools", name, "updates", number)
            check.is_state_key((*at, "into"), update.into)
            if update.source is not None:
                check_lookup(check, (*at, "from"), update.source)
    for arg, path in spec.injected_args.items():
        if not arg.isidentifier():
            check.say(("injected_args", arg), f"{arg!r} is no name of an argument; use letters, digits and _", key=True)
        try:
            check_path(arg, path)
        except ConfigError as error:
            check.say(("injected_args", arg), str(error))
        else:
            if path.startswith("session.state."):
                check.is_state_key(("injected_args", arg), path.split(".")[2])


def check_gates(check: Check) -> None:
    """Gates name environments that exist, in a state that says where it is."""
    spec = check.spec
    check.is_unique(("environments",), spec.environments)
    gated: list[tuple[Where, tuple[str, ...]]] = []
    if "gated_environments" in spec.gate_policy.model_fields_set:
        gated.append((("gate_policy", "gated_environments"), spec.gate_policy.gated_environments))
    if spec.gateway is not None:
        for name in spec.gateway.policy:
            check_tool_name(check, ("gateway", "policy", name), name, key=True)
        overrides = spec.gateway.prod_overrides
        if "prod_environments" in overrides.model_fields_set:
            gated.append((("gateway", "prod_overrides", "prod_environments"), overrides.prod_environments))
        elif overrides.resolution_trigger_tools and spec.environments and check.knows("environments"):
            known = {name.strip().lower() for name in spec.environments}
            if known.isdisjoint(overrides.prod_environments):
                message = "never apply: environments has no 'production'; write which of them prod_environments are"
                check.say(("gateway", "prod_overrides", "resolution_trigger_tools"), message, key=True)
        check.is_unique(("gateway", "approvers"), spec.gateway.approvers)
    for path, environments in gated:
        check.is_unique(path, environments)
        for index, word in enumerate(environments):
            if spec.environments and check.knows("environments"):
                check.is_among((*path, index), word, spec.environments, "environment")
        if environments and check.state_keys is not None and ENVIRONMENT_KEY not in check.state_keys:
            message = f"never applies: {spec.state_schema} has no field {ENVIRONMENT_KEY!r}; add it"
            check.say(path, message, key=True)


def check_state(check: Check) -> None:
    """The reference to the state's class is well formed; whether it leads somewhere is for the code checks."""
    reference = check.spec.state_schema
    if reference is None:
        return
    if not reference.strip():
        check.say(("state_schema",), "state_schema must be non-empty when set")
    elif not _REFERENCE.fullmatch(reference):
        message = f"state_schema={reference!r} is not a valid dotted path; write file.py:Class or package.module:Class"
        check.say(("state_schema",), message)


def check_context(check: Check) -> None:
    """The context's budget leaves room for what stays, and a summary has a model to make it."""
    context = check.spec.context
    if context is None:
        return
    if context.keep_tokens is not None and context.keep_tokens > context.max_tokens:
        message = (
            f"{context.keep_tokens} is over max_tokens {context.max_tokens}; lower it, or nothing would be left out"
        )
        check.say(("context", "keep_tokens"), message)
    if context.manager == SUMMARISING and check.spec.model.provider == "rules":
        message = f"provider rules has no model that could summarise; write {SIMPLE!r}, or name another provider"
        check.say(("context", "manager"), message)
    elif context.manager not in MANAGERS and not _REFERENCE.fullmatch(context.manager):
        message = f"unknown manager {context.manager!r}; {suggest(context.manager, MANAGERS)} or file.py:function"
        check.say(("context", "manager"), message)


def check_lookup(check: Check, path: Where, lookup: str) -> None:
    """Note a problem if a lookup cannot find anything."""
    if not _LOOKUP.fullmatch(lookup):
        check.say(path, f"{lookup!r} is no lookup; write args.NAME or result.NAME, nested by dots")


def check_tool_name(check: Check, path: Where, name: str, *, key: bool = False) -> None:
    """Note a problem if a tool's name is malformed, or qualified by a server that is not declared."""
    *servers, tool = name.split(":")
    if not tool or not all(servers) or name != name.strip() or any(sign in name for sign in "*? "):
        check.say(path, f"{name!r} is no name of a tool; write tool or server:tool", key=key)
    elif servers and check.knows("mcp_servers"):
        declared = {server.name for server in check.spec.mcp_servers}
        if not declared.intersection(servers):
            check.say(path, f"tool {name!r}: unknown server {servers[0]!r}; {suggest(servers[0], declared)}", key=key)


def mentioned_tools(check: Check) -> Iterator[str]:
    """Yield every name of a tool that the app mentions, the escalation's own field left out."""
    spec = check.spec
    yield from (rule.tool_name for rule in spec.terminal_tools)
    yield from (*spec.patch_tools, *spec.harvest_terminal_tools, *spec.tools)
    yield from spec.gateway.policy if spec.gateway else ()
    for skill in spec.skills.values():
        if isinstance(skill, Responsive):
            yield from (tool for tools in skill.tools.values() for tool in tools)
        elif isinstance(skill, ToolStep):
            yield skill.tool
        elif isinstance(skill, Monitor):
            yield skill.observe


def _covers(before: TerminalRule, rule: TerminalRule) -> bool:
    """Say whether every call that meets `rule` meets the rule before it as well."""
    return names_match(before.tool_name, rule.tool_name) and before.match_args.items() <= rule.match_args.items()


def _near(word: str, known: Collection[str]) -> str:
    hint = suggest(word, known)
    return f"; {hint}" if hint.startswith("did you mean") else ""
