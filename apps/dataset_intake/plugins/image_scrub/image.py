"""What the scrubbers of both formats share: their result, their error, and the one EXIF tag that is kept."""

import struct
from dataclasses import dataclass, field

_ORIENTATION = 0x0112
_SHORT = 3
_MOST_TAGS = 1_000


class BadImage(Exception):
    """The image cannot be read to its end."""


@dataclass
class Scrubbed:
    """An image without its metadata, and what was removed: kind -> how often."""

    data: bytes = b""
    removed: dict[str, int] = field(default_factory=dict)

    def count(self, kind: str) -> None:
        """Remember that something was removed."""
        self.removed[kind] = self.removed.get(kind, 0) + 1

    def tell(self) -> str:
        """Return what was removed, as a person reads it.

        >>> Scrubbed(removed={"EXIF": 1, "text": 3}).tell()
        'EXIF, 3 x text'
        """
        return ", ".join(kind if count == 1 else f"{count} x {kind}" for kind, count in self.removed.items())


def find_orientation(tiff: bytes) -> int:
    """Return how an EXIF block wants its image turned: 2 to 8; 1, which is as it lies, also where it does not say.

    >>> find_orientation(make_orientation(6)), find_orientation(b"nonsense")
    (6, 1)
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None or len(tiff) < 8:
        return 1
    (start,) = struct.unpack_from(f"{order}I", tiff, 4)
    if start + 2 > len(tiff):
        return 1
    (count,) = struct.unpack_from(f"{order}H", tiff, start)
    for number in range(min(count, _MOST_TAGS)):
        at = start + 2 + 12 * number
        if at + 12 > len(tiff):
            return 1
        tag, kind, _, value = struct.unpack_from(f"{order}HHIH", tiff, at)
        if tag == _ORIENTATION:
            return value if kind == _SHORT and 2 <= value <= 8 else 1
    return 1


def make_orientation(orientation: int) -> bytes:
    """Return an EXIF block that says nothing but how to turn the image."""
    return struct.pack("<4sIHHHIHHI", b"II*\0", 8, 1, _ORIENTATION, _SHORT, 1, orientation, 0, 0)
