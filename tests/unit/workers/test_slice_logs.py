"""What is logged while a session runs: each line says which session, step, app, worker and trace it is about."""

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider

from orchestrator import telemetry, tracing
from orchestrator.app_loader import load_app
from orchestrator.settings import Settings, find_secrets
from orchestrator.telemetry import configure_logging, name_process
from orchestrator.yaml_expand import Expander
from tests.unit.workers.scenes import scene
from workers.providers.options import HttpOptions, read_key

log = logging.getLogger("baton.test")


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Log into memory, as a worker would into its file."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    monkeypatch.setattr(telemetry, "_redactor", telemetry.Redactor())
    monkeypatch.setattr(telemetry, "_process", {})
    stream = io.StringIO()
    configure_logging(style="auto", stream=stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    tracing.switch_off()


def read(stream: io.StringIO) -> list[dict[str, Any]]:
    """Return the lines."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_of_a_step_names_all_that_it_is_about(store_url: str, lines: io.StringIO) -> None:
    """At night there are a thousand sessions' lines in one file: each must be found by its session alone."""
    tracing.switch_on(TracerProvider(shutdown_on_exit=False))
    name_process("host:1:ab")

    async def play() -> str:
        async with scene(store_url) as on:
            session_id = await on.submit()
            on.step.error = RuntimeError("it broke")
            on.step.go_on.set()
            await on.start(session_id)
            log.info("after it")
            return session_id

    session_id = asyncio.run(play())
    failed = next(line for line in read(lines) if "it broke" in line["message"])
    after = next(line for line in read(lines) if line["message"] == "after it")

    assert {name: failed.get(name) for name in ("session_id", "app", "worker")} == {
        "session_id": session_id,
        "app": "plain",
        "worker": "host:1:ab",
    }
    assert failed["step"].endswith("/0")
    assert len(failed["trace_id"]) == 32
    assert "session_id" not in after


def test_sessions_that_run_at_once_do_not_mix(store_url: str, lines: io.StringIO) -> None:
    """They share one thread and one loop."""

    async def play() -> list[str]:
        async with scene(store_url) as on:

            def tell(state: dict[str, Any]) -> dict[str, Any]:
                log.info("here", extra={"number": state["number"]})
                return {}

            on.step.result = tell
            ids = [await on.submit(number=number) for number in range(3)]
            slices = [on.start(session_id) for session_id in ids]
            await on.wait_for_run(3)
            on.step.go_on.set()
            await asyncio.gather(*slices)
            return ids

    ids = asyncio.run(play())
    told = {line["number"]: line["session_id"] for line in read(lines) if line["message"] == "here"}

    assert told == dict(enumerate(ids))


def test_what_was_loaded_as_a_secret_is_in_no_line(lines: io.StringIO, tmp_path: Path) -> None:
    """Keys, passwords of URLs, secret files: whoever logs a request by mistake must not leak them."""
    (tmp_path / "secret").write_text("from-a-file\n")
    settings = Settings.model_validate({"store": {"url": "redis://me:url-password@host"}})
    telemetry.hide(*find_secrets(settings))
    expander = Expander({"SOME_API_KEY": "from-a-variable", "REGION": "north-east"}, tmp_path)
    expander.expand("${SOME_API_KEY} ${file:secret} ${REGION}")
    spec = load_app(Path(__file__).parents[2] / "apps" / "everything")
    read_key(spec, HttpOptions(api_key_env="ODD_NAME"), {"ODD_NAME": "from-the-provider"})

    log.info("from-a-file from-a-variable url-password from-the-provider north-east")

    assert read(lines)[0]["message"] == "[hidden] [hidden] [hidden] [hidden] north-east"
