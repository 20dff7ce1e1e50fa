"""Gather an app's folder into one document: app.yaml, its skills' files, their prompts.

    app.yaml                    all but skills; plain steps may stand here too, under `skills:`
    skills/<name>/config.yaml   one skill; its name is its folder's
    skills/<name>/*.md          its prompt: the files by name, joined by a blank line
    skills/_common/*.md         appended to the prompt of every responsive skill

A folder of skills that begins with `_` or `.`, or that holds neither YAML nor .md, is none. What the
document means is the work of `app_loader` and its checks.
"""

import os
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final

from orchestrator.contracts.base import JsonObject
from orchestrator.yaml_document import Document
from orchestrator.yaml_nodes import MAX_BYTES, Mark
from orchestrator.yaml_source import scan

APP_FILE: Final = "app.yaml"
SKILL_FILE: Final = "config.yaml"

#: The field that a kind's .md files fill; other kinds have no text.
_TEXT_FIELDS: Final[Mapping[str, str]] = {
    "responsive": "prompt",
    "ask": "prompt",
    "supervisor": "dispatch_prompt",
}
_TEXTLESS: Final = frozenset({"monitor", "tool", "timer", "compute", "plugin_pass"})


def gather(folder: Path, env: Mapping[str, str]) -> Document:
    """Return the app's document; what is wrong with its files is among the document's problems."""
    document = scan(folder / APP_FILE, env=env)
    if not document.readable:
        return document
    if document.data is None:
        document.data = {}
    if not isinstance(document.data, dict):
        document.problem((), "expected a mapping; see `baton apps new` for an app to start from")
        document.readable = False
        return document
    for field in ("sources", "root"):
        if field in document.data:
            document.problem((field,), "set by the loader; remove it", key=True)
            del document.data[field]
    document.data.setdefault("name", folder.resolve().name)
    _name_inline(document)
    _add_folders(document, folder / "skills", env)
    return document


def digest_sources(folder: Path) -> str:
    """Return 16 hex digits over the app's .py, .md and .yaml files, by path and content.

    Tests, demo.py, README files and hidden folders do not count: changing them changes no session. Nor does app.yaml: what
    it says is in the spec, whose digest leaves out the triggers and credentials in it.
    """
    digest = sha256()
    for file in sorted(_source_files(folder), key=lambda file: file.relative_to(folder).as_posix()):
        digest.update(os.fsencode(file.relative_to(folder)) + b"\0")
        digest.update(sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _source_files(folder: Path) -> Iterator[Path]:
    for where, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in ("tests", "__pycache__") and not name.startswith(".")]
        for name in files:
            is_source = name.endswith((".py", ".md", ".yaml", ".yml")) and not name.startswith(".")
            path = Path(where) / name
            if is_source and name != "demo.py" and not name.lower().startswith("readme") and path != folder / APP_FILE:
                yield path


def _name_inline(document: Document) -> None:
    """Give the skills of app.yaml the names that they stand under."""
    skills = document.get(("skills",))
    if skills is None:
        if isinstance(document.data, dict):
            document.data["skills"] = {}
        return
    if isinstance(skills, dict):
        for name, skill in skills.items():
            if isinstance(skill, dict):
                _complete(document, name, skill)


def _complete(document: Document, name: str, skill: JsonObject) -> None:
    if "name" in skill:
        document.problem(
            ("skills", name, "name"), f"a skill's name is where it stands, here {name!r}; remove it", key=True
        )
    skill["name"] = name
    skill.setdefault("kind", "responsive")


def _add_folders(document: Document, folder: Path, env: Mapping[str, str]) -> None:
    if not folder.is_dir():
        return
    try:
        inner = sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] not in "._")
        # Anything else beside the prompts (pictures, bytecode) does not make a folder a skill.
        found = [path for path in inner if any(file.suffix in (".md", ".yaml", ".yml") for file in path.iterdir())]
    except OSError as error:
        document.problem(("skills",), f"{folder} cannot be listed: {error.strerror}")
        return
    for path in found:
        _add_folder(document, path, env)
    _append_common(document, _read_texts(document, folder / "_common", ("skills",)))


def _append_common(document: Document, common: str) -> None:
    skills = document.get(("skills",))
    for skill in skills.values() if common and isinstance(skills, dict) else ():
        if isinstance(skill, dict) and skill.get("kind") == "responsive" and isinstance(skill.get("prompt"), str):
            skill["prompt"] = f"{skill['prompt']}\n\n{common}"


def _add_folder(document: Document, folder: Path, env: Mapping[str, str]) -> None:
    at = ("skills", folder.name)
    inline = document.get(("skills",))
    if isinstance(inline, dict) and folder.name in inline:
        document.problem(at, f"given twice: here and in {folder / SKILL_FILE}; keep one", key=True)
        return
    config = scan(folder / SKILL_FILE, env=env)
    config.marks.setdefault((), Mark(config.label, 1, 1))
    if config.readable and config.data is not None and not isinstance(config.data, dict):
        config.problem((), "expected a mapping; see `baton apps new` for a skill to start from")
        config.readable = False
    if not config.readable:
        # The name stays known, so that no route to it is called wrong as well.
        config.data, config.readable = {"kind": "timer", "seconds": 0}, True
        config.broken.add(())
    skill = config.data if isinstance(config.data, dict) else {}
    config.data = skill
    document.graft(config, at)
    _complete(document, folder.name, skill)
    if () not in config.broken:
        _add_prompt(document, folder, skill)


def _add_prompt(document: Document, folder: Path, skill: JsonObject) -> None:
    at = ("skills", folder.name)
    kind = str(skill["kind"])
    text = _read_texts(document, folder, at)
    field = _TEXT_FIELDS.get(kind)
    has_text = any(folder.glob("*.md"))
    if kind == "responsive" and not has_text:
        document.problem(at, f"no prompt; write {folder / 'system.md'}")
        document.broken.add((*at, "prompt"))
    elif has_text and field is None and kind in _TEXTLESS:
        document.problem(at, f"{folder} has .md files, but a skill of kind {kind} has no prompt; remove them")
    elif has_text and field is not None and field in skill:
        document.problem((*at, field), "given here and by the .md files beside it; keep one", key=True)
    elif has_text and not text:
        document.problem(at, f"the .md files of {folder} are empty; write the prompt")
    elif text and field is not None:
        skill[field] = text


def _read_texts(document: Document, folder: Path, at: tuple[str, ...]) -> str:
    """Return a folder's .md files by name, joined by a blank line."""
    texts = []
    for file in sorted(folder.glob("*.md")):
        try:
            data = file.read_bytes()
            if len(data) > MAX_BYTES:
                document.problem(at, f"{file}: over {MAX_BYTES} bytes; make it smaller")
            texts.append(data.decode("utf-8-sig").strip())
        except UnicodeDecodeError as error:
            document.problem(at, f"{file}: not UTF-8 text (byte {error.start}); save it as UTF-8")
        except OSError as error:
            document.problem(at, f"{file}: cannot be read: {error.strerror}")
    return "\n\n".join(text for text in texts if text)
