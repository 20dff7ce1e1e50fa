"""Small faults put into a source on purpose: a test suite that does not notice one says nothing about that line.

Python is mutated in its tree, Lua in its text (comments and strings are left alone). Pure: nothing is written or run here.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """One fault: where it is, what was written, what is written now, and the whole source with it."""

    file: str
    line: int
    was: str
    now: str
    source: str
    #: The last line of the statement that has it: a tracer may name any of a statement's lines.
    last: int = 0
    #: Whether it stands where a function's defaults are made, which is when its module is imported.
    in_default: bool = False

    @property
    def label(self) -> str:
        """What people read of it."""
        return f"{self.file}:{self.line}: `{self.was}` → `{self.now}`"


_COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_COMPUTED: dict[type[ast.operator], type[ast.operator]] = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add}


def of_python(file: str, source: str) -> Iterator[Mutant]:
    """Yield a mutant for every comparison, and/or, not, sum, number and truth in functions."""
    tree = ast.parse(source)
    tops = [top for top in ast.walk(tree) if isinstance(top, ast.FunctionDef)]
    defaults = {
        id(inner) for top in tops for made in ast.iter_child_nodes(top) if made is top.args for inner in ast.walk(made)
    }
    inside = {
        id(inner): inner for top in tops for inner in ast.walk(top)
    }  # what stands in a function in a function, once
    for node in inside.values():
        was = ast.unparse(node) if isinstance(node, ast.expr) else ""
        for undo in _change(node):
            now = ast.unparse(node) if isinstance(node, ast.expr) else ""
            line, last = getattr(node, "lineno", 0), getattr(node, "end_lineno", 0)
            yield Mutant(file, line, was, now, ast.unparse(tree), last, id(node) in defaults)
            undo()


def _change(node: ast.AST) -> Iterator[object]:
    """Change a node in place, yield how to change it back, and do so once for each fault that it can have."""
    if isinstance(node, ast.Compare):
        for place, op in enumerate(node.ops):
            node.ops[place] = _COMPARED[type(op)]()
            yield lambda place=place, op=op: node.ops.__setitem__(place, op)
    elif isinstance(node, ast.BoolOp):
        op = node.op
        node.op = ast.Or() if isinstance(op, ast.And) else ast.And()
        yield lambda: setattr(node, "op", op)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        operand = node.operand
        node.operand = ast.UnaryOp(ast.Not(), operand)
        yield lambda: setattr(node, "operand", operand)
    elif isinstance(node, ast.BinOp) and type(node.op) in _COMPUTED:
        computed = node.op
        node.op = _COMPUTED[type(computed)]()
        yield lambda: setattr(node, "op", computed)
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool | int):
        value = node.value
        node.value = (not value) if isinstance(value, bool) else value + 1
        yield lambda: setattr(node, "value", value)


_LUA = re.compile(
    r"--[^\n]*|'[^'\n]*'|(?P<op>==|~=|<=|>=|<|>|\band\b|\bor\b|\bnot\b|(?<=[ (])\+(?= )|(?<![\w.%\[])\d+\b(?!\]))"
)
_SWAPPED = {
    "==": "~=", "~=": "==", "<": "<=", "<=": "<", ">": ">=", ">=": ">", "and": "or", "or": "and", "not": "not not", "+": "-",
}  # fmt: skip


def of_lua(file: str, source: str) -> Iterator[Mutant]:
    """Yield a mutant for every comparison, and/or, not, sum and number that is no index."""
    for found in _LUA.finditer(source):
        was = found["op"]
        if was is None:
            continue
        now = _SWAPPED.get(was) or str(int(was) + 1)
        line = source.count("\n", 0, found.start()) + 1
        text = source.splitlines()[line - 1].strip()
        yield Mutant(file, line, text, f"{was} → {now}", source[: found.start()] + now + source[found.end() :])
