"""Run one program to its end with a limit on time and on output. No shell, ever.

Knows nothing of git or of analysers. The program runs in a process group of its own, so that
whatever it started is ended with it.
"""

import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

_CHUNK_BYTES = 65_536
_STDERR_BYTES = 8_192


class ProgramTimeout(Exception):
    """The program did not end in its time and was killed."""


class ProgramMissing(Exception):
    """The program cannot be started."""


@dataclass(frozen=True, slots=True)
class Finished:
    """How a program ended. `truncated`: it wrote more than was allowed and was killed for it."""

    returncode: int
    stdout: bytes
    stderr: str
    truncated: bool


@dataclass(slots=True)
class _Sink:
    """What came over one pipe so far, up to its limit."""

    limit_bytes: int
    data: bytearray = field(default_factory=bytearray)
    over: bool = False

    def take(self, chunk: bytes) -> None:
        room = self.limit_bytes - len(self.data)
        self.data += chunk[:room]
        self.over = self.over or len(chunk) > room


def run_bounded(
    argv: Sequence[str],
    *,
    cwd: str,
    env: Mapping[str, str],
    stdin: bytes = b"",
    timeout_seconds: float,
    max_bytes: int,
) -> Finished:
    """Run `argv` and return its bounded output; raise ProgramTimeout or ProgramMissing.

    Output beyond `max_bytes` ends the program: the first `max_bytes` are returned as truncated.
    """
    with tempfile.TemporaryFile() as source:  # a file, so that a program that reads late cannot block us
        source.write(stdin)
        source.seek(0)
        try:
            process = subprocess.Popen(  # noqa: S603 - the callers pass fixed programs and checked arguments
                list(argv),
                cwd=cwd,
                env=dict(env),
                stdin=source,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise ProgramMissing(f"{argv[0]}: cannot be started ({error.strerror})") from error
        with process:
            try:
                out, err = _read_until_end(process, time.monotonic() + timeout_seconds, max_bytes)
                if not out.over:
                    _wait(process, timeout_seconds)
            finally:
                _kill_group(process)
                process.wait()
    return Finished(process.returncode, bytes(out.data), err.data.decode("utf-8", "replace"), out.over)


def _read_until_end(process: "subprocess.Popen[bytes]", deadline: float, max_bytes: int) -> tuple[_Sink, _Sink]:
    out, err = _Sink(max_bytes), _Sink(_STDERR_BYTES)
    with selectors.DefaultSelector() as selector:
        for pipe, sink in ((process.stdout, out), (process.stderr, err)):
            if pipe is not None:
                selector.register(pipe, selectors.EVENT_READ, sink)
        while selector.get_map() and not out.over:
            left = deadline - time.monotonic()
            if left <= 0:
                raise ProgramTimeout("its time ran out")
            for key, _ in selector.select(left):
                chunk = os.read(key.fd, _CHUNK_BYTES)
                if chunk:
                    key.data.take(chunk)
                else:
                    selector.unregister(key.fileobj)
    return out, err


def _wait(process: "subprocess.Popen[bytes]", timeout_seconds: float) -> None:
    try:
        process.wait(timeout_seconds)
    except subprocess.TimeoutExpired as error:
        raise ProgramTimeout("its time ran out") from error


def _kill_group(process: "subprocess.Popen[bytes]") -> None:
    if process.returncode is not None:
        return  # it was waited for: its process group id may belong to another by now
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
