"""A test never sleeps: it moves a clock or waits for a named event."""

import ast

import pytest

from tests.architecture.source_tree import Module, called_name, load_modules, parse

SLEEPERS = frozenset({"time", "asyncio", "gevent", "anyio", "trio"})


def find_sleeps(module: Module) -> list[str]:
    """Return each call of a library's sleep that takes time; `asyncio.sleep(0)` only lets others run."""
    bare = {
        name.rsplit(".", 1)[1]
        for name, _ in module.imports()
        if name.split(".")[0] in SLEEPERS and name.endswith(".sleep")
    }
    found = []
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.Call) or called_name(node) != "sleep":
            continue
        match node.func:
            case ast.Attribute(value=ast.Name(id=library)) if library in SLEEPERS:
                pass
            case ast.Name(id=name) if name in bare:
                pass
            case _:
                continue
        match node.args:
            case [ast.Constant(value=0)]:
                continue
        found.append(f"{module.path}:{node.lineno}")
    return found


def test_no_test_sleeps() -> None:
    """A sleep is too short on a slow day and wasted on every other one."""
    assert [line for module in load_modules("tests") for line in find_sleeps(module)] == []


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("import time\ntime.sleep(1)", 1),
        ("from time import sleep\nsleep(delay)", 1),
        ("import asyncio\nasync def f(): await asyncio.sleep(0.01)", 1),
        ("import asyncio\nasync def f(): await asyncio.sleep(0)", 0),
        ("clock.sleep(5)", 0),
    ],
)
def test_a_sleep_is_told_from_a_yield(source: str, count: int) -> None:
    """`sleep(0)` and a fake clock's sleep take no time."""
    assert len(find_sleeps(parse("tests/x.py", source))) == count
