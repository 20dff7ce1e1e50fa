"""`baton workers` and `baton drain`: who is at work, and who shall stop taking anything new."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import click

from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.errors import InputError, suggest
from orchestrator.interfaces.cli.exits import FAILED, OK
from orchestrator.interfaces.cli.options import (
    Form,
    check_actor,
    dry_run_option,
    find_actor,
    output_option,
    parse_duration,
)
from orchestrator.interfaces.cli.output import make_table, print_json, print_table
from orchestrator.interfaces.cli.progress import show_progress

if TYPE_CHECKING:
    from orchestrator.client import Client

LOOK_SECONDS: Final = 0.2


@click.command("workers")
@output_option
def workers_command(*, form: Form) -> int:
    """List who is at work."""
    from orchestrator.interfaces.cli.connect import with_client
    from orchestrator.interfaces.cli.wording import describe_age

    found = with_client(load_workers)
    if form == "json":
        print_json("workers", [shape for shape, _ in found])
        return OK
    table = make_table(
        "NAME",
        "KIND",
        "VERSION",
        "QUEUES",
        "RUNNING",
        "SLOTS",
        "STEPS",
        "RSS",
        "LAG",
        "UP",
        "TIER",
        "",
        cuts=("QUEUES",),
    )
    for shape, started_at in found:
        is_worker = shape["kind"] == "worker"
        queues = shape["queues"]
        table.add_row(
            str(shape["name"]),
            str(shape["kind"]),
            str(shape["version"] or "-"),
            ",".join(str(one) for one in queues) if isinstance(queues, list) and queues else "-",
            str(shape["running"]) if is_worker else "-",
            str(shape["slots"]) if is_worker else "-",
            str(shape["steps"]) if is_worker else "-",
            f"{int(str(shape['rss_bytes'])) // 1_048_576} MiB" if is_worker else "-",
            f"{shape['loop_lag_ms']} ms" if is_worker else "-",
            describe_age(started_at),
            str(shape["tier"] or "-"),
            "drains" if shape["draining"] else "",
        )
    print_table(table, empty="no workers; start some with `baton up` or `baton worker`")
    return OK


@click.command("drain")
@click.argument("workers", metavar="[WORKER]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every worker there is.")
@click.option("--self", "own", is_flag=True, help="The workers of this machine, or of this pod.")
@click.option("--wait", is_flag=True, help="Wait until nothing runs on them any more.")
@click.option("--timeout", type=parse_duration, metavar="SECONDS", default=60.0, show_default=True, help="For --wait.")
@dry_run_option
@click.option(
    "--as",
    "actor",
    metavar="NAME",
    envvar="BATON_ACTOR",
    callback=check_actor,
    help="Who you are, for the operators' log.  [env: BATON_ACTOR; default: your user name]",
)
@output_option
def drain_command(
    *,
    workers: tuple[str, ...],
    everything: bool,
    own: bool,
    wait: bool,
    timeout: float,
    dry_run: bool,
    actor: str | None,
    form: Form,
) -> int:
    """Let workers finish what runs and take nothing new.

    WORKER is a name of `baton workers`, or the beginning of one. What does not come to the end of its step within
    worker.grace_seconds is handed back and goes on elsewhere.
    """
    from socket import gethostname

    from orchestrator.interfaces.cli.connect import with_client
    from orchestrator.operations import Operations

    if [bool(workers), everything, own].count(True) != 1:
        raise InputError("drain: name workers, or give --all or --self; `baton workers` lists them")

    try:
        who = actor or find_actor()
    except InputError:  # a pod may run as a number without a name, and must be able to drain itself
        if not own:
            raise
        who = gethostname()

    async def work(client: "Client") -> tuple[list[str], list[str]]:
        workers_alive = [info for info in await client.workers() if info.kind == "worker"]
        alive = [info.name for info in workers_alive if not own or info.host == gethostname()]
        chosen = alive if everything or own else [choose_worker(word, alive) for word in workers]
        operations = Operations(client)
        for name in chosen if not dry_run else ():
            await operations.drain_worker(name, actor=who)
        left = await _wait_drained(client, chosen, timeout, form) if wait and not dry_run else []
        return chosen, left

    chosen, left = with_client(work)
    if form == "json":
        told: JsonObject = {"workers": list(chosen), "waited": wait and not dry_run, "still_running": list(left)}
        print_json("drain", {**told, "actor": who, "dry_run": dry_run})
    for name in chosen if form == "table" else ():
        state = "still finishes what runs" if name in left else "has finished" if wait else "was told to drain"
        state = "would be told to drain" if dry_run else state
        click.echo(f"{name}: {state}")
    if not chosen and form == "table":
        click.echo("no workers")
    return FAILED if left else OK


def choose_worker(word: str, alive: Sequence[str]) -> str:
    """Return the worker that a name, or the beginning of one, means; raise InputError.

    >>> choose_worker("host:12", ["host:12:ab", "host:34:cd"])
    'host:12:ab'
    """
    found = [name for name in alive if name == word] or [name for name in alive if name.startswith(word)]
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(f"worker {word!r}: {', '.join(found)} begin so; give more of the name")
    raise InputError(f"worker {word!r}: not alive; {suggest(word, alive)}")


async def load_workers(client: "Client") -> list[tuple[JsonObject, int]]:
    """Return each living process as JSON prints it, and when it started."""
    from orchestrator.interfaces.cli.shapes import iso

    found: list[tuple[JsonObject, int]] = []
    for info in await client.workers():
        shape: JsonObject = {
            "name": info.name,
            "kind": info.kind,
            "host": info.host or info.name.split(":")[0],
            "pid": pid_of(info.name, info.pid),
            "queues": list(info.queues),
            "slots": info.slots,
            "running": info.running,
            "draining": info.draining,
            "steps": info.steps,
            "rss_bytes": info.rss_bytes,
            "loop_lag_ms": info.loop_lag_ms,
            "plugin_slots": info.plugin_slots,
            "plugins_running": info.plugins_running,
            "version": info.version,
            "format": info.format,
            "tier": info.tier,
            "clock_ahead_ms": info.clock_ahead_ms,
            "apps": dict(info.digests),
            "started_at": iso(info.started_at),
            "seen_at": iso(info.beat_at),
        }
        found.append((shape, info.started_at))
    return found


def pid_of(name: str, pid: int) -> int:
    """Return a process's id: what it says, or what its name `host:pid:nonce` does.

    >>> pid_of("host:12:ab", 0), pid_of("host:12:ab", 13), pid_of("odd", 0)
    (12, 13, 0)
    """
    part = name.rsplit(":", 2)[1:2]
    return pid or (int(part[0]) if part and part[0].isdigit() else 0)


async def _wait_drained(client: "Client", names: Sequence[str], seconds: float, form: Form) -> list[str]:
    """Return those that are not done when the time is over."""
    deadline, done = asyncio.get_running_loop().time() + seconds, 0
    with show_progress("draining", len(names), form) as progress:
        while True:
            infos = {info.name: info for info in await client.workers()}
            left = [name for name in names if name in infos and not (infos[name].draining and infos[name].running == 0)]
            progress.step(len(names) - len(left) - done)
            done = len(names) - len(left)
            if not left or asyncio.get_running_loop().time() >= deadline:
                return left
            await asyncio.sleep(LOOK_SECONDS)
