"""Run one command of `baton`: the one place where an error becomes a line and an exit code.

    0  ok                                   3  there is no such session
    1  failed, or refused by its state      4  waits for a person
    2  usage: the request is wrong          5  cannot reach the store

An error is one line on standard error. With `-o json` it is an object on standard output as well, so that whoever
parses standard output always finds one: {"error": {"type": …, "message": …, "exit_code": …}}.
"""

import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from pathlib import Path

import click

from orchestrator import __version__
from orchestrator.contracts.errors import (
    BatonError,
    InputError,
    KeyConflict,
    NotPermitted,
    NotWaiting,
    PhaseRefused,
    SessionNotFound,
    StoreUnreachable,
)
from orchestrator.interfaces.cli.exits import FAILED, INTERRUPTED, NOT_FOUND, OK, UNREACHABLE, USAGE
from orchestrator.interfaces.cli.lazy import LazyGroup
from orchestrator.interfaces.cli.output import asks_json, drop_output, print_json


@click.group(
    name="baton", cls=LazyGroup, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.option(
    "--state-dir",
    envvar="BATON_STATE_DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="The folder of the bundled server and of logs. Default: .runtime in a checkout.  [env: BATON_STATE_DIR]",
)
@click.version_option(__version__, prog_name="baton", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context, *, state_dir: Path | None) -> None:
    """Baton runs durable agent sessions on Celery workers and Redis.

    Start with `baton demo`. `baton COMMAND --help` says more about a command; most take `-o json`.
    """
    ctx.obj = state_dir
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main(args: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    _open_closed_streams()
    _let_them_write()
    try:
        return _run(list(sys.argv[1:] if args is None else args))
    except BrokenPipeError:
        drop_output()  # whoever read us has read enough (`baton list | head`)
        return FAILED
    except OSError as error:
        # A file of which no command expects that it fails, or standard output itself: its disk is full.
        what = error.strerror or str(error) or type(error).__name__
        drop_output()
        _say(f"baton: {error.filename or 'standard output, or a file'}: {what}; mend that, and try again")
        return FAILED


def _run(args: Sequence[str]) -> int:
    """Run one command; what it refuses becomes a line and an exit code."""
    try:
        _check_text(args)
        code = cli.main(args=list(args), prog_name="baton", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        path = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx is not None else "baton"
        said = " ".join(error.format_message().split()).rstrip(".,")  # the library's own may have several lines
        message = f"{said}{'' if said.endswith('?') else ';'} see `{path} --help`"
        _say(f"baton: {message}")
        return _report(args, "UsageError", message, USAGE)
    except BatonError as error:
        from orchestrator.telemetry import redact

        message = redact(str(error))  # what an app or a server said may hold what it was given
        _say(f"baton: {message}")
        return _report(args, type(error).__name__, message, exit_code_of(error))
    except (KeyboardInterrupt, click.Abort):
        _say("\nbaton: interrupted")
        return INTERRUPTED
    return code if isinstance(code, int) else OK


def exit_code_of(error: BatonError) -> int:
    """Return the exit code that an error's class stands for.

    >>> exit_code_of(SessionNotFound("SES-20261120-001")), exit_code_of(StoreUnreachable("away"))
    (3, 5)
    """
    match error:
        case SessionNotFound():
            return NOT_FOUND
        case StoreUnreachable():
            return UNREACHABLE
        case NotWaiting() | NotPermitted() | PhaseRefused() | KeyConflict():
            return FAILED  # the request was in order; what it met was not
        case InputError():
            return USAGE
        case _:
            return FAILED


def _open_closed_streams() -> None:
    """Give the process its three streams back where it was started without (`baton list >&-`), before anything takes their numbers."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w", encoding="utf-8"))  # noqa: PTH123, SIM115


def _let_them_write() -> None:
    """Write a question mark for a character that a stream's encoding lacks (`LC_ALL=de_DE.ISO-8859-1`), in place of ending over it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="replace")


def _check_text(args: Sequence[str]) -> None:
    """Refuse bytes that are no text: they could be neither stored nor shown again."""
    for word in args:
        try:
            word.encode()
        except UnicodeEncodeError as error:
            raise InputError(f"argument {word[:80]!r}: it is not UTF-8; write it so") from error


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _report(args: Sequence[str], kind: str, message: str, code: int) -> int:
    """Repeat an error as an object where JSON was asked for; the parsed options may not exist at this point."""
    if asks_json(args):
        print_json("error", {"type": kind, "message": message, "exit_code": code})
    return code


if __name__ == "__main__":
    sys.exit(main())
