"""Ordinary wheels with native code work in the box as they come: numpy, which starts threads, and pydantic."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from plugin_sandbox.host import Sandbox
from plugin_sandbox.settings import SandboxSettings
from tests.plugin_runs import make_call

_MANIFEST = """\
name: wheels
version: "1"
api_version: "1"
supported_extensions: []
"""
_CODE = """\
{imports}
from plugin_sandbox.api import Plugin as Base
{models}

class Plugin(Base):
    def can_handle(self, path, variables):
        return True

    def transform(self, path, ctx):
        path.write_text(str(({expression})))
"""
BODIES = {
    "numpy": (
        "import numpy as np",
        "",
        'float((np.linalg.inv(np.eye(300) * 2) @ np.fft.fft(np.ones(300)).real).sum()), np.loadtxt("numbers.csv").sum()',
        "(150.0, 6.0)",
    ),
    "pydantic": (
        "from pydantic import BaseModel, Field",
        "class Row(BaseModel):\n    unit: str\n    value: float = Field(gt=0)\n",
        'Row.model_validate_json(\'{"unit": "mm", "value": "1.5"}\')',
        "unit='mm' value=1.5",
    ),
}


@pytest.fixture(params=["warm", "cold"])
def sandbox(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Sandbox]:
    """Forked from what is warm already, and freshly started."""
    made = Sandbox(SandboxSettings(state_dir=tmp_path / "state", warm=request.param == "warm"))
    yield made
    made.close()


@pytest.mark.parametrize("name", BODIES)
def test_a_plugin_computes_with_it(sandbox: Sandbox, tmp_path: Path, name: str) -> None:
    """What the filter of system calls leaves them is enough."""
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed; it comes with the project's dev dependencies")
    imports, models, expression, expected = BODIES[name]
    package, workspace = tmp_path / "package", tmp_path / "workspace"
    package.mkdir()
    workspace.mkdir()
    (package / "manifest.yml").write_text(_MANIFEST)
    (package / "__init__.py").write_text(_CODE.format(imports=imports, models=models, expression=expression))
    (workspace / "data.txt").write_text("")
    (workspace / "numbers.csv").write_text("1\n2\n3\n")

    outcome = sandbox.run_blocking(make_call(package, workspace, SandboxSettings()))

    assert outcome.entry is not None
    assert outcome.entry.status == "success", outcome
    assert (workspace / "data.txt").read_text().replace("np.float64(6.0)", "6.0") == expected
