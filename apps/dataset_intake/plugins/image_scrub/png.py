"""PNG: chunks that shape pixels, colours or scale stay; every other one is metadata and goes, known or not."""

import struct
import zlib

from .image import BadImage, Scrubbed, find_orientation, make_orientation

SIGNATURE = b"\x89PNG\r\n\x1a\n"

#: Critical chunks, and the ancillary ones that a decoder needs to show or measure the same image.
_NEEDED = b"IHDR PLTE IDAT IEND tRNS gAMA cHRM sRGB iCCP sBIT bKGD pHYs hIST sPLT cICP mDCV cLLI"
_MEASURING_AND_MOVING = b"oFFs pCAL sCAL sTER acTL fcTL fdAT"
_KEPT = frozenset((*_NEEDED.split(), *_MEASURING_AND_MOVING.split()))
_KINDS = {b"tEXt": "text", b"zTXt": "text", b"iTXt": "text", b"eXIf": "EXIF", b"tIME": "time"}
_XMP = b"XML:com.adobe.xmp\0"


def scrub_png(data: bytes) -> Scrubbed:
    """Return a PNG without its metadata; raise BadImage.

    What follows the end of the image is removed. An orientation other than upright stays, in an EXIF chunk of its own.
    """
    scrubbed, parts, at = Scrubbed(), [SIGNATURE], len(SIGNATURE)
    kinds: set[bytes] = set()
    while b"IEND" not in kinds:
        if at + 12 > len(data):
            raise BadImage("the PNG ends in the middle")
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            raise BadImage(f"the PNG's chunk {_show(kind)} is cut off")
        body = data[at + 8 : end - 4]
        if zlib.crc32(body, zlib.crc32(kind)) != struct.unpack_from(">I", data, end - 4)[0]:
            raise BadImage(f"the PNG's chunk {_show(kind)} is damaged")
        if not kinds and kind != b"IHDR":
            raise BadImage("the PNG does not begin with its header")
        if kind in _KEPT:
            parts.append(data[at:end])
        elif not kind[0] & 0x20:
            raise BadImage(f"the PNG has an unknown critical chunk {_show(kind)}")
        elif kind == b"eXIf" and body == make_orientation(find_orientation(body)):
            parts.append(data[at:end])
        else:
            scrubbed.count("XMP" if body.startswith(_XMP) else _KINDS.get(kind, f"chunk {_show(kind)}"))
            if kind == b"eXIf" and (orientation := find_orientation(body)) != 1:
                parts.append(_chunk(kind, make_orientation(orientation)))
        kinds.add(kind)
        at = end
    if b"IDAT" not in kinds:
        raise BadImage("the PNG has no pixels")
    if at < len(data):
        scrubbed.count("trailing data")
    scrubbed.data = b"".join(parts)
    return scrubbed


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", len(body), kind) + body + struct.pack(">I", zlib.crc32(body, zlib.crc32(kind)))


def _show(kind: bytes) -> str:
    return kind.decode("ascii") if kind.isalpha() else kind.hex()
