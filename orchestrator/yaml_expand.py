"""Expand variables in one text: `${VAR}` and its kin.

    ${VAR}            its value; a problem if it is not set
    ${VAR:-default}   its value, or the default if it is not set or empty
    ${VAR:?message}   its value; a problem with that message if it is not set or empty
    ${file:/path}     what the file holds, without the last newline; relative to the YAML's folder
    $$                one dollar

Defaults and paths may hold variables again. A value is never expanded again, and never read as
YAML. What comes from a file, or from a variable whose name says so (SECRETS), no log line shows
from then on. Any other `${` is a problem, so that a typing error is not taken for text.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from orchestrator.telemetry import hide

MAX_FILE_BYTES: Final = 1024 * 1024

#: Parts of the names of variables that hold secrets.
SECRETS: Final = re.compile(r"(?:^|_)(?:API_?KEY|KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)(?:_|$)", re.IGNORECASE)

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass
class Expander:
    """Expands texts against one environment and one folder.

    With `lenient`, what is missing becomes empty: a block that is switched off needs no variables.
    """

    env: Mapping[str, str]
    folder: Path
    lenient: bool = False
    problems: list[str] = field(default_factory=list)

    def expand(self, text: str) -> str:
        """Return the text with its variables replaced; what is wrong is added to `problems`.

        >>> Expander({"A": "1"}, Path()).expand("${A} $$A ${B:-${A}0} $5")
        '1 $A 10 $5'
        """
        out: list[str] = []
        at = 0
        while (dollar := text.find("$", at)) >= 0:
            out.append(text[at:dollar])
            if text.startswith("$$", dollar):
                out.append("$")
                at = dollar + 2
            elif text.startswith("${", dollar):
                end = _closing(text, dollar + 2)
                if end < 0:
                    self.problems.append("${ without its }; write $$ for a dollar")
                    return "".join(out)
                out.append(self._value(text[dollar + 2 : end]))
                at = end + 1
            else:
                out.append("$")
                at = dollar + 1
        out.append(text[at:])
        return "".join(out)

    def _value(self, body: str) -> str:
        if body.startswith("file:"):
            return self._file(self.expand(body.removeprefix("file:")))
        match = _NAME.match(body)
        name, rest = (match.group(), body[match.end() :]) if match else ("", body)
        value = self.env.get(name)
        if value is not None and not _is_utf8(value):
            # Python lends such bytes a form that no JSON can hold.
            self.problems.append(f"environment variable {name}: not UTF-8 text; set it anew")
            return ""
        if value and SECRETS.search(name):
            hide(value)
        if name and not rest:
            if value is None:
                self._missing(f"environment variable {name} is not set; set it, or write ${{{name}:-default}}")
            return value or ""
        if name and rest.startswith(":-"):
            return value or self.expand(rest[2:])
        if name and rest.startswith(":?"):
            if not value:
                self._missing(f"environment variable {name}: {self.expand(rest[2:]) or 'is not set'}")
            return value or ""
        self.problems.append(
            f"${{{body[:40]}}} is not understood; write ${{VAR}}, ${{VAR:-default}}, ${{VAR:?message}}, "
            "${file:/path}, or $$ for a dollar"
        )
        return ""

    def _file(self, name: str) -> str:
        path = self.folder / name
        try:
            # Opened before it is measured: the file may be replaced between the two.
            with path.open("rb") as stream:
                data = stream.read(MAX_FILE_BYTES + 1)
            if len(data) > MAX_FILE_BYTES:
                self._missing(f"file {name}: over {MAX_FILE_BYTES} bytes")
                return ""
            text = data.decode().removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError:
            self._missing(f"file {name}: not UTF-8 text")
        except OSError as error:
            self._missing(f"file {name}: {error.strerror or 'cannot be read'}")
        except ValueError:  # a path with a null character
            self._missing(f"file {name!r}: not a path")
        else:
            hide(text)
            return text
        return ""

    def _missing(self, problem: str) -> None:
        if not self.lenient:
            self.problems.append(problem)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _closing(text: str, start: int) -> int:
    """Return the index of the brace that closes the variable begun before `start`, or -1."""
    depth = 1
    at = start
    while at < len(text):
        if text.startswith("$$", at):
            at += 2
        elif text.startswith("${", at):
            depth += 1
            at += 2
        elif text[at] == "}":
            depth -= 1
            if not depth:
                return at
            at += 1
        else:
            at += 1
    return -1
