"""What a process logs: text for people or one JSON object a line, with the session it is about, without secrets.

`configure_logging` is called once by a command. `about` names the session, step or app that the lines inside a block
belong to; it follows asyncio tasks and threads that copy their context. `hide` makes a value unspeakable: from then
on no line shows it, in whatever field it turns up. Metrics are counted by the store, not here.
"""

import logging
import re
import sys
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from json import JSONEncoder
from typing import Final, Literal, TextIO, TypeAlias
from urllib.parse import quote

from orchestrator.contracts.errors import ConfigError, suggest

Style: TypeAlias = Literal["auto", "text", "json"]

HIDDEN: Final = "[hidden]"
#: A shorter value would black out innocent text everywhere.
SHORTEST_SECRET: Final = 6
#: A message that is longer is cut; a stack is given four times as much.
MESSAGE_CHARS: Final = 8_192

_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_NAMED: Final = ("session_id", "step", "app", "worker", "trace_id")
_STANDARD: Final = frozenset(logging.LogRecord("", 0, "", 0, "", None, None).__dict__) | {
    "message",
    "asctime",
    "taskName",
    *_NAMED,
}
_encode = JSONEncoder(separators=(",", ":"), default=str).encode

#: What the lines are about. `about` makes a mapping of its own and `note` adds to it, so that a step's note copies nothing.
_fields: ContextVar[dict[str, str] | None] = ContextVar("baton_log_fields", default=None)
_process: dict[str, str] = {}

#: A password in a URL may hold an @ as it is: the last one before the host ends it.
_URL_PASSWORD = re.compile(r"(://[^/@:]*:)[^@]*(?:@[^@/?]*(?=@))*(?=@)")
_URL_OPTION = re.compile(r"([?&](?:password|secret|token)=)[^&\s\"]*", re.IGNORECASE)
#: What may be a URL: it is looked at up to its last @. Behind that a search would go to the end for each `://` that a hostile text has.
_RUN = re.compile(r"[^\s\"]+")
#: Control characters could move a terminal's cursor; tab and newline are dealt with where lines are made.
_CONTROL = dict.fromkeys([*range(9), 11, 12, *range(13, 32), *range(127, 160)], "\N{REPLACEMENT CHARACTER}")


class Redactor:
    """Takes hidden values and the passwords of URLs out of a line."""

    def __init__(self) -> None:
        self._values: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def hide(self, values: Iterable[str]) -> None:
        """Add values; shorter ones than SHORTEST_SECRET are passed over."""
        for value in values:
            if len(value) >= SHORTEST_SECRET:
                # As it is, as JSON writes it, and as a URL does.
                self._values |= {value, _encode(value)[1:-1], quote(value, safe="")}
        longest_first = sorted(self._values, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def clean(self, text: str) -> str:
        """Return the text without them.

        >>> redactor = Redactor()
        >>> redactor.hide(["swordfish"])
        >>> redactor.clean("key swordfish for redis://me:pw@host/0?token=abc&db=1")
        'key [hidden] for redis://me:[hidden]@host/0?token=[hidden]&db=1'
        """
        if self._pattern is not None:
            text = self._pattern.sub(HIDDEN, text)
        if "://" in text and "@" in text:
            text = _RUN.sub(_hide_passwords, text)
        if "?" in text or "&" in text:
            text = _URL_OPTION.sub(rf"\1{HIDDEN}", text)
        return text


def _hide_passwords(run: re.Match[str]) -> str:
    """Hide the passwords in a text without a blank, in a time that grows with its length alone."""
    head, at, tail = run[0].rpartition("@")
    return _URL_PASSWORD.sub(rf"\1{HIDDEN}", head + at) + tail if "://" in head else run[0]


_redactor: Final = Redactor()


def hide(*values: str) -> None:
    """Let no line show these values any more: keys, tokens, passwords, registered where they are read."""
    _redactor.hide(values)


def redact(text: str) -> str:
    """Return a text as a log may show it."""
    return _redactor.clean(text)


@contextmanager
def about(*, session_id: str = "", step: str = "", app: str = "") -> Iterator[None]:
    """Name what the lines inside the block are about; what is not given stays as it was."""
    given = {"session_id": session_id, "step": step, "app": app}
    token = _fields.set({**(_fields.get() or {}), **{name: value for name, value in given.items() if value}})
    try:
        yield
    finally:
        _fields.reset(token)


def note(*, step: str = "", app: str = "", trace_id: str = "") -> None:
    """Add to what the lines are about, until the `about` block around this ends; without one, nothing is added."""
    fields = _fields.get()
    if fields is None:
        return
    if step:
        fields["step"] = step
    if app:
        fields["app"] = app
    if trace_id:
        fields["trace_id"] = trace_id


def name_process(worker: str) -> None:
    """Name the process on all of its lines; a forked child names itself anew."""
    _process["worker"] = worker


class ContextFilter(logging.Filter):
    """Gives each record the fields of its context; what the caller gave itself stays."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the fields; drop nothing."""
        given = record.__dict__
        for name, value in _process.items():
            given.setdefault(name, value)
        for name, value in tuple(
            (_fields.get() or {}).items()
        ):  # a thread that outlived its step may log while it is noted
            given.setdefault(name, value)
        return True


class JsonFormatter(logging.Formatter):
    """One JSON object a line: at, level, logger, message, the context's fields, the caller's own, the error."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, in ASCII."""
        given = record.__dict__
        line: dict[str, object] = {
            "at": f"{_second(int(record.created))}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _cut(record.getMessage(), MESSAGE_CHARS),
        }
        for name in _NAMED:
            if name in given:
                line[name] = given[name]
        if len(given) > _PLAIN_FIELDS:
            line.update((name, value) for name, value in given.items() if name not in _STANDARD)
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            line["error"] = {"type": type(error).__name__, "message": _cut(str(error), MESSAGE_CHARS)}
            line["stack"] = _stack(error)
        return _redactor.clean(_encode(line))


class TextFormatter(logging.Formatter):
    """A line for people: time, level, logger, message, then what it is about."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; further lines of a message are indented, so that none can pass for a line of its own."""
        given = record.__dict__
        about_it = "".join(f" {name}={given[name]}" for name in _NAMED if name in given)
        extra = "".join(f" {name}={value}" for name, value in given.items() if name not in _STANDARD)
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        message = _cut(record.getMessage(), MESSAGE_CHARS)
        text = f"{clock}.{int(record.msecs):03d} {record.levelname:<7} {record.name}: {message}{about_it}{extra}"
        if record.exc_info and record.exc_info[1] is not None:
            text = f"{text}\n{_stack(record.exc_info[1])}"
        return _redactor.clean(text).translate(_CONTROL).replace("\n", "\n    ")


class LineHandler(logging.StreamHandler[TextIO]):
    """Writes lines. One that cannot be made is named by its place: the arguments would pass the redaction by."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the library's name
        """Say where the line was to come from, and what went wrong."""
        error = sys.exc_info()[1]
        if isinstance(error, OSError) or self.stream.closed:  # nobody reads any more
            return
        kind = type(error).__name__
        self.stream.write(f"a line of {record.name} was lost: {kind} at {record.filename}:{record.lineno}\n")


_PLAIN_FIELDS: Final = len(logging.LogRecord("", 0, "", 0, "", None, None).__dict__)
_second_cache: tuple[int, str] = (-1, "")


def _second(now: int) -> str:
    """Return the UTC second as text; the last one is kept, most lines fall into it."""
    global _second_cache  # noqa: PLW0603 - a race only formats the second twice
    second, text = _second_cache
    if second != now:
        text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
        _second_cache = (now, text)
    return text


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text) - limit} characters more)"


def _stack(error: BaseException) -> str:
    return _cut("".join(traceback.format_exception(error)).rstrip(), 4 * MESSAGE_CHARS)


def configure_logging(
    *,
    level: str = "INFO",
    style: Style = "auto",
    loggers: Mapping[str, str] | None = None,
    secrets: Iterable[str] = (),
    stream: TextIO | None = None,
) -> logging.Handler:
    """Send the root logger's lines to `stream` (stderr) and return the handler; a second call replaces the first.

    `auto` is text on a terminal and JSON elsewhere. `loggers` sets the levels of single loggers. Raise ConfigError
    for a level that does not exist.
    """
    _redactor.hide(secrets)
    levels = {"": level, **(loggers or {})}
    for name, wanted in levels.items():
        if wanted not in _LEVELS:
            raise ConfigError(f"logging level of {name or 'all'}: unknown {wanted!r}; {suggest(wanted, _LEVELS)}")
    target = sys.stderr if stream is None else stream
    is_text = style == "text" or (style == "auto" and target.isatty())
    handler = LineHandler(target)
    handler.set_name("baton")
    handler.setFormatter(TextFormatter() if is_text else JsonFormatter())
    handler.addFilter(ContextFilter())
    root = logging.getLogger()
    for earlier in [found for found in root.handlers if found.get_name() == "baton"]:
        root.removeHandler(earlier)
    root.addHandler(handler)
    for name, wanted in levels.items():
        logging.getLogger(name).setLevel(wanted)
    logging.captureWarnings(capture=True)
    return handler
