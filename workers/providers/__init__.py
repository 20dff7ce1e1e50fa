"""Model providers: the adapters between a ModelRequest and one model service.

    rules          a policy in app.yaml, evaluated; no model at all
    scripted       a transcript, replayed strictly
    openai_compat  any service with OpenAI's chat completions
    anthropic      Anthropic's messages

Other packages add theirs under the entry point group `baton.providers`: a callable with the
signature of `build_provider`. With `options.record`, whatever the provider says is also written
to a transcript that `scripted` replays. This module chooses and builds; it calls no model.

A provider raises an LLMError (orchestrator/contracts/provider_errors.py) and retries nothing: retries,
back-off, deadlines and cancellation belong to the runtime alone.
"""

from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import EntryPoint, entry_points
from typing import Final, Protocol

from orchestrator.contracts.app import AppSpec, ModelSpec
from orchestrator.contracts.errors import ConfigError, suggest
from orchestrator.contracts.ports import Provider
from workers.models import Route
from workers.providers.options import secrets_of, where_is
from workers.providers.recording import RecordingProvider, transcript_path

GROUP: Final = "baton.providers"

#: Loaded by name when an app asks for one, so that no worker pays for a library it does not use.
BUILTIN: Final[Mapping[str, str]] = {
    "rules": "workers.providers.rules:build",
    "scripted": "workers.providers.scripted:build",
    "openai_compat": "workers.providers.openai_compat:build",
    "anthropic": "workers.providers.anthropic:build",
}


class Builder(Protocol):
    """What an entry point of the group names."""

    def __call__(self, spec: AppSpec, *, env: Mapping[str, str]) -> Provider:
        """Build the provider for one app; raise ConfigError for options that do not fit."""
        ...


def provider_names() -> tuple[str, ...]:
    """Return every name that `model.provider` may have in this installation."""
    return (*BUILTIN, *sorted({e.name for e in entry_points(group=GROUP)} - set(BUILTIN)))


def build_provider(spec: AppSpec, *, env: Mapping[str, str]) -> Provider:
    """Build the provider that `spec.model` names; raise ConfigError if it cannot be built.

    `env` is where API keys are read from. The built-in names cannot be taken over by a package.
    """
    provider = _builder(spec)(spec, env=env)
    record = spec.model.options.get("record")
    if record is None:
        return provider
    path = transcript_path(spec, record, option="record")
    return RecordingProvider(provider, path, secrets=secrets_of(spec.model.options, env))


def build_routes(spec: AppSpec, *, env: Mapping[str, str]) -> tuple[Route, ...]:
    """Build the app's own service and those that it falls back to, in that order; raise ConfigError.

    What the others are is told like the first one's `model`, so each is built as if it were an app's only one.
    """
    routes = [_route(build_provider(spec, env=env), spec, env)]
    for number, other in enumerate(spec.model.fallback):
        own = other.model_dump(exclude={"request_timeout_seconds"})
        model = ModelSpec.model_validate({**own, "rules": spec.model.rules})
        try:
            alike = spec.model_copy(update={"model": model})
            route = _route(build_provider(alike, env=env), alike, env)
        except ConfigError as error:
            raise ConfigError(f"model.fallback[{number}]: {error}") from error
        routes.append(replace(route, timeout_seconds=other.request_timeout_seconds))
    return tuple(routes)


def _route(provider: Provider, spec: AppSpec, env: Mapping[str, str]) -> Route:
    return Route(provider, spec.model.provider, spec.model.model, where_is(spec, env))


def _builder(spec: AppSpec) -> Builder:
    name = spec.model.provider
    if name in BUILTIN:
        found = EntryPoint(name=name, value=BUILTIN[name], group=GROUP)
    else:
        others = entry_points(group=GROUP, name=name)
        if not others:
            hint = suggest(name, provider_names())
            raise ConfigError(f"app {spec.name!r}: model.provider: unknown provider {name!r}; {hint}")
        found = next(iter(others))
    try:
        builder: Builder = found.load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"app {spec.name!r}: model.provider: {name!r} ({found.value}) cannot be loaded: {error}; "
            "install or mend the package that declares it"
        ) from error
    return builder
