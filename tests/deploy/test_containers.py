"""The image is built, the compose file is started, and a session runs through: for real, with `-m deploy`.

Needs podman, buildah and podman-compose. DEPLOY_BASE_IMAGE names an image with Python to build on, where no registry is at hand;
DEPLOY_BUILD_ARGS adds what a build behind a proxy needs (`--volume ...`), PODMAN_ARGS what the engine needs.
"""

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.source_tree import ROOT
from tests.deploy.drills.lab import wait_until

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(900)]

IMAGE = "localhost/baton-tested"
PODMAN = ["podman", *shlex.split(os.environ.get("PODMAN_ARGS", ""))]
FILES = [
    "-f",
    str(ROOT / "deploy" / "compose" / "compose.yaml"),
    "-f",
    str(ROOT / "tests" / "deploy" / "compose.test.yaml"),
]


def need(*names: str) -> None:
    """Skip with the reason where a tool is missing; Debian's packages are named as the tools are."""
    for name in names:
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not installed; it is in Debian's package {name}")


def run(*command: str, **more: str) -> str:
    """Run a command that must succeed; return what it prints."""
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=800,
        env={**os.environ, "BATON_IMAGE": IMAGE, **more},
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def image() -> str:
    """Build the image."""
    need("buildah", "podman")
    base = os.environ.get("DEPLOY_BASE_IMAGE", "")
    if not base:
        pytest.skip("DEPLOY_BASE_IMAGE is not set; name an image with Python 3.11 or later")
    storage = [arg for arg in shlex.split(os.environ.get("PODMAN_ARGS", "")) if arg.startswith("--storage-driver")]
    more = shlex.split(os.environ.get("DEPLOY_BUILD_ARGS", ""))
    file = str(ROOT / "deploy" / "Dockerfile")
    args = ["--isolation", "chroot", "--build-arg", f"BASE_IMAGE={base}", "-t", IMAGE, "-f", file]
    run("buildah", *storage, "bud", "--ignorefile", str(ROOT / ".dockerignore"), *more, *args, str(ROOT))
    return IMAGE


def test_the_image_runs_without_rights(image: str) -> None:
    """No root, no capability, nothing to write to."""
    confined = ["--read-only", "--cap-drop", "all", "--security-opt", "no-new-privileges"]
    told = json.loads(run(*PODMAN, "run", "--rm", *confined, image, "version", "-o", "json"))
    who = run(*PODMAN, "run", "--rm", *confined, "--entrypoint", "id", image, "-u")

    assert told["version"]["baton"]
    assert who.strip() == "10001"


@pytest.fixture
def composed(image: str) -> Iterator[list[str]]:
    """Start server, scheduler and a worker by the compose file."""
    need("podman-compose")
    args = [arg for arg in PODMAN[1:] if arg.startswith("--")]
    compose = ["podman-compose", *(f"--podman-args={arg}" for arg in args), *FILES]
    try:
        run(*compose, "up", "-d", "--no-build", "redis", "scheduler", "worker")
        yield compose
    finally:
        run(*compose, "down", "--volumes")


def test_compose_runs_a_session(composed: list[str], tmp_path: Path) -> None:
    """What the file starts takes a session from submit to its end, in containers without rights."""

    def workers() -> bool:
        done = subprocess.run(
            [*composed, "exec", "-T", "worker", "baton", "workers", "-o", "json"],
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode == 0 and '"kind": "worker"' in done.stdout and '"kind": "scheduler"' in done.stdout

    wait_until(workers, "worker and scheduler live", seconds=90)
    told = run(*composed, "exec", "-T", "worker", "baton", "doctor")

    assert "1 alive" in told
