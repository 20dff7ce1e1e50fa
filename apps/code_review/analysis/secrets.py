"""Find secrets that are written into a text, and mask them. Never repeats one in a message.

Two kinds: tokens that tell by their form what they are, and values given to a name that says
"password" or "key". The second kind is full of false alarms; a value counts only if it looks
random, and a placeholder, a path or a sentence never does. Pure.
"""

import math
import re
from collections import Counter
from collections.abc import Collection
from typing import Final

from .findings import Finding

#: Tokens with a form of their own. The group is what gets masked.
_TOKENS: Final[tuple[tuple[str, re.Pattern[str]], ...]] = (
    ("private key", re.compile(r"(-----BEGIN (?:[A-Z]+ ){0,2}PRIVATE KEY(?: BLOCK)?-----)")),
    ("AWS access key", re.compile(r"\b((?:AKIA|ASIA)[0-9A-Z]{16})\b")),
    ("GitHub token", re.compile(r"\b(gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{60,255})\b")),
    ("GitLab token", re.compile(r"\b(glpat-[A-Za-z0-9_-]{20,64})\b")),
    ("Slack token", re.compile(r"\b(xox[abprs]-[A-Za-z0-9-]{20,200})\b")),
    ("Stripe key", re.compile(r"\b([sr]k_live_[A-Za-z0-9]{16,128})\b")),
    ("Google API key", re.compile(r"\b(AIza[0-9A-Za-z_-]{35})\b")),
    ("model service key", re.compile(r"\b(sk-(?:ant-|proj-)?[A-Za-z0-9_-]{32,200})\b")),
    (
        "password in a URL",
        re.compile(r"\b[a-z][a-z0-9+.-]{1,20}://[^\s/:@'\"]{0,64}:([^\s/:@'\"{}<>$%]{6,128})@[\w.-]+"),
    ),
)
_KEY_BLOCK: Final = re.compile(
    r"-----BEGIN (?:[A-Z]+ ){0,2}PRIVATE KEY(?: BLOCK)?-----.{0,8000}?(?:-----END [A-Z ]{0,40}-----|\Z)", re.DOTALL
)
_NAMED: Final = re.compile(
    r"""(?ix)
    (?<![A-Za-z0-9]) (?P<name> [\w-]{0,40}?
        (?:passw(?:or)?d|passwd|passphrase|secret|api_?key|access_?key|private_?key|auth_?token|access_?token|token) )
    ['"]? \s* (?: : \s* [\w.\[\] |]{1,40} = | := | => | [:=] ) \s*
    [brfu]{0,2} (?P<quote>['"]) (?P<value> [^'"\s]{8,256} ) (?P=quote)
    """
)
_PLACEHOLDER: Final = re.compile(
    r"(?i)example|sample|dummy|fake|placeholder|change_?me|replace|your[_-]|insert|redacted|masked|secret|passw|token|"
    r"^test|test$|_test|test_|todo|xxxx|\*\*\*|\.\.\.|1234|abcd|^none$|^null$|^true$|^false$|foobar|hunter2|default"
)
_REFERENCE: Final = re.compile(
    r"[${}<>()|]|%[(s]|^[./~]|^[a-z][a-z0-9+.-]*://|^[A-Z][A-Z0-9_]*$|^[a-z_]+(?:[.:/-][a-z_]+)*$"
)
_MASK: Final = "[masked]"


def find_secrets(
    path: str, text: str, changed: Collection[int] | None, *, is_test: bool = False, tokens_only: bool = False
) -> list[Finding]:
    """Return the findings on changed lines (None: all). In a test, a secret is a warning."""
    findings: list[Finding] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if changed is not None and number not in changed:
            continue
        kind = _kind_of_secret(line, tokens_only=tokens_only)
        if kind is None:
            continue
        known, what = kind
        findings.append(
            Finding(
                file=path,
                line=number,
                severity="warning" if is_test else ("critical" if known else "error"),
                category="security",
                message=f"Hard-coded secret: {what}. Whoever can read the repository has it.",
                suggestion="Revoke it, and read it from the environment or a secret store.",
                rule="hard-coded-secret",
            )
        )
    return findings


def mask_secrets(text: str) -> str:
    """Return the text with every secret replaced, line by line, so that it may be stored.

    >>> mask_secrets('api_key = "%s"' % "9fK2qLx8Zr4TvB7nWm3s")
    'api_key = "[masked]"'
    """
    text = _KEY_BLOCK.sub(_MASK, text)
    for _, pattern in _TOKENS:
        text = pattern.sub(lambda found: _replace(found, 1), text)
    return _NAMED.sub(lambda found: _replace(found, "value") if _is_random(found) else found[0], text)


def _replace(found: re.Match[str], group: int | str) -> str:
    if group == 1 and _is_placeholder_token(found[1]):
        return found[0]
    start, end = found.start(group) - found.start(), found.end(group) - found.start()
    return found[0][:start] + _MASK + found[0][end:]


def _kind_of_secret(line: str, *, tokens_only: bool) -> tuple[bool, str] | None:
    if len(line) > 4_000:  # generated or minified: nobody wrote a secret into it by hand
        return None
    for what, pattern in _TOKENS:
        found = pattern.search(line)
        if found is not None and not _is_placeholder_token(found[1]):
            return True, f"{'an' if what[0] in 'aA' else 'a'} {what}"
    if tokens_only:
        return None
    for found in _NAMED.finditer(line):
        if _is_random(found):
            return False, f"the value of `{found['name'].strip('-_')}`"
    return None


def _is_placeholder_token(token: str) -> bool:
    return bool(re.search(r"(?i)example|xxxx|\.\.\.|0000000|1234567|abcdefg|passw|changeme|secret", token))


def _is_random(found: re.Match[str]) -> bool:
    value = found["value"]
    if _PLACEHOLDER.search(value) or _REFERENCE.search(value):
        return False
    kinds = sum(bool(re.search(kind, value)) for kind in (r"[a-z]", r"[A-Z]", r"[0-9]", r"[^\w]"))
    if "pass" in found["name"].lower():
        return kinds >= 2 and shannon_bits(value) >= 2.5
    return kinds >= 2 and len(value) >= 16 and shannon_bits(value) >= 3.2


def shannon_bits(text: str) -> float:
    """Return the entropy of a text in bits for each character.

    >>> shannon_bits("aaaa"), shannon_bits("abcd")
    (0.0, 2.0)
    """
    size = len(text)
    return sum(-count / size * math.log2(count / size) for count in Counter(text).values()) + 0.0
