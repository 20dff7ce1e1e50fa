"""Check that an app's skills hold together: kinds, routes, dispatch, schedules, tools, policies.

What one field must look like is said by the contracts. The app's own words are checked in
`app_checks`, the functions that compute steps call in `app_code_checks`.
"""

from typing import Final

from orchestrator.app_check import Check
from orchestrator.app_checks import check_tool_name
from orchestrator.app_plugins import find_plugins, plugin_roots
from orchestrator.contracts.app import PolicyCall, PolicyRule
from orchestrator.contracts.errors import suggest
from orchestrator.contracts.plugins import PASS_SIGNALS
from orchestrator.contracts.skill import (
    END,
    AskStep,
    ComputeStep,
    Monitor,
    PluginPass,
    Responsive,
    Skill,
    Supervisor,
    TimerStep,
    ToolStep,
)
from orchestrator.kernel.cron import cron_problem
from orchestrator.kernel.lookup import normalise_tool
from orchestrator.kernel.routes import DEFAULT_SIGNAL
from orchestrator.yaml_document import Where

#: The names in a policy's expressions, as `PolicyRule` documents them.
POLICY_NAMES: Final = frozenset({"state", "results", "calls", "turn", "text", "inputs"})
#: What a policy's call may use besides, where it has `for_each`.
ITEM_NAMES: Final = frozenset({"item", "index"})
#: The names in a supervisor's rules, and in a tool step's arguments.
DISPATCH_NAMES: Final = frozenset({"state", "text", "session", "depth"})
STEP_NAMES: Final = frozenset({"state", "text"})
#: The names in a monitor's expression; both mean what its tool returned.
MONITOR_NAMES: Final = frozenset({"observation", "obs"})


def check_skills(check: Check) -> None:
    """Check every skill and the policies that speak for them."""
    spec = check.spec
    if not check.skills:
        check.say(("skills",), "no skill is declared; write skills/NAME/config.yaml, or a plain step under skills:")
    check_signals(check)
    if spec.entry_skill not in check.skills:
        message = f"entry_skill={spec.entry_skill!r} is not a known skill (known: {sorted(check.skills)})"
        check.say(("entry_skill",), f"{message}; {suggest(spec.entry_skill, check.skills)}")
    elif isinstance(spec.skills.get(spec.entry_skill), Monitor):
        check.say(("entry_skill",), f"{spec.entry_skill!r} is a monitor: it starts sessions and runs in none")
    for name, skill in spec.skills.items():
        check_routes(check, name, skill)
        match skill:
            case Responsive():
                check_responsive(check, name, skill)
            case Supervisor():
                check_supervisor(check, name, skill)
            case Monitor():
                check_monitor(check, name, skill)
            case ToolStep():
                check_tool_name(check, ("skills", name, "tool"), skill.tool)
                check.values_compile(("skills", name, "args"), dict(skill.args), STEP_NAMES)
            case AskStep():
                check.is_state_key(("skills", name, "into"), skill.into)
                if not skill.prompt.strip():
                    check.say(("skills", name, "prompt"), "is blank; write the question")
            case PluginPass():
                check_plugin_pass(check, name, skill)
            case TimerStep() | ComputeStep():
                pass  # nothing in them speaks of anything else of the app
    check_policies(check)


def check_signals(check: Check) -> None:
    """Signals are compared trimmed and in lower case; one that is written otherwise is never met."""
    check.is_unique(("signals",), check.spec.signals)
    for index, signal in enumerate(check.spec.signals):
        if signal.strip() and signal != signal.strip().lower():
            check.say(
                ("signals", index), f"{signal!r} is never met: signals are lower case; write {signal.strip().lower()!r}"
            )


def check_routes(check: Check, name: str, skill: Skill) -> None:
    """Routes name signals and skills that exist, and there is one for whatever else is said."""
    at: Where = ("skills", name, "routes")
    if isinstance(skill, Monitor):
        if skill.routes:
            check.say(
                at, "'routes' is no field of kind monitor: it goes nowhere, it submits to trigger_target", key=True
            )
        return
    if not isinstance(skill, Supervisor) and not any(route.when == DEFAULT_SIGNAL for route in skill.routes):
        check.say(at, f"skill {name!r} has no `when: default` route; add one, `next: {END}` to end there")
    for index, route in enumerate(skill.routes):
        if check.knows("signals"):
            own = PASS_SIGNALS if isinstance(skill, PluginPass) else ()
            known = (*dict.fromkeys((*check.spec.signals, *own)), DEFAULT_SIGNAL)
            check.is_among((*at, index, "when"), route.when, known, "signal")
        check_target(check, (*at, index, "next"), route.next, may_end=True)
        if route.when in [before.when for before in skill.routes[:index]]:
            check.say((*at, index), f"is never taken: an earlier route says `when: {route.when}`; keep one")


def check_target(check: Check, path: Where, target: str, *, may_end: bool = False) -> None:
    """A target is a skill that can be entered."""
    if may_end and target == END:
        return
    known = [*check.skills, END] if may_end else check.skills
    check.is_among(path, target, known, "skill")
    if isinstance(check.spec.skills.get(target), Monitor):
        check.say(path, f"{target!r} is a monitor: it starts sessions and runs in none")


def check_responsive(check: Check, name: str, skill: Responsive) -> None:
    """An agent has a prompt, and tools of servers that are there."""
    if not skill.prompt.strip():
        check.say(("skills", name, "prompt"), f"skill {name!r} has no prompt; write its .md files, or `prompt:`")
    servers = {server.name: server for server in check.spec.mcp_servers}
    for server, tools in skill.tools.items():
        at: Where = ("skills", name, "tools", server)
        if server not in servers and check.knows("mcp_servers"):
            check.say(at, f"unknown server {server!r}; {suggest(server, servers)}", key=True)
        elif server in servers and not servers[server].enabled:
            check.say(at, f"server {server!r} is disabled; enable it, or take its tools away", key=True)
        if not tools:
            check.say(at, 'the list is empty; name tools, write ["*"] for all, or remove the server')
        if "*" in tools and len(tools) > 1:
            check.say(at, '"*" stands for all tools and stands alone; remove it, or the others')
        check.is_unique(at, tools)
        for index, tool in enumerate(tools):
            if tool != "*":
                check_tool_name(check, (*at, index), tool)


def check_supervisor(check: Check, name: str, skill: Supervisor) -> None:
    """A supervisor has somebody to send work to, and a way to choose."""
    at: Where = ("skills", name)
    if not skill.subordinates:
        check.say((*at, "subordinates"), "a supervisor needs subordinates; name at least one skill")
    check.is_unique((*at, "subordinates"), skill.subordinates)
    for index, target in enumerate(skill.subordinates):
        check_target(check, (*at, "subordinates", index), target)
        if target == name and skill.for_each is None:
            check.say((*at, "subordinates", index), "a supervisor cannot send work to itself; remove it")
    if skill.for_each is not None:
        for field in ("for_each", "item_key", "into"):
            check.is_state_key((*at, field), getattr(skill, field))
        if len(skill.subordinates) > 1:
            message = "with for_each every child enters the first subordinate; keep that one"
            check.say((*at, "subordinates"), message)
        for field in ("dispatch_prompt", "dispatch_rules"):
            if getattr(skill, field):
                check.say((*at, field), "is not read with for_each, which chooses nobody; remove it", key=True)
        return
    if skill.dispatch_strategy == "llm":
        if not (skill.dispatch_prompt or "").strip():
            check.say((*at, "dispatch_prompt"), "dispatch_strategy llm needs a dispatch_prompt; write it")
        if skill.dispatch_rules:
            check.say(
                (*at, "dispatch_rules"), "are read only with dispatch_strategy: rule; set it, or remove them", key=True
            )
    elif not skill.dispatch_rules:
        check.say((*at, "dispatch_rules"), "dispatch_strategy rule needs dispatch_rules; write at least one")
    for index, rule in enumerate(skill.dispatch_rules):
        check.compiles((*at, "dispatch_rules", index, "when"), rule.when, DISPATCH_NAMES)
        where: Where = (*at, "dispatch_rules", index, "target")
        check.is_among(where, rule.target, skill.subordinates, "subordinate")


def check_monitor(check: Check, name: str, skill: Monitor) -> None:
    """A monitor has a schedule, a tool, a condition and a target that exist."""
    at: Where = ("skills", name)
    problem = cron_problem(skill.schedule)
    if problem:
        check.say((*at, "schedule"), problem)
    check_tool_name(check, (*at, "observe"), skill.observe)
    check.compiles((*at, "emit_signal_when"), skill.emit_signal_when, MONITOR_NAMES)
    check_target(check, (*at, "trigger_target"), skill.trigger_target)


def check_plugin_pass(check: Check, name: str, skill: PluginPass) -> None:
    """A plugin pass names plugins that are there, and says where it works and on what."""
    at: Where = ("skills", name)
    if not skill.plugins:
        check.say((*at, "plugins"), "a plugin pass needs plugins; name at least one")
    bundled, operators = plugin_roots(check.spec.root, check.plugins)
    known = find_plugins(bundled, operators)
    for index, plugin in enumerate(skill.plugins):
        if not known:
            check.say(
                (*at, "plugins", index), f"unknown plugin {plugin!r}; there are none: {bundled} has no manifest.yml"
            )
        else:
            check.is_among((*at, "plugins", index), plugin, known, "plugin")
    for field in ("workspace", "files"):
        value = getattr(skill, field)
        if isinstance(value, str) and value.startswith("="):
            check.values_compile((*at, field), value, STEP_NAMES)
        elif isinstance(value, str):
            check.is_state_key((*at, field), value)
    if not isinstance(skill.files, str):
        check.is_unique((*at, "files"), skill.files)
        for index, glob in enumerate(skill.files):
            if glob.startswith("/") or ".." in glob.split("/"):
                check.say((*at, "files", index), f"{glob!r} leads out of the workspace; write a glob below it")
    check.values_compile((*at, "variables"), dict(skill.variables), STEP_NAMES)
    for word, value in skill.context.items():
        check.values_compile((*at, "context", word), value, STEP_NAMES)
    if isinstance(skill.dry_run, str):
        if not skill.dry_run.startswith("="):
            check.say((*at, "dry_run"), f"{skill.dry_run!r} is neither true, false nor an `=` expression; write one")
        check.values_compile((*at, "dry_run"), skill.dry_run, STEP_NAMES)
    if skill.into is not None:
        check.is_state_key((*at, "into"), skill.into)


def check_policies(check: Check) -> None:
    """The rules provider's policy speaks for skills that ask a model, with tools that they have."""
    model = check.spec.model
    for name, rules in model.rules.items():
        at: Where = ("model", "rules", name)
        skill = check.spec.skills.get(name)
        if name not in check.skills:
            check.is_among(at, name, check.skills, "skill", key=True)
        elif skill is not None and not _asks_model(skill):
            check.say(at, f"{name!r} is of kind {skill.kind} and asks no model; remove its policy", key=True)
        if not rules:
            check.say(at, "the policy is empty; write a rule, or remove it")
        for index, rule in enumerate(rules):
            check_rule(check, (*at, index), rule, skill)
            if rule.when is None and index < len(rules) - 1:
                check.say(
                    (*at, index), "always holds: the rules after it are never reached; give it a `when`, or move it"
                )
    if model.provider == "rules" and check.knows("model"):
        for name, skill in check.spec.skills.items():
            if _asks_model(skill) and name not in model.rules:
                message = f"provider rules has no policy for skill {name!r}; write model.rules.{name}, or name a model"
                check.say(("model", "rules"), message)


def check_rule(check: Check, at: Where, rule: PolicyRule, skill: Skill | None) -> None:
    """A policy's rule compiles, does something, and stays within its skill's tools."""
    check.compiles((*at, "when"), rule.when, POLICY_NAMES)
    if isinstance(rule.confidence, str):
        check.compiles((*at, "confidence"), rule.confidence.removeprefix("="), POLICY_NAMES)
    elif rule.confidence is not None and not 0 <= rule.confidence <= 1:
        check.say((*at, "confidence"), f"{rule.confidence} is not within 0-1")
    for field in ("say", "rationale", "signal"):
        check.values_compile((*at, field), getattr(rule, field), POLICY_NAMES)
    if rule.signal is not None and not rule.signal.startswith("=") and check.knows("signals"):
        check.is_among((*at, "signal"), rule.signal, check.spec.signals, "signal")
    if not rule.call and rule.say is None and rule.signal is None:
        check.say(at, "does nothing; give it a call, or a last word with say")
    for index, call in enumerate(rule.call):
        check_call(check, (*at, "call", index), call, skill)


def check_call(check: Check, at: Where, call: PolicyCall, skill: Skill | None) -> None:
    """A policy's call compiles and names a tool that its skill declares."""
    check.compiles((*at, "for_each"), call.for_each, POLICY_NAMES)
    names = POLICY_NAMES | ITEM_NAMES if call.for_each is not None else POLICY_NAMES
    check.compiles((*at, "when"), call.when, names)
    check.values_compile((*at, "args"), dict(call.args), names)
    if isinstance(skill, Responsive) and check.is_whole(("skills", skill.name)):
        server, tool = normalise_tool(call.tool)
        for declared, tools in skill.tools.items():
            if server in (None, declared) and (tool in tools or "*" in tools):
                return
        known = [f"{declared}:{tool}" for declared, tools in skill.tools.items() for tool in tools]
        hint = suggest(call.tool, [name.rpartition(":")[2] for name in known] if server is None else known)
        check.say((*at, "tool"), f"skill {skill.name!r} does not declare tool {call.tool!r}; {hint}")


def _asks_model(skill: Skill) -> bool:
    if isinstance(skill, Supervisor):
        return skill.dispatch_strategy == "llm" and skill.for_each is None
    return isinstance(skill, Responsive)
