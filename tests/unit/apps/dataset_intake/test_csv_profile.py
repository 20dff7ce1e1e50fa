"""Profiles of real tables, written as people write them."""

import json
from pathlib import Path
from typing import Any

import pytest

from apps.dataset_intake.plugins.csv_profile.profile import Bounds, profile_table


def profile(tmp_path: Path, content: str | bytes, name: str = "t.csv", bounds: Bounds | None = None) -> dict[str, Any]:
    """Return the profile of a file with this content; it is JSON."""
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    told = profile_table(path, bounds or Bounds())
    json.dumps(told, allow_nan=False)
    return told


def column(told: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a column's part of a profile."""
    return next(one for one in told["columns"] if one["name"] == name)


def test_types_missing_values_and_ranges_are_told(tmp_path: Path) -> None:
    """What somebody wants to know before using a table."""
    told = profile(
        tmp_path,
        "id,temp,day,at,ok,code,note\n"
        "1,11.5,2026-01-02,2026-01-02T03:04:05,yes,007,a\n"
        "2,NA,2026-01-03,2026-01-03,no,008,\n"
        "3,-1e1,,2026-01-04T00:00:00Z,true,010,b\n",
    )

    assert (told["rows"], told["delimiter"], told["header"], told["truncated"]) == (3, ",", True, False)
    types = {one["name"]: (one["type"], one["missing"]) for one in told["columns"]}
    assert types == {
        "id": ("integer", 0),
        "temp": ("number", 1),
        "day": ("date", 1),
        "at": ("datetime", 0),
        "ok": ("boolean", 0),
        "code": ("text", 0),
        "note": ("text", 1),
    }
    assert {key: column(told, "temp")[key] for key in ("min", "max", "mean")} == {"min": -10, "max": 11.5, "mean": 0.75}
    assert {key: column(told, "id")[key] for key in ("min", "max", "mean")} == {"min": 1, "max": 3, "mean": 2}


@pytest.mark.parametrize(
    ("text", "delimiter"),
    [
        ("a;b\n1,5;2,5\n3,5;4,5\n", ";"),
        ("a\tb\n1\t2\n", "\t"),
        ("a|b\n1|2\n", "|"),
        ('a,b\n"x;y;z",2\n"p;q;r",3\n', ","),
        ("a\n1\n2\n", ","),
    ],
)
def test_the_delimiter_is_found(tmp_path: Path, text: str, delimiter: str) -> None:
    """Files called .csv are written with anything."""
    assert profile(tmp_path, text)["delimiter"] == delimiter


def test_a_decimal_comma_is_a_number(tmp_path: Path) -> None:
    """Where the comma does not separate."""
    told = profile(tmp_path, "a;b\n1,5;x\n2,5;y\n")

    assert column(told, "a") | {} == {
        "name": "a",
        "type": "number",
        "missing": 0,
        "distinct": 2,
        "min": 1.5,
        "max": 2.5,
        "mean": 2.0,
    }


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_any_usual_encoding_is_read(tmp_path: Path, encoding: str) -> None:
    """Spreadsheets write what they like."""
    told = profile(tmp_path, "Stärke,n\nhoch,1\nköstlich,2\n".encode(encoding))

    assert [one["name"] for one in told["columns"]] == ["Stärke", "n"]


def test_a_sample_that_ends_within_a_character_is_still_utf_8(tmp_path: Path) -> None:
    """The first part of a large file is looked at, wherever it ends."""
    for shift in range(3):
        told = profile(tmp_path, "n,word\n" + "x" * shift + "1,köstlich日\n" * 9_000)
        assert told["encoding"] == "utf-8"


def test_a_table_without_names_gets_some(tmp_path: Path) -> None:
    """Its first row is data."""
    told = profile(tmp_path, "1,2\n3,4\n")

    assert (told["rows"], told["header"]) == (2, False)
    assert [one["name"] for one in told["columns"]] == ["column_1", "column_2"]


def test_rows_of_another_length_are_counted(tmp_path: Path) -> None:
    """They show a broken export."""
    told = profile(tmp_path, 'a,b\n1,2\n3\n4,5,6\n"x\ny",7\n')

    assert (told["rows"], told["ragged_rows"]) == (4, 2)
    assert column(told, "b")["missing"] == 1


@pytest.mark.parametrize("bounds", [Bounds(rows=10), Bounds(bytes=40)])
def test_a_large_table_is_read_within_bounds(tmp_path: Path, bounds: Bounds) -> None:
    """And it says that there was more."""
    told = profile(tmp_path, "a,b\n" + "1,2\n" * 5_000, bounds=bounds)

    assert told["truncated"]
    assert told["rows"] <= 10


def test_exactly_as_many_rows_as_allowed_are_all_of_them(tmp_path: Path) -> None:
    """The bound itself is still inside."""
    assert not profile(tmp_path, "a,b\n" + "1,2\n" * 10, bounds=Bounds(rows=10))["truncated"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"PK\x03\x04\0\0", "binary"),
        (b'a,b\n"' + b"x" * 1_100_000, "field larger than"),
    ],
)
def test_what_is_no_table_is_told(tmp_path: Path, content: bytes, problem: str) -> None:
    """One bad file stops no other."""
    assert problem in profile(tmp_path, content)["problem"]


def test_odd_content_breaks_nothing(tmp_path: Path) -> None:
    """A file may hold anything."""
    for number, content in enumerate(
        (b"\xff\xfe", b"\xff\xfea", b'"', b",,,\n,,,", b"a,b\r1,2\r", b"\xc3", b"a" * 70_000)
    ):
        profile(tmp_path, content, name=f"{number}.csv")


def test_large_whole_numbers_stay_exact(tmp_path: Path) -> None:
    """A key of eighteen digits is not rounded."""
    told = profile(tmp_path, "key,b\n123456789012345678,x\n123456789012345679,y\n")

    assert (column(told, "key")["min"], column(told, "key")["max"]) == (123456789012345678, 123456789012345679)


def test_large_numbers_keep_the_profile_json(tmp_path: Path) -> None:
    """Infinity is no JSON."""
    told = profile(tmp_path, "a,b\n1e999,x\n2,y\n")

    assert column(told, "a")["type"] in {"text", "number"}
