"""Documents: the data of YAML files together with the place of every value.

A document may be put together from several files (an app and its skills, layers of settings);
each value keeps the mark of the file that it came from. Checking data is the work of
`yaml_source.build`.

Scalars follow YAML 1.2: `true` and `false` are the only booleans (`yes`, `on` and `no` are text), dates
are text, `012` is text. A scalar with a variable in it is always text: `${PORT:-8080}` still
validates where a number is wanted, because numbers are read from text there.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

from pydantic import JsonValue

from orchestrator import yaml_nodes as nodes
from orchestrator.yaml_expand import Expander
from orchestrator.yaml_nodes import Mark

MAX_NODES: Final = 50_000
MAX_TEXT: Final = 8 * 1024 * 1024

Where: TypeAlias = tuple[str | int, ...]

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,999})")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]{1,999}|(?:0|[1-9][0-9]{0,999})(?:\.[0-9]{0,999})?)(?:[eE][-+]?[0-9]{1,4})?")
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_TAGGED: Final[Mapping[str, tuple[type, ...]]] = {
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "null": (type(None),),
}


def render_path(path: Where) -> str:
    """Return a path as people write it.

    >>> render_path(("terminal_tools", 1, "status")), render_path(("gateway", "policy", "a:b"))
    ('terminal_tools[1].status', "gateway.policy['a:b']")
    """
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _KEY.fullmatch(part):
            text += f".{part}" if text else part
        else:
            text += f"[{part!r}]"
    return text


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, where, and what to do."""

    mark: Mark
    path: Where
    message: str

    def __str__(self) -> str:
        path = render_path(self.path)
        # Some messages begin with the path themselves.
        return ": ".join(
            part
            for part in (str(self.mark), path, self.message)
            if part and not (part is path and self.message.startswith(path))
        )


@dataclass
class Document:
    """Data, the marks of its values and of its keys, and what was wrong in reading it.

    `expanded` holds the paths of values with variables in them: a message about a value's own form never repeats those,
    they may be secrets; what is known to be one is in no line (`yaml_source.lines`). `broken` holds paths whose value could not be made.
    """

    label: str
    data: JsonValue = None
    marks: dict[Where, Mark] = field(default_factory=dict)
    keys: dict[Where, Mark] = field(default_factory=dict)
    expanded: set[Where] = field(default_factory=set)
    broken: set[Where] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)
    readable: bool = True

    def where(self, path: Where, *, key: bool = False) -> Mark:
        """Return the place of a value (or of its key), or of the nearest that exists around it."""
        if key and path in self.keys:
            return self.keys[path]
        for length in range(len(path), -1, -1):
            if path[:length] in self.marks:
                return self.marks[path[:length]]
        return Mark(self.label, 1, 1)

    def problem(self, path: Where, message: str, *, key: bool = False) -> None:
        """Note that something is wrong at a path."""
        self.problems.append(Problem(self.where(path, key=key), path, message))

    def get(self, path: Where) -> JsonValue:
        """Return the value at a path, None if there is none."""
        value = self.data
        for part in path:
            if isinstance(value, dict) and isinstance(part, str):
                value = value.get(part)
            elif isinstance(value, list) and isinstance(part, int) and 0 <= part < len(value):
                value = value[part]
            else:
                return None
        return value

    def graft(self, other: "Document", at: Where) -> None:
        """Put another document's data at a path whose parents are mappings, marks included."""
        if at:
            parent = self.data if isinstance(self.data, dict) else {}
            self.data = parent
            for part in at[:-1]:
                inner = parent.setdefault(str(part), {})
                parent = inner if isinstance(inner, dict) else {}
            parent[str(at[-1])] = other.data
        else:
            self.data = other.data
        self._adopt(other, at)

    def overlay(self, other: "Document") -> None:
        """Merge another document over this one: mappings by key, anything else is replaced."""
        if isinstance(self.data, dict) and isinstance(other.data, dict):
            self.data = _merged(self.data, other.data)
        elif other.data is not None:
            self.data = other.data
        self._adopt(other, ())

    def _adopt(self, other: "Document", at: Where) -> None:
        self.marks.update({at + path: mark for path, mark in other.marks.items()})
        self.keys.update({at + path: mark for path, mark in other.keys.items()})
        self.expanded.update(at + path for path in other.expanded)
        self.broken.update(at + path for path in other.broken)
        self.problems.extend(Problem(one.mark, at + one.path, one.message) for one in other.problems)
        self.readable = self.readable and other.readable


def _merged(under: Mapping[str, JsonValue], over: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    out = dict(under)
    for key, value in over.items():
        below = out.get(key)
        out[key] = _merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return out


def construct(text: str, *, label: str, env: Mapping[str, str], folder: Path) -> Document:
    """Read YAML text into a document; what is wrong is in its `problems`."""
    document = Document(label)
    try:
        root = nodes.compose(text, label)
        if root is not None:
            document.data = _Constructor(document, env, folder).value(root, (), enabled=True)
    except nodes.YamlRefused as refused:
        document.data, document.readable = None, False
        document.problems.append(Problem(refused.mark, (), refused.message))
    return document


class _Constructor:
    """Gives nodes their values, counting what aliases unfold to."""

    def __init__(self, document: Document, env: Mapping[str, str], folder: Path) -> None:
        self._document, self._env, self._folder = document, env, folder
        self._nodes = self._text = 0

    def value(self, node: nodes.Node, path: Where, *, enabled: bool) -> JsonValue:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise nodes.YamlRefused(node.mark, f"over {MAX_NODES} values, aliases unfolded; make it smaller")
        if len(path) > nodes.MAX_DEPTH:
            raise nodes.YamlRefused(node.mark, f"nested deeper than {nodes.MAX_DEPTH} levels, aliases unfolded")
        self._document.marks[path] = node.mark
        if isinstance(node, nodes.Scalar):
            return self._scalar(node, path, enabled=enabled)
        if isinstance(node, nodes.Sequence):
            return [self.value(item, (*path, i), enabled=enabled) for i, item in enumerate(node.items)]
        return self._mapping(node, path, enabled=enabled)

    def _mapping(self, node: nodes.Mapping, path: Where, *, enabled: bool) -> JsonValue:
        first: dict[str, Mark] = {}
        merges: list[nodes.Node] = []
        own: list[tuple[nodes.Scalar, nodes.Node]] = []
        for key, value in node.pairs:
            if key.plain and key.text == "<<":
                merges.append(value)
            elif key.text in first:
                self._document.keys[(*path, key.text)] = key.mark
                message = f"duplicate key; it is already on line {first[key.text].line}; keep one"
                self._document.problem((*path, key.text), message, key=True)
            else:
                first[key.text] = key.mark
                own.append((key, value))
                enabled = enabled and not (key.text == "enabled" and _is_false(value))
        out: dict[str, JsonValue] = {}
        # What a mapping says itself goes before what it merges in, and an earlier merge before a later.
        for key, value in [*own, *self._merged_pairs(merges, node.mark)]:
            if key.text not in out:
                self._document.keys[(*path, key.text)] = key.mark
                self._count(key.text, key.mark)
                out[key.text] = self.value(value, (*path, key.text), enabled=enabled)
        return out

    def _merged_pairs(
        self, merges: Sequence[nodes.Node], mark: Mark, depth: int = 0
    ) -> list[tuple[nodes.Scalar, nodes.Node]]:
        pairs: list[tuple[nodes.Scalar, nodes.Node]] = []
        for merge in merges:
            for source in merge.items if isinstance(merge, nodes.Sequence) else (merge,):
                if not isinstance(source, nodes.Mapping) or depth > nodes.MAX_DEPTH:
                    raise nodes.YamlRefused(mark, "<<: merges mappings only; give it an alias of a mapping")
                self._nodes += len(source.pairs) + 1
                if self._nodes > MAX_NODES:
                    raise nodes.YamlRefused(mark, f"over {MAX_NODES} values, merges unfolded; make it smaller")
                inner = [value for key, value in source.pairs if key.plain and key.text == "<<"]
                pairs += [(key, value) for key, value in source.pairs if not (key.plain and key.text == "<<")]
                pairs += self._merged_pairs(inner, mark, depth + 1)
        return pairs

    def _count(self, text: str, mark: Mark) -> None:
        self._text += len(text)
        if self._text > MAX_TEXT:
            raise nodes.YamlRefused(mark, f"over {MAX_TEXT} characters, aliases and variables unfolded")

    def _scalar(self, node: nodes.Scalar, path: Where, *, enabled: bool) -> JsonValue:
        text = node.text
        if "$" in text:
            expander = Expander(self._env, self._folder, lenient=not enabled)
            text = expander.expand(text)
            if text != node.text:
                self._document.expanded.add(path)
            for message in expander.problems:
                self._document.problem(path, message)
                self._document.broken.add(path)
            self._count(text, node.mark)
            if "${" in node.text:
                return text
        self._count(text, node.mark)
        if node.tag == "str" or not (node.plain or node.tag):
            return text
        value = resolve(text)
        if node.tag and type(value) not in _TAGGED[node.tag]:
            self._document.problem(path, f"not a value of !!{node.tag}; remove the tag or mend the value")
            self._document.broken.add(path)
        return value


def _is_false(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Scalar) and node.plain and _BOOL.get(node.text) is False


def resolve(text: str) -> JsonValue:
    """Return the value of a plain scalar.

    >>> [resolve(t) for t in ("1", "1.5", "true", "yes", "~", "007", "2026-11-20", "1e999")]
    [1, 1.5, True, 'yes', None, '007', '2026-11-20', '1e999']
    """
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        number = float(text)
        return number if math.isfinite(number) else text
    return text
