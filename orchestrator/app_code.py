"""Load an app's Python code by path, under names of its own.

An app's folder becomes a private package `baton_app_<name>_<hash>`: its modules import each other
relatively (`from .policy import ...`), two versions of one app live side by side, and neither the
folder nor the current directory is ever put on `sys.path`. References are `file.py:name` below
the app's folder, or `package.module:name` for what is installed.

What an object must look like is checked by `app_code_checks`.
"""

import importlib
import inspect
import sys
from collections.abc import Callable
from hashlib import sha256
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path, PurePosixPath
from threading import RLock
from types import ModuleType
from typing import TypeVar

from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.errors import AppCodeFailed, AppCodeInvalid, suggest

_Answer = TypeVar("_Answer")

_lock = RLock()
_objects: dict[tuple[str, str], object] = {}


def package_name(spec: AppSpec) -> str:
    """Return the private package of this version of the app, at this place."""
    return f"baton_app_{spec.name}_{sha256(f'{spec.root}{chr(10)}{spec.sources}'.encode()).hexdigest()[:12]}"


def load_module(spec: AppSpec, reference: str) -> ModuleType:
    """Import `path/to/file.py` below the app's folder, or the installed module `package.module`.

    Raises AppCodeInvalid, which names the reference and what went wrong.
    """
    name = _module_name(spec, reference) if reference.endswith(".py") else reference
    if not all(part.isidentifier() for part in name.split(".")):
        raise AppCodeInvalid(f"{reference!r}: not a module; write `file.py` of the app, or `package.module`")
    try:
        if reference.endswith(".py"):
            _ensure_package(spec)
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:  # the edge of the app's own code, which has errors of its own
        raise AppCodeInvalid(f"{reference!r} cannot be imported: {_reason(spec, error)}") from error


def load_object(spec: AppSpec, reference: str) -> object:
    """Return what `file.py:name` or `package.module:name` stands for; the same object every time.

    `package.module.name` is read as `package.module:name`. Raises AppCodeInvalid.
    """
    key = (package_name(spec), reference)
    if key not in _objects:
        # Imports have locks of their own; this one makes sure that every caller gets one object.
        with _lock:
            if key not in _objects:
                _objects[key] = _find(spec, reference)
    return _objects[key]


def load_function(spec: AppSpec, reference: str) -> Callable[..., object]:
    """Return a function, as `load_object` does; raise AppCodeInvalid for what cannot be called."""
    found = load_object(spec, reference)
    if not callable(found):
        raise AppCodeInvalid(f"{reference!r}: not a function but {type(found).__name__}")
    return found


def call_function(function: Callable[[], _Answer], *, own: tuple[type[Exception], ...]) -> _Answer:
    """Return what the app's code answers; errors of `own`, its ways to refuse, pass as they are.

    Raises AppCodeFailed, `Class: text`, for anything else, also for classes of the app's own and for `sys.exit()`: code that
    is called here does not say whether the process goes on. What stops or cancels the caller passes.
    """
    try:
        return function()
    except own:
        raise
    except (Exception, SystemExit) as error:  # the edge of the app's own code, which has errors of its own
        raise AppCodeFailed(f"{type(error).__name__}: {error}") from error


def accepts(function: Callable[..., object], *names: str) -> bool:
    """Say whether a function can be called with that many positional arguments."""
    try:
        inspect.signature(function).bind(*names)
    except TypeError:
        return False
    except ValueError:  # a built-in function without a signature: only a call can tell
        return True
    return True


def split_reference(reference: str) -> tuple[str, str]:
    """Split a reference at its last colon, or else at its last dot.

    >>> split_reference("state.py:State"), split_reference("pathlib.Path")
    (('state.py', 'State'), ('pathlib', 'Path'))
    """
    mark = ":" if ":" in reference else "."
    module, _, name = reference.rpartition(mark)
    return module, name


def _find(spec: AppSpec, reference: str) -> object:
    module_reference, name = split_reference(reference)
    if not module_reference or not name.isidentifier() or (":" not in reference and name == "py"):
        raise AppCodeInvalid(
            f"{reference!r}: not a reference; write `file.py:name` below the app's folder, or `package.module:name`"
        )
    try:
        module = load_module(spec, module_reference)
    except AppCodeInvalid as error:
        raise AppCodeInvalid(f"{reference!r}: {error}") from error
    if not hasattr(module, name):
        hint = suggest(name, [known for known in vars(module) if not known.startswith("_")])
        raise AppCodeInvalid(f"{reference!r}: {module_reference} has no {name!r}; {hint}")
    found: object = getattr(module, name)
    return found


def _module_name(spec: AppSpec, reference: str) -> str:
    if not spec.root:
        raise AppCodeInvalid(f"{reference!r}: the app has no folder; load it from one")
    path, root = PurePosixPath(reference), Path(spec.root).resolve()
    try:
        file = (root / path).resolve()
        is_file = file.is_file()
    except (OSError, ValueError) as error:  # a name too long, or with a null character
        said = getattr(error, "strerror", None) or error
        raise AppCodeInvalid(
            f"{reference[:80]!r}: no name of a file ({said}); name one below the app's folder"
        ) from error
    if path.is_absolute() or not file.is_relative_to(root):
        raise AppCodeInvalid(f"{reference!r}: outside the app's folder; name a file below it")
    if not is_file:
        there = [str(other.relative_to(root)) for other in root.rglob("*.py")]
        raise AppCodeInvalid(f"{reference!r}: no such file in the app's folder; {suggest(reference, there)}")
    return ".".join((package_name(spec), *path.with_suffix("").parts))


def _ensure_package(spec: AppSpec) -> None:
    name, folder = package_name(spec), Path(spec.root).resolve()
    with _lock:
        if name in sys.modules:
            return
        # Files made since this process listed the folder would not be found otherwise.
        importlib.invalidate_caches()
        init = folder / "__init__.py"
        if init.is_file():
            module_spec = spec_from_file_location(name, init, submodule_search_locations=[str(folder)])
        else:
            module_spec = ModuleSpec(name, None, is_package=True)
            module_spec.submodule_search_locations = [str(folder)]
        if module_spec is None:
            raise AppCodeInvalid(f"{init}: cannot be imported")
        module = module_from_spec(module_spec)
        sys.modules[name] = module
        if module_spec.loader is None:
            return
        done = False
        try:
            module_spec.loader.exec_module(module)
            done = True
        finally:
            # A half-made package must not be found by the next one who asks.
            if not done:
                del sys.modules[name]


def _reason(spec: AppSpec, error: BaseException) -> str:
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if isinstance(error, SyntaxError) and error.filename:
        return f"{Path(error.filename).name}:{error.lineno}: {error.msg}"
    if isinstance(error, ModuleNotFoundError) and error.name and (Path(spec.root) / f"{error.name}.py").is_file():
        return f"{said}; import the app's own files relatively: `from .{error.name} import ...`"
    return said.replace(f"{package_name(spec)}.", "")
