"""The page of sessions in one process: its example runs, and what it names is there."""

import re
import sys

import pytest

from orchestrator.contracts.mount_plan import ModuleEntry
from orchestrator.kernel import mount_validation
from orchestrator.kernel.live import Coordinator, Session
from orchestrator.kernel.module_rules import ENTRY_POINT_GROUP, MODULE_TYPES, PACKAGE_PREFIX
from tests.architecture.source_tree import ROOT

PAGE = (ROOT / "docs" / "reference" / "sessions_in_process.md").read_text(encoding="utf-8")


def test_the_example_runs() -> None:
    """It is the first thing that a reader tries."""
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    before = set(sys.modules)

    exec(compile(example, "sessions_in_process.md", "exec"), {"__name__": "example"})  # noqa: S102 - the page's own example
    for name in set(sys.modules) - before:
        if name.startswith(PACKAGE_PREFIX):
            del sys.modules[name]


@pytest.mark.parametrize(
    "name",
    [
        *(name for name in ModuleEntry.model_fields if name != "instance_id"),
        *sorted(mount_validation.KNOWN_SECTIONS),
        *mount_validation.LIMITS,
        *Coordinator().mount_points,
        *MODULE_TYPES,
        ENTRY_POINT_GROUP,
        PACKAGE_PREFIX,
    ],
)
def test_every_word_of_a_plan_is_on_the_page(name: str) -> None:
    """A key that the page does not know does not exist for readers."""
    assert re.search(rf"\b{re.escape(name)}", PAGE)


@pytest.mark.parametrize("owner", [Session, Coordinator])
def test_every_method_is_on_the_page(owner: type) -> None:
    """Each public verb, by its name."""
    methods = [name for name in vars(owner) if not name.startswith("_") and callable(getattr(owner, name))]

    assert [name for name in methods if f"`{name}" not in PAGE] == []
