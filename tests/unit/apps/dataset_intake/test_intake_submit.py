"""The app's own options of `submit`, and its demo's scene."""

from pathlib import Path

import pytest

from apps.dataset_intake.demo import demo
from apps.dataset_intake.submit import make_name, read_units, submissions
from orchestrator.contracts.errors import InputError


def test_a_folder_becomes_one_submission(tmp_path: Path) -> None:
    """Paths are made absolute here: a worker has another current folder."""
    (tmp_path / "My Data").mkdir()

    (made,) = submissions(
        {"data": str(tmp_path / "My Data"), "creator": "Ann", "units": "temp=K", "into": str(tmp_path)}
    )

    assert made.overrides == {
        "source": str(tmp_path / "My Data"),
        "projects": str(tmp_path),
        "name": "my-data",
        "title": "my-data",
        "creator": "Ann",
        "license": "proprietary",
        "units": {"temp": "K"},
    }


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({}, "option --data: missing"),
        ({"data": "/nowhere/at/all"}, "no such folder"),
        ({"data": "/", "licence": "MIT"}, "did you mean 'license'?"),
        ({"data": "/tmp", "license": "GPL"}, "option --license 'GPL'"),
        ({"data": "/tmp", "name": "A B"}, "option --name 'A B'"),
        ({"data": "/tmp", "units": "temp"}, "write column=unit"),
    ],
)
def test_a_wrong_option_is_refused_before_there_is_a_session(options: dict[str, str], why: str) -> None:
    """With what to write instead."""
    with pytest.raises(InputError) as error:
        submissions(options)

    assert why in str(error.value)


def test_a_units_name_may_hold_anything_but_a_comma() -> None:
    """The last sign divides, because a column's name may have one."""
    assert read_units("a=b=m, c (x)=s") == {"a=b": "m", "c (x)": "s"}
    assert make_name("Ünïcode & Co.") == "n-code-co"


def test_the_demo_writes_its_own_data_and_takes_a_given_folder_as_well(tmp_path: Path) -> None:
    """It may be prepared again in the same folder; stopping it is harmless."""
    given = tmp_path / "given"
    given.mkdir()
    scene = demo()
    for _ in range(2):
        own, other = scene.prepare(tmp_path, {"data": str(given), "yes": "yes"})
    scene.stop()

    names = {path.name for path in (tmp_path / "field-data").rglob("*") if path.is_file()}
    assert names == {"stations.csv", "site.png", "station.jpg"}
    assert (own.overrides["name"], other.overrides["name"]) == ("field-data", "given")
    with pytest.raises(InputError, match="give the folder with --data DIR"):
        scene.check({"into": "x"})
    with pytest.raises(InputError, match="no such folder; give the folder"):
        scene.check({"data": str(tmp_path / "absent")})
