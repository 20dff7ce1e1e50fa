"""Runs one plugin, inside: reads the request, imports the package, goes through its life, writes one frame, and is gone.

Everything here may be read, called and changed by the plugin itself: nothing that the host relies on is decided here. The frame is
a claim, and the host checks it. `os._exit` right after it, so that no thread, `atexit` or `__del__` keeps the process.

Frame: {"result": "success" | "failed" | "input_required", "per_file": [{path, status, changes, error?}],
"input_required": null | {fields, reason}, "error_message": null | text,
"error_kind": null | "memory" | "disk" | "file" | "files" | "processes" | "threads"}.
Exit codes: 0 success, 1 PluginError, 2 PluginInputRequired, 3 anything else.
"""

import errno
import importlib.util
import json
import os
import sys
import traceback
from collections.abc import Callable
from importlib import machinery
from pathlib import Path
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

from plugin_sandbox.api import FileChange, Plugin, PluginContext, PluginError, PluginInputRequired

if TYPE_CHECKING:
    from importlib.abc import PathEntryFinder

_CHUNK = 65_536
#: An error of the system -> the limit that it is about: all files, one file, open files.
_ERRORS = {
    errno.ENOSPC: "disk",
    errno.EDQUOT: "disk",
    errno.EFBIG: "file",
    errno.EMFILE: "files",
    errno.EAGAIN: "processes",
    errno.ENOMEM: "memory",
}


class Attempt:
    """What came of a call into a plugin's code."""

    def __init__(self) -> None:
        self.value: Any = None
        self.error: BaseException | None = None

    def record(self, error: BaseException) -> None:
        """Keep what was raised."""
        self.error = error


def attempt(call: Callable[[], Any]) -> Attempt:
    """Call what may raise anything at all, SystemExit and KeyboardInterrupt among it."""
    made = Attempt()
    try:
        made.value = call()
    except BaseException as error:
        made.record(error)
    return made


def run(request_fd: int, result_fd: int) -> NoReturn:
    """Run the plugin that the request names, and end the process."""
    made = attempt(lambda: _answer(request_fd, result_fd))
    code = made.value
    if made.error is not None:
        code = 3
        attempt(lambda: _tell_error(made.error))
        attempt(lambda: _write_failure(result_fd, made.error))
    attempt(sys.stdout.flush)
    attempt(sys.stderr.flush)
    os._exit(code)


def rehearse() -> None:
    """Go once through what every run goes through, with a plugin of our own that does nothing.

    A process that waits for its call pays here for the pages that a run touches first, and leaves nothing behind of it.
    """
    package = os.path.join(os.path.dirname(os.path.abspath(__file__)), "rehearsal")
    context = {"variables": {}, "answers_file": "answers", "dry_run": False}
    request = {"package": package, "work": package, "files": ["file"], "answers": {}, "context": context}
    hooks = list(sys.path_hooks)
    frame, _ = _live(json.loads(json.dumps(request)))
    _encode(frame)
    sys.path_hooks[:] = hooks
    del sys.modules[os.path.basename(package)]
    os.chdir("/")


def rehearse_models() -> None:
    """Have a model of pydantic's made, where our shapes were preloaded: that costs more than all the rest, and many plugins do it."""
    shapes = sys.modules.get("plugin_sandbox.model")
    if shapes is not None:
        shapes.rehearse()


def _answer(request_fd: int, result_fd: int) -> int:
    frame, code = _live(json.loads(_read(request_fd)))
    _write(result_fd, _encode(frame))
    return code


def _encode(frame: dict[str, Any]) -> bytes:
    """Half of a surrogate pair, as in the name of a file that is no UTF-8, would make a frame of it that nobody takes."""
    return json.dumps(frame, ensure_ascii=False).encode("utf-8", "replace")


def _read(descriptor: int) -> bytes:
    parts = []
    while part := os.read(descriptor, _CHUNK):
        parts.append(part)
    os.close(descriptor)
    return b"".join(parts)


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
    os.close(descriptor)


def _write_failure(descriptor: int, error: BaseException | None) -> None:
    frame: dict[str, Any] = {"result": "failed", "per_file": [], "input_required": None, "error_message": None}
    _write(descriptor, _encode({**frame, "error_kind": _kind(error)}))


def _tell_error(error: BaseException | None) -> None:
    text = "".join(traceback.format_exception(error))[-8000:]
    line = {"level": "ERROR", "message": f"{type(error).__name__}: {error}"[:2000], "context": {"traceback": text}}
    print(json.dumps(line), file=sys.stderr, flush=True)


def _kind(error: BaseException | None) -> str | None:
    """Say which limit an exception is about."""
    if isinstance(error, MemoryError):
        return "memory"
    if isinstance(error, OSError):
        return _ERRORS.get(error.errno or 0)
    if isinstance(error, RuntimeError) and str(error).startswith("can't start new thread"):
        return "threads"  # the interpreter has no class, no number, nothing but this text for it
    return None


class _Source(machinery.SourceFileLoader):
    """Loads a module as it is written: what may lie compiled in a `__pycache__` beside it is not in the package's digest."""

    def get_code(self, fullname: str) -> CodeType:
        """Compile the source."""
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def _find_below(package: str) -> "Callable[[str], PathEntryFinder]":
    """Return a hook that finds the modules of a package, and leaves all others to those that are there."""
    find = machinery.FileFinder.path_hook(
        (machinery.ExtensionFileLoader, machinery.EXTENSION_SUFFIXES),
        (_Source, machinery.SOURCE_SUFFIXES),
        (machinery.SourcelessFileLoader, machinery.BYTECODE_SUFFIXES),
    )

    def hook(path: str) -> "PathEntryFinder":
        if (path != package and not path.startswith(package + "/")) or path.endswith("/__pycache__"):
            raise ImportError(f"{path}: not of {package}", path=path)
        return find(path)

    return hook


def _load(package: str) -> type[Plugin]:
    """Import the package under its folder's name, and no other way."""
    folder = Path(package)
    sys.path_hooks.insert(0, _find_below(package))
    start = str(folder / "__init__.py")
    spec = importlib.util.spec_from_file_location(
        folder.name, start, loader=_Source(folder.name, start), submodule_search_locations=[package]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"{package}: it cannot be imported")
    module: ModuleType = importlib.util.module_from_spec(spec)
    sys.modules[folder.name] = module
    spec.loader.exec_module(module)
    found = module.Plugin
    if not (isinstance(found, type) and issubclass(found, Plugin)):
        raise TypeError("Plugin is not a subclass of plugin_sandbox.api.Plugin")
    return found


def _live(request: dict[str, Any]) -> tuple[dict[str, Any], int]:
    context = request["context"]
    root = Path(request["work"])
    os.chdir(root)
    ctx = PluginContext(
        variables={
            **context.pop("variables"),
            **({"__extra_inputs__": request["answers"]} if request["answers"] else {}),
        },
        dst_root=root,
        proxy=request.get("proxy", ""),
        answers_file=root / context.pop("answers_file"),
        **context,
    )
    plugin = _load(request["package"])()
    per_file: list[dict[str, Any]] = []
    frame: dict[str, Any] = {
        "result": "success",
        "per_file": per_file,
        "input_required": None,
        "error_message": None,
        "error_kind": None,
    }
    try:
        if problems := plugin.validate_variables(ctx.variables):
            raise PluginError("; ".join(problems))
        plugin.pre_transform_all(ctx)
        for name in request["files"]:
            _one_file(plugin, root / name, name, ctx, per_file)
        _end(plugin, ctx)
    except PluginInputRequired as asked:
        _tell_plugin(plugin, asked, ctx)
        return {
            **frame,
            "result": "input_required",
            "input_required": {"fields": asked.fields, "reason": asked.reason},
        }, 2
    except PluginError as error:
        _tell_plugin(plugin, error, ctx)
        return {
            **frame,
            "result": "failed",
            "error_message": str(error),
            "error_kind": _kind(error.__cause__ or error),
        }, 1
    return frame, 0


def _end(plugin: Plugin, ctx: PluginContext) -> None:
    """Do what comes after the last file, where it is too late for a question: all is done already."""
    try:
        plugin.post_transform_all(ctx)
    except PluginInputRequired as asked:
        raise RuntimeError("post_transform_all asks; ask in pre_transform_all or transform") from asked


def _one_file(plugin: Plugin, path: Path, name: str, ctx: PluginContext, per_file: list[dict[str, Any]]) -> None:
    judged = attempt(lambda: plugin.can_handle(path, ctx.variables))
    name = name.encode("utf-8", "backslashreplace").decode()  # as it is told
    if isinstance(judged.error, Exception):
        said = f"{type(judged.error).__name__}: {judged.error}"
        per_file.append({"path": name, "status": "failed", "changes": None, "error": said})
        return
    if judged.error is not None:
        raise judged.error
    if not judged.value:
        per_file.append({"path": name, "status": "skipped", "changes": None})
    elif ctx.dry_run:
        changes = [_shape(change, ctx) for change in plugin.describe_changes(path, ctx)]
        per_file.append({"path": name, "status": "described", "changes": changes})
    else:
        try:
            plugin.transform(path, ctx)
        except PluginInputRequired:
            per_file.append({"path": name, "status": "input_required", "changes": None})
            raise
        per_file.append({"path": name, "status": "modified", "changes": None})


def _shape(change: FileChange, ctx: PluginContext) -> dict[str, Any]:
    path = Path(change.path)  # told as below the workspace, which lies elsewhere outside
    path = path.relative_to(ctx.dst_root) if path.is_relative_to(ctx.dst_root) else path
    return {"path": path.as_posix(), "kind": change.kind, "summary": change.summary, "detail": change.detail}


def _tell_plugin(plugin: Plugin, error: Exception, ctx: PluginContext) -> None:
    told = attempt(lambda: plugin.on_plugin_failure(error, ctx))
    if told.error is not None:
        _tell_error(told.error)  # the first failure is the one that counts
