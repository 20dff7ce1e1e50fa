"""Which unit a column's name says, and how the others are asked for."""

import pytest

from apps.dataset_intake.plugins.units.naming import find_unit, guess_units, is_unitless
from apps.dataset_intake.plugins.units.prompting import NONE, field_id, make_field


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("mass (g)", "g"),
        ("speed [m/s]", "m/s"),
        ("p/hPa", "hPa"),
        ("U / V", "V"),
        ("temp_c", "degC"),
        ("TempC", "degC"),
        ("voltage_v", "V"),
        ("length_mm", "mm"),
        ("uptime_seconds", "s"),
        ("humidity_pct", "%"),
        ("lat", "deg"),
        ("temp", None),
        ("temp_min", None),
        ("vitamin_c", None),
        ("m", None),
        ("", None),
        ("und/oder/nicht", None),
    ],
)
def test_a_unit_in_a_name_is_read(name: str, unit: str | None) -> None:
    """And nothing is read into a name that has none."""
    assert find_unit(name) == unit


@pytest.mark.parametrize("name", ["id", "sample_id", "userId", "n", "n_items", "year", "row count", "score"])
def test_counts_and_ids_have_no_unit(name: str) -> None:
    """Nobody should be asked for the unit of a number of a house."""
    assert is_unitless(name)


def test_a_quantity_makes_the_question_a_choice() -> None:
    """What can be chosen need not be typed, and cannot be mistyped."""
    asked = make_field("room temp", "unit_room_temp", ["data/a.csv", "data/b.csv"])

    assert asked == {
        "id": "unit_room_temp",
        "label": "unit of 'room temp' in data/a.csv and 1 more",
        "type": "choice",
        "choices": ["degC", "K", "degF", NONE],
        "default": "degC",
    }
    assert guess_units("reading") == ()
    assert make_field("reading", "r", ["a"])["type"] == "string"


def test_every_question_has_an_id_of_its_own() -> None:
    """Whatever the columns are called."""
    names = ["a b", "a_b", "A-B", "日本", "温度", "", "x" * 200]

    ids = [field_id(name, names) for name in names]

    assert len(set(ids)) == len(names)
    assert all(one.isidentifier() and len(one) <= 64 for one in ids)
