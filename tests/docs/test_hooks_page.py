"""The page of hooks names every field and every event, and its example runs."""

import re

import pytest
from pydantic_core import to_jsonable_python

from orchestrator.contracts.event_names import ALL_EVENTS, MODULE_LOAD_FAILED, OLDER_NAMES, SESSION_CONFIG
from orchestrator.contracts.hook_result import HookResult
from tests.architecture.source_tree import ROOT

PAGE = (ROOT / "docs" / "reference" / "hooks.md").read_text(encoding="utf-8")
FIELDS = dict(re.findall(r"^\| `(\w+)` \|(?:[^|]*)\| `?([^|`]+?)`? \|", PAGE, re.MULTILINE))


def test_the_table_has_every_field_with_its_default() -> None:
    """A field that the page does not know does not exist for readers."""
    words = {None: "none", False: "false"}
    defaults = to_jsonable_python(HookResult())

    assert {name: words.get(value, str(value)) for name, value in defaults.items()} == FIELDS


@pytest.mark.parametrize("event", [*ALL_EVENTS, SESSION_CONFIG, MODULE_LOAD_FAILED, *OLDER_NAMES])
def test_every_event_is_on_the_page(event: str) -> None:
    """Whoever writes a hook looks for its event here."""
    assert f"`{event}`" in PAGE


def test_the_example_runs() -> None:
    """It is the first thing that a reader tries."""
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)

    exec(compile(example, "hooks.md", "exec"), {})  # noqa: S102 - the page's own example
