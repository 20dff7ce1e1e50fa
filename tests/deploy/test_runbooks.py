"""Runbooks and alerts are one to one, and what a page has a person run is there."""

import click
import pytest
import yaml

from orchestrator.interfaces.cli.main import cli
from orchestrator.runbook_match import list_names
from orchestrator.runbook_page import Page, find_runbooks, load_pages
from tests.architecture.source_tree import ROOT

RULES = ROOT / "deploy" / "observability" / "alerts.yaml"
PAGES = load_pages(find_runbooks())


def load_alerts() -> dict[str, dict[str, str]]:
    """Return page and severity of every alert."""
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return {
        rule["alert"]: {"page": rule["annotations"]["runbook_url"], "severity": rule["labels"]["severity"]}
        for group in groups
        for rule in group["rules"]
    }


def find_problem(words: list[str]) -> str | None:
    """Return why the command line would refuse these words, None where it takes them; nothing is run."""
    command: click.Command = cli
    context = click.Context(cli, info_name="baton")
    rest = words
    try:
        while isinstance(command, click.Group):
            name, found, rest = command.resolve_command(context, rest)
            assert found is not None
            command, context = found, click.Context(found, parent=context, info_name=name)
        command.make_context(words[0], list(rest), parent=context.parent)
    except click.ClickException as error:
        return error.format_message()
    return None


def fill(words: tuple[str, ...], page: Page) -> list[str]:
    """Return a command's words with an example for each name."""
    examples = {"session": "EXE-20261120-001", **{name: str(value) for name, value in page.front.values.items()}}
    filled = list(words)
    for name in list_names(words):
        filled = [word.replace(f"<{name}>", examples.get(name, "example")) for word in filled]
    return filled


def test_alerts_and_runbooks_are_one_to_one() -> None:
    """Who is woken has one page; a page that no alert leads to is not found at night."""
    told = {
        page.front.alert: {"page": f"deploy/runbooks/{name}.md", "severity": page.front.severity}
        for name, page in PAGES.items()
    }

    assert len(told) == len(PAGES)
    assert told == load_alerts()


@pytest.mark.parametrize("name", PAGES)
def test_what_a_page_runs_parses(name: str) -> None:
    """Checks and changes are Baton's own commands, and the command line takes each as it stands."""
    page = PAGES[name]
    run = [
        command
        for section in page.sections
        for block in section.blocks
        if block.kind != "hand"
        for command in block.commands
    ]

    assert [command.text for command in run if command.words[0] != "baton"] == []
    assert {command.text: problem for command in run if (problem := find_problem(fill(command.words, page)[1:]))} == {}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_looks_before_and_after_it_acts(name: str) -> None:
    """Confirm and Verify change nothing, and there is something in each that can fail."""
    page = PAGES[name]

    for title in ("Confirm", "Verify"):
        blocks = page.section(title).blocks
        assert blocks
        assert {block.kind for block in blocks} == {"check"}
        assert any(command.expected for block in blocks for command in block.commands)
    assert page.section("Act").blocks
    assert {block.kind for block in page.section("Decide").blocks} <= {"check"}


def test_a_wrong_command_is_found() -> None:
    """A check that takes everything would pass for ever."""
    assert find_problem(["dead", "replya", "--all"]) is not None
    assert find_problem(["list", "--colour", "red"]) is not None
    assert find_problem(["list", "--phase", "waiting"]) is None
