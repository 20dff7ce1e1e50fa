"""Building providers: which one, with which options, and what is refused at boot."""

from collections.abc import Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

import workers.providers
from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.errors import ConfigError
from orchestrator.contracts.messages import ModelRequest, ModelResponse
from orchestrator.contracts.ports import Provider
from workers.providers import BUILTIN, GROUP, build_provider, provider_names
from workers.providers.dialect import HttpProvider
from workers.providers.options import secrets_of
from workers.providers.rules import RulesProvider

SECRET = "sk-very-secret-1234"


def spec_of(provider: str, model: str = "m", **options: Any) -> AppSpec:
    """Return an app that asks for this provider."""
    return AppSpec.model_validate(
        {
            "name": "demo",
            "entry_skill": "work",
            "skills": {"work": {"kind": "responsive", "name": "work"}},
            "model": {"provider": provider, "model": model, "options": options},
        }
    )


def build_from_elsewhere(spec: AppSpec, *, env: Mapping[str, str]) -> Provider:
    """Stand for what another package's entry point names."""
    assert spec.model.provider == "elsewhere"
    return Elsewhere(env["WHO"])


class Elsewhere:
    """A provider of another package."""

    def __init__(self, who: str) -> None:
        self.who = who

    async def complete(self, request: ModelRequest) -> ModelResponse:
        """Answer with its name."""
        return ModelResponse(content=f"{self.who} {request.skill}")

    async def aclose(self) -> None:
        """Do nothing."""


def test_each_built_in_name_gives_its_provider(tmp_path: Path) -> None:
    """An app changes its model by one word."""
    del tmp_path
    env = {"OPENAI_API_KEY": "k", "ANTHROPIC_API_KEY": "k"}

    assert isinstance(build_provider(spec_of("rules"), env={}), RulesProvider)
    assert isinstance(build_provider(spec_of("openai_compat"), env=env), HttpProvider)
    assert isinstance(build_provider(spec_of("anthropic"), env=env), HttpProvider)
    assert set(provider_names()) >= set(BUILTIN)


def test_an_unknown_provider_is_refused_with_a_suggestion() -> None:
    """A typo is found at boot."""
    with pytest.raises(ConfigError, match=r"model\.provider: unknown provider 'antropic'; did you mean 'anthropic'\?"):
        build_provider(spec_of("antropic"), env={})


def test_another_package_adds_a_provider_and_cannot_take_a_name_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Entry points are how providers arrive without a change here."""
    mine = f"{__name__}:build_from_elsewhere"
    points = [EntryPoint(n, v, GROUP) for n, v in (("elsewhere", mine), ("rules", mine), ("broken", "no.such:build"))]

    def find(*, group: str, name: str | None = None) -> list[EntryPoint]:
        return [p for p in points if p.group == group and name in (None, p.name)]

    monkeypatch.setattr(workers.providers, "entry_points", find)
    monkeypatch.setitem(__import__("sys").modules, __name__, __import__("types").SimpleNamespace(**globals()))

    provider = build_provider(spec_of("elsewhere"), env={"WHO": "me"})
    assert type(provider).__name__ == "Elsewhere"
    assert isinstance(build_provider(spec_of("rules"), env={}), RulesProvider)
    assert provider_names()[-2:] == ("broken", "elsewhere")
    with pytest.raises(ConfigError, match=r"'broken' \(no\.such:build\) cannot be loaded"):
        build_provider(spec_of("broken"), env={})


@pytest.mark.parametrize(
    ("spec", "env", "what"),
    [
        (spec_of("openai_compat", api_kye=SECRET, base_url="http://x"), {}, "api_kye: unknown option"),
        (spec_of("openai_compat", max_tokens=0, top_p=2, base_url="http://x"), {}, "max_tokens"),
        (spec_of("openai_compat", api_key=[SECRET]), {}, "model.options.api_key"),
        (spec_of("openai_compat", ""), {"OPENAI_API_KEY": "k"}, "model.model: no model is named"),
        (spec_of("openai_compat"), {}, "needs a key; set OPENAI_API_KEY"),
        (spec_of("anthropic"), {}, "needs a key; set ANTHROPIC_API_KEY"),
        (spec_of("openai_compat", api_key_env="MY_KEY"), {}, "MY_KEY: the environment has no such variable"),
        (spec_of("openai_compat", api_key_env="K"), {"K": " \n"}, "not a key"),
        (spec_of("openai_compat", api_key_env="K"), {"K": f"{SECRET}\nx: y"}, "not a key"),
        (spec_of("openai_compat", base_url="localhost:80"), {}, "not an http(s) URL"),
        (spec_of("openai_compat", base_url="http://[::1"), {}, "not a URL"),
        (spec_of("openai_compat", base_url="http://h:99999"), {}, "not a URL"),
        (spec_of("openai_compat", base_url=f"http://u:{SECRET}@h/v1"), {}, "credentials"),
        (spec_of("openai_compat", base_url="http://h/v1?x=1"), {}, "credentials"),
        (spec_of("openai_compat", base_url="http://h", headers={"x-team": "a\nb"}), {}, "not a header"),
        (spec_of("anthropic", base_url="http://h", headers={"x team": "ab"}), {}, "not a header"),
        (spec_of("anthropic", base_url="http://h", headers={"x-team": "\u00e4"}), {}, "not a header"),
        (spec_of("rules", transcript="t"), {}, "unknown option of rules"),
        (spec_of("scripted"), {}, "model.options.transcript"),
        (spec_of("rules", record="x.jsonl"), {}, "not below the app's folder"),
    ],
)
def test_options_that_do_not_fit_are_refused_at_boot(spec: AppSpec, env: dict[str, str], what: str) -> None:
    """A worker that starts has a provider that can be called; no message shows a key."""
    with pytest.raises(ConfigError) as caught:
        build_provider(spec, env=env)

    assert what in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_key_shows_nowhere() -> None:
    """Providers end up in logs and tracebacks; keys must not."""
    provider = build_provider(spec_of("openai_compat", api_key=SECRET, base_url="http://h/v1/"), env={})

    assert isinstance(provider, HttpProvider)
    assert SECRET not in repr(vars(provider))
    assert SECRET not in repr(vars(provider._channel))
    assert provider._channel.base_url == "http://h/v1"


def test_every_secret_that_options_name_is_known_for_redaction() -> None:
    """A recording cuts out what the options hold, name, or imply."""
    options: dict[str, Any] = {"api_key_env": "K", "api_key": "direct", "headers": {"x-token": "t" * 16, "x-flag": "1"}}

    found = secrets_of(options, {"K": "named\n", "ANTHROPIC_API_KEY": "implied"})
    assert set(found) == {"direct", "named", "implied", "t" * 16}
