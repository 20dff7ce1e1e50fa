"""`baton metrics`: what Prometheus reads, printed once."""

import click

from orchestrator.interfaces.cli.exits import OK, UNREACHABLE
from orchestrator.interfaces.cli.options import Form, output_option
from orchestrator.interfaces.cli.output import print_json


@click.command("metrics")
@output_option
def metrics_command(*, form: Form) -> int:
    """Print the metrics that Prometheus reads."""
    from orchestrator.exporter import render
    from orchestrator.interfaces.cli.connect import with_client

    page = with_client(render)
    if form == "json":
        print_json("metrics", dict(map(_read, _samples(page))))
    else:
        click.echo(page, nl=False)
    return OK if "\nbaton_store_up 1\n" in page else UNREACHABLE


def _samples(page: str) -> list[str]:
    return [line for line in page.splitlines() if not line.startswith("#")]


def _read(line: str) -> tuple[str, float]:
    name, _, value = line.rpartition(" ")
    return name, float(value)
