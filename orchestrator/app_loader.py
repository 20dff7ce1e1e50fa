"""Load apps: a folder with app.yaml becomes an AppSpec, or is refused with all that is wrong.

    gather      app.yaml, skills and prompts become one document         app_source
    validate    every value by its contract                              yaml_source
    check       words against words, skills, expressions, code           app_checks, skill_checks, app_code_checks,
                                                                                 app_hook_checks

An app that does not validate does not boot. Each problem is `file:line:col: path: message`; they come
together, in one AppInvalid. What only running servers can tell is for `app_tools`.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from orchestrator import app_code_checks, app_source
from orchestrator.app_check import Check, salvage
from orchestrator.app_checks import check_words
from orchestrator.app_code import load_function, load_module, load_object
from orchestrator.app_hook_checks import check_hook_functions, check_hook_words
from orchestrator.app_state import check_state, validate_state
from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.errors import AppInvalid, ConfigError
from orchestrator.skill_checks import check_skills
from orchestrator.trigger_checks import check_trigger_code, check_triggers
from orchestrator.yaml_document import Document
from orchestrator.yaml_source import check, lines

__all__ = [
    "check_state",
    "find_apps",
    "load_app",
    "load_apps",
    "load_function",
    "load_module",
    "load_object",
    "validate_state",
]


def load_app(
    folder: Path, *, env: Mapping[str, str] | None = None, import_code: bool = True, plugins: str = ""
) -> AppSpec:
    """Return what the app in `folder` declares, or raise AppInvalid with every problem.

    With `import_code=False` only the state's class is imported, not the code of servers and steps:
    enough, and much quicker, for one who only submits. `env` is for `${VAR}`; the process's own by
    default. `plugins` is the operator's folder of plugins, beside the app's own.
    """
    variables = os.environ if env is None else env
    spec, document = _load(Path(folder), variables, import_code=import_code, plugins=plugins)
    if spec is None:
        raise AppInvalid(_name_of(folder, document), lines(document.problems))
    return spec


def load_apps(
    paths: Sequence[Path], *, env: Mapping[str, str] | None = None, import_code: bool = True, plugins: str = ""
) -> dict[str, AppSpec]:
    """Return every app below the paths by name, or raise one AppInvalid for all that are wrong.

    Two apps may share neither a name nor a session_id_prefix nor the name of a trigger.
    """
    variables = os.environ if env is None else env
    specs: dict[str, AppSpec] = {}
    prefixes: dict[str, Path] = {}
    folders: dict[str, Path] = {}
    triggers: dict[str, Path] = {}
    broken: list[str] = []
    problems: list[str] = []
    for folder in find_apps(paths):
        spec, document = _load(folder, variables, import_code=import_code, plugins=plugins)
        if spec is not None:
            if spec.name in folders:
                document.problem(("name",), f"app {spec.name!r} is also in {folders[spec.name]}; rename one")
            if spec.session_id_prefix in prefixes:
                other = prefixes[spec.session_id_prefix]
                message = f"session_id_prefix={spec.session_id_prefix!r} is also that of {other}; choose another"
                document.problem(("session_id_prefix",), message)
            for index, trigger in enumerate(spec.triggers):
                if triggers.setdefault(trigger.name, folder) != folder:
                    other = triggers[trigger.name]
                    document.problem(("triggers", index, "name"), f"{trigger.name!r} is also in {other}; rename one")
            folders.setdefault(spec.name, folder)
            prefixes.setdefault(spec.session_id_prefix, folder)
        if spec is None or document.problems:
            broken.append(_name_of(folder, document))
            problems += lines(document.problems)
        else:
            specs[spec.name] = spec
    if problems:
        raise AppInvalid(", ".join(broken), problems)
    return specs


def find_apps(paths: Sequence[Path]) -> list[Path]:
    """Return the app folders below the paths, in their order, each once; a path may be one itself.

    A folder that begins with `_` or `.`, or that has no app.yaml, is none. Raises ConfigError for a
    path that is no directory.
    """
    found: dict[Path, Path] = {}
    for path in map(Path, paths):
        if not path.is_dir():
            raise ConfigError(f"apps path {path}: not a directory; mend BATON_APPS_PATH or make it")
        try:
            inner = [path] if (path / app_source.APP_FILE).exists() else sorted(path.iterdir())
        except OSError as error:
            raise ConfigError(f"apps path {path}: cannot be listed ({error.strerror}); mend its permissions") from error
        for folder in inner:
            if folder == path or (folder.name[0] not in "._" and (folder / app_source.APP_FILE).exists()):
                found.setdefault(folder.resolve(), folder)
    return list(found.values())


def _load(folder: Path, env: Mapping[str, str], *, import_code: bool, plugins: str) -> tuple[AppSpec | None, Document]:
    document = app_source.gather(folder, env)
    spec = check(AppSpec, document)
    readable = spec if spec is not None else salvage(document) if document.readable else None
    if readable is None:
        return None, document
    try:
        readable = readable.model_copy(
            update={"root": str(folder.resolve()), "sources": app_source.digest_sources(folder)}
        )
    except OSError as error:
        document.problem((), f"{error.filename}: cannot be read: {error.strerror}")
        return None, document
    run_checks(Check(readable, document, plugins=plugins), import_code=import_code)
    return (readable if spec is not None and not document.problems else None), document


def run_checks(check: Check, *, import_code: bool) -> None:
    """Run every check; the state's class goes first, for what others say about its fields."""
    app_code_checks.check_state_class(check)
    check_words(check)
    check_skills(check)
    check_hook_words(check)
    check_triggers(check)
    if import_code:
        app_code_checks.check_functions(check)
        check_hook_functions(check)
        check_trigger_code(check)


def _name_of(folder: Path, document: Document) -> str:
    name = document.get(("name",))
    return name if isinstance(name, str) and name else Path(folder).resolve().name
