"""The demo's data: a table whose temperature has no unit, and two pictures with metadata, written byte by byte.

The pictures are real, small and grey: a PNG, and a JPEG of flat blocks, which needs no transform to be encoded.
"""

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

#: Where the pictures claim to have been taken, and by whom: what a scrub has to take away.
SECRETS: Final = (b"52.5186,13.3761", b"Camera 4711", b"not for publication")
_SIZE: Final = 96  # pixels, each way
_ORIENTATION_TURNED: Final = 6

#: Annex K's table for the DC of luminance: size of a difference -> code and its length. Of AC only "end of block" is used.
_COUNTS: Final = bytes((0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0))
_DC_CODES: Final = (
    (0, 2),
    (2, 3),
    (3, 3),
    (4, 3),
    (5, 3),
    (6, 3),
    (14, 4),
    (30, 5),
    (62, 6),
    (126, 7),
    (254, 8),
    (510, 9),
)


def write_files(folder: Path) -> None:
    """Write the data into a folder that is there."""
    (folder / "images").mkdir(exist_ok=True)
    (folder / "stations.csv").write_text(_table(), "utf-8")
    (folder / "images" / "site.png").write_bytes(make_png(_pixels()))
    (folder / "images" / "station.jpg").write_bytes(make_jpeg(_pixels()))


def make_png(rows: Sequence[Sequence[int]]) -> bytes:
    """Return a grey PNG with texts, XMP, EXIF, a time, and something behind its end."""
    raw = b"".join(b"\0" + bytes(row) for row in rows)
    header = struct.pack(">IIBBBBB", len(rows[0]), len(rows), 8, 0, 0, 0, 0)
    packet = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>" + SECRETS[0] + b"</x:xmpmeta>"
    chunks = (
        (b"IHDR", header),
        (b"gAMA", struct.pack(">I", 45455)),
        (b"pHYs", struct.pack(">IIB", 2835, 2835, 1)),
        (b"tEXt", b"Author\0" + SECRETS[1]),
        (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet),
        (b"eXIf", _exif(SECRETS[1], 1)),
        (b"tIME", struct.pack(">HBBBBB", 2026, 1, 2, 3, 4, 5)),
        (b"IDAT", zlib.compress(raw)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, body) for kind, body in chunks) + SECRETS[2]


def make_jpeg(rows: Sequence[Sequence[int]]) -> bytes:
    """Return a grey JPEG of flat 8 x 8 blocks with EXIF (turned), XMP, IPTC and a comment."""
    height, width = len(rows), len(rows[0])
    segments = (
        (0xE0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0"),
        (0xE1, b"Exif\0\0" + _exif(SECRETS[1], _ORIENTATION_TURNED)),
        (0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta xmlns:x='adobe:ns:meta/'>" + SECRETS[0] + b"</x:xmpmeta>"),
        (0xED, b"Photoshop 3.0\0" + b"8BIM\x04\x04\0\0" + struct.pack(">I", len(SECRETS[2])) + SECRETS[2]),
        (0xFE, SECRETS[2]),
        (0xDB, b"\0" + b"\x01" * 64),
        (0xC0, struct.pack(">BHHB3B", 8, height, width, 1, 1, 0x11, 0)),
        (0xC4, b"\0" + _COUNTS + bytes(range(12))),
        (0xC4, b"\x10" + b"\x01" + bytes(15) + b"\0"),
        (0xDA, b"\x01\x01\0\0\x3f\0"),
    )
    head = b"".join(struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body for marker, body in segments)
    return b"\xff\xd8" + head + _scan(rows) + b"\xff\xd9"


def _table() -> str:
    lines = ["station,day,temp,pressure (hPa),note"]
    for number in range(48):
        temp = "" if number % 11 == 5 else f"{11.5 + (number * 7 % 13) / 2:.1f}"
        note = "n/a" if number % 5 else "checked"
        lines.append(f"S{number % 4 + 1},2026-03-{number // 4 + 1:02d},{temp},{1004 + number * 5 % 17},{note}")
    return "\n".join(lines) + "\n"


def _pixels() -> list[list[int]]:
    return [[(x // 8 * 17 + y // 8 * 11) % 256 for x in range(_SIZE)] for y in range(_SIZE)]


def _exif(maker: bytes, orientation: int) -> bytes:
    """Return a TIFF block with a maker and an orientation."""
    text = maker + b"\0"
    entries = struct.pack(">HHII", 0x010F, 2, len(text), 38) + struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0)
    return b"MM\0*" + struct.pack(">IH", 8, 2) + entries + struct.pack(">I", 0) + text


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", len(body), kind) + body + struct.pack(">I", zlib.crc32(kind + body))


def _scan(rows: Sequence[Sequence[int]]) -> bytes:
    """Return the entropy-coded blocks: of each only how its grey differs from the last one's."""
    bits, last = "", 0
    for top in range(0, len(rows), 8):
        for left in range(0, len(rows[0]), 8):
            value = (rows[top][left] - 128) * 8
            difference, last = value - last, value
            size = abs(difference).bit_length()
            code, length = _DC_CODES[size]
            bits += f"{code:0{length}b}"
            if size:
                bits += f"{difference if difference > 0 else difference + (1 << size) - 1:0{size}b}"
            bits += "0"  # end of block, the only code of its table
    bits += "1" * (-len(bits) % 8)
    data = int(bits, 2).to_bytes(len(bits) // 8, "big")
    return data.replace(b"\xff", b"\xff\0")
