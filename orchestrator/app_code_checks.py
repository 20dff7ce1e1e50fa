"""Check that an app's code is there and looks as the runtime will use it.

The state's class, the functions of compute steps and the modules of in-process servers are
imported, not called. Code runs when it is imported: an app is trusted as the runtime itself is;
what is not trusted is a plugin.
"""

from orchestrator.app_check import Check
from orchestrator.app_code import accepts, load_function, load_module
from orchestrator.app_state import load_state_class
from orchestrator.contracts.context import MANAGERS
from orchestrator.contracts.errors import AppCodeInvalid
from orchestrator.contracts.skill import ComputeStep
from orchestrator.yaml_document import Where


def check_state_class(check: Check) -> None:
    """The state's class can be imported and is a pydantic model; its fields become known to other checks."""
    if check.spec.state_schema is None or not check.spec.state_schema.strip() or not check.knows("state_schema"):
        return
    try:
        schema = load_state_class(check.spec)
    except AppCodeInvalid as error:
        check.say(("state_schema",), f"state_schema={error}")
        return
    if schema is not None and schema.model_config.get("extra") != "allow":
        check.state_keys = tuple(schema.model_fields)


def check_functions(check: Check) -> None:
    """Compute steps name functions of one argument, in-process servers modules that can register."""
    for name, skill in check.spec.skills.items():
        if isinstance(skill, ComputeStep):
            at: Where = ("skills", name, "call")
            try:
                if not accepts(load_function(check.spec, skill.call), "state"):
                    check.say(at, f"{skill.call!r} does not take one argument; it is called with the state")
            except AppCodeInvalid as error:
                check.say(at, str(error))
    context = check.spec.context
    if context is not None and context.manager not in MANAGERS and ":" in context.manager:
        try:
            if not accepts(load_function(check.spec, context.manager), "left_out"):
                check.say(("context", "manager"), f"{context.manager!r} does not take one argument: what is left out")
        except AppCodeInvalid as error:
            check.say(("context", "manager"), str(error))
    for index, server in enumerate(check.spec.mcp_servers):
        if server.module and server.enabled:
            check_server_module(check, ("mcp_servers", index, "module"), server.module)


def check_server_module(check: Check, at: Where, module: str) -> None:
    """A server's module has `register(mcp_app, cfg)`."""
    try:
        register = getattr(load_module(check.spec, module), "register", None)
    except AppCodeInvalid as error:
        check.say(at, str(error))
        return
    if not callable(register) or not accepts(register, "mcp_app", "cfg"):
        check.say(at, f"mcp_servers entry {module!r} does not expose a `register(mcp_app, cfg)` callable; add it")
