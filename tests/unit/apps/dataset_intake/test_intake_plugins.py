"""Each plugin in the real sandbox, on a real project: what it changes, and that it may change nothing else."""

import hashlib
import json
import subprocess
from pathlib import Path

from apps.dataset_intake.demo_files import SECRETS, write_files
from plugin_sandbox.model import Outcome
from tests.unit.apps.dataset_intake.conftest import RunPlugin

WORDS = {"title": "T", "license": "MIT", "creator": "Ann"}


def told(outcome: Outcome) -> tuple[str, list[str]]:
    """Return a run's status and what it changed."""
    assert outcome.entry is not None
    return outcome.entry.status, sorted(f"{one.kind} {one.path}" for one in outcome.changes)


def test_images_are_scrubbed_in_place(project: Path, run_plugin: RunPlugin) -> None:
    """The only files that change are those that told something."""
    write_files(project / "data")
    (project / "data" / "clean.PNG").write_bytes((project / "data" / "images" / "site.png").read_bytes())
    first, second = run_plugin("image_scrub"), run_plugin("image_scrub")

    changed = ["modify data/clean.PNG", "modify data/images/site.png", "modify data/images/station.jpg"]
    assert told(first) == ("success", changed)
    assert told(second) == ("skipped", [])
    text = b"".join(path.read_bytes() for path in (project / "data").rglob("*") if path.is_file())
    assert not any(secret in text for secret in SECRETS)


def test_an_image_that_is_none_fails_the_run_and_changes_nothing(project: Path, run_plugin: RunPlugin) -> None:
    """Half a scrub would look like a whole one."""
    write_files(project / "data")
    (project / "data" / "zz.jpg").write_bytes(b"RIFF....WEBP")
    before = (project / "data" / "images" / "site.png").read_bytes()

    outcome = run_plugin("image_scrub")

    assert told(outcome) == ("failed", [])
    assert outcome.entry is not None
    assert (
        outcome.entry.error
        == "data/zz.jpg: neither PNG nor JPEG, whatever its name says; mend the image, or leave it out"
    )
    assert (project / "data" / "images" / "site.png").read_bytes() == before


def test_tables_get_profiles(project: Path, run_plugin: RunPlugin) -> None:
    """Beside each other, under the tables' own paths."""
    write_files(project / "data")
    (project / "data" / "sub").mkdir()
    (project / "data" / "sub" / "x.tsv").write_text("a\tb\n1\t2\n")

    outcome = run_plugin("csv_profile")

    assert outcome.entry is not None
    assert outcome.entry.files_affected == (
        "metadata/profiles/data/stations.csv.json",
        "metadata/profiles/data/sub/x.tsv.json",
    )
    profile = json.loads((project / "metadata/profiles/data/stations.csv.json").read_text())
    assert (profile["rows"], len(profile["columns"])) == (48, 5)


def test_the_bounds_of_a_profile_come_with_the_request(project: Path, run_plugin: RunPlugin) -> None:
    """A larger table than that is read in part."""
    write_files(project / "data")
    run_plugin("csv_profile", profile_rows=5)

    profile = json.loads((project / "metadata/profiles/data/stations.csv.json").read_text())
    assert (profile["rows"], profile["truncated"]) == (5, True)


def test_a_missing_unit_is_asked_for_and_written_with_where_it_is_from(project: Path, run_plugin: RunPlugin) -> None:
    """The one that a name says is not asked for."""
    write_files(project / "data")
    run_plugin("csv_profile")
    asked = run_plugin("units").prompt
    assert asked is not None
    assert [(one.id, one.type, one.default) for one in asked.fields] == [("unit_temp", "choice", "degC")]
    assert asked.reason == "1 numeric column without a unit in data/stations.csv"
    assert told(run_plugin("units", {"unit_temp": "K"})) == ("success", ["create metadata/units.json"])

    units = json.loads((project / "metadata/units.json").read_text())
    assert units == {
        "data/stations.csv": {
            "temp": {"unit": "K", "from": "answer"},
            "pressure (hPa)": {"unit": "hPa", "from": "name"},
        }
    }


def test_units_of_the_request_are_not_asked_for(project: Path, run_plugin: RunPlugin) -> None:
    """Who knows them says so in the first place."""
    write_files(project / "data")
    run_plugin("csv_profile")

    assert run_plugin("units", units={"temp": "K"}).prompt is None
    assert json.loads((project / "metadata/units.json").read_text())["data/stations.csv"]["temp"]["from"] == "request"


def test_many_units_are_asked_for_a_few_at_a_time_and_not_for_ever(project: Path, run_plugin: RunPlugin) -> None:
    """A table of a hundred columns must not ask a hundred questions."""
    names = [f"reading q{number}" for number in range(100)]
    (project / "data" / "wide.csv").write_text(f"{','.join(names)}\n{','.join(['1.5'] * 100)}\n")
    run_plugin("csv_profile")
    answers: dict[str, str] = {}
    rounds = 0
    while (prompt := run_plugin("units", answers).prompt) is not None:
        rounds += 1
        assert len(prompt.fields) == 8
        answers |= {one.id: "bar" for one in prompt.fields}

    assert (rounds, len(answers)) == (4, 32)
    units = json.loads((project / "metadata/units.json").read_text())["data/wide.csv"]
    assert sum(one["unit"] == "unknown" for one in units.values()) == 68


def test_a_readme_gets_what_it_lacks_and_keeps_its_own(project: Path, run_plugin: RunPlugin) -> None:
    """Figures of the tables come from their profiles."""
    write_files(project / "data")
    (project / "data" / "README.md").write_text("---\ntitle: Mine\n---\nHello\n")
    run_plugin("csv_profile")
    run_plugin("units", {"unit_temp": "K"})

    assert told(run_plugin("readme_front_matter", **WORDS)) == ("success", ["modify data/README.md"])
    assert (project / "data" / "README.md").read_text() == (
        '---\ntitle: Mine\ncreator: "Ann"\nlicense: "MIT"\ntables: 1\nrows: 48\nunits: ["K", "hPa"]\n---\nHello\n'
    )
    assert told(run_plugin("readme_front_matter", **WORDS)) == ("skipped", [])


def test_a_readme_with_another_license_is_a_failure(project: Path, run_plugin: RunPlugin) -> None:
    """Two licenses in one data set are a lawyer's work."""
    (project / "data" / "README.md").write_text("---\nlicense: CC0-1.0\n---\n")

    outcome = run_plugin("readme_front_matter", **WORDS)

    assert outcome.entry is not None
    assert outcome.entry.error == "data/README.md: says license CC0-1.0, the request MIT; make them agree"


def test_a_manifest_is_what_sha256sum_checks(project: Path, run_plugin: RunPlugin) -> None:
    """Also with names that would break its lines; and it is made anew each time."""
    (project / "data" / "a b.csv").write_text("x\n")
    (project / "data" / "back\\slash").write_text("y\n")
    (project / "data" / "MANIFEST.sha256").write_text("of the data's own\n")
    (project / "README.md").write_text("# P\n")
    run_plugin("checksum_manifest")
    (project / "README.md").write_text("# Q\n")

    assert told(run_plugin("checksum_manifest")) == ("success", ["modify MANIFEST.sha256"])
    checked = subprocess.run(
        ["sha256sum", "--check", "--strict", "MANIFEST.sha256"], cwd=project, capture_output=True, text=True, check=True
    )
    assert checked.stdout.count(": OK") == 4
    assert hashlib.sha256(b"# Q\n").hexdigest() in (project / "MANIFEST.sha256").read_text()


def test_a_dry_run_describes_and_changes_nothing(project: Path, run_plugin: RunPlugin) -> None:
    """Whoever wonders what would happen can ask."""
    write_files(project / "data")
    (project / "data" / "README.md").write_text("Hello\n")

    described = {
        name: [f"{one.kind} {one.path} {one.summary}" for one in run_plugin(name, dry_run=True, **WORDS).changes]
        for name in ("image_scrub", "csv_profile", "readme_front_matter")
    }

    assert described["image_scrub"][0].startswith("modify data/images/site.png text, XMP, EXIF")
    assert described["csv_profile"] == ["create metadata/profiles/data/stations.csv.json its profile"]
    assert described["readme_front_matter"] == ["modify data/README.md adds title, creator, license"]
    assert not list((project / "metadata").iterdir())
