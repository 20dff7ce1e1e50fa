"""Is what a command printed what a runbook expects? Lines as patterns; no command is run here.

    text              itself; a run of spaces is one space
    ...               any text
    {steps|finalize}  one of these words
    {> 60}            a number over 60; also <, >=, <=, =, !=. In place of the number a value's name may stand
    <app>             one word: the value of that name where it is known, else any, and it is known from then on;
                      <session> takes the id of a session and nothing else
    ! text            no line may be so
    exit 5            the command's exit code; expected to be 0 where no line says otherwise

Every expected line must be found among the printed ones, wherever it stands there.
"""

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from orchestrator.contracts.base import Frozen
from orchestrator.contracts.errors import InputError

_PART = re.compile(
    r"\.\.\.|\{(?P<words>\w+(?:\|\w+)+)\}|\{(?P<sign>>=|<=|!=|>|<|=) ?(?P<bound>[\w.-]+)\}|<(?P<name>[a-z][a-z_]*)>"
)
_NAME = re.compile(r"<([a-z][a-z_]*)>")
_NUMBER = r"([+-]?(?:\d+\.?\d*(?:[eE][+-]?\d+)?|Inf|NaN))"
_WORD = r"\S+"
_ID = r"[A-Z][A-Z0-9-]*-\d{8}-\d{3,}"
_SIGNS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
    "=": operator.eq,
    "!=": operator.ne,
}
_EXIT = re.compile(r"exit \d+")


class Match(Frozen):
    """How output compares: the lines that fit, what is missing of the expected, and the words that are known now."""

    found: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    values: Mapping[str, str] = {}

    @property
    def is_met(self) -> bool:
        """Whether everything that is expected is there."""
        return not self.missing


def squeeze(line: str) -> str:
    """Return a line with every run of space as one."""
    return " ".join(line.split())


def match_output(expected: Sequence[str], printed: str, code: int, values: Mapping[str, str]) -> Match:
    """Compare what a command printed; raise InputError for a bound that is no number.

    >>> match_output(["depth {> most}", "<who> died"], "depth 7\\nada   died", 0, {"most": "5"}).values["who"]
    'ada'
    >>> match_output(["! depth {> 5}"], "depth 7", 0, {}).missing
    ('! depth {> 5}',)
    """
    lines = [squeeze(line) for line in printed.splitlines() if line.strip()]
    known, found, missing = dict(values), [], []
    codes = [line for line in expected if _EXIT.fullmatch(squeeze(line))] or ["exit 0"]
    if f"exit {code}" not in map(squeeze, codes):
        missing.append(f"{codes[0]} (it was {code})")
    for wanted in expected:
        if _EXIT.fullmatch(squeeze(wanted)):
            continue
        pattern = squeeze(wanted.removeprefix("! "))
        hit = next((line for line in lines if _take(pattern, line, known)), None)
        if (hit is None) != wanted.startswith("! "):
            missing.append(wanted)
        elif hit is not None:
            found.append(hit)
    return Match(found=tuple(found), missing=tuple(missing), values=known)


def fill(words: Sequence[str], values: Mapping[str, str]) -> list[str]:
    """Return a command's words with what is known in place of `<name>`; raise InputError for what is not.

    >>> fill(["show", "<session>"], {"session": "A-1"})
    ['show', 'A-1']
    """

    def put(found: re.Match[str]) -> str:
        if found[1] not in values:
            raise InputError(f"value {found[1]!r}: it is not known; give it with --set {found[1]}=...")
        return values[found[1]]

    return [_NAME.sub(put, word) for word in words]


def list_names(words: Sequence[str]) -> list[str]:
    """Return the names that a command needs."""
    return [name for word in words for name in _NAME.findall(word)]


def _take(pattern: str, line: str, known: dict[str, str]) -> bool:
    """Say whether a line fits; where it does, remember the words that it tells."""
    expression, tests, fresh, at = "", [], [], 0
    for part in _PART.finditer(pattern):
        expression += re.escape(pattern[at : part.start()])
        at = part.end()
        if part["sign"]:
            tests.append((_SIGNS[part["sign"]], _bound(part["bound"], known)))
            expression += f"(?P<n{len(tests)}>{_NUMBER})"
        elif part["words"]:
            expression += f"(?:{part['words']})"
        elif part["name"] is None:
            expression += ".*?"
        elif part["name"] in known:
            expression += re.escape(known[part["name"]])
        else:
            fresh.append(part["name"])
            expression += rf"(?P<w{len(fresh)}>{_ID if part['name'] == 'session' else _WORD})"
    found = re.fullmatch(expression + re.escape(pattern[at:]), line)
    if found is None or not all(
        test(float(found[f"n{number}"]), bound) for number, (test, bound) in enumerate(tests, start=1)
    ):
        return False
    known.update({name: found[f"w{number}"] for number, name in enumerate(fresh, start=1)})
    return True


def _bound(text: str, known: Mapping[str, str]) -> float:
    told = known.get(text, text)
    try:
        return float(told)
    except ValueError as error:
        raise InputError(f"bound {text!r}: {told!r} is no number; give one with --set {text}=NUMBER") from error
