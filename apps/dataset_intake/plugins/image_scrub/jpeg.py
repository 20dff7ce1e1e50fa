"""JPEG: segments that a decoder needs stay, byte for byte, and so do the scans; what describes the image goes."""

import struct

from .image import BadImage, Scrubbed, find_orientation, make_orientation

SOI = b"\xff\xd8"

_EOI, _SOS, _COM = 0xD9, 0xDA, 0xFE
_APP0, _APP1, _APP2, _APP13, _APP14, _APP15 = 0xE0, 0xE1, 0xE2, 0xED, 0xEE, 0xEF
#: Frames, tables, restart intervals, line counts: everything between 0xC0 and 0xDF that has a length, but the scan.
_DECODING = frozenset(range(0xC0, 0xE0)) - {*range(0xD0, 0xDA), _SOS, 0xC8}
#: After these in a scan, entropy-coded bytes go on: a stuffed zero, and the restart markers.
_IN_SCAN = frozenset({0x00, *range(0xD0, 0xD8)})
_EXIF, _XMP, _XMP_MORE = b"Exif\0\0", b"http://ns.adobe.com/xap/", b"http://ns.adobe.com/xmp/"


def scrub_jpeg(data: bytes) -> Scrubbed:
    """Return a JPEG without its metadata; raise BadImage.

    What follows the end of the image, such as further images and films, is removed. An orientation other than upright stays,
    in an EXIF segment of its own.
    """
    scrubbed, parts, at, scans = Scrubbed(), [SOI], 2, 0
    while True:
        marker, at = _next_marker(data, at)
        if marker == _EOI:
            break
        if at + 2 > len(data):
            raise BadImage("the JPEG ends in the middle")
        (length,) = struct.unpack_from(">H", data, at)
        if length < 2 or at + length > len(data):
            raise BadImage(f"the JPEG's segment {marker:02X} is cut off")
        body, at = data[at + 2 : at + length], at + length
        if marker == _SOS or marker in _DECODING:
            parts.append(_segment(marker, body))
        elif marker == _COM or _APP0 <= marker <= _APP15:
            kept = _keep(marker, body, scrubbed)
            if kept is not None:
                parts.append(_segment(marker, kept))
        else:
            raise BadImage(f"the JPEG has an unknown marker {marker:02X}")
        if marker == _SOS:
            end = _end_of_scan(data, at)
            parts.append(data[at:end])
            at, scans = end, scans + 1
    if not scans:
        raise BadImage("the JPEG has no pixels")
    if at < len(data):
        scrubbed.count("trailing data")
    scrubbed.data = b"".join((*parts, bytes((0xFF, _EOI))))
    return scrubbed


def _next_marker(data: bytes, at: int) -> tuple[int, int]:
    """Return the marker that stands here, and where it ends; bytes of 0xFF may fill the way to it."""
    if at >= len(data) or data[at] != 0xFF:
        raise BadImage("the JPEG ends in the middle" if at >= len(data) else f"the JPEG has no marker at byte {at}")
    while at < len(data) and data[at] == 0xFF:
        at += 1
    if at >= len(data):
        raise BadImage("the JPEG ends in the middle")
    return data[at], at + 1


def _end_of_scan(data: bytes, at: int) -> int:
    while True:
        at = data.find(b"\xff", at)
        if at < 0 or at + 1 >= len(data):
            raise BadImage("the JPEG's pixels are cut off")
        if data[at + 1] == 0xFF:  # a fill byte, before a marker
            at += 1
        elif data[at + 1] in _IN_SCAN:
            at += 2
        else:
            return at


def _keep(marker: int, body: bytes, scrubbed: Scrubbed) -> bytes | None:
    """Return what stays of a segment that is no part of decoding; None for nothing."""
    if marker == _APP0 and body.startswith(b"JFIF\0") and len(body) >= 14:
        if len(body) > 14 or body[12:14] != b"\0\0":
            scrubbed.count("preview")
        return body[:12] + b"\0\0"
    if marker == _APP14 and body.startswith(b"Adobe") and len(body) >= 12:
        return body[:12]  # how colours are coded
    if marker == _APP2 and body.startswith(b"ICC_PROFILE\0"):
        return body
    if marker == _APP1 and body.startswith(_EXIF):
        orientation = find_orientation(body[len(_EXIF) :])
        alone = _EXIF + make_orientation(orientation)
        if orientation != 1 and body == alone:
            return body
        scrubbed.count("EXIF")
        return alone if orientation != 1 else None
    scrubbed.count(_kind_of(marker, body))
    return None


def _kind_of(marker: int, body: bytes) -> str:
    if marker == _COM:
        return "comment"
    if marker == _APP1 and body.startswith((_XMP, _XMP_MORE)):
        return "XMP"
    if marker == _APP13 and body.startswith(b"Photoshop"):
        return "IPTC"
    if marker == _APP0:
        return "preview"
    return f"APP{marker - _APP0}"


def _segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body
