"""The scrubbers of PNG and JPEG, on images written byte by byte: metadata goes, pixels and colours stay."""

import struct
import zlib

import pytest

from apps.dataset_intake.demo_files import SECRETS, make_jpeg, make_png
from apps.dataset_intake.plugins.image_scrub import scrub
from apps.dataset_intake.plugins.image_scrub.image import BadImage, find_orientation, make_orientation

ROWS = [[(x * 3 + y * 5) // 8 % 256 for x in range(32)] for y in range(24)]
PNG, JPEG = make_png(ROWS), make_jpeg(ROWS)


def chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """Return kind and body of each of a PNG's chunks."""
    found, at = [], 8
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        found.append((kind, data[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def chunk(kind: bytes, body: bytes = b"") -> bytes:
    """Return a chunk of a PNG."""
    return struct.pack(">I4s", len(body), kind) + body + struct.pack(">I", zlib.crc32(kind + body))


def segments(data: bytes) -> list[tuple[int, bytes]]:
    """Return marker and body of a JPEG's segments up to its first scan."""
    found, at = [], 2
    while not found or found[-1][0] != 0xDA:
        marker, length = data[at + 1], struct.unpack_from(">H", data, at + 2)[0]
        found.append((marker, data[at + 4 : at + 2 + length]))
        at += 2 + length
    return found


def scan(data: bytes) -> bytes:
    """Return a JPEG's pixels, from its last scan on."""
    return data[data.rindex(b"\xff\xda") :]


def insert(data: bytes, marker: int, body: bytes) -> bytes:
    """Return a JPEG with a further segment at its beginning."""
    return data[:2] + struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body + data[2:]


def test_a_png_loses_its_metadata_and_no_pixel() -> None:
    """What a decoder needs is there byte for byte; what tells of people is nowhere in the file."""
    cleaned = scrub(PNG)

    assert cleaned.removed == {"text": 1, "XMP": 1, "EXIF": 1, "time": 1, "trailing data": 1}
    assert [kind for kind, _ in chunks(cleaned.data)] == [b"IHDR", b"gAMA", b"pHYs", b"IDAT", b"IEND"]
    kept = dict(chunks(cleaned.data))
    assert all(kept[kind] == body for kind, body in chunks(PNG.removesuffix(SECRETS[2])) if kind in kept)
    raw = zlib.decompress(kept[b"IDAT"])
    assert [list(raw[at + 1 : at + 33]) for at in range(0, len(raw), 33)] == ROWS
    assert not any(secret in cleaned.data for secret in SECRETS)


def test_a_jpeg_loses_its_metadata_and_no_pixel() -> None:
    """The orientation stays, alone of all EXIF: without it the image would lie on its side."""
    cleaned = scrub(JPEG)

    assert cleaned.removed == {"EXIF": 1, "XMP": 1, "IPTC": 1, "comment": 1}
    assert [marker for marker, _ in segments(cleaned.data)] == [0xE0, 0xE1, 0xDB, 0xC0, 0xC4, 0xC4, 0xDA]
    assert scan(cleaned.data) == scan(JPEG)
    assert segments(cleaned.data)[1][1] == b"Exif\0\0" + make_orientation(6)
    assert not any(secret in cleaned.data for secret in SECRETS)


@pytest.mark.parametrize("data", [PNG, JPEG], ids=["png", "jpeg"])
def test_a_clean_image_is_left_as_it_is(data: bytes) -> None:
    """A second run changes nothing, so the pass can be repeated."""
    once = scrub(data)
    twice = scrub(once.data)

    assert (twice.data, twice.removed) == (once.data, {})


def test_colours_transparency_and_animation_stay() -> None:
    """They are how the image looks, not what it tells."""
    kept = (b"iCCP", b"sRGB", b"tRNS", b"bKGD", b"cICP", b"acTL", b"fcTL", b"pCAL", b"sCAL")
    extra = b"".join(chunk(kind, b"abc") for kind in kept)
    cleaned = scrub(PNG[:33] + extra + chunk(b"prVt", b"secret") + PNG[33:])

    assert {kind for kind, _ in chunks(cleaned.data)} >= set(kept)
    assert cleaned.removed["chunk prVt"] == 1


def test_a_turned_png_keeps_how_it_is_turned() -> None:
    """Of an EXIF chunk nothing else is left."""
    exif = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, 8, 0, 0) + b"Camera 4711"
    cleaned = scrub(PNG[:33] + chunk(b"eXIf", exif) + PNG[33:])

    assert dict(chunks(cleaned.data))[b"eXIf"] == make_orientation(8)
    assert not any(secret in cleaned.data for secret in SECRETS)


@pytest.mark.parametrize(
    ("marker", "body", "kind"),
    [
        (0xE0, b"JFXX\0\x10thumbnail", "preview"),
        (0xE1, b"http://ns.adobe.com/xmp/extension/\0x", "XMP"),
        (0xE2, b"MPF\0more images", "APP2"),
        (0xE3, b"Meta\0", "APP3"),
        (0xEB, b"JP\0\0a manifest", "APP11"),
        (0xEF, b"whatever", "APP15"),
    ],
)
def test_every_segment_that_decodes_nothing_goes(marker: int, body: bytes, kind: str) -> None:
    """Unknown ones too: what is not known to be needed is not kept."""
    cleaned = scrub(insert(JPEG, marker, body))

    assert cleaned.removed[kind] >= 1
    assert body not in cleaned.data


def test_a_preview_in_the_header_goes_and_its_colours_stay() -> None:
    """A preview shows what was cut off; without the Adobe segment colours would be read wrongly."""
    with_preview = JPEG.replace(
        struct.pack(">BBH", 0xFF, 0xE0, 16) + b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0",
        struct.pack(">BBH", 0xFF, 0xE0, 19) + b"JFIF\0\x01\x01\0\0\x01\0\x01\x01\x01RGB",
    )
    adobe, profile = b"Adobe\0\x64\0\0\0\0\x01", b"ICC_PROFILE\0\x01\x01abc"
    cleaned = scrub(insert(insert(with_preview, 0xEE, adobe), 0xE2, profile))

    assert cleaned.removed["preview"] == 1
    assert b"RGB" not in cleaned.data
    assert dict(segments(cleaned.data))[0xEE] == adobe
    assert dict(segments(cleaned.data))[0xE2] == profile


def test_several_scans_and_restarts_are_copied_whole() -> None:
    """As progressive images have them; stuffed bytes and restart markers are pixels."""
    head, body = JPEG[: JPEG.rindex(b"\xff\xda")], b"\xff\xda\0\x08\x01\x01\0\0\x3f\0\x12\xff\0\x34\xff\xd0\x56"
    data = head + body + b"\xff\xff\xc4\0\x03\0" + body + b"\xff\xd9"

    assert scrub(data).data.count(body) == 2


def test_what_follows_the_end_goes() -> None:
    """Phones append films and depth maps there."""
    cleaned = scrub(JPEG + b"\0\0\0\x18ftypmp42" + JPEG)

    assert cleaned.removed["trailing data"] == 1
    assert cleaned.data == scrub(JPEG).data


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "neither PNG nor JPEG"),
        (b"GIF89a", "neither PNG nor JPEG"),
        (PNG[:60], "cut off|ends in the middle"),
        (PNG[:-30], "cut off|ends in the middle|damaged"),
        (PNG.replace(SECRETS[1], SECRETS[1].lower(), 1), "chunk tEXt is damaged"),
        (PNG[:33] + chunk(b"ABCD") + PNG[33:], "unknown critical chunk ABCD"),
        (PNG[:8] + chunk(b"tEXt", b"x") + PNG[8:], "does not begin with its header"),
        (PNG[:33] + chunk(b"IEND"), "no pixels"),
        (JPEG[:-2], "pixels are cut off"),
        (JPEG[:40], "cut off|middle"),
        (JPEG[:2] + b"\xff\xd9", "no pixels"),
        (JPEG[:2] + b"\xff\x02\0\x02" + JPEG[2:], "unknown marker 02"),
        (JPEG[:2] + b"\0" + JPEG[2:], "no marker at byte 2"),
        (JPEG[:2] + b"\xff\xff\xff", "in the middle"),
    ],
)
def test_an_image_that_cannot_be_read_to_its_end_is_refused(data: bytes, why: str) -> None:
    """Nobody could promise that there is nothing left in it."""
    with pytest.raises(BadImage, match=why):
        scrub(data)


@pytest.mark.parametrize("length", range(0, len(JPEG), 37))
def test_any_cut_is_an_error_and_no_crash(length: int) -> None:
    """Images come from anywhere."""
    with pytest.raises(BadImage):
        scrub(JPEG[:length])


@pytest.mark.parametrize(
    "tiff",
    [
        b"II*\0\xff\xff\xff\xff",
        b"II*\0\x08\0\0\0\xff\xff",
        b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x04",
        make_orientation(9),
        make_orientation(0),
    ],
)
def test_an_orientation_that_is_none_is_upright(tiff: bytes) -> None:
    """A damaged block decides nothing."""
    assert find_orientation(tiff) == 1
