"""Read YAML that people write, and refuse it as people want to be told.

`scan` reads a file into a `Document` (data with places), `build` makes a model of it. Whatever is
wrong - syntax, duplicate keys, variables that are not set, unknown keys, wrong values - comes
in one SourceInvalid, each as `file:line:col: path: message`. Nothing is guessed and nothing is
ignored. Variables are those of `yaml_expand`, types those of `yaml_document`.

    >>> text = "kind: timer\\nname: pause\\nsecond: 5\\n"
    >>> from orchestrator.contracts.skill import TimerStep
    >>> try: build(TimerStep, scan_text(text, label="pause.yaml", env={}))
    ... except SourceInvalid as refused: print(refused)
    pause.yaml:1:1: seconds: required; add it
    pause.yaml:3:1: second: unknown key; did you mean 'seconds'?
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, JsonValue, ValidationError

from orchestrator.contracts.errors import SourceInvalid
from orchestrator.telemetry import redact
from orchestrator.yaml_document import Document, Problem, construct
from orchestrator.yaml_nodes import MAX_BYTES, Mark
from orchestrator.yaml_problems import explain

__all__ = ["Document", "Mark", "Problem", "SourceInvalid", "build", "check", "load", "read_data", "scan", "scan_text"]

_Model = TypeVar("_Model", bound=BaseModel)


def scan_text(text: str, *, label: str, env: Mapping[str, str] | None = None, folder: Path | None = None) -> Document:
    """Read YAML text. What is wrong is left in the document's `problems` for `build`.

    `folder` is what `${file:...}` is relative to. `env` is the process's own by default.
    """
    variables = os.environ if env is None else env
    return construct(text, label=label, env=variables, folder=folder or Path())


def scan(path: Path, *, env: Mapping[str, str] | None = None) -> Document:
    """Read a YAML file of at most 1 MiB. What is wrong is left in the document's `problems`."""
    label = str(path)
    try:
        # A pipe or a device would never end: read one byte more than is allowed, not to the end.
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            return _unreadable(label, f"over {MAX_BYTES} bytes; make it smaller")
        text = data.decode("utf-8-sig")
    except FileNotFoundError:
        return _unreadable(label, "not found; make it, or name another file")
    except UnicodeDecodeError as error:
        return _unreadable(label, f"not UTF-8 text: byte {error.start}; save it as UTF-8")
    except (OSError, ValueError) as error:
        return _unreadable(label, f"cannot be read: {getattr(error, 'strerror', None) or error}")
    return scan_text(text, label=label, env=env, folder=path.parent)


def _unreadable(label: str, message: str) -> Document:
    return Document(label, problems=[Problem(Mark(label), (), message)], readable=False)


def check(model: type[_Model], document: Document) -> _Model | None:
    """Validate a document; return None, with the reasons among its `problems`, if it is wrong."""
    if not document.readable:
        return None
    try:
        # By the words of the reference alone: a field's name behind its alias would be a second word that no schema has.
        data = document.data if document.data is not None else {}
        built = model.model_validate(data, by_alias=True, by_name=False)
    except ValidationError as error:
        document.problems.extend(explain(model, document, error.errors(include_url=False, include_input=False)))
        return None
    return None if document.problems else built


def build(model: type[_Model], document: Document) -> _Model:
    """Return the model that the document describes; raise SourceInvalid with all that is wrong."""
    built = check(model, document)
    if built is None:
        raise SourceInvalid(lines(document.problems))
    return built


def load(model: type[_Model], path: Path, *, env: Mapping[str, str] | None = None) -> _Model:
    """Read a file and build the model that it describes, or raise SourceInvalid."""
    return build(model, scan(path, env=env))


def read_data(document: Document) -> JsonValue:
    """Return the bare data of a document that has no problems, or raise SourceInvalid."""
    if document.problems:
        raise SourceInvalid(lines(document.problems))
    return document.data


def lines(problems: Iterable[Problem]) -> list[str]:
    """Return problems as lines, in the order of the files, each once; known secrets are in none."""
    return list(dict.fromkeys(redact(str(one)) for one in sorted(problems, key=lambda one: (one.mark, str(one)))))
