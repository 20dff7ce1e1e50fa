"""Profile one table: read it row by row, within bounds, and say what its columns hold."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from .dialect import choose_delimiter, choose_encoding, has_header, read_rows
from .values import Column

_SAMPLE_BYTES = 65_536
_MOST_COLUMNS = 2_000
_MOST_FIELD = 1_048_576


@dataclass(frozen=True)
class Bounds:
    """How much of one table is read: rows, and bytes."""

    rows: int = 2_000_000
    bytes: int = 128 * 2**20


def profile_table(path: Path, bounds: Bounds) -> dict[str, Any]:
    """Return a table's profile; where it cannot be read as one, its `problem` in place of columns.

    `truncated` says that the bounds ended the reading: rows and figures are those of what was read.
    """
    with path.open("rb") as file:
        sample = file.read(_SAMPLE_BYTES)
    if not sample.strip():
        return {"problem": "the file is empty", "bytes": len(sample)}
    is_cut = len(sample) == _SAMPLE_BYTES
    encoding = choose_encoding(sample, is_cut=is_cut)
    if b"\0" in sample and encoding != "utf-16":
        return {"problem": "the file is binary, no table", "bytes": path.stat().st_size}
    head = sample.decode(encoding, "replace").splitlines(keepends=True)
    lines = head[:-1] if len(head) > 1 and is_cut else head  # the last one may be cut off
    delimiter = "\t" if path.suffix.lower() == ".tsv" else choose_delimiter(lines)
    header = has_header(read_rows(lines[:50], delimiter))
    csv.field_size_limit(_MOST_FIELD)
    with path.open(encoding=encoding, errors="replace", newline="") as text:
        counted = _Lines(text, bounds.bytes)
        try:
            told = _profile_rows(csv.reader(counted, delimiter=delimiter), bounds, delimiter=delimiter, header=header)
        except csv.Error as error:
            return {"problem": f"line {counted.number}: {error}", "bytes": path.stat().st_size}
    told["truncated"] = told["truncated"] or counted.is_over
    return {
        "bytes": path.stat().st_size,
        "encoding": encoding.removesuffix("-sig"),
        "delimiter": delimiter,
        "header": header,
        **told,
    }


class _Lines:
    """The lines of a file up to a number of characters; counts them, and says whether there were more."""

    def __init__(self, text: TextIO, most: int) -> None:
        self._text, self._left = text, most
        self.number, self.is_over = 0, False

    def __iter__(self) -> Iterator[str]:
        # A line without an end must not be read whole.
        while line := self._text.readline(_MOST_FIELD + 1):
            self._left -= len(line)
            if self._left < 0:
                self.is_over = True
                return
            self.number += 1
            yield line


def _profile_rows(reader: Iterator[list[str]], bounds: Bounds, *, delimiter: str, header: bool) -> dict[str, Any]:
    rows = (row for row in reader if row)
    first = next(rows, [])
    names = [name.strip() for name in first] if header else [f"column_{number + 1}" for number in range(len(first))]
    decimal = "." if delimiter == "," else ","
    columns = [Column(name, decimal) for name in names[:_MOST_COLUMNS]]
    count = ragged = 0
    for row in islice(rows if header else _again(first, rows), bounds.rows):
        count += 1
        ragged += len(row) != len(names)
        for number, column in enumerate(columns):
            column.add(row[number] if number < len(row) else "")
    return {
        "rows": count,
        "ragged_rows": ragged,
        "truncated": count == bounds.rows and next(rows, None) is not None,
        "columns": [column.describe() for column in columns],
        **({"columns_left_out": len(names) - len(columns)} if len(names) > len(columns) else {}),
    }


def _again(first: list[str], rows: Iterator[list[str]]) -> Iterator[list[str]]:
    yield first
    yield from rows
