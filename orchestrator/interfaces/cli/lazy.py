"""A command group that knows its commands by name and imports one only when it runs.

The table below is all that `baton --help` needs: no library of a command is loaded to list it. A test keeps the
sentences here equal to those of the commands.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Final

import click

from orchestrator.contracts.errors import suggest

_HERE: Final = __name__.rpartition(".")[0]
#: Characters; longer than any sentence.
_WHOLE: Final = 1_000

#: Section → command → (module, what it does in one line). The attribute is the command's name with underscores.
COMMANDS: Final[Mapping[str, Mapping[str, tuple[str, str]]]] = {
    "Run": {
        "up": ("up", "Run everything on this machine: server, scheduler, workers."),
        "demo": ("demo", "Run the installed apps' demos on real input, from start to end."),
        "worker": ("processes", "Run one worker."),
        "scheduler": ("processes", "Run one scheduler."),
        "stub-llm": ("processes", "Run a local model server with faults on demand."),
        "api": ("api", "Serve the HTTP API."),
        "mcp": ("mcp", "Serve MCP on standard input and output."),
        "redis": ("redis_server", "Start, stop or look at the bundled server."),
    },
    "Submit and follow": {
        "submit": ("submit", "Submit a session, or many."),
        "list": ("sessions", "List sessions, newest first."),
        "show": ("sessions", "Show a session: where it is, what it waits for, what it has."),
        "search": ("archive", "Find sessions that hold all these words, newest first."),
        "watch": ("watch", "Watch a session, or all of them, live."),
        "events": ("journal", "Print a session's journal."),
        "context": ("journal", "Print a session's messages, all of them or as its models see them."),
        "replay": ("forks", "Go through a session's journal again; nothing is changed, and nothing acts."),
        "explain": ("explain", "Say what settled a session, or why it is not settled yet."),
    },
    "Answer": {
        "approve": ("answers", "Allow the tool call that a session asks about, or what its hook asks."),
        "deny": ("answers", "Refuse the tool call that a session asks about, or what its hook asks."),
        "answer": ("answers", "Answer a session's question, its gate, a plugin's question, or an uncertain call."),
        "resume": (
            "answers",
            "Go on with a session that a gate has stopped: with a text, by escalating it, or not at all.",
        ),
        "signal": ("answers", "Send a named signal to a session."),
        "cancel": ("answers", "Ask a session to stop once its running tool calls are done; its child sessions too."),
        "fork": ("forks", "Begin a session where another one stood, at any entry of its journal."),
    },
    "Operate": {
        "dead": ("dead", "Look at dead letters and replay them."),
        "retry": ("dead", "Send a dead session again."),
        "queues": ("queues", "Show the queues: what stands in line, since when, what runs, what is paused."),
        "pause": ("queues", "Wake nothing new of a queue or an app."),
        "unpause": ("queues", "Let a paused queue or app go on."),
        "workers": ("fleet", "List who is at work."),
        "drain": ("fleet", "Let workers finish what runs and take nothing new."),
        "scale": ("scale", "Say how many workers are needed, and try a load without one."),
        "tokens": ("tokens", "Make, list and revoke tokens of the HTTP API."),
        "metrics": ("metrics", "Print the metrics that Prometheus reads."),
        "archive": ("archive", "Move ended sessions out of the store, and look at the archive."),
        "backup": ("backup", "Back up the bundled server and its archive, and put a backup back."),
        "runbook": ("runbook", "List, show and run the pages for what alerts tell."),
        "doctor": ("doctor", "Check this installation: settings, server, apps, workers."),
    },
    "Apps and settings": {
        "apps": ("apps", "List, check and make apps."),
        "plugins": ("plugins", "List, check, make and run plugins."),
        "config": ("config", "Show the settings and where they come from."),
        "version": ("doctor", "Print the versions of Baton and of what it stands on."),
    },
}


class WholeGroup(click.Group):
    """A group whose help tells each command's first sentence whole, wrapped; the library would cut it at one line."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands, in the order of their names."""
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(name, one.get_short_help_str(_WHOLE)) for name, one in found if one is not None])


class LazyGroup(click.Group):
    """The root group. Help is written from the table; a command's module is imported when it is resolved."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, in the table's order."""
        del ctx
        return [name for section in COMMANDS.values() for name in section]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, imported now; None for an unknown name."""
        del ctx
        for section in COMMANDS.values():
            if cmd_name in section:
                module = import_module(f"{_HERE}.{section[cmd_name][0]}")
                command = getattr(module, f"{cmd_name.replace('-', '_')}_command")
                if isinstance(command, click.Command):
                    return command
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the arguments name; an unknown one is refused with the nearest."""
        if self.get_command(ctx, args[0]) is None:
            ctx.fail(f"no such command {args[0]!r}; {suggest(args[0], self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table, section by section."""
        del ctx
        for title, section in COMMANDS.items():
            with formatter.section(title):
                formatter.write_dl([(name, sentence) for name, (_, sentence) in section.items()], col_max=14)
