"""TLS between Baton and its servers: what is trusted, what is refused, and in which words.

Real servers and Sentinels behind ends of TLS (tests/tls_stage.py).
"""

import asyncio
import shutil
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import ExitStack, aclosing, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
from kombu import Connection
from redis.exceptions import ConnectionError as RedisConnectionError

from orchestrator.contracts.errors import ConfigError, StoreUnreachable, StoreUntrusted
from orchestrator.embedded import RunningServer, broker_beside
from orchestrator.embedded_binary import bundled_path
from orchestrator.installed import load_installed_apps
from orchestrator.scheduler import Scheduler
from orchestrator.settings import load_settings
from orchestrator.store import tls as tls_module
from orchestrator.store import wire as wire_module
from orchestrator.store.durability import Durability
from orchestrator.store.readiness import wait_until_writable
from orchestrator.store.store import Store
from orchestrator.wiring import build_client
from tests.certificates import Authority, Pem, server_context
from tests.chaos.cluster import ClusterOfServers
from tests.chaos.fleet import pause
from tests.chaos.run import make_folder
from tests.integration.test_drained_worker import NoWakeups
from tests.integration.test_servers_in_trouble import running, variables
from tests.ports import free_port
from tests.tls_stage import TlsEnd, TlsPair, tls_pair
from workers.broker_url import plan_broker
from workers.cancelling import CancelPush

if TYPE_CHECKING:
    from workers.executor import Executor
    from workers.heartbeat import Heartbeat

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(400),
    pytest.mark.skipif(bundled_path() is None, reason="no server is bundled for this platform"),
]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Lend an authority that no system knows."""
    return Authority(tmp_path)


@pytest.fixture
def here(authority: Authority) -> Pem:
    """Lend the certificate of whoever listens on this machine, by its address alone."""
    return authority.sign("here", "127.0.0.1")


@asynccontextmanager
async def end_of(port: int, files: Pem, *, clients_of: Authority | None = None) -> AsyncIterator[TlsEnd]:
    """Lend a TLS end in front of a server."""
    async with TlsEnd(port, server_context(files, clients_of=clients_of)).open() as end:
        yield end


@asynccontextmanager
async def plain_server() -> AsyncIterator[int]:
    """Lend the port of a server that speaks no TLS."""
    with make_folder() as folder:
        pair = TlsPair(folder)
        port = free_port()
        try:
            pair.start(port, "--save", "", "--bind", "127.0.0.1")
            store = Store(f"redis://127.0.0.1:{port}/0")
            await store.command("PING")
            await store.aclose()
            yield port
        finally:
            pair.close()


async def ask(url: str, *, patience_seconds: float = 20) -> str:
    """Return what a server answers to a first word, over a connection of its own."""
    store = Store(url, patience_seconds=patience_seconds)
    try:
        return str(await store.command("PING"))
    finally:
        await store.aclose()


async def ask_once(url: str, *words: str) -> None:
    """Say one thing to a server."""
    store = Store(url)
    await store.command(*words)
    await store.aclose()


def test_sessions_run_under_sentinels_over_tls_and_outlive_a_failover(authority: Authority, here: Pem) -> None:
    """Store and broker ask the Sentinels over TLS, speak TLS to the server that they name, and to the next one."""

    async def play(folder: Path) -> tuple[list[str | None], list[int]]:
        client_files = authority.sign("client")
        options = (
            f"db=0&ssl_ca_certs={authority.ca}&ssl_certfile={client_files.certificate}&ssl_keyfile={client_files.key}"
        )
        async with tls_pair(folder, server_context(here, clients_of=authority)) as pair:
            url = pair.url_with(options)
            env = variables(
                RunningServer.model_construct(url=url, broker_url=broker_beside(url)),
                BATON_STORE_DURABILITY="wait",
                BATON_STORE_PATIENCE_SECONDS="120",
            )
            settings = load_settings(env=env)
            with ExitStack() as processes:
                for kind in ("worker", "scheduler"):
                    processes.enter_context(running(kind, folder / kind, env))
                async with aclosing(build_client(settings, url, load_installed_apps(settings))) as client:
                    ids = [(await client.submit("bench_loop", overrides={"of": 3}, actor="ada")).session_id]
                    await client.wait_for(ids, seconds=200)
                    await pair.until_follows(pair.ports[1])
                    await pair.kill_primary()
                    ids += [(await client.submit("bench_loop", overrides={"of": 3}, actor="ada")).session_id]
                    ended = await client.wait_for(ids, seconds=200)
            return [record.status for record in ended.values()], [pair.ends[port].met for port in pair.ends]

    with make_folder() as folder:
        statuses, met = asyncio.run(play(folder))

        assert statuses == ["done", "done"], (folder / "worker").read_text()
        assert all(met), "each server and each Sentinel was spoken to over TLS"


def test_an_authority_that_is_not_named_is_not_trusted(tmp_path: Path, here: Pem) -> None:
    """At once, with what to do about it: it will be as unknown in twenty seconds."""
    other = Authority(tmp_path, "other")

    async def play() -> None:
        async with plain_server() as port, end_of(port, here) as end:
            for option in ("", f"?ssl_ca_certs={other.ca}"):
                with pytest.raises(
                    StoreUntrusted, match=rf":{end.port}: its certificate is not trusted .*ssl_ca_certs="
                ):
                    await ask(f"rediss://127.0.0.1:{end.port}/0{option}", patience_seconds=600)

    asyncio.run(play())


def test_a_certificate_of_another_name_is_refused(authority: Authority, here: Pem) -> None:
    """Whoever holds any certificate of the authority could stand in the middle."""

    async def play() -> None:
        async with plain_server() as port, end_of(port, here) as end:
            assert await ask(f"rediss://127.0.0.1:{end.port}/0?ssl_ca_certs={authority.ca}") == "PONG"
            with pytest.raises(StoreUntrusted, match="its certificate is somebody else's"):
                await ask(f"rediss://localhost:{end.port}/0?ssl_ca_certs={authority.ca}")

    asyncio.run(play())


def test_a_server_that_wants_a_certificate_gets_ours(authority: Authority, here: Pem) -> None:
    """It says so behind the handshake; without one it is told what is missing."""
    mine = authority.sign("client")

    async def play() -> None:
        async with plain_server() as port, end_of(port, here, clients_of=authority) as end:
            url = f"rediss://127.0.0.1:{end.port}/0?ssl_ca_certs={authority.ca}"
            assert await ask(f"{url}&ssl_certfile={mine.certificate}&ssl_keyfile={mine.key}") == "PONG"
            with pytest.raises(StoreUnreachable, match=r"does it want a certificate of ours \(ssl_certfile\)\?"):
                await ask(url, patience_seconds=1)

    asyncio.run(play())


@pytest.mark.parametrize("password", ["", "secret"])
def test_a_server_without_tls_is_told_as_that(authority: Authority, password: str) -> None:
    """It takes the handshake for a command whose end it waits for: nobody waits for it to the end of their patience."""

    async def play() -> None:
        async with plain_server() as port:
            if password:
                await ask_once(f"redis://127.0.0.1:{port}/0", "CONFIG", "SET", "requirepass", password)
            with pytest.raises(StoreUntrusted, match=rf"127.0.0.1:{port}: what answers there speaks no TLS"):
                await ask(
                    f"rediss://:{password or 'any'}@127.0.0.1:{port}/0?ssl_ca_certs={authority.ca}",
                    patience_seconds=100,
                )

    asyncio.run(play())


@pytest.mark.parametrize("how", ["silent", "strange", "gone"])
def test_who_does_not_answer_in_plain_words_is_waited_for(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """A server that hangs, or another protocol's, may be a slow handshake: that it speaks no TLS nobody knows."""
    monkeypatch.setattr(wire_module, "CONNECT_SECONDS", 3.0)
    monkeypatch.setattr(tls_module, "HANDSHAKE_SECONDS", 0.01)
    monkeypatch.setattr(tls_module, "PLAIN_SECONDS", 1.0)
    words: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        words.append(await reader.read(6))
        if words[-1] == b"PING\r\n" and how == "strange":
            writer.write(b"HTTP/1.1 400 Bad Request\r\n")
        if words[-1] == b"PING\r\n" and how == "gone":
            writer.close()
        await reader.read()
        writer.close()

    async def play() -> None:
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(StoreUnreachable, match="does it speak TLS there") as told:
                await ask(f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={authority.ca}", patience_seconds=0)
            assert not isinstance(told.value, StoreUntrusted)
            async with asyncio.timeout(60):
                while b"PING\r\n" not in words:  # it has yet to read it
                    await pause(0.01)

    asyncio.run(play())


def test_sentinels_that_cannot_be_trusted_are_not_asked(tmp_path: Path, authority: Authority, here: Pem) -> None:
    """Each of them is named, with its reason; and plain ones are no Sentinels for whoever wants TLS, nor the other way round."""
    other = Authority(tmp_path, "other")

    async def play(folder: Path) -> None:
        async with tls_pair(folder, server_context(here)) as pair:
            assert await ask(pair.url_with(f"ssl_ca_certs={authority.ca}")) == "PONG"
            with pytest.raises(
                StoreUntrusted, match=r"no Sentinel names a primary \(Sentinel .*not trusted"
            ) as refused:
                await ask(pair.url_with(f"ssl_ca_certs={other.ca}"))
            assert all(f":{pair.ends[port].port}:" in str(refused.value) for port in pair.sentinels)
            with pytest.raises(StoreUntrusted, match="what answers there speaks no TLS"):
                await ask(pair.url.replace("sentinel:", "rediss+sentinel:"), patience_seconds=100)
            with pytest.raises(StoreUnreachable, match="no Sentinel"):
                await ask(pair.url_with("db=0", scheme="sentinel"), patience_seconds=1)

    with make_folder() as folder:
        asyncio.run(play(folder))


def test_a_cluster_is_spoken_to_over_tls(authority: Authority, here: Pem) -> None:
    """Its files of TLS are those of every server, also of those that it names itself."""

    async def play(folder: Path) -> None:
        cluster = ClusterOfServers(folder, masters=1)
        try:
            await cluster.begin()
            [port] = cluster.ports
            async with end_of(port, here) as end:
                store = Store(f"redis://127.0.0.1:{port}/0")
                await store.command("CONFIG", "SET", "cluster-announce-port", end.port)
                await store.aclose()
                secure = Store(
                    f"rediss+cluster://127.0.0.1:{end.port}?ssl_ca_certs={authority.ca}", durability=Durability()
                )
                assert await secure.command("SET", "a", "b") == "OK"
                await secure.aclose()
                with pytest.raises(StoreUntrusted, match=r"no server of the cluster answers: .*not trusted"):
                    await ask(f"rediss+cluster://127.0.0.1:{end.port}")
        finally:
            cluster.close()

    with make_folder() as folder:
        asyncio.run(play(folder))


def knock(url: str) -> None:
    """Connect to a broker as Celery does, with what it is told of this URL."""
    plan = plan_broker(url, {})
    with Connection(plan.url, ssl=plan.use_ssl, transport_options={**plan.transport_options}) as connection:
        if plan.is_redis:
            assert connection.channel().client.ping()
        else:
            connection.connect()


def test_celery_checks_whom_it_connects_to(tmp_path: Path, authority: Authority, here: Pem) -> None:
    """By itself it would not, for a bare rediss://, nor look at the name for amqps://."""
    known, other = f"ssl_ca_certs={authority.ca}", f"ssl_ca_certs={Authority(tmp_path, 'other').ca}"

    async def play() -> None:
        async with plain_server() as port, end_of(port, here) as end:
            await asyncio.to_thread(knock, f"rediss://127.0.0.1:{end.port}/0?{known}")
            for scheme, refusal in (("rediss", RedisConnectionError), ("amqps", ssl.SSLCertVerificationError)):
                for host, options in (("127.0.0.1", ""), ("127.0.0.1", other), ("localhost", known)):
                    url = f"{scheme}://{host}:{end.port}/0{'?' if options else ''}{options}"
                    with pytest.raises(refusal, match="CERTIFICATE_VERIFY_FAILED"):
                        await asyncio.to_thread(knock, url)

    asyncio.run(play())


def test_celery_asks_sentinels_over_tls(tmp_path: Path, authority: Authority, here: Pem) -> None:
    """Its connections to them are others than those to the servers. Where they are not trusted, a process that is about to
    start says so itself: Celery tries for minutes, and then says that there is no primary.
    """  # noqa: D205 - one sentence
    other = Authority(tmp_path, "other")

    async def play(folder: Path) -> None:
        async with tls_pair(folder, server_context(here)) as pair:
            await asyncio.to_thread(knock, pair.url_with(f"ssl_ca_certs={authority.ca}"))
            with pytest.raises(StoreUntrusted, match=r"^broker: no Sentinel .*not trusted"):
                await wait_until_writable(pair.url_with(f"ssl_ca_certs={other.ca}"), "broker")

    with make_folder() as folder:
        asyncio.run(play(folder))


def test_renewed_files_need_no_restart(tmp_path: Path, authority: Authority, here: Pem) -> None:
    """A process that lives for months sees its authority change: it reads the file anew, and waits where it is away."""
    trusted, other = tmp_path / "trusted.pem", Authority(tmp_path, "other")
    theirs = other.sign("theirs", "127.0.0.1")
    shutil.copy(authority.ca, trusted)

    async def play() -> None:
        async with plain_server() as port:
            async with end_of(port, here) as end:
                store = Store(f"rediss://127.0.0.1:{end.port}/0?ssl_ca_certs={trusted}")
                assert await store.command("PING") == "PONG"
            trusted.unlink()
            async with TlsEnd(port, server_context(theirs), port=end.port).open():
                waiting = asyncio.ensure_future(store.command("PING"))
                await pause(0.5)
                assert not waiting.done()
                shutil.copy(other.ca, trusted)

                assert await waiting == "PONG"
            await store.aclose()

    asyncio.run(play())


def test_whoever_listens_or_meets_a_new_master_waits_for_files_that_are_gone(
    tmp_path: Path, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that is being written anew just when a connection is lost ends no worker, and leaves no scheduler without its bell."""
    trusted = tmp_path / "trusted.pem"
    shutil.copy(authority.ca, trusted)
    caplog.set_level("DEBUG")

    def said(words: str) -> set[str]:
        return {record.name for record in caplog.records if words in record.getMessage()}

    async def play(port: int) -> None:
        url, settings = f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={trusted}", load_settings(env={})
        async with (
            aclosing(build_client(settings, url, {})) as client,
            aclosing(Store(f"rediss+cluster://127.0.0.1:{port}?ssl_ca_certs={trusted}", patience_seconds=0)) as cluster,
        ):
            scheduler = Scheduler("s", client.store, client, NoWakeups(), settings, {})
            push = CancelPush(url, cast("Executor", None), cast("Heartbeat", None))
            listening = [asyncio.ensure_future(work) for work in (push.listen_forever(), scheduler._listen())]
            while len(said("refused")) < len(listening):
                await pause(0.05)
            trusted.unlink()
            while len(said("put them back")) < len(listening):
                assert not any(task.done() for task in listening)
                await pause(0.05)

            with pytest.raises(StoreUnreachable, match="put them back"):
                await cluster.command("PING")

            for task in listening:
                task.cancel()
            await asyncio.gather(*listening, return_exceptions=True)

    with socket.socket() as closed:  # bound, so that nobody else is there, and nobody listens
        closed.bind(("127.0.0.1", 0))
        asyncio.run(play(closed.getsockname()[1]))


def test_files_that_cannot_be_used_are_refused_at_once(tmp_path: Path, authority: Authority) -> None:
    """By name, before anything is connected: none of them mends itself."""
    nothing, empty, key = tmp_path / "nothing.pem", tmp_path / "empty.pem", authority.sign("client").key
    empty.write_text("")

    for options, message in (
        (f"ssl_ca_certs={nothing}", "nothing.pem: No such file or directory; name a PEM file of certificates"),
        (f"ssl_ca_certs={empty}", "empty.pem: .*; name a PEM file of certificates"),
        (f"ssl_certfile={authority.ca}&ssl_keyfile={key}", "name PEM files of a certificate and its key"),
    ):
        for url in ("rediss://a/0", "rediss+sentinel://a/main", "rediss+cluster://a"):
            with pytest.raises(ConfigError, match=message):
                Store(f"{url}?{options}")
