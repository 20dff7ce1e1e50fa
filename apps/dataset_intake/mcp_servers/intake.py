"""The intake's own acts: check a request, make its project, publish it, withhold it, reject the request.

Thin: what is right is decided in request.py, files are touched in files.py and project.py. What a call changes in the
session's state is declared in app.yaml. All arguments but the last step's words are filled in by the runtime.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Literal

from fastmcp import FastMCP
from fastmcp.exceptions import ToolError
from pydantic import BaseModel, Field, JsonValue

from ..files import IntakeError, Limits, list_source
from ..project import (
    Published,
    check_projects,
    drop_project,
    find_obstacle,
    make_project,
    publish_project,
    staging_folder,
)
from ..request import Request, find_problems

Units = dict[str, str] | None


class Settings(BaseModel):
    """The server's `config`. Folders outside the roots are refused; "" allows any."""

    source_root: str = ""
    projects_root: str = ""
    max_files: Annotated[int, Field(ge=1, le=20_000)] = 2_000
    max_bytes: Annotated[int, Field(ge=1)] = 1_073_741_824


class Checked(BaseModel):
    """Whether a request can be carried out, and what it is about."""

    problems: list[str]
    files: int = 0
    bytes: int = 0
    left_out: list[str] = []
    left_out_count: int = 0


class Rendered(BaseModel):
    """Where the project is made."""

    project_dir: str


class Put(BaseModel):
    """A project in its place."""

    path: str
    files: int
    bytes: int
    manifest: str
    repeated: bool
    remarks: list[str]


class Kept(BaseModel):
    """A project that waits where it was made for somebody to look at it."""

    project_dir: str
    reason: str


class Rejected(BaseModel):
    """A request that is not carried out."""

    problems: list[str]


def register(mcp_app: FastMCP, cfg: Mapping[str, JsonValue]) -> None:
    """Add the tools to `mcp_app`; raise pydantic's ValidationError for a bad `config`."""
    settings = Settings.model_validate({key: cfg[key] for key in Settings.model_fields if key in cfg})
    _register_making(mcp_app, settings)
    _register_ends(mcp_app)


def _register_making(mcp_app: FastMCP, settings: Settings) -> None:
    limits = Limits(settings.max_files, settings.max_bytes)

    @mcp_app.tool
    def check_request(
        source: str = "",
        projects: str = "",
        name: str = "",
        title: str = "",
        creator: str = "",
        license: str = "",  # noqa: A002 - the variable's own name
        description: str = "",
        units: Units = None,
    ) -> Checked:
        """Check the variables and the folders of a request; tell every problem at once."""
        problems = find_problems(Request(name, title, creator, license, description, units or {}))
        problems += check_projects(projects, source, name, root=settings.projects_root)
        try:
            listing = list_source(source, limits, root=settings.source_root)
        except IntakeError as error:
            return Checked(problems=[*problems, str(error)])
        return Checked(
            problems=problems,
            files=len(listing.files),
            bytes=listing.byte_count,
            left_out=listing.left_out,
            left_out_count=listing.left_out_count,
        )

    @mcp_app.tool
    def render_project(
        source: str,
        projects: str,
        name: str,
        title: str,
        creator: str,
        license: str,  # noqa: A002 - the variable's own name
        session_id: str,
        description: str = "",
        units: Units = None,
        idempotency_key: str = "",
    ) -> Rendered:
        """Copy the data and render the template beside it, where plugins can work on it."""
        del idempotency_key  # the session's id is one: making begins anew
        request = Request(name, title, creator, license, description, units or {})
        try:
            folder = make_project(request, source, projects, session_id, limits, root=settings.source_root)
        except IntakeError as error:
            raise ToolError(str(error)) from error
        return Rendered(project_dir=str(folder))


def _register_ends(mcp_app: FastMCP) -> None:
    @mcp_app.tool(name="publish_project")
    def publish(
        completeness: Literal["full", "partial"],
        projects: str,
        name: str,
        session_id: str,
        remarks: list[str] | None = None,
        idempotency_key: str = "",
    ) -> Put:
        """Check the project against its manifest, and put it in its place by one rename."""
        del completeness, idempotency_key
        try:
            published: Published = publish_project(projects, name, session_id)
        except (IntakeError, OSError) as error:
            raise ToolError(str(error)) from error
        return Put(**asdict(published), remarks=remarks or [])

    @mcp_app.tool
    def withhold_project(projects: str, name: str, session_id: str, remarks: list[str] | None = None) -> Kept:
        """Leave the project where it was made, for a person to look at, and say why."""
        reason = "; ".join(remarks or ()) or find_obstacle(projects, name, session_id) or "publishing it failed"
        return Kept(project_dir=str(staging_folder(projects, session_id)), reason=reason[:4_000])

    @mcp_app.tool
    def reject_request(
        session_id: str, projects: str = "", problems: list[str] | None = None, idempotency_key: str = ""
    ) -> Rejected:
        """Carry the request out no further, and remove what was made for it."""
        del idempotency_key
        try:
            drop_project(projects, session_id)
        except OSError as error:
            raise ToolError(f"project: cannot be removed ({error.strerror}); remove it") from error
        return Rejected(problems=problems or ["the project could not be made; see the journal"])
