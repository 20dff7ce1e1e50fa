"""`baton api` as it is run: a process of its own that says where it listens, refuses an open door, and ends when told."""

import asyncio
import json
import signal
import subprocess
from collections.abc import Mapping

import httpx2

from tests.integration.api_child import COMMAND, api_process
from tests.stage import stage


def baton(env: Mapping[str, str], *args: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run([*COMMAND, *args], env=env, capture_output=True, text=True, check=False, timeout=60)


def test_an_open_door_is_somebodys(env: Mapping[str, str]) -> None:
    """Rosters know names: whoever tries an app at home says which one is theirs, by option or by environment."""
    heard = []
    for more, args in (
        ({}, ("--as", "ada")),
        ({"BATON_ACTOR": "grace"}, ()),
        ({"BATON_ACTOR": "grace"}, ("--as", "ada")),
    ):
        with (
            api_process({**env, **more}, *args) as (_, said),
            httpx2.Client(base_url=said["api"]["url"], timeout=60) as http,
        ):
            heard.append((said["api"]["actor"], http.get("/v1/me", timeout=60).json()["name"]))

    assert heard == [("ada", "ada"), ("grace", "grace"), ("ada", "ada")]
    refused = baton(env, "api", "--as", " ", "--port", "0")
    assert refused.returncode == 2 and "actor: a name has 1 to 200" in refused.stderr


def test_it_serves_this_machine_and_ends_with_its_streams(env: Mapping[str, str], store_url: str) -> None:
    """Submitted over HTTP, worked on elsewhere, followed to the end; a stream that waits does not hold up the end."""

    async def work(session_id: str) -> None:
        async with stage(store_url) as on:
            await on.run(on.worker(), session_id)

    with api_process(env) as (child, said):
        with httpx2.Client(base_url=said["api"]["url"], timeout=60) as http:
            ready = http.get("/readyz")
            made = http.post("/v1/sessions", json={"app": "everything", "text": "go on"})
            with http.stream("GET", made.headers["location"] + "/events") as stream:
                asyncio.run(work(made.json()["session_id"]))
                told = "".join(stream.iter_text())
            metrics = http.get("/metrics").text
            waits = http.post("/v1/sessions", json={"app": "everything", "skill": "start"}).headers["location"]
            with http.stream("GET", waits + "/events") as stream:
                lines = stream.iter_lines()
                next(lines)
                child.send_signal(signal.SIGTERM)
                rest = list(lines)
        code = child.wait(60)

    assert said["api"]["open"] is True
    assert (ready.status_code, made.status_code) == (200, 202)
    assert "event: end" in told
    assert 'baton_sessions_submitted_total{app="everything"} 1' in metrics
    assert "event: end" not in rest
    assert code == 0


def test_what_is_submitted_here_is_traced_from_here(env: Mapping[str, str], store_url: str) -> None:
    """One trace a session begins with whoever submits it; and the process says on its lines which it is, without secrets."""
    more = {"BATON_TRACING_ENABLED": "true", "BATON_TRACING_EXPORTER": "console", "BATON_LOGGING_FORMAT": "json"}

    async def look(session_id: str) -> str:
        async with stage(store_url) as on:
            return (await on.client.show(session_id)).trace

    with api_process({**env, **more}, err=subprocess.PIPE) as (child, said):
        made = httpx2.post(f"{said['api']['url']}/v1/sessions", json={"app": "everything"}, timeout=60).json()
        httpx2.get(f"{said['api']['url']}/v1/sessions?token={env['BEARER_SECRET']}", timeout=60)
        child.send_signal(signal.SIGTERM)
        child.wait(60)
        assert child.stderr is not None
        told = child.stderr.read()

    assert asyncio.run(look(made["session_id"])).startswith("00-")
    assert '"name": "submit"' in told
    assert env["BEARER_SECRET"] not in told


def test_an_open_door_is_not_opened_to_others(env: Mapping[str, str]) -> None:
    """Beyond loopback it starts once there is a token, and then nobody comes in without one."""
    refused = baton(env, "api", "--host", "0.0.0.0", "--port", "0")
    secret = baton(env, "tokens", "new", "ci", "--role", "submitter", "--as", "ada").stdout.strip()
    with api_process(env, "--host", "0.0.0.0") as (_, said):
        url = said["api"]["url"].replace("0.0.0.0", "127.0.0.1")
        without = httpx2.get(f"{url}/v1/me", timeout=60)
        with_token = httpx2.get(f"{url}/v1/me", headers={"Authorization": f"Bearer {secret}"}, timeout=60)

    assert refused.returncode != 0
    assert "beyond loopback" in refused.stderr
    assert (said["api"]["open"], said["api"]["actor"]) == (False, None)
    assert without.status_code == 401
    assert with_token.json() == {"name": "ci", "roles": ["submitter", "viewer"], "way": "token"}


def test_tokens_are_listed_without_secrets_and_revoked(env: Mapping[str, str]) -> None:
    """A name is taken once; what is not there is told with what is."""
    made = json.loads(baton(env, "tokens", "new", "ci", "--role", "viewer", "--expires", "1h", "-o", "json").stdout)
    twice = baton(env, "tokens", "new", "ci", "--role", "viewer")
    listed = baton(env, "tokens", "list", "-o", "json").stdout
    wrong = baton(env, "tokens", "revoke", "cj")
    gone = baton(env, "tokens", "revoke", "ci")
    left = json.loads(baton(env, "tokens", "list", "-o", "json").stdout)

    assert made["token"]["secret"].startswith("baton_")
    assert made["token"]["expires_at"] is not None
    assert twice.returncode != 0 and "there is one of that name" in twice.stderr
    assert made["token"]["secret"] not in listed and "ci" in listed
    assert wrong.returncode != 0 and "ci" in wrong.stderr
    assert gone.returncode == 0
    assert left["tokens"] == []


def test_a_queue_is_paused_from_the_command_line(env: Mapping[str, str]) -> None:
    """A dry run changes nothing; who paused it, and why, is shown until it goes on."""
    dry = baton(env, "pause", "steps", "--dry-run")
    untouched = json.loads(baton(env, "queues", "-o", "json").stdout)
    done = baton(env, "pause", "app:everything", "--reason", "wrong model", "--as", "ada")
    shown = baton(env, "queues").stdout
    wrong = baton(env, "pause", "stepps")
    again = baton(env, "unpause", "app:everything", "--as", "ada")

    assert "would be paused" in dry.stdout
    assert untouched["queues"]["pauses"] == []
    assert done.returncode == 0
    assert "app:everything, by ada" in shown and "wrong model" in shown
    assert wrong.returncode != 0 and "steps" in wrong.stderr
    assert "goes on" in again.stdout
