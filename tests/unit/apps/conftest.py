"""Real git repositories, real services, and the apps' tools as the runtime calls them."""

import asyncio
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fastmcp import Client, FastMCP
from fastmcp.exceptions import ToolError

from apps.incident_management.demo import start_demo_service
from apps.incident_management.restart import end_process
from apps.incident_management.service import Service, find_process, load_service

CallTool = Callable[..., dict[str, Any]]


class GitRepo:
    """A repository below a test's folder, made by the real git."""

    def __init__(self, path: Path, *options: str) -> None:
        self.path = path
        path.mkdir(parents=True)
        self.git("init", "--quiet", "--initial-branch=main", *options, ".")

    def git(self, *args: str, stdin: bytes = b"", **env: str) -> str:
        """Run git there and return what it says."""
        settings = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.path),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_AUTHOR_NAME": "Ann",
            "GIT_AUTHOR_EMAIL": "ann@example.com",
            "GIT_COMMITTER_NAME": "Ann",
            "GIT_COMMITTER_EMAIL": "ann@example.com",
            "GIT_AUTHOR_DATE": "2026-01-02T03:04:05+00:00",
            "GIT_COMMITTER_DATE": "2026-01-02T03:04:05+00:00",
            **env,
        }
        done = subprocess.run(["git", *args], cwd=self.path, env=settings, input=stdin, capture_output=True, check=True)
        return done.stdout.decode("utf-8", "replace").strip()

    def write(self, name: str | bytes, content: str | bytes) -> None:
        """Put a file into the work tree."""
        path = self.path / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    def commit(self, title: str = "Change", **files: str | bytes) -> str:
        """Commit the work tree, after writing `files` (`__` in a name stands for `/`, `_dot_` for a dot)."""
        for name, content in files.items():
            self.write(name.replace("__", "/").replace("_dot_", "."), content)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "-m", title)
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repo(tmp_path: Path) -> GitRepo:
    """An empty repository."""
    return GitRepo(tmp_path / "repo")


@pytest.fixture
def make_repo(tmp_path: Path) -> Callable[..., GitRepo]:
    """Make further repositories by name."""
    return lambda name, *options: GitRepo(tmp_path / name, *options)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """The real demo service, running and healthy; all that was started for it is ended after the test."""
    home = tmp_path / "service"
    home.mkdir(mode=0o700)
    try:
        yield start_demo_service(home)
    finally:
        for start in load_service(str(home)).starts():
            process = find_process(start.pid, start.create_time)
            if process is not None:
                end_process(process)


@pytest.fixture
def serve() -> Callable[..., CallTool]:
    """Register an app's server and return how its tools are called, over the MCP protocol."""

    def register(module: ModuleType, **cfg: object) -> CallTool:
        server = FastMCP("test")
        module.register(server, cfg)

        async def send(tool: str, args: dict[str, Any]) -> Any:
            async with Client(server) as client:
                return await client.call_tool(tool, args, raise_on_error=False)

        def call(tool: str, **args: Any) -> dict[str, Any]:
            result = asyncio.run(send(tool, args))
            if result.is_error:
                raise ToolError(result.content[0].text)
            return dict(result.structured_content or {})

        return call

    return register
