"""`baton runbook`: the pages for what alerts tell, and a walk through one of them.

Their commands are run as processes of this same command line; before each that changes something the person is asked. Steps
that lie outside Baton (a service to start, a disk to grow) are shown, and left to the person.
"""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from orchestrator.contracts.errors import InputError
from orchestrator.interfaces.cli.exits import FAILED, OK
from orchestrator.interfaces.cli.options import Form, actor_option, output_option
from orchestrator.interfaces.cli.output import clean, make_table, print_json, print_table

if TYPE_CHECKING:
    from orchestrator.interfaces.cli.runbook_play import Printed
    from orchestrator.runbook_page import Page

COMMAND_SECONDS = 300.0


@click.group("runbook")
def runbook_command() -> None:
    """List, show and run the pages for what alerts tell."""


@runbook_command.command("list")
@output_option
def list_command(*, form: Form) -> int:
    """List the runbooks, one for each alert."""
    pages = _pages().values()
    if form == "json":
        print_json("runbooks", [_line(page) for page in pages])
        return OK
    table = make_table("RUNBOOK", "ALERT", "SEVERITY", "TITLE", wraps=["TITLE"])
    for page in pages:
        table.add_row(page.name, page.front.alert, page.front.severity, page.title)
    print_table(table, empty="no runbooks")
    return OK


@runbook_command.command("show")
@click.argument("name", metavar="NAME")
@output_option
def show_command(*, name: str, form: Form) -> int:
    """Print a runbook; NAME is its own, or its alert's."""
    from orchestrator.runbook_page import choose_page, find_runbooks

    page = choose_page(name, _pages())
    if form == "json":
        sections = [section.model_dump(mode="json") for section in page.sections]
        print_json("runbook", {**_line(page), "values": dict(page.front.values), "sections": sections})
    else:
        click.echo((find_runbooks() / f"{page.name}.md").read_text(encoding="utf-8"), nl=False)
    return OK


@runbook_command.command("run")
@click.argument("name", metavar="NAME")
@click.option("--set", "given", multiple=True, metavar="NAME=VALUE", help="A value of the page: a threshold, an id.")
@click.option("--branch", metavar="WORD", help="Which way of Act to go, where it offers several.")
@click.option("--yes", is_flag=True, help="Allow every change without being asked.")
@click.option("--dry-run", is_flag=True, help="Only look: run Confirm, and list what Act would do.")
@click.option("--force", is_flag=True, help="Go on even where Confirm does not match.")
@click.option("--undo", is_flag=True, help="Do what stands under Undo, and nothing else.")
@actor_option
@output_option
def run_command(
    *,
    name: str,
    given: tuple[str, ...],
    branch: str | None,
    yes: bool,
    dry_run: bool,
    force: bool,
    undo: bool,
    actor: str,
    form: Form,
) -> int:
    """Walk through a runbook: Confirm, Decide, Act, Verify.

    Asks before every change; without a terminal and without --yes nothing is changed. Ends with code 0 where Verify matches.
    """
    from orchestrator.interfaces.cli.runbook_play import Walker
    from orchestrator.runbook_page import choose_page

    if dry_run and undo:
        raise InputError("runbook run: --dry-run and --undo exclude each other; give one of them")
    page = choose_page(name, _pages())
    values = dict(_read_value(text) for text in given)
    walker = Walker(page, _Terminal(form=form, yes=yes, branch=branch), _execute_as(actor), values, dry_run=dry_run)
    if form == "table":
        click.echo(f"{page.title}  ({page.front.alert}, {page.front.severity})")
    walk = walker.undo() if undo else walker.walk(force=force)
    if form == "json":
        print_json("walk", walk.model_dump(mode="json"))
    else:
        took = f" after {walk.seconds:.1f} s" if walk.verdict == "verified" else ""
        click.echo(f"\n{page.name}: {walk.verdict.replace('_', ' ')}{took}")
    return OK if walk.verdict in {"verified", "confirmed", "undone"} else FAILED


def _pages() -> "dict[str, Page]":
    from orchestrator.runbook_page import find_runbooks, load_pages

    return load_pages(find_runbooks())


def _line(page: "Page") -> dict[str, object]:
    front = page.front
    return {
        "runbook": page.name,
        "alert": front.alert,
        "severity": front.severity,
        "title": page.title,
        "drills": list(front.drills),
    }


def _read_value(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise InputError(f"option --set: {text!r} is no NAME=VALUE; write e.g. --set seconds=120")
    return name, value


class _Execute:
    """Runs a command of Baton's own as a process, as the page's reader would."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)

    def __call__(self, words: Sequence[str]) -> "Printed":
        from orchestrator.interfaces.cli.runbook_play import Printed

        try:
            done = subprocess.run(  # noqa: S603 - our own interpreter, our own command line
                [sys.executable, "-P", "-m", "orchestrator.interfaces.cli.main", *words],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=COMMAND_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Printed(text=f"baton: it did not end within {COMMAND_SECONDS:.0f} s", code=FAILED)
        return Printed(text=done.stdout.decode(errors="replace"), code=done.returncode)


def _execute_as(actor: str) -> _Execute:
    from orchestrator.interfaces.cli.connect import state_dir
    from orchestrator.interfaces.cli.stack import with_import_path

    own = {"BATON_STATE_DIR": str(state_dir()), "BATON_ACTOR": actor, "TERM": "dumb"}
    return _Execute({**with_import_path(os.environ), **own})


class _Terminal:
    """The person at the terminal; nobody, off one."""

    def __init__(self, *, form: Form, yes: bool, branch: str | None) -> None:
        self._quiet, self._yes, self._branch = form == "json", yes, branch
        self._is_there = sys.stdin.isatty() and not self._quiet

    def tell(self, text: str) -> None:
        if not self._quiet:
            click.echo(clean(text))

    def allow(self, command: str) -> bool:
        if self._yes:
            return True
        if not self._is_there:
            self.tell(f"not run, for nobody is here to allow it: {command}; add --yes")
            return False
        return click.confirm(f"run `{clean(command)}`?", default=False)

    def do(self, commands: Sequence[str]) -> bool:
        self.tell("by hand, in the words of your own site:")
        for command in commands:
            self.tell(f"  {command}")
        # Where nobody can say that it is done, Verify will tell.
        return not self._is_there or click.confirm("is it done?", default=True)

    def choose(self, branches: Mapping[str, str]) -> str:
        for word, sentence in branches.items():
            self.tell(f"  {word:<10} {sentence}")
        if self._branch is not None:
            return self._branch
        if not self._is_there:
            raise InputError(f"runbook: Act has several ways; give --branch with one of {', '.join(branches)}")
        return str(click.prompt("which", type=click.Choice([*branches])))

    def say(self, name: str) -> str:
        return str(click.prompt(name.replace("_", " "), default="", show_default=False)) if self._is_there else ""
