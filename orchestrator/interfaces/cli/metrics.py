"""`baton metrics`: what Prometheus reads, printed once."""

import click

from orchestrator.contracts.errors import InputError, StoreUnreachable
from orchestrator.interfaces.cli.exits import OK, UNREACHABLE
from orchestrator.interfaces.cli.options import Form, output_option
from orchestrator.interfaces.cli.output import print_json

READ_SECONDS = 10.0
MOST_BYTES = 8_388_608


@click.command("metrics")
@click.option(
    "--from", "url", metavar="URL", help="Read an exporter's page, as Prometheus does, in place of the store."
)
@output_option
def metrics_command(*, url: str | None, form: Form) -> int:
    """Print the metrics that Prometheus reads."""
    from orchestrator.exporter import render
    from orchestrator.interfaces.cli.connect import with_client

    page = with_client(render) if url is None else read_exporter(url)
    if form == "json":
        print_json("metrics", dict(map(_read, _samples(page))))
    else:
        click.echo(page, nl=False)
    return OK if "\nbaton_store_up 1\n" in page else UNREACHABLE


def read_exporter(url: str) -> str:
    """Return an exporter's page; raise InputError for what is no URL, StoreUnreachable where nobody answers."""
    from urllib.error import URLError
    from urllib.request import urlopen

    if not url.startswith(("http://", "https://")):
        raise InputError(f"option --from: {url!r} is no URL; write e.g. http://127.0.0.1:8080/metrics")
    try:
        with urlopen(url, timeout=READ_SECONDS) as answer:  # noqa: S310 - http and https alone, see above
            return str(answer.read(MOST_BYTES).decode(errors="replace"))
    except (URLError, OSError) as error:
        raise StoreUnreachable(f"metrics {url}: it cannot be read ({error}); is the exporter running?") from error


def _samples(page: str) -> list[str]:
    return [line for line in page.splitlines() if not line.startswith("#")]


def _read(line: str) -> tuple[str, float]:
    name, _, value = line.rpartition(" ")
    return name, float(value)
