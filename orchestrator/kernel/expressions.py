"""Evaluate the safe expressions that apps write in YAML: conditions, arguments, confidences.

The grammar is a small part of Python's: names, constants, comparisons, `and or not`, arithmetic,
subscripts and slices, list, tuple and mapping literals, `a if c else b`, and calls of the closed
set in `expression_functions`. Everything else - attributes, comprehensions, lambda, f-strings,
`:=`, `*x`, keyword arguments, names with `__` - is refused when the text is compiled, so that an
app that loads can do nothing but compute. Texts, trees, numbers, strings and lists are bounded.

Pure: no I/O, no clock, no randomness. A result may share parts with the names that it was given,
so neither is to be changed in place. Which names there are is the caller's affair.
"""

from collections.abc import Iterator
from functools import lru_cache

from pydantic import JsonValue

from orchestrator.kernel.expression_compiler import FAILURES, Compiler, ExpressionError, Names, Run, reason_of

__all__ = ["Expression", "ExpressionError", "Names", "compile_expression", "find_expressions", "resolve"]


class Expression:
    """A compiled expression. `names` are those that it may look up."""

    __slots__ = ("_run", "names", "text")

    def __init__(self, text: str, names: frozenset[str], run: Run) -> None:
        self.text, self.names, self._run = text, names, run

    def evaluate(self, names: Names) -> JsonValue:
        """Return the value over these names; raise ExpressionError, and never anything else."""
        try:
            value: JsonValue = self._run(names)
        except FAILURES as error:
            raise ExpressionError(reason_of(error), text=self.text) from error
        return value

    def holds(self, names: Names) -> bool:
        """Return whether the value is true as Python counts it; raise ExpressionError."""
        return bool(self.evaluate(names))

    def __repr__(self) -> str:
        """Show the text."""
        return f"Expression({self.text!r})"


@lru_cache(maxsize=4096)
def compile_expression(text: str) -> Expression:
    """Compile one expression, or raise ExpressionError with the position of what is wrong.

    >>> compile_expression("state['count'] + 1 if ok else 0").evaluate({"state": {"count": 2}, "ok": True})
    3
    >>> sorted(compile_expression("a and len(b) > 1").names)
    ['a', 'b']
    """
    names, run = Compiler(text).compile()
    return Expression(text, names, run)


def resolve(value: JsonValue, names: Names) -> JsonValue:
    """Return `value` with every string that begins with `=` replaced by that expression's value.

    Mappings (their values, not their keys) and lists are walked; `==x` stands for the text `=x`.

    >>> resolve({"who": "=user", "literal": "==user", "n": [1, "=1 + 1"]}, {"user": "ann"})
    {'who': 'ann', 'literal': '=user', 'n': [1, 2]}
    """
    try:
        return _resolve(value, names)
    except RecursionError as error:
        raise ExpressionError("the value is nested too deeply", text="") from error


def find_expressions(value: JsonValue) -> Iterator[Expression]:
    """Compile every expression that `resolve` would evaluate: an app is checked before it runs.

    >>> [e.text for e in find_expressions({"a": ["=x", "plain", "==y"]})]
    ['x']
    """
    waiting = [value]
    while waiting:
        match waiting.pop():
            case str(text) if text.startswith("=") and not text.startswith("=="):
                yield compile_expression(text[1:])
            case list(items):
                waiting.extend(reversed(items))
            case dict(pairs):
                waiting.extend(reversed(pairs.values()))


def _resolve(value: JsonValue, names: Names) -> JsonValue:
    if isinstance(value, str):
        if not value.startswith("="):
            return value
        return value[1:] if value.startswith("==") else compile_expression(value[1:]).evaluate(names)
    if isinstance(value, list):
        return [_resolve(item, names) for item in value]
    if isinstance(value, dict):
        return {key: _resolve(item, names) for key, item in value.items()}
    return value
