"""Find a value in a tool call by its lookup, and compare tool names.

A lookup is `args.PATH` or `result.PATH`, written in an app's YAML. Reading it is all that happens
here: which lookups are tried in which order is the work of terminal.py and updates.py.
Pure: values in, values out.
"""

from enum import Enum
from typing import Final, Literal, TypeAlias

from pydantic import JsonValue

from orchestrator.contracts.base import load_json


class Missing(Enum):
    """The type of MISSING: null is a JSON value, so None cannot say that nothing was found."""

    MISSING = "missing"


MISSING: Final = Missing.MISSING
Found: TypeAlias = JsonValue | Literal[Missing.MISSING]


def find(lookup: str, args: JsonValue, result: JsonValue) -> Found:
    """Return the value that `lookup` names, or MISSING; null and "" count as missing.

    0, False, [] and {} are values. A scope other than `args` or `result`, or no path behind it,
    finds nothing.

    >>> find("args.n", {"n": 0}, None), find("result.to.name", {}, '{"to": {"name": "a"}}')
    (0, 'a')
    >>> find("args.s", {"s": ""}, None), find("s", {"s": 1}, {"s": 1}), find("x.s", {"s": 1}, {"s": 1})
    (<Missing.MISSING: 'missing'>, <Missing.MISSING: 'missing'>, <Missing.MISSING: 'missing'>)
    """
    value = read_lookup(lookup, args, result)
    return MISSING if value is None or value == "" else value


def read_lookup(lookup: str, args: JsonValue, result: JsonValue) -> Found:
    """Return what stands at `lookup`, null and "" included, or MISSING where nothing stands."""
    scope, _, path = lookup.partition(".")
    if not path:
        return MISSING
    if scope == "args":
        return read_path(args, path)
    if scope == "result":
        return read_path(parse_result(result), path)
    return MISSING


def read_path(value: JsonValue, path: str) -> Found:
    """Return what stands at a dotted path below a mapping, or MISSING.

    The literal key goes first, at every level: for `a.b.c` that is the key `a.b.c`, then `c` below
    the key `a.b`, then below the key `a` the path `b.c` by this same rule. A key that leads nowhere
    hides nothing: the next one is tried. Lists and scalars have no keys.

    >>> read_path({"a.b": 1, "a": {"b": 2}}, "a.b"), read_path({"a": {"b.c": 3}}, "a.b.c")
    (1, 3)
    """
    if not isinstance(value, dict):
        return MISSING
    if path in value:
        return value[path]
    dot = path.rfind(".")
    while dot >= 0:
        if path[:dot] in value:
            found = read_path(value[path[:dot]], path[dot + 1 :])
            if found is not MISSING:
                return found
        dot = path.rfind(".", 0, dot)
    return MISSING


def parse_result(result: JsonValue) -> JsonValue:
    """Return a result that is the text of a JSON object or list as that value, any other as it is.

    Many MCP servers answer with text; its author means what the text says.

    >>> parse_result('{"a": 1}'), parse_result("{not json"), parse_result("7")
    ({'a': 1}, '{not json', '7')
    """
    if not isinstance(result, str) or result.lstrip()[:1] not in ("{", "["):
        return result
    try:
        return load_json(result)
    except ValueError:  # it only looked like JSON: then it is text
        return result


def normalise_tool(name: str) -> tuple[str | None, str]:
    """Split a tool's name into its server and its bare name; a server may be qualified itself.

    >>> normalise_tool("done"), normalise_tool("srv:done"), normalise_tool("a:b:done")
    ((None, 'done'), ('srv', 'done'), ('a:b', 'done'))
    """
    server, colon, tool = name.rpartition(":")
    return (server if colon else None), tool


def names_match(rule_name: str, call_name: str) -> bool:
    """Say whether a name in an app's rule means the tool that was called; case counts.

    A bare name means that tool on any server. A qualified one means that server only, under
    whatever deeper qualifier.

    >>> [names_match("done", n) for n in ("done", "srv:done", "a:b:done", "undone", "srv__done")]
    [True, True, True, False, False]
    >>> [names_match("srv:done", n) for n in ("srv:done", "x:srv:done", "done", "xsrv:done")]
    [True, True, False, False]
    """
    server, tool = normalise_tool(rule_name)
    called_server, called_tool = normalise_tool(call_name)
    if tool != called_tool:
        return False
    return server is None or server == called_server or (called_server or "").endswith(f":{server}")


def name_suffixes(name: str) -> tuple[str, ...]:
    """Return a tool's names from the most qualified to the bare one.

    >>> name_suffixes("a:b:done")
    ('a:b:done', 'b:done', 'done')
    """
    parts = name.split(":")
    return tuple(":".join(parts[i:]) for i in range(len(parts)))
