"""The intake's own tools over the MCP protocol, on real folders."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastmcp.exceptions import ToolError

from apps.dataset_intake.mcp_servers import intake
from apps.dataset_intake.steps import EXPECTED, judge_pass, judge_request
from tests.unit.apps.conftest import CallTool

Serve = Callable[..., CallTool]
SESSION = "INTAKE-20260102-001"


@pytest.fixture
def request_(tmp_path: Path) -> dict[str, Any]:
    """A request that can be carried out."""
    source = tmp_path / "raw"
    (source / "sub").mkdir(parents=True)
    (source / "a.csv").write_text("x,y\n1,2\n")
    (source / "sub" / "b.txt").write_text("b")
    return {
        "source": str(source),
        "projects": str(tmp_path / "projects"),
        "name": "weather",
        "title": "Weather",
        "creator": "Ann",
        "license": "MIT",
    }


def write_manifest(project: Path) -> None:
    """Write the manifest as the plugin does."""
    files = [path for path in sorted(project.rglob("*")) if path.is_file() and path.name != "MANIFEST.sha256"]
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(project).as_posix()}\n" for path in files
    ]
    (project / "MANIFEST.sha256").write_text("".join(lines))


def test_a_good_request_has_no_problem(serve: Serve, request_: dict[str, Any]) -> None:
    """And the session knows what it is about."""
    checked = serve(intake)("check_request", **request_)

    assert checked == {"problems": [], "files": 2, "bytes": 9, "left_out": [], "left_out_count": 0}


def test_everything_that_is_wrong_is_told_at_once(serve: Serve, tmp_path: Path) -> None:
    """Nobody mends one thing and submits again to hear of the next."""
    told = serve(intake)("check_request", source="raw", projects="", name="../x", license="MTI", units={"a": ""})

    starts = [
        "name '../x'",
        "title: missing",
        "creator: missing",
        "license 'MTI'",
        "units: 'a'",
        "projects",
        "source raw",
    ]
    assert len(told["problems"]) == len(starts)
    assert all(one.startswith(start) for one, start in zip(told["problems"], starts, strict=True))
    assert "did you mean 'MIT'?" in told["problems"][3]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"max_files": 1}, "more than 1 files"),
        ({"max_bytes": 5}, "more than 5 bytes"),
        ({"source_root": "/nowhere"}, "outside the allowed folder /nowhere"),
        ({"projects_root": "/nowhere"}, "outside the allowed folder /nowhere"),
    ],
)
def test_the_operators_limits_hold(
    serve: Serve, request_: dict[str, Any], settings: dict[str, Any], problem: str
) -> None:
    """Who submits chooses no folder that the operator does not allow, and fills no disk."""
    (told,) = serve(intake, **settings)("check_request", **request_)["problems"]

    assert problem in told


def test_a_project_in_its_own_data_or_in_anothers_place_is_refused(serve: Serve, request_: dict[str, Any]) -> None:
    """It would copy itself, or hide what is there."""
    call = serve(intake)
    (inside,) = call("check_request", **{**request_, "projects": f"{request_['source']}/out"})["problems"]
    (Path(request_["projects"]) / "weather").mkdir(parents=True)
    (taken,) = call("check_request", **request_)["problems"]

    assert "lies in the data itself" in inside
    assert "is there already" in taken


def test_links_hidden_and_odd_files_stay_behind_and_are_told(serve: Serve, request_: dict[str, Any]) -> None:
    """A link may point anywhere; a hidden file is nobody's data."""
    source = Path(request_["source"])
    (source / "link.csv").symlink_to("/etc/passwd")
    (source / ".git").mkdir()
    (source / ".git" / "config").write_text("x")
    (source / "new\nline").write_text("x")
    call = serve(intake)

    checked = call("check_request", **request_)
    made = call("render_project", session_id=SESSION, **request_)

    assert sorted(one.rpartition(": ")[2] for one in checked["left_out"]) == [
        "a link",
        "hidden",
        "its name cannot be written down",
    ]
    data = Path(made["project_dir"]) / "data"
    assert sorted(path.relative_to(data).as_posix() for path in data.rglob("*") if path.is_file()) == [
        "README.md",
        "a.csv",
        "sub/b.txt",
    ]


def test_a_project_has_the_template_the_data_and_a_card(serve: Serve, request_: dict[str, Any]) -> None:
    """A README that came with the data is kept; making it twice makes the same."""
    (Path(request_["source"]) / "README.md").write_text("Mine\n")
    call = serve(intake)
    call("render_project", session_id=SESSION, **request_)
    made = Path(call("render_project", session_id=SESSION, description="$x ${y}", **request_)["project_dir"])

    assert (made / "README.md").read_text().startswith("# Weather\n\n$x ${y}\n\n- Creator: Ann\n- License: MIT\n")
    assert (made / "data" / "README.md").read_text() == "Mine\n"
    card = json.loads((made / "dataset.json").read_text())
    assert (card["name"], card["session"]) == ("weather", SESSION)
    assert made.parent.stat().st_mode & 0o077 == 0  # images are not scrubbed there yet


def test_a_staging_folder_that_somebody_else_put_there_is_refused(serve: Serve, request_: dict[str, Any]) -> None:
    """A link would lead the project, and what is removed of an older try, elsewhere."""
    projects = Path(request_["projects"])
    (projects.parent / "elsewhere" / SESSION).mkdir(parents=True)
    projects.mkdir()
    (projects / ".intake").symlink_to(projects.parent / "elsewhere")

    with pytest.raises(ToolError, match="somebody else made it"):
        serve(intake)("render_project", session_id=SESSION, **request_)
    serve(intake)("reject_request", session_id=SESSION, projects=request_["projects"])
    assert (projects.parent / "elsewhere" / SESSION).is_dir()


def test_a_project_is_published_whole_and_once(serve: Serve, request_: dict[str, Any]) -> None:
    """The same call again, after a crash, finds it published."""
    call = serve(intake)
    made = Path(call("render_project", session_id=SESSION, **request_)["project_dir"])
    write_manifest(made)
    args = {"completeness": "full", "projects": request_["projects"], "name": "weather", "session_id": SESSION}
    first, again = call("publish_project", **args), call("publish_project", **args)

    assert first["path"] == f"{request_['projects']}/weather"
    assert again == {**first, "repeated": True}
    assert sorted(path.name for path in Path(request_["projects"]).iterdir()) == ["weather"]


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda made: (made / "MANIFEST.sha256").unlink(), "has no MANIFEST.sha256"),
        (lambda made: (made / "data" / "a.csv").write_text("other"), "data/a.csv is not what MANIFEST.sha256 says"),
        (lambda made: (made / "data" / "more").write_text("x"), "differ in data/more"),
        (lambda made: (made / "data" / "a.csv").unlink(), "differ in data/a.csv"),
        (lambda made: (made / "data" / "l").symlink_to("/etc"), "neither file nor folder"),
        (lambda made: (made.parents[1] / "weather").mkdir(), "is there already"),
    ],
)
def test_what_is_not_as_its_manifest_says_is_withheld(
    serve: Serve, request_: dict[str, Any], spoil: Callable[[Path], object], why: str
) -> None:
    """It stays where it is, and the reason is told."""
    call = serve(intake)
    made = Path(call("render_project", session_id=SESSION, **request_)["project_dir"])
    write_manifest(made)
    spoil(made)
    args = {"projects": request_["projects"], "name": "weather", "session_id": SESSION}

    with pytest.raises(ToolError, match=why):
        call("publish_project", completeness="full", **args)
    kept = call("withhold_project", **args)
    assert kept["project_dir"] == str(made)
    assert why in kept["reason"]
    assert made.is_dir()


def test_a_rejected_request_leaves_nothing(serve: Serve, request_: dict[str, Any]) -> None:
    """Also where it is rejected twice, or before anything was made."""
    call = serve(intake)
    call("render_project", session_id=SESSION, **request_)
    for _ in range(2):
        told = call("reject_request", session_id=SESSION, projects=request_["projects"], problems=["name: bad"])

    assert told == {"problems": ["name: bad"]}
    assert list(Path(request_["projects"]).iterdir()) == []
    assert call("reject_request", session_id=SESSION)["problems"] == ["the project could not be made; see the journal"]


def entries(**statuses: str) -> list[dict[str, Any]]:
    """Return entries of a whole pass, with some that ended otherwise."""
    return [{"plugin": name, "status": statuses.get(name, "success")} for name in EXPECTED]


@pytest.mark.parametrize(
    ("found", "completeness", "signal"),
    [
        (entries(), "full", "publishable"),
        (entries(csv_profile="skipped"), "full", "publishable"),
        (entries(csv_profile="timeout"), "partial", "publishable"),
        (entries(image_scrub="failed"), "none", "withhold"),
        (entries(checksum_manifest="sandbox_unavailable"), "none", "withhold"),
        (entries()[:3], "none", "withhold"),
        ([], "none", "withhold"),
    ],
)
def test_what_may_be_published_follows_from_the_plugins(
    found: list[dict[str, Any]], completeness: str, signal: str
) -> None:
    """Nothing without a scrub and sums; the rest is told as a gap."""
    judged = judge_pass({"entries": found})

    assert (judged["completeness"], judged["signal"]) == (completeness, signal)
    assert bool(judged["remarks"]) == (completeness != "full")


def test_a_remark_says_which_plugin_and_why() -> None:
    """The reason that a person reads comes from the entry."""
    found = [*entries()[:4], {"plugin": "checksum_manifest", "status": "policy_violation", "violations": ["README.md"]}]

    assert judge_pass({"entries": found})["remarks"] == ["checksum_manifest: policy_violation: README.md"]
    assert judge_request({"problems": ["x"]}) == {"signal": "invalid"}
