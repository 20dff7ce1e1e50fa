"""Find, in the syntax tree of one Python file, what our own rules warn of.

Broad and bare excepts, mutable defaults, `eval`/`exec`, commands for a shell. What ruff finds is the work of the plugin beside
this one. Pure: source text in, remarks out.
"""

import ast
import warnings
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final, Literal

_MUTABLE_CALLS: Final = frozenset(
    {"list", "dict", "set", "bytearray", "defaultdict", "Counter", "deque", "OrderedDict"}
)
_MUTABLE_NODES: Final = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
_SHELL_CALLS: Final = frozenset({"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"})


@dataclass(frozen=True)
class Remark:
    """One remark on a line of the file."""

    line: int
    severity: Literal["warning", "error"]
    category: str
    message: str
    suggestion: str
    rule: str


class Unparseable(Exception):
    """This interpreter cannot parse the source; `line` is where it gave up."""

    def __init__(self, reason: str, line: int) -> None:
        self.reason, self.line = reason, line
        super().__init__(reason)


def find_in_python(source: str, changed: Collection[int] | None, *, is_test: bool = False) -> list[Remark]:
    """Return the remarks on changed lines (None: all lines); raise Unparseable."""
    return [
        remark
        for node in ast.walk(parse_python(source))
        for remark in _check(node, is_test=is_test)
        if _touches(node, remark, changed)
    ]


def parse_python(source: str) -> ast.Module:
    """Return the syntax tree; raise Unparseable."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an invalid escape in reviewed code is no warning of ours
            return ast.parse(source)
    except SyntaxError as error:
        raise Unparseable(error.msg or "invalid syntax", error.lineno or 1) from error
    except (ValueError, RecursionError, MemoryError) as error:  # null bytes; nested beyond the parser's depth
        raise Unparseable(str(error) or "too deeply nested", 1) from error


def _touches(node: ast.AST, remark: Remark, changed: Collection[int] | None) -> bool:
    if changed is None or remark.line in changed:
        return True
    if not isinstance(node, ast.Call):  # a call may span lines, and the altered one need not be its first
        return False
    return any(line in changed for line in range(node.lineno, (node.end_lineno or node.lineno) + 1))


def _check(node: ast.AST, *, is_test: bool) -> Iterator[Remark]:
    match node:
        case ast.ExceptHandler():
            yield from _check_except(node)
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
            yield from _check_defaults(node)
        case ast.Call():
            yield from _check_call(node, is_test=is_test)


def _check_except(node: ast.ExceptHandler) -> Iterator[Remark]:
    if _always_reraises(node.body):
        return
    if node.type is None:
        yield Remark(
            line=node.lineno,
            severity="error",
            category="error_handling",
            message="Bare `except:` also catches KeyboardInterrupt and SystemExit, and hides every error.",
            suggestion="Name the exceptions that are expected here, or re-raise.",
            rule="bare-except",
        )
        return
    caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
    broad = next((name for name in map(_dotted, caught) if name in ("Exception", "BaseException")), None)
    if broad is not None:
        yield Remark(
            line=node.lineno,
            severity="error" if broad == "BaseException" else "warning",
            category="error_handling",
            message=f"`except {broad}` catches errors that nobody thought of, and does not raise them again.",
            suggestion="Catch what can be handled here, and let the rest pass.",
            rule="broad-except",
        )


def _always_reraises(body: list[ast.stmt]) -> bool:
    return bool(body) and isinstance(body[-1], ast.Raise)


def _check_defaults(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> Iterator[Remark]:
    defaults = [*node.args.defaults, *(default for default in node.args.kw_defaults if default is not None)]
    for default in defaults:
        called = _dotted(default.func).rpartition(".")[2] if isinstance(default, ast.Call) else ""
        if isinstance(default, _MUTABLE_NODES) or called in _MUTABLE_CALLS:
            yield Remark(
                line=default.lineno,
                severity="warning",
                category="correctness",
                message=f"Mutable default of `{getattr(node, 'name', 'lambda')}`: all calls share one object.",
                suggestion="Use None as the default and make the object inside the function.",
                rule="mutable-default",
            )


def _check_call(node: ast.Call, *, is_test: bool) -> Iterator[Remark]:
    name = _dotted(node.func)
    command = node.args[0] if node.args else None
    if name in ("eval", "exec", "builtins.eval", "builtins.exec"):
        yield Remark(
            line=node.lineno,
            severity="warning" if is_test or isinstance(command, ast.Constant) else "error",
            category="security",
            message=f"`{name}` runs text as code; whoever shapes the text shapes the program.",
            suggestion="Parse the text (`ast.literal_eval`, `json.loads`), or choose from named functions.",
            rule="eval",
        )
    elif name in _SHELL_CALLS or any(_is_true(word) for word in node.keywords if word.arg == "shell"):
        yield Remark(
            line=node.lineno,
            severity=_shell_severity(command, is_test=is_test),
            category="security",
            message=f"`{name or 'a call'}` hands its command to a shell: metacharacters in it are obeyed.",
            suggestion="Pass a list of arguments to `subprocess.run` without `shell=True`.",
            rule="shell",
        )


def _shell_severity(command: ast.expr | None, *, is_test: bool) -> Literal["warning", "error"]:
    return "warning" if is_test or isinstance(command, ast.Constant) else "error"


def _is_true(word: ast.keyword) -> bool:
    return isinstance(word.value, ast.Constant) and bool(word.value.value)


def _dotted(node: ast.expr) -> str:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ".".join(["?", *reversed(parts)])
