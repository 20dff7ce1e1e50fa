"""Exit codes: what a script learns without reading a word. They never change their meaning."""

from typing import Final

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
NOT_FOUND: Final = 3
WAITS_FOR_PERSON: Final = 4
UNREACHABLE: Final = 5
INTERRUPTED: Final = 130
TERMINATED: Final = 143
