"""Compile the text of a safe expression into closures, and refuse everything outside its grammar.

The grammar is a small part of Python's, named in `expressions`. A tree is checked while it is
built: what is not listed here does not exist. Evaluating and its errors' last net are `expressions`'.
"""

import ast
import operator
from collections.abc import Callable, Mapping
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
FAILURES: Final = (TypeError, ValueError, LookupError, ArithmeticError, RecursionError, MemoryError)

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
    ast.Attribute: "an attribute is not allowed; write x['name'] for a key",
    ast.Lambda: "a lambda is not allowed",
    ast.JoinedStr: "an f-string is not allowed; join texts with +",
    ast.NamedExpr: "an assignment is not allowed; compare with ==",
    ast.Starred: "a starred value is not allowed",
    ast.Set: "a set is not allowed; write a list",
    ast.ListComp: "a comprehension is not allowed; use where() or pluck()",
    ast.SetComp: "a comprehension is not allowed; use where() or pluck()",
    ast.DictComp: "a comprehension is not allowed; use where() or pluck()",
    ast.GeneratorExp: "a comprehension is not allowed; use where() or pluck()",
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


def reason_of(error: BaseException) -> str:
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


class Compiler:
    """Turns one text into a closure. An object only so that errors know the text."""

    def __init__(self, text: str) -> None:
        self.text, self.names = text, set[str]()
        self.body = text.strip()
        self.shift = len(text) - len(text.lstrip())

    def compile(self) -> tuple[frozenset[str], Run]:
        """Return the names that the expression looks up, and the closure that computes it."""
        if len(self.text) > MAX_CHARACTERS:
            self._refuse(f"it has {len(self.text)} characters, over the limit of {MAX_CHARACTERS}", 0)
        try:
            tree = ast.parse(self.body, mode="eval").body
        except SyntaxError as error:
            self._refuse(f"not an expression: {error.msg}", self._offset(error.lineno, (error.offset or 1) - 1))
        except (ValueError, RecursionError, MemoryError) as error:
            self._refuse(f"not an expression: {reason_of(error)}", 0)
        count = sum(isinstance(node, ast.expr) for node in ast.walk(tree))
        if count > MAX_NODES:
            self._refuse(f"it has {count} parts, over the limit of {MAX_NODES}", 0)
        run = self._build(tree, 0)
        return frozenset(self.names), run

    def _offset(self, line: int | None, column: int) -> int:
        """Return the position in the text as given of a line (from 1) and column (from 0)."""
        before = self.body.split("\n")[: max(0, (line or 1) - 1)]
        return min(len(self.text), self.shift + sum(len(b) + 1 for b in before) + max(0, column))

    def _place(self, node: ast.expr) -> int:
        """Return a node's position; ast counts bytes of UTF-8, people count characters."""
        lines = self.body.split("\n")
        line = lines[node.lineno - 1] if node.lineno <= len(lines) else ""
        return self._offset(node.lineno, len(line.encode()[: node.col_offset].decode(errors="ignore")))

    def _error(self, what: str, position: int) -> ExpressionError:
        return ExpressionError(what, text=self.text, position=position)

    def _refuse(self, what: str, position: int, cause: BaseException | None = None) -> NoReturn:
        raise self._error(what, position) from cause

    def _guard(self, node: ast.expr, run: Run) -> Run:
        """Let a failure in `run` say where in the text it happened."""
        position = self._place(node)

        def guarded(names: Names) -> Any:
            try:
                return run(names)
            except FAILURES as error:
                self._refuse(reason_of(error), position, error)

        return guarded

    def _build(self, node: ast.expr, depth: int) -> Run:
        if depth > MAX_DEPTH:
            self._refuse(f"it is nested over {MAX_DEPTH} deep", self._place(node))
        match node:
            case ast.Constant():
                return self._constant(node)
            case ast.Name():
                return self._name(node)
            case ast.BoolOp():
                return self._bool_op(node, depth)
            case ast.Compare():
                return self._compare(node, depth)
            case ast.BinOp() if (act := _BINARY.get(type(node.op))) is not None:
                left, right = self._build(node.left, depth + 1), self._build(node.right, depth + 1)
                return self._guard(node, lambda names, act=act: act(left(names), right(names)))  # type: ignore[misc]
            case ast.UnaryOp() if (change := _UNARY.get(type(node.op))) is not None:
                operand = self._build(node.operand, depth + 1)
                return self._guard(node, lambda names, change=change: change(operand(names)))  # type: ignore[misc]
            case ast.IfExp():
                test, yes, no = (self._build(n, depth + 1) for n in (node.test, node.body, node.orelse))
                return lambda names: yes(names) if test(names) else no(names)
            case ast.Subscript():
                return self._subscript(node, depth)
            case ast.List() | ast.Tuple():
                items = tuple(self._build(n, depth + 1) for n in node.elts)
                return lambda names: [item(names) for item in items]
            case ast.Dict():
                return self._mapping(node, depth)
            case ast.Call():
                return self._call(node, depth)
        kind = node.op if isinstance(node, ast.BinOp | ast.UnaryOp) else node
        raise self._error(_REFUSED.get(type(node), f"{type(kind).__name__} is not allowed"), self._place(node))

    def _constant(self, node: ast.Constant) -> Run:
        value = node.value
        if value is not None and not isinstance(value, str | int | float):
            self._refuse(f"a {type(value).__name__} is not allowed", self._place(node))
        try:
            bounded(value)
            str(value).encode()
        except UnicodeEncodeError as error:
            self._refuse("half of a surrogate pair is no text that JSON holds", self._place(node), error)
        except ValueError as error:
            self._refuse(str(error), self._place(node), error)
        return lambda _names: value

    def _name(self, node: ast.Name) -> Run:
        word = node.id
        if "__" in word:
            self._refuse(f"the name {word!r} is not allowed", self._place(node))
        self.names.add(word)
        position = self._place(node)

        def look_up(names: Names) -> Any:
            try:
                return names[word]
            except KeyError as error:
                hint = suggest(word, {*names, "True", "False", "None"})
                self._refuse(f"unknown name {word!r}; {hint}", position, error)

        return look_up

    def _bool_op(self, node: ast.BoolOp, depth: int) -> Run:
        *before, last = (self._build(n, depth + 1) for n in node.values)  # the last one is the value
        stops_at = isinstance(node.op, ast.Or)

        def run(names: Names) -> Any:
            for part in before:
                value = part(names)
                if bool(value) is stops_at:
                    return value
            return last(names)

        return run

    def _compare(self, node: ast.Compare, depth: int) -> Run:
        for op, side in zip(node.ops, node.comparators, strict=True):
            constant = isinstance(side, ast.Constant) and (side.value is None or isinstance(side.value, bool))
            if isinstance(op, ast.Is | ast.IsNot) and not constant:
                self._refuse("`is` compares with None, True or False only; use ==", self._place(side))
        first = self._build(node.left, depth + 1)
        rest = [(_COMPARE[type(o)], self._build(n, depth + 1)) for o, n in zip(node.ops, node.comparators, strict=True)]
        if len(rest) == 1:
            test, second = rest[0]
            return self._guard(node, lambda names: test(first(names), second(names)))

        def run(names: Names) -> Any:
            left = first(names)
            for test, part in rest:
                right = part(names)
                if not test(left, right):
                    return False
                left = right
            return True

        return self._guard(node, run)

    def _subscript(self, node: ast.Subscript, depth: int) -> Run:
        box = self._build(node.value, depth + 1)
        if isinstance(node.slice, ast.Slice):
            ends = (node.slice.lower, node.slice.upper, node.slice.step)
            start, stop, step = (self._build(n, depth + 1) if n else (lambda _names: None) for n in ends)
            return self._guard(node, lambda names: functions.cut(box(names), start(names), stop(names), step(names)))
        key = self._build(node.slice, depth + 1)
        return self._guard(node, lambda names: functions.pick(box(names), key(names)))

    def _mapping(self, node: ast.Dict, depth: int) -> Run:
        pairs = []
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                self._refuse("a starred value is not allowed", self._place(value))
            if isinstance(key, ast.Constant) and not isinstance(key.value, str):
                self._refuse("a key is text", self._place(key))
            pairs.append((self._build(key, depth + 1), self._build(value, depth + 1)))

        def run(names: Names) -> Any:
            made = {key(names): value(names) for key, value in pairs}
            if not all(isinstance(key, str) for key in made):
                raise TypeError("a key is text")
            return made

        return self._guard(node, run)

    def _call(self, node: ast.Call, depth: int) -> Run:
        if not isinstance(node.func, ast.Name):
            self._refuse(_REFUSED.get(type(node.func), "calling this is not allowed"), self._place(node.func))
        word = node.func.id
        function = FUNCTIONS.get(word)
        if function is None:
            self._refuse(f"unknown function {word!r:.60}; {suggest(word, FUNCTIONS)}", self._place(node))
        if node.keywords:
            self._refuse(f"{word} takes its arguments by position", self._place(node))
        if not function.least <= len(node.args) <= function.most:
            wanted = " to ".join(sorted({str(function.least), str(function.most)}, key=int))
            self._refuse(f"{word} takes {wanted} arguments, not {len(node.args)}", self._place(node))
        act, parts = function.run, tuple(self._build(n, depth + 1) for n in node.args)
        if len(parts) == 1:
            only = parts[0]
            return self._guard(node, lambda names: act(only(names)))
        return self._guard(node, lambda names: act(*[part(names) for part in parts]))
