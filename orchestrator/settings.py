"""Settings: how this installation runs, and of each value where it came from.

    built-in defaults  <  config/runtime.yaml, queues.yaml, logging.yaml, api.yaml  <  config/runtime.d/*.yaml
                       <  environment BATON_<SECTION>_<FIELD>  <  overrides

What comes later wins, value by value; BATON_REDIS_URL and BATON_BROKER_URL are short names. A variable
with _FILE behind its name names a file that holds the value. All that
is wrong in any layer is told at once. The fields and their defaults are in `settings_model`.
"""

import os
import re
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from pydantic import BaseModel, JsonValue

from orchestrator.contracts.base import Frozen
from orchestrator.contracts.errors import suggest
from orchestrator.settings_model import Settings
from orchestrator.yaml_document import Document, Problem, Where, render_path
from orchestrator.yaml_nodes import MAX_BYTES, Mark
from orchestrator.yaml_source import build, scan

__all__ = [
    "SettingOrigin",
    "Settings",
    "explain_settings",
    "find_app_paths",
    "find_config_dir",
    "find_secrets",
    "load_settings",
    "mask_url",
]

FILES: Final = ("runtime.yaml", "queues.yaml", "logging.yaml", "api.yaml")
DROP_INS: Final = "runtime.d"

#: Short names for what every installation sets.
ALIASES: Final[Mapping[str, Where]] = {
    "BATON_REDIS_URL": ("store", "url"),
    "BATON_BROKER_URL": ("queues", "broker_url"),
}

#: A variable of this ending names a file that holds the value: how secrets come in from systemd, compose and Kubernetes.
IN_FILE: Final = "_FILE"
#: How alike a section must be to be taken for one that is misspelt, from 0 to 1: two letters changed places in a short one.
NEAR: Final = 0.8

#: A password in a URL may hold an @ as it is: the last one before the host ends it.
_PASSWORD = re.compile(
    r"(://[^/@:\s]*:)[^@\s]*(?:@[^@/?\s]*(?=@))*(@)|([?&](?:\w*_)?(?:password|secret|token)=)[^&\s]*", re.IGNORECASE
)

_PASSWORD_VALUE = re.compile(
    r"://[^/@:\s]*:([^@\s]*(?:@[^@/?\s]*(?=@))*)@|[?&](?:\w*_)?(?:password|secret|token)=([^&\s]+)", re.IGNORECASE
)


class SettingOrigin(Frozen):
    """One setting, its value with passwords masked, and the layer that gave it."""

    path: str
    value: JsonValue
    origin: str


def load_settings(
    *,
    config_dir: Path | None = None,
    env: Mapping[str, str] | None = None,
    overrides: Mapping[str, object] | None = None,
) -> Settings:
    """Return the settings of all layers, or raise SourceInvalid with everything that is wrong.

    `overrides` are nested (`{"lease": {"seconds": 20}}`) or dotted (`{"lease.seconds": 20}`); None
    overrides nothing. `config_dir` is `BATON_CONFIG_DIR`, or the files that come with Baton.
    """
    return build(Settings, _layers(config_dir, os.environ if env is None else env, overrides or {}))


def explain_settings(
    *,
    config_dir: Path | None = None,
    env: Mapping[str, str] | None = None,
    overrides: Mapping[str, object] | None = None,
) -> tuple[SettingOrigin, ...]:
    """Return every setting with its value and where it came from, in the order of the sections."""
    document = _layers(config_dir, os.environ if env is None else env, overrides or {})
    settings = build(Settings, document)
    return tuple(
        SettingOrigin(
            path=render_path(path),
            value=_masked(value),
            origin=str(document.marks[path]) if path in document.marks else "built-in default",
        )
        for path, value in _leaves(settings, ())
    )


def find_config_dir(env: Mapping[str, str]) -> Path:
    """Return the folder of the files: BATON_CONFIG_DIR, else the wheel's, else the checkout's."""
    if env.get("BATON_CONFIG_DIR"):
        return Path(env["BATON_CONFIG_DIR"])
    here = Path(__file__).resolve().parent
    # The current directory is never looked at: who starts a command there must not configure it.
    return here / "_config" if (here / "_config").is_dir() else here.parent / "config"


def find_app_paths(settings: Settings) -> tuple[Path, ...]:
    """Return the folders that hold apps, the bundled ones last."""
    bundled = Path(__file__).resolve().parent.parent / "apps"
    own = tuple(Path(path).expanduser() for path in settings.apps.path)
    return (*own, bundled) if settings.apps.bundled and bundled.is_dir() else own


def mask_url(text: str) -> str:
    """Return a text with the passwords of its URLs masked.

    >>> mask_url("redis://user:secret@host:6379/0"), mask_url("unix:///s?password=x&db=0")
    ('redis://user:***@host:6379/0', 'unix:///s?password=***&db=0')
    >>> mask_url("sentinel://:secret@a,b/main?sentinel_username=me&sentinel_password=other")
    'sentinel://:***@a,b/main?sentinel_username=me&sentinel_password=***'
    >>> mask_url("redis://:p@ss:w@rd@host/0 amqp://a:b@c;amqp://a:b@d")
    'redis://:***@host/0 amqp://a:***@c;amqp://a:***@d'
    """
    return _PASSWORD.sub(lambda match: f"{match[1]}***{match[2]}" if match[1] else f"{match[3]}***", text)


def find_secrets(settings: Settings) -> list[str]:
    """Return the passwords in the settings' URLs: what no log line may show, wherever it turns up.

    >>> find_secrets(Settings.model_validate({"store": {"url": "redis://me:sw%40rdfish@host?db=1"}}))
    ['sw%40rdfish', 'sw@rdfish']
    >>> find_secrets(Settings.model_validate({"store": {"url": "redis://:sw@rd@fish@host"}}))
    ['sw@rd@fish']
    """
    found = []
    for url in (settings.store.url, settings.queues.broker_url, settings.archive.url, settings.tracing.endpoint):
        for password in _PASSWORD_VALUE.findall(url):
            text = "".join(password)
            found += [one for one in dict.fromkeys((text, unquote(text))) if one]
    return found


def _layers(config_dir: Path | None, env: Mapping[str, str], overrides: Mapping[str, object]) -> Document:
    folder = config_dir or find_config_dir(env)
    document = Document(str(folder), data={}, marks={(): Mark(str(folder))})
    if not folder.is_dir():
        document.problem((), "no such folder; mend BATON_CONFIG_DIR, or unset it")
    for file in _files(folder, document):
        layer = scan(file, env=env)
        if layer.readable and layer.data is not None and not isinstance(layer.data, dict):
            layer.problem((), "expected a mapping of sections")
            layer.data = None
        layer.marks.pop((), None)
        document.overlay(layer)
    document.readable = True  # one file that cannot be read does not keep us from checking the others
    document.overlay(_environment(env))
    document.overlay(_overrides(overrides))
    return document


def _files(folder: Path, document: Document) -> Iterator[Path]:
    yield from (folder / name for name in FILES if (folder / name).exists())
    for file in sorted((folder / DROP_INS).glob("*")):
        if file.suffix == ".yaml":
            yield file
        elif file.suffix == ".yml":
            document.problems.append(Problem(Mark(str(file)), (), "is not read; rename it to .yaml"))


def _environment(env: Mapping[str, str]) -> Document:
    document = Document("environment", data={})
    known = {**{_variable(path): path for path, _ in _leaves(Settings(), ())}, **ALIASES}
    sections = tuple(f"BATON_{name.upper()}_" for name in Settings.model_fields)
    from_variable: dict[Where, str] = {}
    texts: dict[str, str] = {}
    for name in sorted(env):
        path, mark = known.get(name), Mark(f"environment {name}")
        text = env[name]
        if path is None and name.endswith(IN_FILE) and name.removesuffix(IN_FILE) in known:
            path = known[name.removesuffix(IN_FILE)]
            try:
                text = _read_file(text)
            except (OSError, ValueError) as error:
                said = getattr(error, "strerror", None) or error
                document.problems.append(
                    Problem(mark, path, f"{text[:200]!r}: {said}; name a text file that can be read")
                )
                continue
        if path is None:
            if name.startswith(sections):
                near = [one for one in known if one.startswith(name.split("_")[0] + "_" + name.split("_")[1])]
                document.problems.append(Problem(mark, (), f"no such setting; {suggest(name, near)}"))
            elif (meant := _find_meant(name, known)) is not None:
                document.problems.append(Problem(mark, (), f"no such setting; did you mean {meant!r}?"))
            continue
        other = from_variable.get(path)
        if other is not None and texts[other] != text:
            document.problems.append(Problem(mark, path, f"{other} says otherwise; unset one of them"))
        from_variable[path], texts[name] = name, text
        _put(document, path, _read_variable(path, text), mark)
        document.expanded.add(path)  # its value may be a secret: messages do not repeat it
    return document


def _find_meant(name: str, known: Collection[str]) -> str | None:
    """Return the variable that is meant by one whose section is misspelt and whose field is not; None for what is none of ours.

    >>> _find_meant("BATON_ARCHVE_URL", ["BATON_ARCHIVE_URL"]), _find_meant("BATON_SHOP_URL", ["BATON_ARCHIVE_URL"])
    ('BATON_ARCHIVE_URL', None)
    """
    if not name.startswith("BATON_"):
        return None
    ending = IN_FILE if name.endswith(IN_FILE) else ""
    for one in known:
        _, section, field = one.split("_", 2)
        word = name.removeprefix("BATON_").removesuffix(f"_{field}{ending}")
        if name.endswith(f"_{field}{ending}") and word.isalpha() and get_close_matches(word, [section], cutoff=NEAR):
            return one + ending
    return None


def _read_file(name: str) -> str:
    """Return what a file of a value holds, without space around it; raise OSError or ValueError.

    A device would never end: no more is read than a file of settings may have.
    """
    with Path(name).open("rb") as stream:
        data = stream.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError(f"over {MAX_BYTES} bytes")
    return data.decode("utf-8-sig").strip()


def _overrides(overrides: Mapping[str, object]) -> Document:
    document = Document("override", data={})

    def add(value: object, path: Where) -> None:
        if isinstance(value, Mapping) and path != ("logging", "loggers"):
            for key, inner in value.items():
                add(inner, (*path, *str(key).split(".")))
        elif value is not None:
            plain: JsonValue = list(value) if isinstance(value, tuple) else value  # type: ignore[assignment]
            _put(document, path, plain, Mark(f"override {render_path(path)}"))

    add(overrides, ())
    return document


def _read_variable(path: Where, text: str) -> JsonValue:
    """Return a variable's value; lists are separated as the system separates paths, else by commas."""
    if path == ("apps", "path"):
        return [part for part in text.split(os.pathsep) if part]
    default: object = Settings()
    for part in path:
        default = getattr(default, str(part))
    if isinstance(default, tuple):
        return [part.strip() for part in text.split(",") if part.strip()]
    return text


def _variable(path: Where) -> str:
    return "_".join(("BATON", *(str(part).upper() for part in path)))


def _put(document: Document, path: Where, value: JsonValue, mark: Mark) -> None:
    layer = Document(document.label, value, marks={(): mark})
    document.graft(layer, path)
    document.keys[path] = mark


def _leaves(model: BaseModel, path: Where) -> Iterator[tuple[Where, JsonValue]]:
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from _leaves(value, (*path, name))
        else:
            yield (*path, name), list(value) if isinstance(value, tuple) else value


def _masked(value: JsonValue) -> JsonValue:
    if isinstance(value, str):
        return mask_url(value)
    return [_masked(item) for item in value] if isinstance(value, list) else value
