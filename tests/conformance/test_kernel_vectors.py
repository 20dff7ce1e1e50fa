"""The shared kernel vectors, through their adapter: each recorded input gives its recorded output.

The vectors lie in `../shared/conformance/kernel` beside the checkout where somebody keeps them
there, else in the committed copy. A file without a section in the adapter fails.
"""

import json
import math
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
SHARED = HERE.parents[2] / "shared" / "conformance" / "kernel"
FOLDER = SHARED if SHARED.is_dir() else HERE / "vectors" / "kernel"
VECTORS: dict[str, list[dict[str, Any]]] = {
    path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))
}


def load_sections() -> dict[str, Any]:
    """Import the adapter by its path: test directories are no packages."""
    spec = spec_from_file_location("kernel_adapter", HERE / "kernel_adapter.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    sections: dict[str, Any] = module.SECTIONS
    return sections


SECTIONS = load_sections()


def is_same(left: Any, right: Any) -> bool:
    """Compare as parsed JSON: to Python 0 is False and NaN differs from itself; to JSON it is the other way."""
    match left, right:
        case bool() | None, _:
            return left is right
        case dict(), dict():
            return left.keys() == right.keys() and all(is_same(left[key], right[key]) for key in left)
        case list(), list():
            return len(left) == len(right) and all(map(is_same, left, right))
        case int() | float(), int() | float() if not isinstance(right, bool):
            return left == right or (math.isnan(left) and math.isnan(right))
        case str(), str():
            return left == right
    return False


def compute(name: str, case_in: Any) -> Any:
    """Run one case through JSON on both sides, so that a section can neither keep nor return a live object."""
    return json.loads(json.dumps(SECTIONS[name](json.loads(json.dumps(case_in)))))


CASES = [
    pytest.param(name, case, id=f"{name}-{number}")
    for name, cases in VECTORS.items()
    for number, case in enumerate(cases)
]


@pytest.mark.parametrize(("name", "case"), CASES)
def test_a_vector_comes_out_as_recorded(name: str, case: dict[str, Any]) -> None:
    """What is written against these semantics elsewhere behaves the same here."""
    assert name in SECTIONS, f"{name}: the adapter has no such section; add one"

    out = compute(name, case["in"])

    assert is_same(out, case["out"]), f"{out!r}\nis not\n{case['out']!r}"


def count_equal(name: str) -> int:
    """Return how many vectors of a file come out as recorded; what raises does not."""
    equal = 0
    for case in VECTORS[name]:
        try:
            equal += is_same(compute(name, case["in"]), case["out"])
        except Exception:  # noqa: BLE001, S112 - counted as a miss here; the test of the vector itself shows it
            continue
    return equal


def test_every_section_has_vectors_and_every_file_a_section(capsys: pytest.CaptureFixture[str]) -> None:
    """A section without vectors proves nothing; the table is what the promise of equality stands on."""
    rows = [
        (name, len(VECTORS.get(name, ())), count_equal(name) if name in SECTIONS and name in VECTORS else 0)
        for name in sorted(VECTORS.keys() | SECTIONS.keys())
    ]
    total = ("all", sum(count for _, count, _ in rows), sum(equal for *_, equal in rows))
    with capsys.disabled():
        print(f"\n{'section':<20}{'vectors':>8}{'equal':>8}")
        for name, count, equal in [*rows, total]:
            print(f"{name:<20}{count:>8}{equal:>8}")

    assert VECTORS.keys() == SECTIONS.keys()
    assert total[1] == total[2]


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        (1, 1.0, True),
        (0, False, False),
        (False, 0, False),
        (None, None, True),
        (None, 0, False),
        ("1", 1, False),
        ([1, {"a": None}], [1, {"a": None}], True),
        ({"a": 1}, {"a": True}, False),
        ({"a": 1}, {}, False),
        ([1], [1, 2], False),
        (math.nan, math.nan, True),
        (math.inf, math.inf, True),
    ],
)
def test_values_are_compared_as_json(left: Any, right: Any, expected: bool) -> None:
    """A comparison that takes 0 for False would let a wrong type pass."""
    assert is_same(left, right) is expected
