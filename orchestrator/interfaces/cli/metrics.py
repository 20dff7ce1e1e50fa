"""`baton metrics`: what Prometheus reads, printed once."""

import os
from typing import TYPE_CHECKING, Final

import click

from orchestrator.contracts.errors import BatonError, InputError, NotPermitted, StoreUnreachable
from orchestrator.interfaces.cli.exits import OK, UNREACHABLE
from orchestrator.interfaces.cli.options import Form, output_option
from orchestrator.interfaces.cli.output import print_json

if TYPE_CHECKING:
    from orchestrator.client import Client

READ_SECONDS: Final = 10.0
MOST_BYTES: Final = 8_388_608
#: Holds the bearer token for an exporter that asks for one.
TOKEN_VARIABLE: Final = "BATON_TOKEN"  # noqa: S105 - the name of a variable


@click.command("metrics")
@click.option(
    "--from", "url", metavar="URL", help="Read an exporter's page, as Prometheus does, in place of the store."
)
@output_option
def metrics_command(*, url: str | None, form: Form) -> int:
    """Print the metrics that Prometheus reads.

    An exporter that asks for a token is given the one of the variable BATON_TOKEN.
    """
    from orchestrator.exporter import render
    from orchestrator.interfaces.cli.connect import settings, with_client

    async def work(client: "Client") -> str:
        return await render(client, is_archiving=settings().archive.enabled)

    page = with_client(work) if url is None else read_exporter(url)
    if form == "json":
        print_json("metrics", dict(map(_read, _samples(page))))
    else:
        click.echo(page, nl=False)
    return OK if "\nbaton_store_up 1\n" in page else UNREACHABLE


def read_exporter(url: str) -> str:
    """Return an exporter's page; raise InputError for what is no URL, NotPermitted where a token is missing or wrong.

    Where nobody answers, or somebody who is no exporter, StoreUnreachable.
    """
    from http.client import HTTPException
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    token = os.environ.get(TOKEN_VARIABLE, "").strip()
    try:
        if not url.startswith(("http://", "https://")):
            raise ValueError(url)
        request = Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})  # noqa: S310 - see above
        with urlopen(request, timeout=READ_SECONDS) as answer:  # noqa: S310 - the same
            page = str(answer.read(MOST_BYTES).decode(errors="replace"))
    except HTTPError as error:
        raise _refused(url, error.code, has_token=bool(token)) from error
    except OSError as error:
        raise StoreUnreachable(f"metrics {url}: it cannot be read ({error}); is the exporter running?") from error
    except HTTPException as error:  # an odd port, or an answer that is not HTTP
        raise InputError(f"option --from: {url!r} cannot be read as HTTP ({error}); mend the URL") from error
    except ValueError as error:
        raise InputError(f"option --from: {url!r} is no URL; write e.g. http://127.0.0.1:8080/metrics") from error
    if not all(_is_sample(line) for line in _samples(page)):
        raise InputError(f"option --from: {url!r} answers with a page that holds no metrics; is it the exporter's?")
    return page


def _refused(url: str, status: int, *, has_token: bool) -> BatonError:
    """Return what an answer with this status means."""
    if status in {401, 403}:
        wrong = f"the token of {TOKEN_VARIABLE} opens nothing there" if has_token else "it asks for a token"
        return NotPermitted(f"metrics {url}: {wrong} ({status}); set {TOKEN_VARIABLE} to one with the role viewer")
    return StoreUnreachable(f"metrics {url}: it cannot be read (it answers {status}); is it the exporter's URL?")


def _samples(page: str) -> list[str]:
    return [line for line in page.splitlines() if line and not line.startswith("#")]


def _is_sample(line: str) -> bool:
    """Say whether a line ends with a number, as each of Prometheus' does.

    >>> _is_sample('baton_sessions{phase="ready"} 3'), _is_sample("<html>")
    (True, False)
    """
    name, _, value = line.rpartition(" ")
    try:
        float(value)
    except ValueError:
        return False
    return bool(name)


def _read(line: str) -> tuple[str, float]:
    name, _, value = line.rpartition(" ")
    return name, float(value)
