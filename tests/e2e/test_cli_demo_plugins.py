"""The demo's third part: plugins on files that the demo makes and on a folder of one's own, asked for on the terminal or not."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from apps.dataset_intake.demo_files import make_png
from tests.commands import BATON, ROOT, Baton
from tests.deploy.drills.lab import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture
def demo(baton: Baton, tmp_path: Path) -> Baton:
    """Lend commands with the bundled apps, whose temporary folders and whose sandbox's state go with the test."""
    config, scratch = tmp_path / "config", tmp_path / "scratch"
    scratch.mkdir()
    shutil.copytree(ROOT / "config", config)
    text = (config / "sandbox.yaml").read_text()
    (config / "sandbox.yaml").write_text(text.replace("state_dir: null", f"state_dir: {tmp_path / 'sandbox'}"))
    more = {"TMPDIR": str(scratch), "BATON_CONFIG_DIR": str(config), "BATON_APPS_PATH": ""}
    return Baton(baton.state_dir, {**more, "BATON_APPS_BUNDLED": "true"})


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Lend a folder of one's own: a table that names its units, a picture with metadata, a link that leads astray."""
    folder = tmp_path / "My Data"
    folder.mkdir()
    (folder / "speeds.csv").write_text("run;speed [m/s];weight_kg\n1;2,5;70\n2;3,5;\n")
    (folder / "site.png").write_bytes(make_png([[1, 2], [3, 4]]))
    (folder / "link").symlink_to("/etc/passwd")
    return folder


def test_plugins_work_on_made_files_and_on_a_given_folder(demo: Baton, data: Path, tmp_path: Path) -> None:
    """Questions get the defaults that they declare; of each run there is what it used; the given folder is only read."""
    before = {path: path.read_bytes() for path in data.iterdir() if not path.is_symlink()}
    args = ("--app", "dataset_intake", "--yes", "--data", str(data), "--into", str(tmp_path / "out"))
    told = demo("demo", *args, "-o", "json").json("demo")

    own, given = told["sessions"]
    assert [own["status"], given["status"]] == ["published", "published"]
    assert given["fields"]["project"] == str(tmp_path / "out" / "my-data")
    used = {entry["plugin"]: entry for entry in own["plugins"]}
    assert used["image_scrub"]["files_affected"] == ["data/images/site.png", "data/images/station.jpg"]
    assert all(entry["isolation"]["tier"] in {"strict", "standard"} for entry in used.values())
    assert all(entry["isolation"]["peak_memory_mb"] > 0 for entry in used.values())
    project = tmp_path / "out" / "my-data"
    assert b"Camera" not in (project / "data" / "site.png").read_bytes()
    assert not (project / "data" / "link").exists()
    subprocess.run(["sha256sum", "--check", "--quiet", "MANIFEST.sha256"], cwd=project, check=True)
    assert {path: path.read_bytes() for path in data.iterdir() if not path.is_symlink()} == before
    wait_until(lambda: not list((tmp_path / "scratch").iterdir()), "every folder is gone")


def test_what_plugins_did_is_printed(demo: Baton) -> None:
    """Without a terminal nobody can be asked: the pass is stopped, and the app withholds what is not complete."""
    out = demo("demo", "--app", "dataset_intake").out

    assert "waits for an answer to: units: 1 numeric column without a unit in data/stations.csv" in out
    assert "stopped as ada (nobody could be asked: no terminal, and no --yes)" in out
    assert "1 session: 1 withheld" in out
    assert "PLUGIN " in out
    assert "modify data/images/station.jpg" in out
    assert re.search(r"^units +failed +none ", out, re.MULTILINE)


def test_a_question_is_asked_on_the_terminal(demo: Baton) -> None:
    """With its choices; a wrong answer is told and asked for again, and the right one is what is published."""
    master, slave = os.openpty()
    process = subprocess.Popen(
        [*BATON, "demo", "--app", "dataset_intake", "--keep"],
        env=demo.environment,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    seen = b""
    answers = [b"furlong\n", b"K\n"]
    asked = b"one of degC, K, degF, 1; 'degC' if left out"
    while True:
        try:
            part = os.read(master, 65_536)
        except OSError:  # the terminal is gone with its last process
            break
        if not part:
            break
        seen += part
        if answers and b"".join(seen.split()).count(b"".join(asked.split())) > 2 - len(answers):
            os.write(master, answers.pop(0))
    process.wait(timeout=60)
    os.close(master)
    text = seen.decode()
    kept = Path(text.split("kept: ")[1].split(";")[0].strip())
    units = kept / "demo" / "scenes" / "dataset_intake" / "projects" / "field-data" / "metadata" / "units.json"

    assert process.returncode == 0
    assert "'furlong' does not fit" in text
    assert '"unit": "K"' in units.read_text()
