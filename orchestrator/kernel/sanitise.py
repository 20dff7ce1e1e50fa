"""Text that a model may be shown: without the control characters that no text needs.

Deleted are U+0000 to U+0008, U+000B, U+000C, U+000E to U+001F, U+007F to U+009F, and lone surrogates, which no
encoding can carry. Tab, line feed and carriage return stay, and so does everything else: this is no
filter of meaning. Whether a text is too long, or may be shown at all, is decided elsewhere.
"""

import re

_DELETED = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def sanitise_for_model(text: str) -> str:
    """Return the text without the deleted characters; raise TypeError for what is no text.

    >>> sanitise_for_model("a\\x00b\\tc\\x85")
    'ab\\tc'
    """
    return _DELETED.sub("", text)
