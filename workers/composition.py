"""Settings in, wired objects out; nothing else builds anything."""

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial

from orchestrator.app_code import load_function, load_module
from orchestrator.app_state import check_state
from orchestrator.app_tools import check_tools
from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.errors import AppInvalid, StateInvalid, ToolError, ToolUnavailable
from orchestrator.installed import load_installed_apps
from orchestrator.scheduler import Scheduler
from orchestrator.settings import Settings, find_config_dir
from orchestrator.wiring import build_client, build_store, check_server
from workers.celery_app import make_celery
from workers.hooks import build_book
from workers.host import Host
from workers.models import Models, check_models
from workers.plugins import PluginHost, load_sandbox_settings, needs_sandbox
from workers.providers import build_routes
from workers.steps.world import AppRuntime
from workers.tools.toolbox import build_toolbox
from workers.wakeups import CeleryWakeups, MakeWakeups

__all__ = ["Urls", "build_app", "build_client", "build_host", "build_scheduler", "build_store"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Urls:
    """Where the store and the broker are."""

    store: str
    broker: str


def build_app(spec: AppSpec, settings: Settings) -> AppRuntime:
    """Return one app's runtime: its provider, its tool servers, its code."""

    def check(state: JsonObject) -> None:
        try:
            check_state(spec, state)
        except StateInvalid as error:
            raise ToolError(str(error)) from error

    def accept(_: JsonObject) -> None:
        """Without a schema, any JSON object is a state."""

    load = cache(partial(load_function, spec))
    routes = build_routes(spec, env=os.environ)
    check_models(spec, settings.models, routes)
    return AppRuntime(
        spec=spec,
        digest=spec.digest(),
        models=Models(
            routes, settings.models, jitter=settings.retry.jitter, patience_seconds=spec.model.patience_seconds
        ),
        toolbox=build_toolbox(
            spec,
            load_module=load_module,
            result_bytes=settings.limits.result_bytes,
            blocking_threads=settings.lanes.blocking_threads,
        ),
        load_function=load,
        check_state=accept if spec.state_schema is None else check,
        hooks=build_book(spec, load),
    )


async def check_catalogue(app: AppRuntime) -> None:
    """Refuse an app that names tools which its servers do not have; raise AppInvalid with all problems.

    With a server that is down nothing can be said: a worker must be able to start without it.
    """
    try:
        catalogue = await app.toolbox.catalogue()
    except ToolUnavailable as error:
        log.warning("app %s: its tools were not checked: %s", app.spec.name, error)
        return
    problems = check_tools(app.spec, catalogue)
    if problems:
        raise AppInvalid(app.spec.name, problems)


async def build_plugins(settings: Settings, specs: Mapping[str, AppSpec]) -> PluginHost | None:
    """Return a warm sandbox with the apps' plugins, None where no app has a plugin pass; raise ConfigError."""
    if not needs_sandbox(specs):
        return None
    plugins = PluginHost(settings, load_sandbox_settings(find_config_dir(os.environ)), specs)
    await plugins.start()
    return plugins


async def build_host(
    settings: Settings,
    name: str,
    urls: Urls,
    wake_later: Callable[[str, str], None],
    *,
    takes_plugins: bool = False,
) -> Host:
    """Return what one worker process works with, on the running loop; raise ConfigError or StoreUnfit."""
    specs = load_installed_apps(settings)
    client = build_client(settings, urls.store, specs)
    for warning in await check_server(client):
        log.warning("%s", warning)
    apps = {app: build_app(spec, settings) for app, spec in specs.items()}
    for app in apps.values():
        await check_catalogue(app)
    return Host(
        name=name,
        settings=settings,
        store=client.store,
        client=client,
        apps=apps,
        wake_later=wake_later,
        plugins=await build_plugins(settings, specs) if takes_plugins else None,
    )


async def build_scheduler(
    settings: Settings, name: str, urls: Urls, *, make_wakeups: MakeWakeups = CeleryWakeups
) -> Scheduler:
    """Return a scheduler on the running loop; raise ConfigError or StoreUnfit."""
    # It needs what apps declare, and none of their code: whether that can be imported is the workers' to find out.
    specs = load_installed_apps(settings, import_code=False)
    client = build_client(settings, urls.store, specs)
    for warning in await check_server(client):
        log.warning("%s", warning)
    wakeups = make_wakeups(make_celery(settings, urls.broker), settings)
    return Scheduler(name, client.store, client, wakeups, settings, specs)
