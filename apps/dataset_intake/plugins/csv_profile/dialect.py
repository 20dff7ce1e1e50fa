"""Decide how a table is written: its encoding, its delimiter, whether its first line names the columns. Pure."""

import csv
from collections import Counter
from collections.abc import Sequence

from .values import kind_of

DELIMITERS = (",", ";", "\t", "|")
_BOMS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


def choose_encoding(sample: bytes, *, is_cut: bool = False) -> str:
    """Return the encoding of a file that begins like this; Latin-1 where it is no UTF-8, because that reads anything.

    `is_cut` says that the file goes on behind the sample.

    >>> choose_encoding("é".encode()), choose_encoding("é".encode("latin-1")), choose_encoding(b"\\xff\\xfea\\x00")
    ('utf-8', 'latin-1', 'utf-16')
    """
    for bom, name in _BOMS:
        if sample.startswith(bom):
            return name
    try:
        sample.decode("utf-8")
    except UnicodeDecodeError as error:
        # A sample that goes on may end in the middle of a character.
        return "utf-8" if is_cut and error.reason == "unexpected end of data" else "latin-1"
    return "utf-8"


def choose_delimiter(lines: Sequence[str]) -> str:
    """Return the delimiter that cuts most of these lines into the same number of parts, and into more than one.

    >>> choose_delimiter(["a;b;c", "1,5;2,5;3", "2,5;3,5;4"]), choose_delimiter(["a", "b"])
    (';', ',')
    """
    best, most = ",", (0.0, 0)
    for delimiter in DELIMITERS:
        widths = Counter(len(row) for row in read_rows(lines, delimiter) if row)
        if not widths:
            continue
        width, count = widths.most_common(1)[0]
        score = (count / widths.total(), width)
        if width > 1 and score > most:
            best, most = delimiter, score
    return best


def read_rows(lines: Sequence[str], delimiter: str) -> list[list[str]]:
    """Return the rows up to what cannot be read as one."""
    rows: list[list[str]] = []
    try:
        rows.extend(csv.reader(lines, delimiter=delimiter))
    except csv.Error:
        return rows
    return rows


def has_header(rows: Sequence[Sequence[str]]) -> bool:
    """Say whether the first row names the columns: each name is there once, and none is a value.

    >>> has_header([["t", "x"], ["1", "2"]]), has_header([["1", "2"], ["3", "4"]]), has_header([["a", "a"]])
    (True, False, False)
    """
    if not rows:
        return False
    names = [name.strip() for name in rows[0]]
    return all(names) and len(set(names)) == len(names) and all(kind_of(name, ",") == "text" for name in names)
