"""`python -m workers.app_report FOLDER…`: say of each app what a worker would find wrong with it when it starts, as JSON.

The files alone do not tell which tools an app's servers have, and who speaks for its skills. What `baton apps check` prints of
that is found here, in a process of its own, as a worker finds it: servers are asked for their tools, none is called. One object a
folder, in their order: {folder, problems, notes}. A note says what could not be looked at here; it is no fault of the app.
"""

import asyncio
import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Final

from orchestrator import app_source
from orchestrator.app_check import Check
from orchestrator.app_loader import load_app, load_module
from orchestrator.app_tools import check_tools
from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.base import JsonObject, dump_json
from orchestrator.contracts.errors import BatonError, ConfigError, ToolUnavailable
from orchestrator.contracts.triggers import WebhookTrigger
from orchestrator.settings import Settings, load_settings
from orchestrator.settings_model import ModelsSettings
from orchestrator.triggers import read_secrets
from orchestrator.yaml_source import lines
from workers.models import check_models
from workers.providers import build_routes, provider_names
from workers.tools.toolbox import build_toolbox

FAILED: Final = 1


def main(argv: Sequence[str]) -> int:
    """Print the report; return 1 where settings or an app cannot be read."""
    try:
        # An app's code may print, and standard output is the report's.
        with redirect_stdout(sys.stderr):
            reports = asyncio.run(report_all([Path(folder) for folder in argv], load_settings()))
    except BatonError as error:
        sys.stderr.write(f"{error}\n")
        return FAILED
    sys.stdout.write(dump_json(reports) + "\n")
    return 0


async def report_all(folders: Sequence[Path], settings: Settings) -> list[JsonObject]:
    """Return what is to be said of each app's folder; raise AppInvalid for one whose files do not hold together."""
    reports: list[JsonObject] = []
    for folder in folders:
        spec = load_app(folder, plugins=settings.apps.plugins)
        problems, notes = await check_tool_names(spec, folder)
        more, unsaid = await check_speakers(spec, folder, settings.models)
        notes += [*unsaid, *check_secrets(spec)]
        reports.append({"folder": str(folder), "problems": [*problems, *more], "notes": [*notes]})
    return reports


async def check_tool_names(spec: AppSpec, folder: Path) -> tuple[list[str], list[str]]:
    """Return what names a tool, or an argument, that the app's servers do not have; and what could not be looked at."""
    try:
        toolbox = build_toolbox(spec, load_module=load_module)
    except ConfigError as error:
        return [str(error)], []
    try:
        catalogue = await toolbox.catalogue()
    except ToolUnavailable as error:
        return [], [f"app {spec.name}: its tools were not checked: {error}"]
    finally:
        await toolbox.aclose()
    # Places are told below the folder as it was named, as for all that the files tell.
    return list(check_tools(spec.model_copy(update={"root": str(folder)}), catalogue)), []


async def check_speakers(spec: AppSpec, folder: Path, settings: ModelsSettings) -> tuple[list[str], list[str]]:
    """Return the providers that nobody brings; and why the others could not be had here, where keys or prices may be missing."""
    document = app_source.gather(folder, os.environ)
    document.problems.clear()  # what is wrong with the files alone was told when they were loaded
    check = Check(spec, document)
    check.is_among(("model", "provider"), spec.model.provider, provider_names(), "provider")
    for number, other in enumerate(spec.model.fallback):
        check.is_among(("model", "fallback", number, "provider"), other.provider, provider_names(), "provider")
    if document.problems:
        return lines(document.problems), []
    try:
        routes = build_routes(spec, env=os.environ)
    except ConfigError as error:
        return [], [f"with the variables of this shell no worker would start: {error}"]
    try:
        check_models(spec, settings, routes)
    except ConfigError as error:
        return [], [f"with the settings here no worker would start: {error}"]
    finally:
        for route in routes:
            await route.provider.aclose()
    return [], []


def check_secrets(spec: AppSpec) -> list[str]:
    """Return which webhooks' secrets are not to be had here: those that serve the API may well have them."""
    notes = []
    for trigger in spec.triggers:
        try:
            if isinstance(trigger, WebhookTrigger):
                read_secrets(spec, trigger, os.environ)
        except ConfigError as error:
            notes.append(f"with the variables of this shell `baton api` would not start: {error}")
    return notes


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
