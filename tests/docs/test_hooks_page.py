"""The page of hooks names every field and every event, and its example runs."""

import asyncio
import re
from pathlib import Path

import pytest
from pydantic_core import to_jsonable_python

from orchestrator.app_loader import load_app
from orchestrator.contracts.event_names import ALL_EVENTS, MODULE_LOAD_FAILED, OLDER_NAMES, SESSION_CONFIG
from orchestrator.contracts.hook_result import HookResult
from orchestrator.settings import Settings
from tests.architecture.source_tree import ROOT
from tests.docs.console import read_blocks
from tests.stage import Stage
from workers.steps.hook_run import GATES

PAGE = (ROOT / "docs" / "reference" / "hooks.md").read_text(encoding="utf-8")
HOW_TO = (ROOT / "docs" / "how-to" / "write_a_hook.md").read_text(encoding="utf-8")
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


# --- the how-to


def write_files(page: str, folder: Path) -> None:
    """Write every named block of a page."""
    for block in read_blocks(page):
        if block.name:
            (folder / block.name).write_text(block.body, encoding="utf-8")


def test_the_how_to_does_what_it_says(store_url: str, tmp_path: Path) -> None:
    """One refund that is changed, one that is refused, one that waits for a person: each as the page tells it."""
    write_files(HOW_TO, tmp_path)
    spec = load_app(tmp_path)

    async def scene() -> None:
        on = Stage(store_url, Settings(), {spec.name: spec})
        try:
            worker = on.worker()
            records = {}
            for cents in (1250, 0, 9999):
                made = await on.client.submit(spec.name, overrides={"cents": cents}, actor="ada")
                records[cents] = await on.run(worker, made.session_id)
            calls = [call async for entry in on.client.events(records[1250].session_id) for call in entry.calls]
            assert (records[1250].status, calls[0].args) == ("settled", {"cents": 1200})
            assert records[0].status == "open"
            wait = records[9999].wait
            assert wait is not None and wait.call is not None
            assert (wait.prompt, wait.call.args, wait.roster) == ("Refund 99.00?", {"cents": 9900}, ("ada", "grace"))
            await on.client.decide(records[9999].session_id, allow=True, always=True, actor="ada")
            record = await on.run(on.worker(), records[9999].session_id)
            assert record.status == "settled"
            assert record.hooks is not None
            assert [grant.shown for grant in record.hooks.grants] == ['{"cents":9900}']
        finally:
            await on.aclose()

    asyncio.run(scene())


@pytest.mark.parametrize("event", sorted({*GATES}))
def test_the_page_and_the_how_to_name_every_gate(event: str) -> None:
    """Whoever relies on a denial must know where one counts."""
    assert f"`{event}`" in HOW_TO
    row = next(line for line in PAGE.splitlines() if line.startswith(f"| `{event}` |"))

    assert row.rstrip("| ").rpartition("|")[2].strip()
