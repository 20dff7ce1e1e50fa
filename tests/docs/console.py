"""Runs the console blocks of a page as a reader would, and compares what they print.

    $ command         run in bash; a command of STAYING goes on in the background, as in a terminal of its own
    ^C                interrupt the command of that kind that was started last, and wait for its end
    any other line    expected output: `...` alone stands for any lines, within a line for any text

Space counts as one. Ids of the page's own day are examples: where one is first printed it takes the id that stands
there, and later commands get that one. A fenced block with a file's name behind its language is written to that file.
"""

import os
import re
import shlex
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

FENCE = re.compile(r"^```(?P<language>\w+)(?: (?P<name>\S+))?\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
EXAMPLE_ID = re.compile(r"[A-Z][A-Z-]*-20261120-\d{3,}")
ANY_ID = r"[A-Z][A-Z-]*-\d{8}-\d{3,}"
#: What goes on until it is interrupted.
STAYING = ("baton up", "baton stub-llm")
INTERRUPT = "^C"
ANY_LINES = "..."
EXPORT = re.compile(r"export (?=\w+=)")


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    language: str
    name: str
    body: str


@dataclass(frozen=True)
class Step:
    """One command (or an interrupt) and the lines that are expected after it."""

    command: str
    expected: tuple[str, ...]


def read_blocks(text: str) -> list[Block]:
    """Return the fenced blocks of a page."""
    return [Block(one["language"], one["name"] or "", one["body"]) for one in FENCE.finditer(text)]


def read_steps(body: str) -> list[Step]:
    """Return the commands of a console block with what they print.

    >>> read_steps("$ a\\nx\\n$ b\\n")
    [Step(command='a', expected=('x',)), Step(command='b', expected=())]
    """
    steps: list[tuple[str, list[str]]] = []
    for line in body.splitlines():
        if line.startswith("$ ") or line == INTERRUPT:
            steps.append((line.removeprefix("$ "), []))
        elif steps:
            steps[-1][1].append(line)
        elif line.strip():
            raise AssertionError(f"a console block begins with a command, not with {line!r}")
    return [Step(command, tuple(expected)) for command, expected in steps]


class Mismatch(AssertionError):
    """What was printed is not what the page says."""


class Matcher:
    """Takes the lines of one command, one at a time, and finds the expected ones in their order."""

    def __init__(self, expected: tuple[str, ...], ids: dict[str, str]) -> None:
        self._left = list(expected)
        self._ids = ids
        self.printed: list[str] = []

    @property
    def is_satisfied(self) -> bool:
        """Whether nothing more has to come."""
        return all(line.strip() == ANY_LINES for line in self._left)

    def take(self, line: str) -> None:
        """Compare one line; raise Mismatch for one that the page does not expect."""
        self.printed.append(line)
        text = squeeze(line)
        if not text and not (self._left and not squeeze(self._left[0])):
            return  # an empty line between two others is only air
        skips = False
        for number, wanted in enumerate(self._left):
            if wanted.strip() == ANY_LINES:
                skips = True
                continue
            if self._matches(wanted, text):
                del self._left[: number + 1]
                return
            break
        if not skips:
            wanted = self._left[0] if self._left else "nothing more"
            raise Mismatch(f"printed:  {text}\nexpected: {wanted}\n\n" + "\n".join(self.printed))

    def finish(self) -> None:
        """Raise Mismatch where something that is expected has not come."""
        if not self.is_satisfied:
            raise Mismatch(f"missing: {self._left}\n\n" + "\n".join(self.printed))

    def _matches(self, wanted: str, text: str) -> bool:
        pattern, fresh = "", []
        for part in re.split(rf"(\.\.\.|{EXAMPLE_ID.pattern})", squeeze(wanted)):
            if part == ANY_LINES:
                pattern += ".*?"
            elif EXAMPLE_ID.fullmatch(part) and part in self._ids:
                pattern += re.escape(self._ids[part])
            elif EXAMPLE_ID.fullmatch(part):
                fresh.append(part)
                pattern += f"({ANY_ID})"
            else:
                pattern += re.escape(part)
        found = re.fullmatch(pattern, text)
        if found is not None:
            self._ids.update(zip(fresh, found.groups(), strict=True))
        return found is not None


def squeeze(line: str) -> str:
    """Return a line with every run of space as one.

    >>> squeeze("a   b ")
    'a b'
    """
    return " ".join(line.split())


@dataclass
class Console:
    """One reader at their terminals: a folder, an environment, and what runs in the background."""

    folder: Path
    environment: dict[str, str]
    ids: dict[str, str] = field(default_factory=dict)
    running: list[tuple[str, "subprocess.Popen[str]"]] = field(default_factory=list)

    def play(self, text: str) -> None:
        """Do what a page says, block by block."""
        for block in read_blocks(text):
            if block.name:
                (self.folder / block.name).parent.mkdir(parents=True, exist_ok=True)
                (self.folder / block.name).write_text(block.body, encoding="utf-8")
            if block.language == "console":
                for step in read_steps(block.body):
                    self.do(step)

    def do(self, step: Step) -> None:
        """Do one step; raise Mismatch, or AssertionError for an exit code that is not 0."""
        matcher = Matcher(step.expected, self.ids)
        if step.command == INTERRUPT:
            self._interrupt(matcher)
        elif EXPORT.match(step.command):
            self._export(step.command)
        elif step.command.startswith(STAYING):
            self._start(step.command, matcher)
        else:
            self._run(step.command, matcher)

    def _export(self, command: str) -> None:
        said = subprocess.run(
            ["bash", "-c", f"{command}; env -0"],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        self.environment = dict(pair.split("=", 1) for pair in said.stdout.split("\0") if pair)

    def _run(self, command: str, matcher: Matcher) -> None:
        done = subprocess.run(
            ["bash", "-c", self._with_ids(command)],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        for line in done.stdout.splitlines():
            self._take(matcher, line, command)
        matcher.finish()
        assert done.returncode == 0, f"$ {command}\nexit code {done.returncode}\n{done.stdout}"

    def _start(self, command: str, matcher: Matcher) -> None:
        process = subprocess.Popen(
            shlex.split(self._with_ids(command)),
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.running.append((command, process))
        while not matcher.is_satisfied:
            self._read(process, matcher, command)

    def _interrupt(self, matcher: Matcher) -> None:
        """Press Ctrl-C where `up` runs: that is the terminal in which a page goes on."""
        command, process = next(one for one in reversed(self.running) if one[0].startswith(STAYING[0]))
        self.running.remove((command, process))
        process.send_signal(signal.SIGINT)
        for line in self._lines(process):
            if not line.startswith("baton up: logs:"):  # was printed before, and nobody had read on
                self._take(matcher, line, INTERRUPT)
        matcher.finish()
        if process.stdout is not None:
            process.stdout.close()
        assert process.wait() == 0

    def _read(self, process: "subprocess.Popen[str]", matcher: Matcher, command: str) -> None:
        line = process.stdout.readline() if process.stdout is not None else ""
        assert line, f"$ {command}\nit ended\n" + "\n".join(matcher.printed)
        self._take(matcher, line, command)

    def _take(self, matcher: Matcher, line: str, command: str) -> None:
        try:
            matcher.take(line.rstrip("\n"))
        except Mismatch as error:
            raise Mismatch(f"$ {command}\n{error}") from None

    def _lines(self, process: "subprocess.Popen[str]") -> Iterator[str]:
        if process.stdout is not None:
            yield from process.stdout

    def _with_ids(self, command: str) -> str:
        return EXAMPLE_ID.sub(lambda found: self.ids[found[0]], command)

    def close(self) -> None:
        """End what still runs: politely, and what does not go with force."""
        for _, process in reversed(self.running):
            process.send_signal(signal.SIGINT)
        for _, process in reversed(self.running):
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            if process.stdout is not None:
                process.stdout.close()
        self.running.clear()
