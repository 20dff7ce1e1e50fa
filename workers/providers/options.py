"""Read a provider's options from an app's `model.options`; refuse what the provider does not know.

An API key comes from the environment (`api_key_env`), or, for a service of one's own, from
`api_key`. It is held as a SecretStr: it shows up in no message, log or representation.
"""

import re
from collections.abc import Mapping
from typing import Final, TypeVar
from urllib.parse import urlsplit

from pydantic import Field, JsonValue, SecretStr, ValidationError

from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.base import Frozen, JsonObject
from orchestrator.contracts.errors import ConfigError, suggest
from orchestrator.telemetry import hide

#: Where a key is looked for when the options name no variable.
DEFAULT_KEY_ENV: Final[Mapping[str, str]] = {
    "openai_compat": "OPENAI_API_KEY",
    "anthropic": "ANTHROPIC_API_KEY",
}

#: ... and its base URL, if the app names none: the official clients' own variables.
DEFAULT_URL_ENV: Final = {
    "openai_compat": "OPENAI_BASE_URL",
    "anthropic": "ANTHROPIC_BASE_URL",
}

_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")


class ProviderOptions(Frozen):
    """What every provider's options may have: the path of a transcript to write."""

    record: str | None = None


class HttpOptions(ProviderOptions):
    """Options of a provider that speaks HTTP.

    `extra_body` is merged into every request's JSON, for what this service alone knows.
    """

    base_url: str | None = None
    api_key: SecretStr | None = None
    api_key_env: str | None = None
    headers: dict[str, str] = {}
    max_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0)
    top_p: float | None = Field(default=None, ge=0, le=1)
    extra_body: JsonObject = {}


Options = TypeVar("Options", bound=ProviderOptions)


def read_options(spec: AppSpec, shape: type[Options]) -> Options:
    """Return the app's options as `shape`; raise one ConfigError that names every problem."""
    try:
        return shape.model_validate(spec.model.options)
    except ValidationError as error:
        lines = []
        for problem in error.errors(include_input=False, include_url=False):
            where = ".".join(str(part) for part in problem["loc"])
            what = problem["msg"]
            if problem["type"] == "extra_forbidden":
                what = f"unknown option of {spec.model.provider}; {suggest(where, shape.model_fields)}"
            lines.append(f"app {spec.name!r}: model.options.{where}: {what}")
        raise ConfigError("\n".join(lines)) from None  # the cause shows the input, which may hold a key


def read_model(spec: AppSpec) -> str:
    """Return the app's model name; raise ConfigError if none is given."""
    if not spec.model.model:
        raise ConfigError(f"app {spec.name!r}: model.model: no model is named; set it to one the service has")
    return spec.model.model


def read_headers(spec: AppSpec, options: HttpOptions) -> Mapping[str, str]:
    """Return the app's own headers; raise ConfigError for one that no request could carry."""
    for name, value in options.headers.items():
        if (
            not _HEADER_NAME.fullmatch(name)
            or not value.isascii()
            or not (value.isprintable() and value == value.strip())
        ):
            raise ConfigError(f"app {spec.name!r}: model.options.headers.{name!r}: not a header; use printable ASCII")
    return {name.lower(): value for name, value in options.headers.items()}


def read_key(spec: AppSpec, options: HttpOptions, env: Mapping[str, str]) -> SecretStr | None:
    """Return the API key, or None where none is configured: a service of one's own may need none."""
    key, where = options.api_key, "model.options.api_key"
    if key is None:
        name = options.api_key_env or DEFAULT_KEY_ENV.get(spec.model.provider, "")
        where = f"model.options.api_key_env: {name}"
        if name in env:
            key = SecretStr(env[name])
        elif options.api_key_env:
            raise ConfigError(f"app {spec.name!r}: {where}: the environment has no such variable; set it")
        else:
            return None
    text = key.get_secret_value().strip()  # keys read from files end in a newline
    if not text or not text.isascii() or not text.isprintable():
        raise ConfigError(f"app {spec.name!r}: {where}: not a key; it is empty or has characters no header may have")
    hide(text)
    return SecretStr(text)


def read_base_url(
    spec: AppSpec, options: HttpOptions, default: str, key: SecretStr | None, env: Mapping[str, str]
) -> str:
    """Return the service's URL without a slash at its end; the public service needs a key.

    The app's own option goes first, then the environment, so that an app runs unchanged against another service.
    """
    variable = DEFAULT_URL_ENV.get(spec.model.provider, "")
    given = env.get(variable, "") if options.base_url is None else ""
    url = (options.base_url or given or default).rstrip("/")
    where = f"app {spec.name!r}: {variable if given else 'model.options.base_url'}"
    try:
        parts = urlsplit(url)
        port_is_valid = parts.port is None or parts.port > 0
    except ValueError as error:
        raise ConfigError(f"{where}: not a URL: {error}; write http://host:port/path") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_valid:
        raise ConfigError(f"{where}: {url!r} is not an http(s) URL; write http://host:port/path")
    if parts.username is not None or parts.query or parts.fragment:
        raise ConfigError(f"{where}: credentials, query and fragment do not belong here; use api_key_env or headers")
    if key is None and options.base_url is None and not given:
        name = DEFAULT_KEY_ENV.get(spec.model.provider, "api_key_env")
        raise ConfigError(f"app {spec.name!r}: model: {url} needs a key; set {name} or model.options.base_url")
    return url


def where_is(spec: AppSpec, env: Mapping[str, str]) -> str:
    """Return host and port of a service that is not at its usual place, "" for one that is: what tells two apart."""
    given = spec.model.options.get("base_url") or env.get(DEFAULT_URL_ENV.get(spec.model.provider, ""), "")
    return urlsplit(given).netloc if isinstance(given, str) else ""


def secrets_of(options: Mapping[str, JsonValue], env: Mapping[str, str]) -> tuple[str, ...]:
    """Return every secret text that the options hold or name, for redaction."""
    values = [options.get("api_key"), env.get(str(options.get("api_key_env") or ""))]
    values += [env.get(name) for name in DEFAULT_KEY_ENV.values()]
    headers = options.get("headers")
    if isinstance(headers, dict):  # a header may hold a token; a short one is a flag or a version
        values += [v for v in headers.values() if isinstance(v, str) and len(v) >= 16]
    return tuple(v.strip() for v in values if isinstance(v, str) and v.strip())
