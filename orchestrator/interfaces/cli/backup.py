"""`baton backup make|restore|mark-restored`: what the bundled server and its archive hold, in a folder, and back again."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from orchestrator.contracts.base import Frozen, JsonObject
from orchestrator.contracts.errors import ConfigError, InputError
from orchestrator.interfaces.cli.exits import OK
from orchestrator.interfaces.cli.lazy import WholeGroup
from orchestrator.interfaces.cli.options import Form, actor_option, dry_run_option, output_option
from orchestrator.interfaces.cli.output import print_json

if TYPE_CHECKING:
    from orchestrator.client import Client

_STORE, _ARCHIVE, _ABOUT = "store.rdb", "archive.db", "backup.json"
_PAGE: Final = "docs/how-to/backup.md"


class About(Frozen):
    """What a backup says of itself. `made_at` is ms of the store's clock, `files` their SHA-256, `counts` sessions by phase."""

    made_at: int
    baton: str
    layout: int
    server: str
    counts: dict[str, int]
    files: dict[str, str]


@click.group("backup", cls=WholeGroup)
def backup_command() -> None:
    """Back up the bundled server and its archive, and put a backup back."""


@backup_command.command("make")
@click.argument("folder", type=click.Path(path_type=Path))
@dry_run_option
@output_option
def make_command(*, folder: Path, dry_run: bool, form: Form) -> int:
    """Back up the store and its archive into a new FOLDER.

    Everything goes on meanwhile. The store comes first: a session that moves into the archive meanwhile is in both, and never
    in none.
    """
    from orchestrator import embedded_backup
    from orchestrator.archive_database import copy_file
    from orchestrator.interfaces.cli.connect import find_store, server_dir, with_client

    _check_bundled("make")
    found = find_store()
    _check_new(folder)
    counts, now = with_client(_look)
    archive = _archive_file()
    if not dry_run:
        _make(folder)
        embedded_backup.take_snapshot(server_dir(), folder / _STORE)
        if archive is not None and archive.exists():
            copy_file(archive, folder / _ARCHIVE)
    about = _describe(folder, counts, now, found.server.version if found.server else "")
    if not dry_run:
        (folder / _ABOUT).write_text(about.to_json() + "\n", encoding="utf-8")
    size = sum(one.stat().st_size for one in folder.glob("*"))
    if form == "json":
        body = {"folder": str(folder), "bytes": size, "dry_run": dry_run}
        print_json("backup", {**body, **about.model_dump(mode="json")})
        return OK
    click.echo(f"{folder}: {_tell(about)}; {'would be written' if dry_run else f'{size:,} bytes'}")
    if archive is None:
        click.echo("The archive is a database of your own: back it up after this, with its own tools.")
    return OK


@backup_command.command("restore")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@dry_run_option
@actor_option
@output_option
def restore_command(*, folder: Path, dry_run: bool, actor: str, form: Form) -> int:
    """Put a backup back, and start the bundled server on it.

    All queues are paused then. What was there is moved aside, not deleted. What sessions did after the backup they will do again, tool calls too: look at
    them, then `baton unpause` each queue.
    """
    from orchestrator import embedded, embedded_backup
    from orchestrator.archive_database import check_folder
    from orchestrator.interfaces.cli.connect import server_dir, settings, state_dir, with_client
    from orchestrator.interfaces.cli.stack import find_owner

    _check_bundled("restore")
    about = _read(folder)
    embedded_backup.check_snapshot(folder / _STORE)
    if _ARCHIVE in about.files and settings().archive.url:  # where none is named, it goes into the state folder
        check_folder(settings().archive.url)
    owner = find_owner(state_dir())
    if owner is not None:
        raise InputError(f"backup restore: `baton up` (pid {owner}) runs here; stop it first, with Ctrl-C or SIGTERM")
    if embedded.status(server_dir()).state != "stopped":
        raise InputError("backup restore: the server runs; stop it first, with `baton redis stop`")
    aside: list[Path] = []
    paused: tuple[str, ...] = ()
    if not dry_run:
        aside = _put_back(folder, about)
        paused = with_client(partial(_mark, actor=actor, about=about), needs_apps=True, is_restoring=True)
        embedded_backup.finish(server_dir())
    if form == "json":
        body: JsonObject = {"folder": str(folder), "dry_run": dry_run, "aside": [str(one) for one in aside]}
        print_json("restored", {**body, "paused": list(paused), "actor": actor, **about.model_dump(mode="json")})
        return OK
    click.echo(f"{folder}: {_tell(about)}; {'can be put back' if dry_run else 'is put back'}")
    for one in aside:
        click.echo(f"what was there before: {one}")
    if not dry_run:
        click.echo(_NEXT)
    return OK


@backup_command.command("mark-restored")
@dry_run_option
@actor_option
@output_option
def mark_command(*, dry_run: bool, actor: str, form: Form) -> int:
    """Say that your own server came back from a backup.

    Pauses all queues, and lets ids of today go on far behind those that were given. Do it before the first scheduler and worker start. `backup restore` does it by itself.
    """
    from orchestrator.interfaces.cli.connect import with_client

    act = _look_at_pauses if dry_run else partial(_mark, actor=actor)
    paused = with_client(act, needs_apps=True)
    if form == "json":
        print_json("restored", {"paused": list(paused), "dry_run": dry_run, "actor": actor})
        return OK
    click.echo(f"would be paused: {', '.join(paused) or 'nothing more'}" if dry_run else _NEXT)
    return OK


_NEXT: Final = (
    "All queues are paused. What sessions did after the backup they will do again, tool calls too: look at them (`baton list`), "
    "cancel what must not go on,\nthen: baton unpause steps; baton unpause plugins; baton unpause finalize\n"
    "A token that was revoked after the backup opens doors again: baton tokens list; baton tokens revoke NAME"
)


def _check_bundled(verb: str) -> None:
    from orchestrator.interfaces.cli.connect import settings

    if settings().store.url:
        raise ConfigError(
            f"backup {verb}: the store is a server of your own (BATON_REDIS_URL); use its own tools, as {_PAGE} says"
        )


def _check_new(folder: Path) -> None:
    try:
        is_used = folder.exists() and any(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror}; name a new folder") from error
    if is_used:
        raise InputError(f"{folder}: it is not empty; name a new folder")


def _make(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror}; name a folder that you may write to") from error


async def _look(client: "Client") -> tuple[dict[str, int], int]:
    counts: dict[str, int] = {}
    for phases in (await client.counts()).values():
        for phase, count in phases.items():
            counts[phase] = counts.get(phase, 0) + count
    return counts, await client.store.now_ms()


async def _mark(client: "Client", *, actor: str, about: About | None = None) -> tuple[str, ...]:
    from orchestrator.interfaces.cli.shapes import iso
    from orchestrator.operations import Operations

    of = f" of {iso(about.made_at)}" if about else ""
    return await Operations(client).mark_restored(actor=actor, reason=f"restored from a backup{of}")


async def _look_at_pauses(client: "Client") -> tuple[str, ...]:
    from orchestrator.operations import QUEUES, Operations

    paused = {one.target for one in await Operations(client).pauses()}
    return tuple(queue for queue in QUEUES if f"queue:{queue}" not in paused)


def _archive_file() -> Path | None:
    """Return the archive's file; None for a database of somebody's own."""
    from orchestrator.archive_database import find_file
    from orchestrator.interfaces.cli.connect import archive_url

    return find_file(archive_url())


def _describe(folder: Path, counts: dict[str, int], now: int, server: str) -> About:
    from orchestrator import __version__
    from orchestrator.contracts.formats import LAYOUT

    files = {one.name: _digest(one) for one in sorted(folder.glob("*"))}
    return About(made_at=now, baton=__version__, layout=LAYOUT, server=server, counts=counts, files=files)


def _digest(path: Path) -> str:
    from hashlib import file_digest

    with path.open("rb") as opened:
        return file_digest(opened, "sha256").hexdigest()


def _read(folder: Path) -> About:
    """Return what a backup says of itself; raise InputError for what is none, or is not whole."""
    from pydantic import ValidationError

    from orchestrator.contracts.formats import LAYOUT

    try:
        about = About.from_json((folder / _ABOUT).read_text(encoding="utf-8"))
        is_ours = _STORE in about.files and not set(about.files) - {_STORE, _ARCHIVE}
        wrong = [name for name, digest in about.files.items() if is_ours and _digest(folder / name) != digest]
    except OSError as error:
        raise InputError(
            f"{error.filename}: {error.strerror}; name a folder that `baton backup make` has finished"
        ) from error
    except (ValidationError, ValueError) as error:
        raise InputError(
            f"{folder / _ABOUT}: it is not what `baton backup make` writes; name another folder"
        ) from error
    if not is_ours:
        raise InputError(f"{folder / _ABOUT}: it names other files than a backup has; name another folder")
    if wrong:
        raise InputError(f"{folder / wrong[0]}: it is not the file that was written there; use another backup")
    if about.layout != LAYOUT:
        raise ConfigError(
            f"{folder}: it holds layout {about.layout}, this Baton has {LAYOUT}; restore it with Baton {about.baton}"
        )
    return about


def _put_back(folder: Path, about: About) -> list[Path]:
    """Put the files in their places and start the server; where it cannot read them, all is as it was. Return what lies aside."""
    from orchestrator import embedded, embedded_backup
    from orchestrator.interfaces.cli.connect import server_dir

    was_unfinished = embedded_backup.is_unfinished(server_dir())
    aside = embedded_backup.put_back(server_dir(), folder / _STORE)
    try:
        embedded.start(server_dir(), is_restoring=True)
    except ConfigError as error:
        embedded_backup.take_back(server_dir(), aside, was_unfinished=was_unfinished)
        raise InputError(f"{folder / _STORE}: no server can read it; all is as it was; {error}") from error
    found = [] if aside is None else [aside]
    archive = _archive_file()
    if archive is not None and _ARCHIVE in about.files:
        try:
            for name in (archive.name, f"{archive.name}-wal", f"{archive.name}-shm"):
                moved = embedded_backup.move_aside(archive.with_name(name))
                found += [] if moved is None else [moved]
            embedded_backup.write_durably(folder / _ARCHIVE, archive)
        except OSError as error:
            raise ConfigError(
                f"{archive}: {error.strerror}: the archive is not put back, so nobody may use the store; mend that, then "
                "`baton redis stop`, and restore again"
            ) from error
    return found


def _tell(about: About) -> str:
    from orchestrator.interfaces.cli.shapes import iso

    held = ", ".join(f"{count} {phase}" for phase, count in about.counts.items() if count)
    return f"the store of {iso(about.made_at)} ({held or 'no session'}){' and its archive' if _ARCHIVE in about.files else ''}"
