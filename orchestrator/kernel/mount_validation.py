"""Say whether a mount plan can be mounted, and read from it what is to be loaded.

The one place that knows what a mount plan may hold. There are two degrees: a session asks
`check_config`, which refuses what could never start and accepts short forms (a module's bare id);
`MountPlanValidator` looks at every part for whoever writes or stores plans, and wants the long
form. Both are pure and change nothing; loading is the work of `live/modules.py`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias, get_args

from pydantic import ValidationError

from orchestrator.contracts.errors import MountPlanInvalid, MountPlanMistyped
from orchestrator.contracts.mount_plan import ModuleEntry, ModuleSection, Severity, ValidationCheck, ValidationResult

Role: TypeAlias = Literal["orchestrator", "context"]

ROLES: Final[tuple[Role, ...]] = get_args(Role)
SECTIONS: Final[tuple[ModuleSection, ...]] = get_args(ModuleSection)
#: What else a plan may hold at its top without a warning; agents are passed on as they are.
KNOWN_SECTIONS: Final = frozenset({"session", "agents", *SECTIONS})
LIMITS: Final = ("injection_budget_per_turn", "injection_size_limit")
SPEC_FORM: Final = "{'module': NAME, 'source': ..., 'config': {...}}"


def check_config(config: object) -> None:
    """Refuse a plan that no session can start from.

    Raises MountPlanMistyped where a part has the wrong type, else MountPlanInvalid.
    """
    if config is None:
        raise MountPlanMistyped("Configuration is required")
    if not isinstance(config, dict):
        raise MountPlanMistyped(f"Configuration must be a dict, got {type(config).__name__}")
    if not config:
        raise MountPlanInvalid("Configuration is required")
    session = config.get("session", {})
    if not isinstance(session, dict):
        raise MountPlanMistyped(f"session must be a dict, got {type(session).__name__}")
    for role in ROLES:
        named = session.get(role)
        if not named or (isinstance(named, dict) and not named.get("module")):
            raise MountPlanInvalid(f"Configuration must specify session.{role}")
        if not isinstance(named, str | dict):
            raise MountPlanMistyped(
                f"session.{role} must be a module's id or a dict {SPEC_FORM}, got {type(named).__name__}"
            )


def read_role(config: Mapping[str, Any], role: Role) -> ModuleEntry:
    """Return what `session.orchestrator` or `session.context` asks for, of a checked plan.

    The short form takes its source from `session.ROLE_source` and its config from the top-level
    ROLE; the long form has both itself. Raises MountPlanMistyped.
    """
    named = config["session"][role]
    if isinstance(named, str):
        wide = config.get(role) or {}
        if not isinstance(wide, dict):
            raise MountPlanMistyped(f"{role} must be a dict, got {type(wide).__name__}")
        named = {
            "module": named,
            "source": config["session"].get(f"{role}_source"),
            "config": wide.get("config"),
        }
    return _read_entry(named, f"session.{role}")


def read_section(config: Mapping[str, Any], section: ModuleSection) -> list[ModuleEntry]:
    """Return the modules of a section in their order, without entries that name none.

    Raises MountPlanMistyped for what is no list of dicts.
    """
    specs = config.get(section)
    if specs is None:
        return []
    if not isinstance(specs, list | tuple):
        raise MountPlanMistyped(f"{section} must be a list, got {type(specs).__name__}")
    for position, spec in enumerate(specs):
        if not isinstance(spec, dict):
            raise MountPlanMistyped(f"{section}[{position}] must be a dict {SPEC_FORM}, got {type(spec).__name__}")
    required = config["session"].get("require_modules", False)
    return [
        _read_entry({"required": required, **spec}, f"{section}[{position}]")
        for position, spec in enumerate(specs)
        if spec.get("module")
    ]


def check_instances(providers: Sequence[ModuleEntry]) -> None:
    """Refuse two providers of one module that would be mounted under the same name.

    Raises MountPlanInvalid.
    """
    for module, count in _count_unnamed(providers).items():
        if count > 1:
            raise MountPlanInvalid(
                "Multi-instance providers require explicit 'instance_id' on each additional entry. "
                f"Found {count} entries for module '{module}' without instance_id "
                "(at most 1 allowed as the default instance)."
            )


def default_provider_name(module_id: str) -> str:
    """Return the name under which a provider's module mounts itself.

    >>> default_provider_name("provider-x"), default_provider_name("x")
    ('x', 'x')
    """
    return module_id.removeprefix("provider-")


def _count_unnamed(providers: Sequence[ModuleEntry]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for entry in providers:
        if not entry.instance_id:
            counts[entry.module] = counts.get(entry.module, 0) + 1
    return counts


def _read_entry(spec: Mapping[Any, Any], where: str) -> ModuleEntry:
    fields = {name: spec[name] for name in ModuleEntry.model_fields if spec.get(name) is not None}
    try:
        return ModuleEntry.model_validate(fields, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        raise MountPlanMistyped(
            f"{where}.{'.'.join(map(str, first['loc']))}: {first['msg']}; write {SPEC_FORM}"
        ) from error


class MountPlanValidator:
    """Looks at every part of a mount plan in its long form.

    Error: the plan cannot be mounted. Warning: it can, but something in it will not do what its
    writer thinks. Info: what was looked at and found good.
    """

    @staticmethod
    def validate(plan: object) -> ValidationResult:
        """Return every check; never raises, whatever it is given."""
        return ValidationResult(checks=tuple(_check_plan(plan)))


def _check(name: str, passed: bool, message: str, severity: Severity = "error") -> ValidationCheck:  # noqa: FBT001 - a verdict
    return ValidationCheck(name=name, passed=passed, message=message, severity="info" if passed else severity)


def _check_plan(plan: object) -> Iterator[ValidationCheck]:
    if not isinstance(plan, dict):
        yield _check("root_type", False, f"a mount plan must be a dict, got {type(plan).__name__}")
        return
    yield _check("root_type", True, "the mount plan is a dict")
    if "session" in plan:
        yield _check("session_present", True, "there is a 'session' section")
    else:
        yield _check("session_present", False, "the 'session' section is missing; add one")
    unknown = sorted(str(name) for name in plan if name not in KNOWN_SECTIONS)
    if unknown:
        yield _check("unknown_sections", False, f"these sections are not read: {', '.join(unknown)}", "warning")
    if "session" in plan:
        yield from _check_session(plan["session"])
    for section in SECTIONS:
        if section in plan:
            yield from _check_section(plan[section], section)


def _check_session(session: object) -> Iterator[ValidationCheck]:
    if not isinstance(session, dict):
        yield _check("session_type", False, f"session: must be a dict, got {type(session).__name__}")
        return
    for role in ROLES:
        if role in session:
            yield from _check_spec(session[role], f"session.{role}")
        else:
            yield _check(f"session_{role}_present", False, f"session.{role}: missing; name its module")
    for limit in LIMITS:
        value = session.get(limit)
        if value is not None and (not isinstance(value, int) or value < 0):
            yield _check(
                f"session.{limit}_type",
                False,
                f"session.{limit}: {value!r} is no limit, and every injection will fail; write a whole number from 0",
                "warning",
            )


def _check_section(specs: object, section: ModuleSection) -> Iterator[ValidationCheck]:
    if not isinstance(specs, list):
        yield _check(f"{section}_type", False, f"{section}: must be a list, got {type(specs).__name__}")
        return
    if not specs:
        yield _check(f"{section}_empty", True, f"{section}: empty")
    found: list[ValidationCheck] = []
    for position, spec in enumerate(specs):
        found += _check_spec(spec, f"{section}[{position}]")
    yield from found
    if section == "providers" and all(check.passed for check in found):
        try:
            check_instances([_read_entry(spec, "providers") for spec in specs])
        except MountPlanInvalid as error:
            yield _check("providers_instances", False, str(error), "warning")


def _check_spec(spec: object, where: str) -> Iterator[ValidationCheck]:
    if not isinstance(spec, dict):
        yield _check(f"{where}_type", False, f"{where}: must be a dict {SPEC_FORM}, got {type(spec).__name__}")
        return
    match spec.get("module"):
        case None if "module" not in spec:
            yield _check(f"{where}_module_required", False, f"{where}: 'module' is missing; write {SPEC_FORM}")
        case str(module) if module:
            yield _check(f"{where}_module_valid", True, f"{where}: module {module!r}")
        case str():
            yield _check(f"{where}_module_empty", False, f"{where}.module: empty; name a module")
        case other:
            yield _check(f"{where}_module_type", False, f"{where}.module: must be a string, got {type(other).__name__}")
    for name, wanted, word in (("config", dict, "dict"), ("source", str, "string")):
        if name in spec and not isinstance(spec[name], wanted):
            yield _check(
                f"{where}_{name}_type", False, f"{where}.{name}: must be a {word}, got {type(spec[name]).__name__}"
            )
