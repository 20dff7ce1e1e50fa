"""`except Exception` stands at process edges only, each place named here, and nothing is suppressed wholesale."""

import ast
from collections.abc import Iterator

import pytest

from tests.architecture.source_tree import ROOT, SHIPPED, Module, called_name, load_modules, parse

#: `path:function` → why this is an edge: of the process, or of code that modules of one process registered.
NAMED = {
    "workers/executor.py:_perform": "the edge of an app's own code: whatever it raises is journaled, then retried or buried",
    "orchestrator/app_code.py:load_module": "the edge of an app's own code at its import: told as a problem of that app",
    "orchestrator/app_code.py:call_function": "the edge of a transform's and a validator's code: told as that app's failure",
    "plugin_sandbox/inner/runner.py:attempt": "the edge of a plugin's code, in a process that ends with it",
    "orchestrator/kernel/live/guard.py:guarded": "the edge of hooks' and modules' code: recorded, and the next has its turn",
}

BROAD = frozenset({"Exception", "BaseException"})
#: What counts as a record of the error: a log line with its traceback, a dead letter, a journal entry.
RECORDERS = frozenset(
    {"exception", "critical", "error", "warning", "bury", "record", "settle_failure", "set_exception"}
)


def list_names(node: ast.expr | None) -> set[str]:
    """Return the names that an except clause or a call's argument holds."""
    return {
        part.id if isinstance(part, ast.Name) else part.attr
        for part in ast.walk(node or ast.Pass())
        if isinstance(part, ast.Name | ast.Attribute)
    }


def find_broad(module: Module) -> Iterator[tuple[str, ast.ExceptHandler | ast.Call]]:
    """Yield `path:function` with each broad handler and each wholesale suppress."""

    def walk(node: ast.AST, function: str) -> Iterator[tuple[str, ast.ExceptHandler | ast.Call]]:
        for child in ast.iter_child_nodes(node):
            inside = child.name if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) else function
            if isinstance(child, ast.ExceptHandler) and (child.type is None or BROAD & list_names(child.type)):
                yield f"{module.path}:{inside}", child
            if (
                isinstance(child, ast.Call)
                and called_name(child) == "suppress"
                and any(BROAD & list_names(arg) for arg in child.args)
            ):
                yield f"{module.path}:{inside}", child
            yield from walk(child, inside)

    yield from walk(module.tree, "<module>")


def is_honest(handler: ast.ExceptHandler | ast.Call) -> bool:
    """Say whether a handler raises again or records what it caught."""
    if isinstance(handler, ast.Call):
        return False
    return any(
        isinstance(node, ast.Raise) or (isinstance(node, ast.Call) and called_name(node) in RECORDERS)
        for statement in handler.body
        for node in ast.walk(statement)
    )


def load_all() -> list[Module]:
    """Return every module that is shipped, and the launcher."""
    return [*load_modules(*SHIPPED), parse("baton", (ROOT / "baton").read_text(encoding="utf-8"))]


def test_a_broad_except_is_named() -> None:
    """An error that nobody expected must stop the process or be seen, not vanish three calls deeper."""
    places = {
        f"{place} (line {node.lineno})"
        for module in load_all()
        for place, node in find_broad(module)
        if place not in NAMED
    }

    assert places == set()


def test_a_named_place_exists_and_raises_or_records() -> None:
    """An entry that outlives its handler would let a new one in unseen."""
    found = [(place, node) for module in load_all() for place, node in find_broad(module) if place in NAMED]

    assert len(NAMED) <= 5
    assert {place for place, _ in found} == set(NAMED)
    assert [place for place, node in found if not is_honest(node)] == []


@pytest.mark.parametrize(
    "source",
    [
        "def f():\n    try: g()\n    except Exception: pass",
        "async def f():\n    try: g()\n    except (KeyError, builtins.BaseException) as e: log(e)",
        "def f():\n    try: g()\n    except: raise",
        "def f():\n    with contextlib.suppress(ValueError, Exception): g()",
    ],
)
def test_every_spelling_of_a_broad_except_is_found(source: str) -> None:
    """The rule is about what is caught, not about how it is written."""
    assert [place for place, _ in find_broad(parse("workers/x.py", source))] == ["workers/x.py:f"]


def test_a_silent_handler_is_told_from_an_honest_one() -> None:
    """A name on the list excuses the breadth, never the silence."""
    sources = ["pass", "raise", "logger.exception('no')", "x = 1"]

    verdicts = [
        is_honest(handler)
        for text in sources
        for _, handler in find_broad(parse("x.py", f"try: f()\nexcept Exception: {text}"))
    ]

    assert verdicts == [False, True, True, False]
