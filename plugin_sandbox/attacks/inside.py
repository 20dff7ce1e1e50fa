"""What an attack's plugin does: carry out one attack by its name, and say so if it succeeded."""

from pathlib import Path
from typing import Any

from plugin_sandbox.api import Plugin, PluginContext, PluginError
from plugin_sandbox.attacks.catalogue import functions

BREACHED = "breached: "


class Attacker(Plugin):
    """The plugin of every attack; `ctx.variables` names it and what the suite has laid out."""

    def can_handle(self, path: Path, variables: dict[str, Any]) -> bool:
        """Take the one file."""
        return True

    def transform(self, path: Path, ctx: PluginContext) -> None:
        """Attack; a stopped attack is honest work."""
        name = ctx.variables["attack"]
        if name == "control":
            path.write_text(path.read_text() + "honest work\n")
            return
        if name == "control_network":
            path.write_text(ctx.fetch(f"http://127.0.0.1:{ctx.variables['port']}/").body.decode() + "honest work\n")
            return
        try:
            found = functions()[name]({**ctx.variables, "proxy": ctx.proxy, "fetch": ctx.fetch})
        except (OSError, PermissionError) as error:
            if ctx.variables["keep_errors"]:
                raise
            ctx.log.info("stopped", why=f"{type(error).__name__}: {error}")
            return
        if found:
            raise PluginError(BREACHED + found)
