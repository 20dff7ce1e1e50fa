"""What may be written down: values without secrets, and without more text than a reader needs.

A secret is known by the exact name of its key. Names that only contain such a word (`my_token`) are
left alone, because most of them count tokens. Secrets that must never be stored are kept out by
references (`secrets`), not by this: redaction is for what people read.
"""

from collections.abc import Collection
from typing import Any, Final

REDACTED: Final = "[REDACTED]"
SENSITIVE_KEYS: Final = frozenset(
    {
        "api_key",
        "apikey",
        "api-key",
        "secret",
        "password",
        "token",
        "credential",
        "credentials",
        "private_key",
        "privatekey",
        "auth",
        "authorization",
    }
)
#: Code points of a text that are kept, where nobody says otherwise.
KEPT_CHARS: Final = 180


def redact_secrets(value: Any, sensitive_keys: Collection[str] = SENSITIVE_KEYS) -> Any:
    """Return a copy in which the whole value under a sensitive key is replaced, in mappings and lists.

    Keys are compared in lower case. Values of other kinds, tuples included, are returned as they are.

    >>> redact_secrets({"API_KEY": "k", "args": [{"token": {"a": 1}, "max_tokens": 5}]})
    {'API_KEY': '[REDACTED]', 'args': [{'token': '[REDACTED]', 'max_tokens': 5}]}
    """
    if isinstance(value, dict):
        return {
            key: REDACTED
            if isinstance(key, str) and key.lower() in sensitive_keys
            else redact_secrets(item, sensitive_keys)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [redact_secrets(item, sensitive_keys) for item in value]
    return value


def truncate_values(value: Any, max_length: int = KEPT_CHARS) -> Any:
    """Return a copy in which long texts are cut and say by how much, in mappings and lists; keys stay whole.

    Lengths are in code points.

    >>> truncate_values({"a": "xxxxx", "b": 5}, 3)
    {'a': 'xxx... (truncated 2 chars)', 'b': 5}
    """
    if isinstance(value, str):
        return _truncate(value, max_length)
    if isinstance(value, dict):
        return {key: truncate_values(item, max_length) for key, item in value.items()}
    if isinstance(value, list):
        return [truncate_values(item, max_length) for item in value]
    return value


def _truncate(text: str, max_length: int) -> str:
    if len(text) <= max_length:
        return text
    return f"{text[:max_length]}... (truncated {len(text) - max_length} chars)"


def truncate_for_log(text: str, max_length: int) -> str:
    """Return the text, cut after so many code points and marked as cut where it is longer.

    >>> truncate_for_log("abcdef", 3), truncate_for_log("abc", 3)
    ('abc...[truncated]', 'abc')
    """
    return text if len(text) <= max_length else f"{text[:max_length]}...[truncated]"
