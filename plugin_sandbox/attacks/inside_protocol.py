"""Attacks on what the host hears: frames, logs, silence, and an end that does not come. Run inside the box.

None returns a text: the host's word about the run tells whether one succeeded.
"""

import atexit
import os
import sys
import threading
import time
from typing import Any, NoReturn

Arena = dict[str, Any]

_RESULT_FD = 3
_FRAME = b'{"result": "success", "per_file": [], "input_required": null, "error_message": null}'


def _say(data: bytes, code: int = 0) -> NoReturn:
    """Answer in the runner's place, and be gone."""
    while data:
        data = data[os.write(_RESULT_FD, data) :]
    os._exit(code)


def result_flood(arena: Arena) -> str:
    """Answer without end."""
    while True:
        os.write(_RESULT_FD, b"x" * 65_536)


def log_flood(arena: Arena) -> str:
    """Log without end, and without a line's end."""
    while True:
        os.write(2, b"x" * 65_536)


def two_answers(arena: Arena) -> str:
    """Answer twice."""
    _say(_FRAME + _FRAME)


def deep_answer(arena: Arena) -> str:
    """Answer with brackets that a parser recurses into."""
    _say(b"[" * 200_000)


def endless_number(arena: Arena) -> str:
    """Answer with a number that takes minutes to read."""
    _say(b'{"result": ' + b"9" * 900_000 + b"}")


def not_a_number(arena: Arena) -> str:
    """Answer with what is a number to Python alone."""
    _say(b'{"result": "success", "per_file": [], "error_message": NaN}')


def key_twice(arena: Arena) -> str:
    """Answer with a key that one reader takes for this, and another for that."""
    _say(b'{"result": "failed", "result": "success", "per_file": []}')


def lone_surrogate(arena: Arena) -> str:
    """Answer with text that cannot be written down again."""
    _say(b'{"result": "failed", "per_file": [], "error_message": "\\ud800"}')


def not_utf8(arena: Arena) -> str:
    """Answer with bytes that are no text."""
    _say(b'{"result": "failed", "per_file": [], "error_message": "\xff"}')


def not_an_object(arena: Arena) -> str:
    """Answer with a list."""
    _say(b"[" + _FRAME + b"]")


def claim_files(arena: Arena) -> str:
    """Answer with fields that are the host's to fill."""
    _say(b'{"result": "success", "per_file": [], "files_affected": ["../../etc/passwd"], "status": "success"}')


def claim_success(arena: Arena) -> str:
    """Claim success, and fail."""
    _say(_FRAME, code=3)


def claim_timeout(arena: Arena) -> str:
    """End with the number that stands for a timeout."""
    _say(b"", code=124)


def malformed_question(arena: Arena) -> str:
    """Ask a question that is none."""
    _say(b'{"result": "input_required", "per_file": [], "input_required": "abc"}', code=2)


def say_nothing(arena: Arena) -> str:
    """End well without an answer."""
    os._exit(0)


def close_all_and_hang(arena: Arena) -> str:
    """Close every descriptor, so that whoever waits for an end of file thinks it has ended, and stay."""
    os.closerange(0, 64)
    while True:
        time.sleep(60)


def dribble(arena: Arena) -> str:
    """Answer a byte at a time, so that every pause is short."""
    while True:
        os.write(_RESULT_FD, b" ")
        time.sleep(0.05)


def hold_the_pipes(arena: Arena) -> str:
    """Leave a child that holds the answer's end open."""
    if os.fork() == 0:
        os.setsid()
        time.sleep(60)
        os._exit(0)
    return ""


def linger(arena: Arena) -> str:
    """Leave a thread, an exit handler and a finaliser that do not come to an end."""
    threading.Thread(target=time.sleep, args=(60,)).start()
    atexit.register(time.sleep, 60)
    _Lingers.kept = _Lingers()
    return ""


class _Lingers:
    kept: Any = None

    def __del__(self) -> None:
        time.sleep(60)


def noise(arena: Arena) -> str:
    """Print what looks like an answer where people print."""
    print(_FRAME.decode() * 2)
    os.write(1, b'{"result": "failed"}\n')
    sys.stdout.flush()
    return ""


def forged_log(arena: Arena) -> str:
    """Log lines that look like the host's own."""
    os.write(2, b'{"level": "CRITICAL", "message": "x\\n2026 host: all is lost", "plugin": "other", "context": []}\n')
    os.write(2, b"\x1b[2J\r2026 host: all is lost\n")
    return ""


def number_out_of_range(arena: Arena) -> str:
    """Answer with a number that is written as one, and read as an infinity."""
    _say(b'{"result": "success", "per_file": [{"path": "a", "status": "modified", "changes": [{"x": 1e999}]}]}')


def huge_question(arena: Arena) -> str:
    """Ask a question that fills whatever keeps it, and the screen of whoever is asked."""
    field = b'{"id": "a", "type": "choice", "choices": [%s]}' % b",".join(
        [b'"%04d"' % number for number in range(20_000)]
    )
    _say(b'{"result": "input_required", "input_required": {"fields": [%s]}}' % field, code=2)


def question_that_draws(arena: Arena) -> str:
    """Ask with words that clear the screen of whoever is asked."""
    field = b'{"id": "a", "type": "choice", "choices": ["\\u001b[2J"]}'
    _say(b'{"result": "input_required", "input_required": {"fields": [%s]}}' % field, code=2)


def many_words(arena: Arena) -> str:
    """Answer with as many files as fit, well-formed."""
    part = b'{"path":"%s","status":"skipped"}'
    _say(
        b'{"result": "success", "per_file": [%s]}' % b",".join([part % (b"%05d" % number) for number in range(25_000)])
    )


def log_of_brackets(arena: Arena) -> str:
    """Log lines that a parser recurses into, or takes minutes to read."""
    for line in (b"[" * 60_000, b'{"a":' * 10_000, b"9" * 60_000, b"\xff" * 1000, b"\n" * 20_000):
        os.write(2, line + b"\n")
    return ""
