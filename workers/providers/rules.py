"""Decide turns by the policy that an app declares in `model.rules`: no model, no network.

For a skill, the first rule whose `when` holds decides: it asks for its calls, or says its last
word. Expressions see the names of `facts.FACT_NAMES`; those of a call also `item` and `index` where
it has `for_each`. What is decided here beyond that:

- A `when` that cannot be evaluated does not hold (most often a result is not there yet). A name
  that does not exist is no such case: it is refused when the provider is built.
- A rule whose calls all fall away (`when`, an empty `for_each`) makes none: if it says something,
  that is its last word, otherwise the next rule is tried.
- Where no rule applies, the last word says so with confidence 0, and with the signal `failed` if
  the app has that word, so that no gate lets it pass and a person finds the reason.
- Any other expression that fails refuses the turn: trying again would give the same.

The same request always gives the same response, call ids included.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from pydantic import JsonValue

from orchestrator.contracts.app import AppSpec, PolicyCall, PolicyRule
from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.errors import ConfigError, suggest
from orchestrator.contracts.messages import ModelRequest, ModelResponse, ToolRequest
from orchestrator.contracts.provider_errors import ConfigurationError
from orchestrator.kernel.expression_functions import to_text
from orchestrator.kernel.expressions import (
    Expression,
    ExpressionError,
    Names,
    compile_expression,
    find_expressions,
    resolve,
)
from orchestrator.kernel.harvest import coerce_confidence
from workers.providers.facts import FACT_NAMES, FactsCache
from workers.providers.names import make_call_id, resolve_tool
from workers.providers.options import ProviderOptions, read_options

PROVIDER: Final = "rules"
#: Most calls that one turn may ask for.
MAX_CALLS: Final = 200
NO_RULE_SIGNAL: Final = "failed"
_ITEM_NAMES: Final = frozenset({"item", "index"})


class RulesProvider:
    """The policy of one app."""

    def __init__(self, rules: Mapping[str, tuple[PolicyRule, ...]], *, signals: tuple[str, ...]) -> None:
        self._rules, self._signals = rules, signals
        self._facts = FactsCache()

    async def complete(self, request: ModelRequest) -> ModelResponse:
        """Decide one turn; raise ConfigurationError where the policy cannot."""
        rules = self._rules.get(request.skill, ())
        where = f"model.rules.{request.skill}"
        if not rules:
            hint = suggest(request.skill, self._rules)
            raise ConfigurationError(f"{where}: the policy has no rules for this skill; {hint}", provider=PROVIDER)
        names = self._facts.read(request)
        skipped: list[str] = []
        for index, rule in enumerate(rules):
            here = f"{where}[{index}]"
            if not _holds(rule.when, names, f"{here}.when", skipped):
                continue
            try:
                response = _apply(rule, names, request, here, skipped)
            except ExpressionError as error:
                message = f"{here}: {error}; mend the rule or the data it reads"
                raise ConfigurationError(message, provider=PROVIDER) from error
            if response is not None:
                return response
        return self._no_rule(request, skipped)

    async def aclose(self) -> None:
        """Do nothing: there is no connection."""

    def _no_rule(self, request: ModelRequest, skipped: list[str]) -> ModelResponse:
        reasons = "".join(f"; {line}" for line in skipped[:5])
        return ModelResponse(
            content=f"no rule applies: skill {request.skill}, turn {request.turn}",
            confidence=0.0,
            rationale=f"no rule of model.rules.{request.skill} holds at turn {request.turn}{reasons}",
            signal=NO_RULE_SIGNAL if NO_RULE_SIGNAL in self._signals else None,
            model=PROVIDER,
        )


def build(spec: AppSpec, *, env: Mapping[str, str]) -> RulesProvider:
    """Build the policy; raise one ConfigError with every expression and rule that cannot work."""
    del env  # a policy needs nothing from outside
    read_options(spec, ProviderOptions)
    problems = [
        f"app {spec.name!r}: model.rules.{skill}[{index}]{what}"
        for skill, rules in spec.model.rules.items()
        for index, rule in enumerate(rules)
        for what in _problems_of(rule)
    ]
    problems += [
        f"app {spec.name!r}: model.rules.{skill}: there is no such skill; {suggest(skill, spec.skills)}"
        for skill in spec.model.rules
        if skill not in spec.skills
    ]
    if problems:
        raise ConfigError("\n".join(problems))
    return RulesProvider(spec.model.rules, signals=spec.signals)


def compile_bare(text: str) -> Expression:
    """Compile a field that is always an expression; a leading `=` is allowed there, and ignored."""
    return compile_expression(text.removeprefix("=") if not text.startswith("==") else text)


def _holds(when: str | None, names: Names, where: str, skipped: list[str]) -> bool:
    if when is None:
        return True
    try:
        return compile_bare(when).holds(names)
    except ExpressionError as error:
        skipped.append(f"{where}: {error}")
        return False


def _apply(
    rule: PolicyRule, names: Names, request: ModelRequest, where: str, skipped: list[str]
) -> ModelResponse | None:
    """Return what the rule says, or None if its calls all fall away and it says nothing."""
    offered = [tool.name for tool in request.tools]
    calls: list[ToolRequest] = []
    for index, call in enumerate(rule.call):
        here = f"{where}.call[{index}]"
        for args in _expand(call, names, here, skipped):
            if len(calls) >= MAX_CALLS:
                message = f"{here}: over {MAX_CALLS} calls in one turn; slice the list and go on in the next turn"
                raise ConfigurationError(message, provider=PROVIDER)
            tool = resolve_tool(call.tool, offered, where=f"{here}.tool", provider=PROVIDER)
            calls.append(ToolRequest(call_id=make_call_id(request, len(calls)), tool=tool, args=args))
    if rule.call and not calls and rule.say is None:
        return None
    return ModelResponse(
        content=_text(rule.say, names) or "",
        tool_calls=tuple(calls),
        confidence=_confidence(rule.confidence, names, f"{where}.confidence"),
        rationale=_text(rule.rationale, names),
        signal=_text(rule.signal, names),
        stop_reason="tool_use" if calls else "end_turn",
        model=PROVIDER,
    )


def _expand(call: PolicyCall, names: Names, where: str, skipped: list[str]) -> Iterator[JsonObject]:
    """Yield the arguments of each call that one PolicyCall makes."""
    scopes: list[Names] = [names]
    if call.for_each is not None:
        items = compile_bare(call.for_each).evaluate(names)
        if not isinstance(items, list):
            raise ConfigurationError(f"{where}.for_each: {call.for_each!r} is no list; give a list", provider=PROVIDER)
        scopes = [{**names, "item": item, "index": index} for index, item in enumerate(items)]
    for scope in scopes:
        if _holds(call.when, scope, f"{where}.when", skipped):
            yield {name: resolve(value, scope) for name, value in call.args.items()}


def _text(value: str | None, names: Names) -> str | None:
    found = None if value is None else resolve(value, names)
    return None if found is None else to_text(found)


def _confidence(value: str | float | None, names: Names, where: str) -> float | None:
    found: JsonValue = compile_bare(value).evaluate(names) if isinstance(value, str) else value
    confidence = coerce_confidence(found)
    if confidence is None and found is not None:
        raise ConfigurationError(f"{where}: {found!r:.60} is no number from 0 to 1; give one", provider=PROVIDER)
    return confidence


def _problems_of(rule: PolicyRule) -> Iterator[str]:
    """Yield `.path: message` for everything in a rule that could never work."""
    if not rule.call and rule.say is None and rule.confidence is None and rule.signal is None:
        yield ": the rule does nothing; give it `call`, `say`, `confidence` or `signal`"
    fixed = rule.confidence if isinstance(rule.confidence, str) else None
    yield from _check(".when", rule.when, FACT_NAMES)
    yield from _check(".confidence", fixed, FACT_NAMES)
    for path, text in ((".say", rule.say), (".rationale", rule.rationale), (".signal", rule.signal)):
        yield from _check_value(path, text, FACT_NAMES)
    for index, call in enumerate(rule.call):
        known = FACT_NAMES | _ITEM_NAMES if call.for_each is not None else FACT_NAMES
        yield from _check(f".call[{index}].for_each", call.for_each, FACT_NAMES)
        yield from _check(f".call[{index}].when", call.when, known)
        for name, value in call.args.items():
            yield from _check_value(f".call[{index}].args.{name}", value, known)


def _check(path: str, text: str | None, known: frozenset[str]) -> Iterator[str]:
    if text is None:
        return
    try:
        yield from _unknown(path, compile_bare(text), known)
    except ExpressionError as error:
        yield f"{path}: {error}"


def _check_value(path: str, value: JsonValue, known: frozenset[str]) -> Iterator[str]:
    try:
        for expression in find_expressions(value):
            yield from _unknown(path, expression, known)
    except ExpressionError as error:
        yield f"{path}: {error}"


def _unknown(path: str, expression: Expression, known: frozenset[str]) -> Iterator[str]:
    for name in sorted(expression.names - known):
        yield f"{path}: unknown name {name!r}; {suggest(name, known)}"
