"""`baton archive` and `baton search`: ended sessions that left the store, and sessions by what they hold."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import click

from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.errors import ConfigError, InputError
from orchestrator.interfaces.cli.exits import OK
from orchestrator.interfaces.cli.lazy import WholeGroup
from orchestrator.interfaces.cli.options import Form, actor_option, dry_run_option, output_option, parse_duration
from orchestrator.interfaces.cli.output import many, print_json
from orchestrator.interfaces.cli.progress import show_progress

if TYPE_CHECKING:
    from orchestrator.archive import Archive
    from orchestrator.client import Client

T = TypeVar("T")

#: What one command moves or deletes at one go; it goes on until nothing is left.
AT_ONCE = 500


@click.group("archive", cls=WholeGroup)
def archive_command() -> None:
    """Move ended sessions out of the store, and look at the archive."""


@archive_command.command("run")
@click.option(
    "--older-than",
    type=parse_duration,
    metavar="TIME",
    help="Only those that ended so long ago: 12h, 30d. Default: archive.retention_hours.",
)
@click.option("--limit", type=click.IntRange(1), help="At most so many. Default: all that are old enough.")
@dry_run_option
@actor_option
@output_option
def run_command(*, older_than: float | None, limit: int | None, dry_run: bool, actor: str, form: Form) -> int:
    """Move sessions that ended long enough ago into the archive.

    Schedulers do this by themselves. Moved sessions are listed, shown and searched as before.
    """

    async def work(client: "Client", archive: "Archive") -> int:
        from orchestrator.archiver import Archiver
        from orchestrator.interfaces.cli.connect import settings

        archiver, moved = Archiver(client.store, archive, settings().archive), 0
        hours = None if older_than is None else older_than / 3600
        # Looked at first: that costs little, and tells how far the bar has to go.
        found = (await archiver.run_once(actor, retention_hours=hours, limit=limit or 1_000_000, dry_run=True)).found
        if dry_run:
            return found
        with show_progress("archiving", found, form) as progress:
            while limit is None or moved < limit:
                most = AT_ONCE if limit is None else min(limit - moved, AT_ONCE)
                done = await archiver.run_once(actor, retention_hours=hours, limit=most)
                moved += done.archived
                progress.step(done.archived)
                if not done.left or not done.archived:
                    break
        return moved

    moved = _with_archive(work)
    if form == "json":
        print_json("archived", {"sessions": moved, "dry_run": dry_run, "actor": actor})
    else:
        click.echo(f"{many(moved, 'session')} {'to be ' if dry_run else ''}moved into the archive")
    return OK


@archive_command.command("status")
@output_option
def status_command(*, form: Form) -> int:
    """Say where the archive is, and what is in it."""

    async def work(client: "Client", archive: "Archive") -> JsonObject:
        from orchestrator.archiver import Archiver
        from orchestrator.interfaces.cli.connect import settings
        from orchestrator.interfaces.cli.shapes import iso
        from orchestrator.settings import mask_url

        figures = await archive.figures()
        waiting = await Archiver(client.store, archive, settings().archive).run_once("", limit=1_000_000, dry_run=True)
        looked_at = await client.archived_at()
        return {
            "url": mask_url(archive.url),
            "in_use": await archive.is_used(),
            "sessions": figures.sessions,
            "entries": figures.entries,
            "first_ended_at": iso(figures.first_ended_at) if figures.sessions else None,
            "last_ended_at": iso(figures.last_ended_at) if figures.sessions else None,
            "looked_at": iso(looked_at) if looked_at else None,
            "retention_hours": settings().archive.retention_hours,
            "to_be_archived": waiting.found,
        }

    shape = _with_archive(work, must_exist=True)
    if form == "json":
        print_json("archive", shape)
        return OK
    for name, value in shape.items():
        click.echo(f"{name.replace('_', ' '):<16} {'-' if value is None else value}")
    return OK


@archive_command.command("purge")
@click.option(
    "--older-than", type=parse_duration, metavar="TIME", required=True, help="Those that ended so long ago: 365d."
)
@click.option("--yes", is_flag=True, help="Do it: what is deleted here is nowhere else.")
@dry_run_option
@actor_option
@output_option
def purge_command(*, older_than: float, yes: bool, dry_run: bool, actor: str, form: Form) -> int:
    """Delete sessions from the archive for good."""
    if not yes and not dry_run:
        raise InputError("archive purge: it cannot be undone; look with --dry-run first, then add --yes")

    async def work(client: "Client", archive: "Archive") -> int:
        from orchestrator.interfaces.cli.shapes import iso
        from orchestrator.operations import Operations

        before, deleted = await client.store.now_ms() - int(older_than * 1000), 0
        await archive.is_used()
        found = await archive.count_ended(before)
        if dry_run or not found:
            return found
        # Written down before the first is gone: who deleted them must be known however far it came.
        asked: JsonObject = {"ended_before": iso(before), "sessions": found}
        await Operations(client).audit.write("archive.purge", actor=actor, target="archive", data=asked)
        with show_progress("deleting", found, form) as progress:
            while number := await archive.purge(before, limit=AT_ONCE):
                deleted += number
                progress.step(number)
        return deleted

    deleted = _with_archive(work, must_exist=True)
    if form == "json":
        print_json("purged", {"sessions": deleted, "dry_run": dry_run, "actor": actor})
    else:
        click.echo(f"{many(deleted, 'session')} {'to be ' if dry_run else ''}deleted from the archive")
    return OK


@click.command("search")
@click.argument("words", nargs=-1, required=True, metavar="WORD...")
@click.option("--app", help="Only this app's.")
@click.option("--limit", type=click.IntRange(1, 1_000), default=50, show_default=True)
@click.option("--cursor", metavar="CURSOR", help="Go on in the store where an earlier search ended, as it said.")
@output_option
def search_command(*, words: tuple[str, ...], app: str | None, limit: int, cursor: str | None, form: Form) -> int:
    """Find sessions that hold all these words, newest first.

    Looks at ids, apps, statuses, actors, texts, result fields and states, whatever the case; in the archive too. Of the
    store one search looks at the newest 5,000 sessions, and says where to go on.
    """
    from orchestrator.interfaces.cli.connect import with_client
    from orchestrator.interfaces.cli.sessions import check_words, print_list
    from orchestrator.interfaces.http.shapes import pack_cursor, read_cursor

    before = read_cursor(cursor)
    found = with_client(lambda client: client.search(words, app=app, before=before, limit=limit))
    if app is not None and not found.listed and not found.unread:
        is_known = with_client(lambda client: client.list_sessions(app=app, limit=1))
        if not is_known.listed and not is_known.unread:
            check_words(app)
    print_list([one.record for one in found.listed], found.unread, form)
    if found.after is not None:
        click.echo(f"older sessions were not looked at; go on with --cursor {pack_cursor(found.after)}", err=True)
    return OK


def _with_archive(work: Callable[["Client", "Archive"], Awaitable[T]], *, must_exist: bool = False) -> T:
    """Run `work` with the archive; with `must_exist`, refuse a file whose folder is not there: it would be made, and be empty."""
    from orchestrator.interfaces.cli.connect import with_client

    async def run(client: "Client") -> T:
        if client.archive is None or not client.archive.url:
            raise ConfigError(
                "archive.url: no archive is named for this server; set it (BATON_ARCHIVE_URL) to a database that all machines reach"
            )
        if must_exist:
            from orchestrator.archive_database import check_folder

            check_folder(client.archive.url)
        return await work(client, client.archive)

    return with_client(run)
