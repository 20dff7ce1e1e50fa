"""`baton scale`: how many workers the load needs and why, and what a load would do to a fleet."""

from math import isfinite
from typing import TYPE_CHECKING, Final, Literal

import click

from orchestrator.contracts.errors import InputError
from orchestrator.interfaces.cli.exits import OK
from orchestrator.interfaces.cli.options import Form, output_option, parse_duration
from orchestrator.interfaces.cli.output import make_table, many, print_json, print_table

if TYPE_CHECKING:
    from orchestrator.simulation import Play, Played

MOST_SESSIONS: Final = 1_000_000
BAR: Final = 30


def _check_number(ctx: click.Context, param: click.Parameter, value: float) -> float:
    """Return a number; raise BadParameter for `nan` and `inf`, which are within every range."""
    del ctx, param
    if not isfinite(value):
        raise click.BadParameter(f"{value} is no number; write e.g. 20")
    return value


@click.group("scale")
def scale_command() -> None:
    """Say how many workers are needed, and try a load without one."""


@scale_command.command("advise")
@click.option("--pool", type=click.Choice(["steps", "plugins"]), default="steps", show_default=True)
@click.option(
    "--over", type=parse_duration, metavar="TIME", default=2.0, show_default=True, help="Watch the pace so long."
)
@output_option
def advise_command(*, pool: Literal["steps", "plugins"], over: float, form: Form) -> int:
    """Say how many workers a pool needs now, and why."""
    from orchestrator.interfaces.cli.connect import settings, with_client
    from orchestrator.pool_load import PoolWatch

    configured = settings()
    _, advice = with_client(
        lambda client: PoolWatch(client, configured).advise(pool, over_seconds=over), needs_apps=True
    )
    if form == "json":
        print_json("scale", advice.model_dump(mode="json"))
        return OK
    click.echo(
        f"{pool}: {many(advice.desired_workers, 'worker')}, there {'is' if advice.workers == 1 else 'are'} {advice.workers}"
    )
    for reason in advice.reasons:
        click.echo(f"  {reason}")
    return OK


@scale_command.command("simulate")
@click.option("--sessions", type=click.IntRange(1, MOST_SESSIONS), default=10_000, show_default=True)
@click.option(
    "--rate",
    type=click.FloatRange(0),
    default=20.0,
    show_default=True,
    callback=_check_number,
    help="Sessions a second; 0: all at once.",
)
@click.option("--steps", type=click.IntRange(1, 10_000), default=5, show_default=True, help="Steps of a session.")
@click.option(
    "--step-time", type=parse_duration, metavar="TIME", default=3.0, show_default=True, help="Of one step, on average."
)
@click.option(
    "--wait-time",
    type=parse_duration,
    metavar="TIME",
    default=0.0,
    show_default=True,
    help="Between two steps, on average: people, timers.",
)
@click.option("--workers", type=click.IntRange(1, 1024), default=2, show_default=True)
@click.option(
    "--lanes", type=click.IntRange(1, 10_000), help="Sessions that one worker holds. Default: lanes.per_process."
)
@click.option("--even", is_flag=True, help="Every step and wait as long as the average.")
@click.option(
    "--within",
    type=parse_duration,
    metavar="TIME",
    help="Also find the fewest workers with which 99 of 100 wait no longer.",
)
@click.option("--seed", type=int, default=0, show_default=True)
@output_option
def simulate_command(
    *,
    sessions: int,
    rate: float,
    steps: int,
    step_time: float,
    wait_time: float,
    workers: int,
    lanes: int | None,
    even: bool,
    within: float | None,
    seed: int,
    form: Form,
) -> int:
    """Play a load against a fleet in virtual time, and print how long sessions stand in line.

    Nothing is started and no store is needed. What a step costs beside its own time is what the benches measured.
    """
    from orchestrator.interfaces.cli.connect import settings
    from orchestrator.interfaces.cli.progress import show_progress
    from orchestrator.simulation import TOLD_SESSIONS, Play, find_fewest, play

    if sessions * steps > 20 * MOST_SESSIONS:
        raise InputError(
            "scale simulate: over 20 million steps; take fewer sessions or fewer steps, the picture is the same"
        )
    load = Play(
        sessions=sessions,
        rate=rate,
        steps=steps,
        step_seconds=step_time,
        wait_seconds=wait_time,
        workers=workers,
        lanes=lanes or settings().lanes.per_process,
        slice_seconds=settings().lanes.drain_seconds,
        spread=0.0 if even else 1.0,
        seed=seed,
    )
    with show_progress("playing", sessions if sessions > TOLD_SESSIONS else 0, form) as progress:
        played = play(load, tell=progress.step)
    fewest = None
    if within is not None:
        with show_progress("looking for the fewest workers", None, form) as progress:
            fewest = find_fewest(load, within, tell=progress.step)
    if form == "json":
        print_json("simulation", {"load": load.model_dump(), "played": played.model_dump(), "fewest_workers": fewest})
        return OK
    _print(load, played)
    if within is not None:
        told = (
            many(fewest, "worker")
            if fewest is not None
            else "no number of workers up to 1024: the server or the pace is the limit"
        )
        click.echo(f"99 of 100 in line for at most {within:g} s: {told}")
    return OK


def _print(load: "Play", played: "Played") -> None:
    table = make_table("FROM", "BEGAN", "OLDEST", "", "ENDED")
    most = max(row.oldest_seconds for row in played.rows)
    for row in played.rows:
        bar = "#" * (round(BAR * row.oldest_seconds / most) if most >= 0.001 else 0)
        table.add_row(
            f"{row.from_seconds:.1f} s", str(row.began), f"{row.oldest_seconds:.2f} s", f"{bar:<{BAR}}", str(row.ended)
        )
    print_table(table)
    click.echo(
        f"{many(load.sessions, 'session')}, {many(played.steps, 'step')} in {played.seconds:.1f} s by "
        f"{many(load.workers, 'worker')} of {many(load.lanes, 'lane')}, "
        f"{100 * played.busy:.0f} % of them taken"
    )
    click.echo(
        f"in line: median {played.line_p50_seconds:.2f} s, 99th percentile {played.line_p99_seconds:.2f} s, "
        f"longest {played.line_max_seconds:.2f} s"
    )
