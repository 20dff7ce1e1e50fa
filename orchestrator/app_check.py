"""What a check of an app sees, and how it says what is wrong.

A check reads the spec and speaks through `Check.say`, at the place in the YAML. It stays silent
about what could not be read in the first place, so that one error is told once and every error
that stands on its own is told in the same run.
"""

from collections.abc import Collection, Sequence
from copy import deepcopy
from dataclasses import dataclass, field

from pydantic import JsonValue, ValidationError

from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.errors import suggest
from orchestrator.kernel.expressions import ExpressionError, compile_expression, find_expressions
from orchestrator.yaml_document import Document, Where
from orchestrator.yaml_problems import explain


@dataclass
class Check:
    """One app under check: its spec, its document, and the keys that its state may have.

    `state_keys` is None where the state may have any key, or where the schema cannot be loaded. `plugins` is the
    operator's folder of plugins.
    """

    spec: AppSpec
    document: Document
    state_keys: Collection[str] | None = None
    plugins: str = ""
    skills: Collection[str] = field(init=False)

    def __post_init__(self) -> None:
        """Collect the names of all skills, those that could not be read included."""
        declared = self.document.get(("skills",))
        self.skills = {*self.spec.skills, *(declared if isinstance(declared, dict) else ())}

    def say(self, path: Where, message: str, *, key: bool = False) -> None:
        """Note a problem, unless the value at that path could not be read anyway."""
        if not any(path[: len(broken)] == broken for broken in self.document.broken):
            self.document.problem(path, message, key=key)

    def knows(self, *sections: str) -> bool:
        """Say whether these top-level sections were read as they were written."""
        return not any(broken[0] in sections for broken in self.document.broken if broken)

    def is_whole(self, path: Where) -> bool:
        """Say whether everything at and below a path was read as it was written."""
        return not any(broken[: len(path)] == path for broken in self.document.broken)

    def is_among(self, path: Where, word: str, known: Collection[str], what: str, *, key: bool = False) -> None:
        """Note a problem if `word` is not among the known ones."""
        if word not in known:
            self.say(path, f"unknown {what} {word!r}; {suggest(word, known)}", key=key)

    def is_unique(self, path: Where, words: Sequence[str]) -> None:
        """Note a problem for each word that came before, and for each that is blank."""
        for index, word in enumerate(words):
            if word in words[:index]:
                self.say((*path, index), f"{word!r} is there twice; keep one")
            elif not word.strip():
                self.say((*path, index), "is blank; remove it")

    def compiles(self, path: Where, text: str | None, names: Collection[str] | None = None) -> None:
        """Note a problem if `text` is not a safe expression, or uses other names than these."""
        if text is None:
            return
        try:
            used = compile_expression(text).names
        except ExpressionError as error:
            self.say(path, str(error))
            return
        self._names(path, used, names)

    def values_compile(self, path: Where, value: JsonValue, names: Collection[str] | None = None) -> None:
        """Note a problem for each `=` expression within a value that does not compile."""
        if isinstance(value, dict):
            for key, item in value.items():
                self.values_compile((*path, key), item, names)
        elif isinstance(value, list):
            for index, item in enumerate(value):
                self.values_compile((*path, index), item, names)
        else:
            try:
                for expression in find_expressions(value):
                    self._names(path, expression.names, names)
            except ExpressionError as error:
                self.say(path, str(error))

    def is_state_key(self, path: Where, word: str) -> None:
        """Note a problem if the state cannot have such a key."""
        if self.state_keys is not None and word not in self.state_keys:
            schema = self.spec.state_schema
            self.say(path, f"{word!r} is no field of {schema}; {suggest(word, self.state_keys)}")

    def _names(self, path: Where, used: Collection[str], names: Collection[str] | None) -> None:
        for name in sorted(set(used) - set(names)) if names is not None else ():
            self.say(path, f"unknown name {name!r} in the expression; {suggest(name, names or ())}")


def salvage(document: Document) -> AppSpec | None:
    """Return a spec of what can be read of a document that has problems, for further checks.

    What cannot be read is left out and marked as broken. None if nothing remains to be checked.
    """
    data = deepcopy(document.data)
    if not isinstance(data, dict):
        return None
    for _ in range(100):  # each round leaves something out; an app does not need more of them
        try:
            return AppSpec.model_validate(data, by_alias=True, by_name=False)
        except ValidationError as error:
            shadow = Document(document.label, data)
            found = explain(AppSpec, shadow, error.errors(include_url=False, include_input=False))
        for problem in found:
            _leave_out(data, problem.path, document)
    return None


def _leave_out(data: dict[str, JsonValue], path: Where, document: Document) -> None:
    """Remove what stands at a path, or the nearest thing around it that a mapping holds."""
    if len(path) == 1 and path[0] in ("name", "entry_skill", "skills"):
        document.broken.add(path)
        skills = data.get("skills")
        first = next(iter(skills), "none") if isinstance(skills, dict) else "none"
        placeholder: dict[str, JsonValue] = {"name": "unnamed", "entry_skill": first, "skills": {}}
        data[str(path[0])] = placeholder[str(path[0])]
        return
    for length in range(len(path), 0, -1):
        parent: JsonValue = data
        for part in path[: length - 1]:
            if isinstance(parent, dict) and isinstance(part, str):
                parent = parent.get(part)
            elif isinstance(parent, list) and isinstance(part, int) and part < len(parent):
                parent = parent[part]
            else:
                parent = None
        last = path[length - 1]
        if isinstance(parent, dict) and last in parent:
            del parent[str(last)]
            document.broken.add(path[:length])
            return
