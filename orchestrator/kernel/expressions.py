"""Evaluate the safe expressions that apps write in YAML: conditions, arguments, confidences.

The grammar is a small part of Python's: names, constants, comparisons, `and or not`, arithmetic,
subscripts and slices, list, tuple and mapping literals, `a if c else b`, and calls of the closed
set in `expression_functions`. Everything else - attributes, comprehensions, lambda, f-strings,
`:=`, `*x`, keyword arguments, names with `__` - is refused when the text is compiled, so that an
app that loads can do nothing but compute. Texts, trees, numbers, strings and lists are bounded.

Pure: no I/O, no clock, no randomness. A result may share parts with the names that it was given,
so neither is to be changed in place. Which names there are is the caller's affair.
"""

import ast
import operator
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, NoReturn, TypeAlias

from pydantic import JsonValue

from orchestrator.contracts.errors import ConfigError, suggest
from orchestrator.kernel import expression_functions as functions
from orchestrator.kernel.expression_functions import FUNCTIONS, bounded

MAX_CHARACTERS: Final = 2_000
MAX_NODES: Final = 200
MAX_DEPTH: Final = 40

Names: TypeAlias = Mapping[str, JsonValue]
Run: TypeAlias = Callable[[Names], Any]

#: What a bounded computation over JSON values can fail with; nothing else is caught.
_FAILURES: Final = (TypeError, ValueError, LookupError, ArithmeticError, RecursionError, MemoryError)

_BINARY: Final[dict[type[ast.operator], Callable[[Any, Any], Any]]] = {
    ast.Add: functions.add,
    ast.Sub: functions.subtract,
    ast.Mult: functions.multiply,
    ast.Div: functions.divide,
    ast.FloorDiv: functions.floor_divide,
    ast.Mod: functions.modulo,
    ast.Pow: functions.power,
}
_COMPARE: Final[dict[type[ast.cmpop], Callable[[Any, Any], Any]]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: functions.is_member,
    ast.NotIn: lambda item, box: not functions.is_member(item, box),
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
}
_UNARY: Final[dict[type[ast.unaryop], Callable[[Any], Any]]] = {
    ast.Not: operator.not_,
    ast.USub: functions.negate,
}
_REFUSED: Final[dict[type[ast.expr], str]] = {
    ast.Attribute: "an attribute; write x['name'] for a key",
    ast.Lambda: "a lambda",
    ast.JoinedStr: "an f-string; join texts with +",
    ast.NamedExpr: "an assignment; compare with ==",
    ast.Starred: "a starred value",
    ast.Set: "a set; write a list",
    ast.ListComp: "a comprehension; use where() or pluck()",
    ast.SetComp: "a comprehension; use where() or pluck()",
    ast.DictComp: "a comprehension; use where() or pluck()",
    ast.GeneratorExp: "a comprehension; use where() or pluck()",
    ast.Await: "await",
    ast.Yield: "yield",
    ast.YieldFrom: "yield",
}


class ExpressionError(ConfigError):
    """An expression cannot be compiled or evaluated; `position` counts its characters from 0."""

    def __init__(self, what: str, *, text: str, position: int = 0) -> None:
        self.what, self.text, self.position = what, text, position
        shown = text if len(text) <= 80 else f"{text[:77]}..."
        super().__init__(f"expression {shown!r}, column {position + 1}: {what}")

    def __reduce__(self) -> tuple[Callable[..., "ExpressionError"], tuple[str, str, int]]:
        """Survive a trip between processes, which exceptions with keywords do not by themselves."""
        return _rebuild_error, (self.what, self.text, self.position)


def _rebuild_error(what: str, text: str, position: int) -> ExpressionError:
    return ExpressionError(what, text=text, position=position)


class Expression:
    """A compiled expression. `names` are those that it may look up."""

    __slots__ = ("_run", "names", "text")

    def __init__(self, text: str, names: frozenset[str], run: Run) -> None:
        self.text, self.names, self._run = text, names, run

    def evaluate(self, names: Names) -> JsonValue:
        """Return the value over these names; raise ExpressionError, and never anything else."""
        try:
            value: JsonValue = self._run(names)
        except _FAILURES as error:
            raise ExpressionError(_reason(error), text=self.text) from error
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
    >>> compile_expression("().__class__")
    Traceback (most recent call last):
        ...
    orchestrator.kernel.expressions.ExpressionError: expression '().__class__', column 1: an attribute; \
write x['name'] for a key is not allowed
    """
    return _Compiler(text).compile()


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
    match value:
        case str() if value.startswith("=") and not value.startswith("=="):
            yield compile_expression(value[1:])
        case list():
            for item in value:
                yield from find_expressions(item)
        case dict():
            for item in value.values():
                yield from find_expressions(item)


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


def _reason(error: BaseException) -> str:
    """Return what went wrong in words; the messages of our own functions are such words."""
    match error:
        case RecursionError():
            return "the values are nested too deeply"
        case MemoryError():
            return "the values are too large"
        case OverflowError():
            return "the number is too large"
        case KeyError():
            return f"there is no key {error.args[0] if error.args else ''!r:.60}"
    return str(error)[:200] or type(error).__name__


class _Compiler:
    """Turns one text into a closure. An object only so that errors know the text."""

    def __init__(self, text: str) -> None:
        self.text, self.names = text, set[str]()
        self.body = text.strip()
        self.shift = len(text) - len(text.lstrip())

    def compile(self) -> Expression:
        if len(self.text) > MAX_CHARACTERS:
            self.refuse(f"it has {len(self.text)} characters, over the limit of {MAX_CHARACTERS}", 0)
        try:
            tree = ast.parse(self.body, mode="eval").body
        except SyntaxError as error:
            self.refuse(f"not an expression: {error.msg}", self.offset(error.lineno, (error.offset or 1) - 1))
        except (ValueError, RecursionError, MemoryError) as error:
            self.refuse(f"not an expression: {_reason(error)}", 0)
        count = sum(isinstance(node, ast.expr) for node in ast.walk(tree))
        if count > MAX_NODES:
            self.refuse(f"it has {count} parts, over the limit of {MAX_NODES}", 0)
        run = self.build(tree, 0)
        return Expression(self.text, frozenset(self.names), run)

    def offset(self, line: int | None, column: int) -> int:
        """Return the position in the text as given of a line (from 1) and column (from 0)."""
        before = self.body.splitlines(keepends=True)[: max(0, (line or 1) - 1)]
        return min(len(self.text), self.shift + sum(map(len, before)) + max(0, column))

    def place(self, node: ast.expr) -> int:
        """Return a node's position; ast counts bytes of UTF-8, people count characters."""
        lines = self.body.splitlines()
        line = lines[node.lineno - 1] if node.lineno <= len(lines) else ""
        return self.offset(node.lineno, len(line.encode()[: node.col_offset].decode(errors="ignore")))

    def refuse(self, what: str, position: int, cause: BaseException | None = None) -> NoReturn:
        raise ExpressionError(what, text=self.text, position=position) from cause

    def guard(self, node: ast.expr, run: Run) -> Run:
        """Let a failure in `run` say where in the text it happened."""
        position = self.place(node)

        def guarded(names: Names) -> Any:
            try:
                return run(names)
            except _FAILURES as error:
                self.refuse(_reason(error), position, error)

        return guarded

    def build(self, node: ast.expr, depth: int) -> Run:
        if depth > MAX_DEPTH:
            self.refuse(f"it is nested over {MAX_DEPTH} deep", self.place(node))
        match node:
            case ast.Constant():
                return self.constant(node)
            case ast.Name():
                return self.name(node)
            case ast.BoolOp():
                return self.bool_op(node, depth)
            case ast.Compare():
                return self.compare(node, depth)
            case ast.BinOp() if (act := _BINARY.get(type(node.op))) is not None:
                left, right = self.build(node.left, depth + 1), self.build(node.right, depth + 1)
                return self.guard(node, lambda names, act=act: act(left(names), right(names)))  # type: ignore[misc]
            case ast.UnaryOp() if (change := _UNARY.get(type(node.op))) is not None:
                operand = self.build(node.operand, depth + 1)
                return self.guard(node, lambda names, change=change: change(operand(names)))  # type: ignore[misc]
            case ast.IfExp():
                test, yes, no = (self.build(n, depth + 1) for n in (node.test, node.body, node.orelse))
                return lambda names: yes(names) if test(names) else no(names)
            case ast.Subscript():
                return self.subscript(node, depth)
            case ast.List() | ast.Tuple():
                items = tuple(self.build(n, depth + 1) for n in node.elts)
                return lambda names: [item(names) for item in items]
            case ast.Dict():
                return self.mapping(node, depth)
            case ast.Call():
                return self.call(node, depth)
        what = _REFUSED.get(type(node), f"this {type(node).__name__}")
        if isinstance(node, ast.BinOp | ast.UnaryOp):
            what = f"the operator {type(node.op).__name__}"
        self.refuse(f"{what} is not allowed", self.place(node))

    def constant(self, node: ast.Constant) -> Run:
        value = node.value
        if value is not None and not isinstance(value, str | int | float):
            self.refuse(f"a {type(value).__name__} is not allowed", self.place(node))
        try:
            bounded(value)
        except ValueError as error:
            self.refuse(str(error), self.place(node), error)
        return lambda _names: value

    def name(self, node: ast.Name) -> Run:
        word = node.id
        if "__" in word:
            self.refuse(f"the name {word!r} is not allowed", self.place(node))
        self.names.add(word)
        position = self.place(node)

        def look_up(names: Names) -> Any:
            try:
                return names[word]
            except KeyError as error:
                hint = suggest(word, {*names, "True", "False", "None"})
                self.refuse(f"unknown name {word!r}; {hint}", position, error)

        return look_up

    def bool_op(self, node: ast.BoolOp, depth: int) -> Run:
        *before, last = (self.build(n, depth + 1) for n in node.values)  # the last one is the value
        stops_at = isinstance(node.op, ast.Or)

        def run(names: Names) -> Any:
            for part in before:
                value = part(names)
                if bool(value) is stops_at:
                    return value
            return last(names)

        return run

    def compare(self, node: ast.Compare, depth: int) -> Run:
        for op, side in zip(node.ops, node.comparators, strict=True):
            constant = isinstance(side, ast.Constant) and (side.value is None or isinstance(side.value, bool))
            if isinstance(op, ast.Is | ast.IsNot) and not constant:
                self.refuse("`is` compares with None, True or False only; use ==", self.place(side))
        first = self.build(node.left, depth + 1)
        rest = [(_COMPARE[type(o)], self.build(n, depth + 1)) for o, n in zip(node.ops, node.comparators, strict=True)]
        if len(rest) == 1:
            test, second = rest[0]
            return self.guard(node, lambda names: test(first(names), second(names)))

        def run(names: Names) -> Any:
            left = first(names)
            for test, part in rest:
                right = part(names)
                if not test(left, right):
                    return False
                left = right
            return True

        return self.guard(node, run)

    def subscript(self, node: ast.Subscript, depth: int) -> Run:
        box = self.build(node.value, depth + 1)
        if isinstance(node.slice, ast.Slice):
            ends = (node.slice.lower, node.slice.upper, node.slice.step)
            start, stop, step = (self.build(n, depth + 1) if n else (lambda _names: None) for n in ends)
            return self.guard(node, lambda names: functions.cut(box(names), start(names), stop(names), step(names)))
        key = self.build(node.slice, depth + 1)
        return self.guard(node, lambda names: functions.pick(box(names), key(names)))

    def mapping(self, node: ast.Dict, depth: int) -> Run:
        pairs = []
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                self.refuse("a starred value is not allowed", self.place(value))
            if isinstance(key, ast.Constant) and not isinstance(key.value, str):
                self.refuse("a key is text", self.place(key))
            pairs.append((self.build(key, depth + 1), self.build(value, depth + 1)))

        def run(names: Names) -> Any:
            made = {key(names): value(names) for key, value in pairs}
            if not all(isinstance(key, str) for key in made):
                raise TypeError("a key is text")
            return made

        return self.guard(node, run)

    def call(self, node: ast.Call, depth: int) -> Run:
        if not isinstance(node.func, ast.Name):
            what = _REFUSED.get(type(node.func), "calling this")
            self.refuse(f"{what} is not allowed", self.place(node.func))
        word = node.func.id
        function = FUNCTIONS.get(word)
        if function is None:
            self.refuse(f"unknown function {word!r:.60}; {suggest(word, FUNCTIONS)}", self.place(node))
        if node.keywords:
            self.refuse(f"{word} takes its arguments by position", self.place(node))
        if not function.least <= len(node.args) <= function.most:
            wanted = " to ".join(sorted({str(function.least), str(function.most)}, key=int))
            self.refuse(f"{word} takes {wanted} arguments, not {len(node.args)}", self.place(node))
        act, parts = function.run, tuple(self.build(n, depth + 1) for n in node.args)
        if len(parts) == 1:
            only = parts[0]
            return self.guard(node, lambda names: act(only(names)))
        return self.guard(node, lambda names: act(*[part(names) for part in parts]))
