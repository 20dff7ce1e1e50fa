"""Tests of logging: what a line says, whom it names, what it never shows."""

import asyncio
import io
import json
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest

from orchestrator import telemetry
from orchestrator.contracts.errors import ConfigError
from orchestrator.telemetry import Style, about, configure_logging, hide

log = logging.getLogger("baton.test")


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


@pytest.fixture(autouse=True)
def logging_of_its_own(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave the root logger, the levels and the hidden values as they were."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    monkeypatch.setattr(telemetry, "_redactor", telemetry.Redactor())
    monkeypatch.setattr(telemetry, "_process", {})
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)


def logged(say: Callable[[], object], *, style: Style = "json", level: str = "INFO") -> str:
    """Return what is written while `say` logs."""
    stream = io.StringIO()
    configure_logging(style=style, level=level, stream=stream)
    say()
    return stream.getvalue()


def line_of(say: Callable[[], object]) -> dict[str, Any]:
    """Return the one JSON line that `say` logs."""
    parsed = json.loads(logged(say))
    assert isinstance(parsed, dict)
    return parsed


def fail(message: str) -> None:
    """Log a caught error with its stack."""
    try:
        raise RuntimeError(message)
    except RuntimeError:
        log.exception("it failed")


def test_a_json_line_has_its_fields() -> None:
    """A collector reads them by name."""
    line = line_of(lambda: log.warning("session %s ended", "INC-1", extra={"took_ms": 7}))

    at = line.pop("at")
    assert line == {"level": "warning", "logger": "baton.test", "message": "session INC-1 ended", "took_ms": 7}
    assert len(at) == len("2026-11-20T23:23:00.123Z")
    assert at.endswith("Z")


def test_lines_name_what_they_are_about() -> None:
    """At night the question is always: which session?"""

    def say() -> None:
        telemetry.name_process("host:7:ab")
        with about(session_id="INC-1", app="sample"), about(step="agent_turn"):
            log.info("inside")

    line = line_of(say)
    named = {name: line[name] for name in ("session_id", "app", "step", "worker")}
    assert named == {"session_id": "INC-1", "app": "sample", "step": "agent_turn", "worker": "host:7:ab"}


def test_what_a_line_is_about_ends_with_the_block() -> None:
    """The next session's lines must not carry this one's id."""

    def say() -> None:
        with about(session_id="INC-1"):
            pass
        log.info("outside")

    assert "session_id" not in line_of(say)


def test_a_note_stays_within_its_block() -> None:
    """A step's note is for the lines of its slice, and for nobody around it or beside it."""

    def say() -> None:
        telemetry.note(step="nobody's")
        with about(session_id="INC-1"):
            with about(app="sample"):
                telemetry.note(step="inner/1", trace_id="abc")
                log.info("inside")
            telemetry.note(app="outer")
            log.info("after")

    inside, after = (json.loads(line) for line in logged(say).splitlines())
    assert (inside["session_id"], inside["app"], inside["step"], inside["trace_id"]) == (
        "INC-1",
        "sample",
        "inner/1",
        "abc",
    )
    assert (after["session_id"], after["app"]) == ("INC-1", "outer")
    assert "step" not in after
    assert "trace_id" not in after


def test_concurrent_sessions_keep_their_own_names() -> None:
    """Hundreds of sessions share a loop, and some of their work runs in threads."""

    async def one(session_id: str, turns: list[asyncio.Event], mine: int) -> None:
        with about(session_id=session_id):
            turns[mine].set()
            await turns[1 - mine].wait()
            await asyncio.to_thread(log.info, "%s", session_id)

    async def both() -> None:
        turns = [asyncio.Event(), asyncio.Event()]
        await asyncio.gather(one("A-1", turns, 0), one("B-1", turns, 1))

    lines = [json.loads(line) for line in logged(lambda: asyncio.run(both())).splitlines()]
    assert sorted(line["message"] for line in lines) == ["A-1", "B-1"]
    assert all(line["session_id"] == line["message"] for line in lines)


def test_a_line_may_name_another_session_than_its_context() -> None:
    """The scheduler speaks of many sessions from one place."""

    def say() -> None:
        with about(session_id="INC-1"):
            log.info("rescued", extra={"session_id": "INC-2"})

    assert line_of(say)["session_id"] == "INC-2"


@pytest.mark.parametrize("style", ["json", "text"])
@pytest.mark.parametrize("secret", ["swordfish", 'with "quotes" and \\', "pässwörter", "a/b+c d&e"])
def test_a_hidden_value_never_shows(style: Style, secret: str) -> None:
    """A key may turn up in a message, an argument, an extra field, an exception or a URL."""

    def say() -> None:
        hide(secret)
        log.info("key %s", secret, extra={"header": {"x-key": secret}, "plain": secret})
        fail(f"refused: {secret}")
        log.info("GET https://host/?q=%s", quote(secret, safe=""))

    text = logged(say, style=style)
    assert secret not in text
    assert json.dumps(secret)[1:-1] not in text
    assert quote(secret, safe="") not in text
    assert text.count(telemetry.HIDDEN) >= 4


@pytest.mark.parametrize("style", ["json", "text"])
@pytest.mark.parametrize(
    "url",
    [
        "redis://user:swordfish@host:6379/0",
        "redis://:swordfish@host/0",
        "redis://:an@swordfish@host/0",
        "amqp://user:swordfish@host//;amqp://user:an@swordfish@other//",
        "unix:///s.sock?db=0&password=swordfish",
    ],
)
def test_the_password_of_a_url_never_shows(style: Style, url: str) -> None:
    """A connection error names the URL it tried; nobody had to register it."""
    text = logged(lambda: log.error("cannot reach %s", url), style=style)

    assert "swordfish" not in text
    assert telemetry.HIDDEN in text


@pytest.mark.parametrize("text", ["://" + ":" * 10**6, "://a:" * 10**6, "@" + "://a:" * 10**6, "://a:" * 10**6 + "@"])
def test_no_text_takes_more_time_than_its_length(text: str) -> None:
    """What tools and services say is redacted on the loop: one that takes hours would cost its worker every lease."""
    assert telemetry.redact(text).count(telemetry.HIDDEN) == text.endswith("@")


def test_an_innocent_url_is_left_alone() -> None:
    """A redaction that blacks out everything is switched off by the first who needs its logs."""
    url = "https://host:8080/path?page=2&db=1"

    assert line_of(lambda: log.info(url))["message"] == url


def test_a_short_value_is_not_hidden() -> None:
    """Hiding "no" would black out half of all lines."""
    hide("no", "")

    assert line_of(lambda: log.info("no secret"))["message"] == "no secret"


def test_an_error_is_told_with_its_stack() -> None:
    """A collector groups by type; a person reads the stack."""
    line = line_of(lambda: fail("bad luck"))

    assert line["error"] == {"type": "RuntimeError", "message": "bad luck"}
    assert "test_telemetry.py" in line["stack"]


@pytest.mark.parametrize("style", ["json", "text"])
def test_a_message_cannot_pass_for_another_line(style: Style) -> None:
    """What a model or a tool said must neither forge a line nor steer a terminal."""
    forged = "fine\n12:00:00.000 INFO    baton: approved by root\x1b[2J\r\x9b1m"

    text = logged(lambda: log.info("tool said %s", forged), style=style)

    starts = [line for line in text.splitlines() if not line.startswith("    ")]
    assert len(starts) == 1
    assert not set("\x1b\r\x9b") & set(text)


def test_a_message_is_cut_at_its_limit() -> None:
    """One line with a whole document in it stops a collector."""
    message = line_of(lambda: log.info("x" * 100_000))["message"]

    assert message.endswith("characters more)")
    assert len(message) < 9_000


def test_a_line_that_cannot_be_made_shows_no_argument() -> None:
    """The library would print the arguments as they are, past every redaction."""
    stream = io.StringIO()
    handler = configure_logging(stream=stream)
    arguments = ("swordfish",)

    handler.handle(log.makeRecord("baton.test", logging.INFO, "some.py", 7, "%d sessions", arguments, None))

    assert stream.getvalue() == "a line of baton.test was lost: TypeError at some.py:7\n"


@pytest.mark.parametrize(("stream", "is_json"), [(io.StringIO(), True), (Terminal(), False)])
def test_auto_writes_for_whoever_reads(stream: io.StringIO, is_json: bool) -> None:
    """A person gets text, a pipe gets JSON."""
    configure_logging(stream=stream)

    log.info("hello")

    assert stream.getvalue().startswith("{") is is_json


def test_a_text_line_ends_with_what_it_is_about() -> None:
    """People read the message first."""

    def say() -> None:
        with about(session_id="INC-1"):
            log.info("ended", extra={"took_ms": 7})

    assert logged(say, style="text").rstrip().endswith("INFO    baton.test: ended session_id=INC-1 took_ms=7")


def test_a_second_call_replaces_the_first() -> None:
    """Two handlers would write every line twice; other people's handlers stay."""
    theirs = logging.NullHandler()
    logging.getLogger().addHandler(theirs)
    first, second = io.StringIO(), io.StringIO()
    configure_logging(stream=first)
    configure_logging(stream=second)

    log.info("once")

    assert first.getvalue() == ""
    assert len(second.getvalue().splitlines()) == 1
    assert theirs in logging.getLogger().handlers


def test_levels_are_kept_for_all_and_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A noisy library is silenced without losing our own lines."""
    stream = io.StringIO()
    configure_logging(level="INFO", loggers={"noisy_library": "ERROR"}, stream=stream)

    logging.getLogger("noisy_library.part").warning("noise")
    log.info("ours")
    log.debug("detail")

    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["ours"]


def test_an_unknown_level_is_refused() -> None:
    """A misspelt level must not mean silence."""
    with pytest.raises(ConfigError, match=r"logging level of celery: unknown 'WARN'; did you mean 'WARNING'\?"):
        configure_logging(loggers={"celery": "WARN"}, stream=io.StringIO())


def test_a_closed_stream_ends_no_session() -> None:
    """A log that nobody reads any more is no reason to fail a step."""
    stream = io.StringIO()
    configure_logging(stream=stream)
    stream.close()

    log.info("into the void")


def test_warnings_are_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deprecation of a library belongs into the log, not between its lines."""
    monkeypatch.setattr(sys, "warnoptions", [])
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        line = json.loads(logged(lambda: warnings.warn("old way", DeprecationWarning, stacklevel=1)))

    assert line["logger"] == "py.warnings"
    assert "old way" in line["message"]
