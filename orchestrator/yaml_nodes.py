"""Read YAML text into nodes that know where they stand.

Built on the parser's events, not on its composer: the composer recurses in C and dies of a deeply
nested text. Size and depth are bounded here; `yaml_document` bounds what aliases unfold to, and
gives nodes their values. Tags and anchors are understood, custom tags are refused.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

import yaml

MAX_BYTES: Final = 1024 * 1024
MAX_DEPTH: Final = 64

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CORE: Final = "tag:yaml.org,2002:"


@dataclass(frozen=True, order=True)
class Mark:
    """A place in a file, lines and columns from 1; line 0 stands for the whole source.

    >>> str(Mark("app.yaml", 3, 5)), str(Mark("environment BATON_LEASE_SECONDS"))
    ('app.yaml:3:5', 'environment BATON_LEASE_SECONDS')
    """

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


class YamlRefused(Exception):
    """The text is not YAML that we read; internal to the reader, which makes a problem of it."""

    def __init__(self, mark: Mark, message: str) -> None:
        self.mark, self.message = mark, message
        super().__init__(f"{mark}: {message}")


@dataclass(frozen=True)
class Scalar:
    """A scalar as written; `plain` says that its type follows from its text, `tag` overrides."""

    mark: Mark
    text: str
    plain: bool
    tag: str | None = None


@dataclass(frozen=True)
class Sequence:
    """A list of nodes."""

    mark: Mark
    items: tuple["Node", ...]


@dataclass(frozen=True)
class Mapping:
    """Pairs as written, duplicates included: who reads them says what is wrong."""

    mark: Mark
    pairs: tuple[tuple[Scalar, "Node"], ...]


Node: TypeAlias = Scalar | Sequence | Mapping


def compose(text: str, label: str) -> Node | None:
    """Return the root node of the one document in `text`, None if there is none.

    Raises YamlRefused for what is not YAML, nests deeper than MAX_DEPTH, holds several documents,
    custom tags, keys that are no scalars, or aliases to what is not there yet.
    """
    try:
        return _Composer(label, iter(yaml.parse(text, Loader=_LOADER))).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = Mark(label, mark.line + 1, mark.column + 1) if mark else Mark(label, 1, 1)
        said = " ".join(part for part in (error.problem, error.context) if part)
        at_fault = text.splitlines()[where.line - 1 : where.line]
        hint = "; inside [ ] and { } put ${...} into quotes" if any("${" in part for part in at_fault) else ""
        raise YamlRefused(where, f"not YAML: {said}{hint}") from None
    except yaml.YAMLError as error:
        # The reader's own error, for characters that YAML does not allow, has only an offset.
        offset = getattr(error, "position", 0)
        line = text.count("\n", 0, offset) + 1
        column = offset - (text.rfind("\n", 0, offset) + 1) + 1
        said = getattr(error, "reason", "unreadable text")
        raise YamlRefused(Mark(label, line, column), f"not YAML: {said}") from None


class _Composer:
    """Turns a stream of events into nodes, recursing no deeper than MAX_DEPTH."""

    def __init__(self, label: str, events: Iterator[yaml.Event]) -> None:
        self._label, self._events = label, events
        self._anchors: dict[str, Node] = {}

    def document(self) -> Node | None:
        root: Node | None = None
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    raise YamlRefused(self._mark(event), "a second document; one file holds one")
                root = self._node(next(self._events), 0)
        return root

    def _mark(self, event: yaml.Event) -> Mark:
        at = event.start_mark
        return Mark(self._label, at.line + 1, at.column + 1) if at else Mark(self._label, 1, 1)

    def _node(self, event: yaml.Event, depth: int) -> Node:
        mark = self._mark(event)
        if depth > MAX_DEPTH:
            raise YamlRefused(mark, f"nested deeper than {MAX_DEPTH} levels; make it flatter")
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise YamlRefused(mark, f"alias *{event.anchor}: no such anchor before it")
            return self._anchors[event.anchor]
        node = self._fresh(event, mark, depth)
        # Known only once it is complete, so that nothing can contain itself.
        anchor = getattr(event, "anchor", None)
        if anchor is not None:
            self._anchors[anchor] = node
        return node

    def _fresh(self, event: yaml.Event, mark: Mark, depth: int) -> Node:
        if isinstance(event, yaml.ScalarEvent):
            tag = None if event.tag in (None, "!") else event.tag
            if tag is not None and tag not in {_CORE + name for name in ("str", "int", "float", "bool", "null")}:
                raise YamlRefused(mark, f"tag {tag!r}: only plain YAML types are read; remove the tag")
            return Scalar(mark, event.value, plain=bool(event.implicit[0]), tag=tag and tag.removeprefix(_CORE))
        tag = getattr(event, "tag", None)
        if tag not in (None, "!", _CORE + "map", _CORE + "seq"):
            raise YamlRefused(mark, f"tag {tag!r}: only plain YAML types are read; remove the tag")
        if isinstance(event, yaml.SequenceStartEvent):
            items = []
            while not isinstance(inner := next(self._events), yaml.SequenceEndEvent):
                items.append(self._node(inner, depth + 1))
            return Sequence(mark, tuple(items))
        pairs = []
        while not isinstance(inner := next(self._events), yaml.MappingEndEvent):
            key = self._node(inner, depth + 1)
            if not isinstance(key, Scalar):
                raise YamlRefused(self._mark(inner), "a key that is a list or a mapping; keys are text")
            pairs.append((key, self._node(next(self._events), depth + 1)))
        return Mapping(mark, tuple(pairs))
