"""`baton worker`, `scheduler`, `stub-llm`: this process becomes that one, for supervisors that start them one by one."""

import os
from pathlib import Path
from typing import NoReturn

import click

from orchestrator.contracts.errors import InputError, suggest


@click.command("worker")
@click.option(
    "--queues", metavar="NAMES", help="Which of steps, finalize, plugins, separated by commas. Default: all of them."
)
@click.option(
    "--pool",
    type=click.Choice(["threads", "prefork", "solo"]),
    default="threads",
    show_default=True,
    help="Celery's pool. Sessions run in lanes; threads is right unless tools block the interpreter.",
)
@click.option(
    "--concurrency", type=click.IntRange(1, 512), help="Threads that take messages (2), or processes of prefork."
)
def worker_command(*, queues: str | None, pool: str, concurrency: int | None) -> NoReturn:
    """Run one worker.

    SIGTERM drains it: it takes nothing new, finishes or hands back what runs within worker.grace_seconds, and ends.
    """
    from orchestrator.interfaces.cli.connect import settings
    from orchestrator.interfaces.cli.stack import CELERY_THREADS

    names = settings().queues
    known = {"steps": names.steps, "finalize": names.finalize, "plugins": names.plugins}
    asked = [word.strip() for word in (queues or ",".join(known)).split(",") if word.strip()]
    for word in asked:
        if word not in {*known, *known.values()}:
            raise InputError(f"option --queues {word!r}: no such queue; {suggest(word, known)}")
    if not asked:
        raise InputError(f"option --queues: it names none; choose from {', '.join(known)}")
    number = concurrency or (settings().worker.processes if pool == "prefork" else CELERY_THREADS)
    chosen = ",".join(dict.fromkeys(known.get(word, word) for word in asked))
    _become("worker", "--queues", chosen, "--pool", pool, "--concurrency", str(1 if pool == "solo" else number))


@click.command("scheduler")
def scheduler_command() -> NoReturn:
    """Run one scheduler.

    Any number may run; each leads a share of the partitions, and takes over those of one that is gone.
    """
    _become("scheduler")


def _become(process: str, *args: str) -> NoReturn:
    from orchestrator.interfaces.cli.connect import archive_url, find_store
    from orchestrator.interfaces.cli.stack import process_command, process_environment

    environment = process_environment(find_store(), os.environ, archive_url=archive_url())
    command = process_command(process, *args)
    os.execve(command[0], command, environment)  # noqa: S606 - our own interpreter, our own module


@click.command("stub-llm")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65_535), default=8089, show_default=True, help="0 takes a free one.")
@click.option(
    "--replies", type=click.Path(path_type=Path), help="YAML: a list of {match, turn, model, content, tool_calls}."
)
@click.option("--api-key-env", metavar="VARIABLE", help="Ask callers for the key that this variable holds.")
@click.option("--allow-remote", is_flag=True, help="Let others than this machine reach it.")
def stub_llm_command(
    *, host: str, port: int, replies: Path | None, api_key_env: str | None, allow_remote: bool
) -> NoReturn:
    """Run a local model server with faults on demand.

    It speaks OpenAI's and Anthropic's protocols. The name of the model chooses a fault: flaky, slow-200ms,
    rate-limited, overloaded-529, unauthorized, context-length, bad-json, cut-stream, status-503, flaky-first-2.
    """
    from orchestrator.interfaces.cli.stack import process_command, with_import_path

    args = ["--host", host, "--port", str(port)]
    args += ["--replies", str(replies)] if replies is not None else []
    args += ["--api-key-env", api_key_env] if api_key_env is not None else []
    args += ["--allow-remote"] if allow_remote else []
    command = process_command("stub-llm", *args)
    os.execve(command[0], command, with_import_path(os.environ))  # noqa: S606 - our own interpreter, our own module
