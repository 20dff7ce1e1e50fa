"""The bundled apps run unchanged with a model behind an HTTP API, in both dialects, faults included.

The model is the stub server of `baton stub-llm`, over a real socket: it plays a reviewer that
fetches the diff, then recommends. Only the environment differs from a run without a model.
"""

import asyncio
import subprocess
from pathlib import Path

import pytest

from orchestrator.app_loader import load_app
from orchestrator.contracts.session import Record
from orchestrator.settings import Settings
from plugin_sandbox.settings import SandboxSettings
from tests.stage import Stage
from workers.plugins import PluginHost
from workers.stub_llm import running
from workers.stub_replies import StubCall, StubReply

REVIEW = Path(__file__).parents[2] / "apps" / "code_review"

#: By the number of the assistant's turns so far: the stub sees the whole conversation.
REPLIES = [
    StubReply(turn=0, tool_calls=(StubCall(tool="fetch_diff"),)),
    StubReply(turn=1, content="The commit is there."),
    StubReply(turn=2, content="Nothing to find."),
    StubReply(
        turn=3,
        tool_calls=(StubCall(tool="set_recommendation", args={"recommendation": "approve", "summary": "fine"}),),
    ),
    StubReply(turn=4, content="Done."),
]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A git repository with one commit."""
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / "a.py").write_text('"""A."""\n')
    for command in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "Add a"],
    ):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


async def review(url: str, settings: Settings, repository: Path) -> tuple[Record, int]:
    """Run one review to its end, retries included; return it and how often it had to wait for a retry."""
    spec = load_app(REVIEW)
    on = Stage(url, settings, {spec.name: spec})
    sandbox = SandboxSettings(state_dir=repository.parent / "sandbox", preload=("json",), programs={"ruff": "ruff"})
    plugins = PluginHost(settings, sandbox, on.specs)
    try:
        state = {"repo": str(repository), "commit": "HEAD"}
        submitted = await on.client.submit(spec.name, text="Review", overrides=state, actor="ada")
        executor, retries = on.worker(plugins=plugins), 0
        while True:
            record = await on.run(executor, submitted.session_id)
            if record.wait is None or record.wait.kind != "retry":
                return record, retries
            retries += 1
            await on.skip_to_due(submitted.session_id)
    finally:
        await plugins.aclose()
        await on.aclose()


@pytest.mark.parametrize("provider", ["openai_compat", "anthropic"])
@pytest.mark.parametrize(("model", "least_retries"), [("plain", 0), ("flaky", 1), ("thinking", 0)])
def test_a_review_by_a_model_ends_by_its_rule(
    store_url: str,
    repository: Path,
    monkeypatch: pytest.MonkeyPatch,
    provider: str,
    model: str,
    least_retries: int,
) -> None:
    """The same app, the same rules; a service that fails every second call only costs time, one that thinks is shown what it thought."""
    monkeypatch.setenv("BATON_REVIEW_PROVIDER", provider)
    monkeypatch.setenv("BATON_REVIEW_MODEL", model)
    with running(REPLIES, api_key="k") as base_url:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{base_url}/v1")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "k")
        monkeypatch.setenv("ANTHROPIC_API_KEY", "k")

        record, retries = asyncio.run(review(store_url, Settings(), repository))

    assert (record.phase, record.status) == ("ended", "approved")
    assert record.fields["summary"] == "fine"
    assert [entry["status"] for entry in record.state["entries"]] == ["success", "success"]  # type: ignore[union-attr, index, call-overload]
    assert retries >= least_retries


def test_a_refused_key_is_a_dead_letter_at_once(
    store_url: str, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot pass by itself is not tried again, and no key is in the store."""
    monkeypatch.setenv("BATON_REVIEW_PROVIDER", "openai_compat")
    monkeypatch.setenv("BATON_REVIEW_MODEL", "plain")
    with running(REPLIES, api_key="right") as base_url:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{base_url}/v1")
        monkeypatch.setenv("OPENAI_API_KEY", "canary-of-a-wrong-key")

        record, retries = asyncio.run(review(store_url, Settings(), repository))

    assert (record.phase, record.reason, retries) == ("dead", "permanent_error", 0)
    assert "canary" not in asyncio.run(everything_stored(store_url))


async def everything_stored(url: str) -> str:
    """Return all that the store holds, as text."""
    on = Stage(url, Settings(), {})
    try:
        keys = await on.store.command("KEYS", "*")
        dumps = await asyncio.gather(*(on.store.command("DUMP", key) for key in keys))
        return "".join(str(dump) for dump in dumps)
    finally:
        await on.aclose()


@pytest.mark.parametrize("own", [False, True])
def test_a_review_that_is_cancelled_leaves_no_files(
    store_url: str, repository: Path, monkeypatch: pytest.MonkeyPatch, own: bool
) -> None:
    """What was exported for the plugins is somebody's code; its folder is the worker's or one that the session names."""
    scratch = repository.parent / "scratch"
    scratch.mkdir(mode=0o700)
    beside = scratch / "beside"
    beside.mkdir()
    if not own:
        monkeypatch.setenv("BATON_REVIEW_SCRATCH", str(scratch))

    async def play() -> None:
        spec = load_app(REVIEW)
        on = Stage(store_url, Settings(), {spec.name: spec})
        try:
            state = {"repo": str(repository), "commit": "HEAD", **({"scratch": str(scratch)} if own else {})}
            session_id = (await on.client.submit(spec.name, overrides=state, actor="ada")).session_id
            executor = on.worker()  # one without a sandbox: it leaves the plugins to another
            await executor.run_slice(session_id)
            record = await on.client.show(session_id)
            assert (record.phase, record.queue) == ("ready", "plugins")
            assert (scratch / session_id / "index.json").is_file()

            await on.client.cancel(session_id, actor="ada", reason="enough")
            record = await on.run(executor, session_id)

            assert (record.phase, record.reason) == ("ended", "cancelled")
            assert list(scratch.iterdir()) == [beside]
        finally:
            await on.aclose()

    asyncio.run(play())
