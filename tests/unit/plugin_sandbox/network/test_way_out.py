"""A plugin in a real box that asks real servers of this machine, by the one way that was granted."""

import contextlib
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from plugin_sandbox.host import Sandbox
from plugin_sandbox.model import Outcome, Tier
from plugin_sandbox.settings import SandboxSettings
from tests.plugin_runs import make_call, write_plugin

FETCH = 'path.write_bytes(ctx.fetch(ctx.variables["url"]).body)'

Run = Callable[..., tuple[Outcome, Path]]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Run a body with these hosts asked and granted, and a URL to ask for."""
    made: list[Sandbox] = []

    def run(body: str, url: str, *hosts: str, tier: Tier | None = None, **settings: Any) -> tuple[Outcome, Path]:
        package, workspace = tmp_path / "package", tmp_path / "workspace"
        asked = ", ".join(f'"{host}"' for host in hosts)
        write_plugin(package, body, f"{{hosts: [{asked}], network_mb: 1}}")
        workspace.mkdir()
        (workspace / "data.txt").write_text("initial")
        granted = SandboxSettings.model_validate({"state_dir": tmp_path / "state", "hosts": hosts, **settings})
        at_registration = granted.model_copy(update={"hosts": hosts})
        call = make_call(package, workspace, at_registration, variables={"url": url})
        sandbox = Sandbox(granted, force_tier=tier)
        made.append(sandbox)
        return sandbox.run_blocking(call), workspace / "data.txt"

    yield run
    for sandbox in made:
        sandbox.close()


def test_a_granted_host_answers_and_the_entry_tells_it(run: Run, server: Any) -> None:
    """The plugin has what it came for, and the operator sees where it has been."""
    host = f"127.0.0.1:{server.port}"

    outcome, path = run(FETCH, f"http://{host}/hello?x=1", host)

    assert outcome.entry is not None
    assert (outcome.entry.status, path.read_text()) == ("success", "/hello?x=1"), outcome
    (use,) = outcome.entry.isolation.network
    assert (use.host, use.port, use.verdict) == ("127.0.0.1", server.port, "connected")
    assert use.sent_bytes > 20
    assert use.received_bytes > 20


def test_a_name_that_leads_inside_needs_the_operators_word(run: Run, server: Any) -> None:
    """Granted as a name, and as a private one."""
    host = f"localhost:{server.port}"

    outcome, path = run(FETCH, f"http://{host}/in", host, private_hosts=(host,))

    assert outcome.entry is not None
    assert (outcome.entry.status, path.read_text()) == ("success", "/in"), outcome


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("http://localhost:{port}/", "no public address"),
        ("http://127.0.0.1:1/", "not granted"),
        ("http://example.org/", "not granted"),
        ("ftp://127.0.0.1:{port}/", "no http or https address"),
    ],
)
def test_what_is_not_granted_is_told_to_the_plugin(run: Run, server: Any, url: str, error: str) -> None:
    """In words that its author understands; and the workspace stays."""
    outcome, path = run(FETCH, url.format(port=server.port), f"127.0.0.1:{server.port}", f"localhost:{server.port}")

    assert outcome.entry is not None
    assert outcome.entry.status == "failed"
    assert error in (outcome.entry.error or "")
    assert path.read_text() == "initial"
    assert server.heard == []


def test_more_than_was_granted_is_a_limit_with_a_name(run: Run, server: Any) -> None:
    """The entry says which number to raise."""
    host = f"127.0.0.1:{server.port}"

    outcome, _ = run(FETCH, f"http://{host}/size/1500000", host)

    assert outcome.entry is not None
    assert (outcome.entry.status, outcome.entry.limit) == ("failed", "network_mb"), outcome
    assert outcome.entry.isolation.network[0].verdict == "cut"


def test_without_hosts_there_is_no_way_out(run: Run, server: Any) -> None:
    """And it is said what to do about it."""
    outcome, _ = run(FETCH, f"http://127.0.0.1:{server.port}/")

    assert outcome.entry is not None
    assert "name the host in isolation.hosts" in (outcome.entry.error or "")


def test_a_host_that_the_operator_took_back_refuses_the_call(run: Run, server: Any) -> None:
    """A record may be older than the operator's file."""
    host = f"127.0.0.1:{server.port}"

    outcome, _ = run(FETCH, f"http://{host}/", host, hosts=())

    assert outcome.entry is not None
    assert outcome.entry.status == "sandbox_unavailable"
    assert "is not granted; name it under `hosts`" in (outcome.entry.error or "")


def test_the_standard_tier_leads_nowhere(run: Run, server: Any) -> None:
    """Without a network namespace, the sockets that the way out needs would reach the host's own."""
    host = f"127.0.0.1:{server.port}"

    outcome, _ = run(FETCH, f"http://{host}/", host, tier="standard", allow_degraded=("disk_quota", "uts_namespace"))

    assert outcome.entry is not None
    assert outcome.entry.status == "sandbox_unavailable"
    assert "asks for hosts, which are reached from an empty network alone" in (outcome.entry.error or "")


def test_an_encrypted_host_that_nobody_vouches_for_is_refused(run: Run, tmp_path: Path) -> None:
    """TLS is spoken from within, and checked there: the proxy sees bytes alone."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("openssl is not installed, which makes the certificate; it is in Debian's package openssl")
    names = ("-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "certificate"))
    subject = ("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1")
    subprocess.run(
        [program, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", *names, *subject],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate", tmp_path / "key")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_shake_hands, args=(listener, context))
        thread.start()
        host = f"127.0.0.1:{listener.getsockname()[1]}"

        outcome, _ = run(FETCH, f"https://{host}/", host)

        thread.join()
    assert outcome.entry is not None
    assert outcome.entry.status == "failed"
    assert "CERTIFICATE_VERIFY_FAILED" in (outcome.entry.error or "")
    assert outcome.entry.isolation.network[0].verdict == "connected"


def _shake_hands(listener: socket.socket, context: ssl.SSLContext) -> None:
    client, _ = listener.accept()
    with client, contextlib.suppress(OSError):
        context.wrap_socket(client, server_side=True).close()
