"""TLS as a server itself speaks it, with its replication and its Sentinels over TLS, too: found, followed, and its clients known.

The bundled server is built without TLS, so this wants a `redis-server` or `valkey-server` of the system. What Baton does with
trust and without it is test_tls.py's.
"""

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from orchestrator.contracts.errors import StoreUnreachable
from orchestrator.store import sentinel as sentinel_module
from orchestrator.store.fitness import check_store
from orchestrator.store.store import Store
from orchestrator.store.wire import ServerRefused, Wire
from tests.certificates import Authority
from tests.chaos.fleet import pause
from tests.chaos.run import make_folder
from tests.chaos.servers import Servers
from tests.ports import free_port

PROGRAM = shutil.which("redis-server") or shutil.which("valkey-server")
SENTINELS = 3

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(400),
    pytest.mark.skipif(PROGRAM is None, reason="no redis-server is installed; it is in Debian's package redis-server"),
]


class Group(Servers):
    """A primary, a replica and Sentinels that listen with TLS alone, and want certificates of whoever comes."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._authority = Authority(folder)
        self._own, mine = self._authority.sign("server", "127.0.0.1"), self._authority.sign("client")
        self.ports = [free_port(), free_port()]
        self.sentinels = [free_port() for _ in range(SENTINELS)]
        self.trust = f"ssl_ca_certs={self._authority.ca}"
        self.options = f"{self.trust}&ssl_certfile={mine.certificate}&ssl_keyfile={mine.key}"
        places = ",".join(f"127.0.0.1:{port}" for port in self.sentinels)
        self.url = f"rediss+sentinel://{places}/main?{self.options}"

    def _start(self, port: int, more: str, *words: str) -> None:
        config = self.folder / f"{port}.conf"
        config.write_text(
            f"port 0\ntls-port {port}\nbind 127.0.0.1\ndir {self.folder}\ntls-replication yes\ntls-auth-clients yes\n"
            f"tls-cert-file {self._own.certificate}\ntls-key-file {self._own.key}\n"
            f"tls-ca-cert-file {self._authority.ca}\nlogfile {self.folder}/{port}.log\n{more}\n"
        )
        self.processes[port] = subprocess.Popen([str(PROGRAM), str(config), *words], stdin=subprocess.DEVNULL)

    async def begin(self) -> None:
        """Start everything, and wait until the Sentinels know the replica and each other."""
        first, second = self.ports
        only = 'appendonly no\nsave ""\nrepl-diskless-sync-delay 0\n'
        self._start(first, only)
        if not await self._is_up(first):
            pytest.skip(f"{PROGRAM} is built without TLS: {(self.folder / f'{first}.log').read_text()[-200:]}")
        self._start(second, f"{only}replicaof 127.0.0.1 {first}")
        for port in self.sentinels:
            self._start(
                port,
                f"sentinel monitor main 127.0.0.1 {first} 2\nsentinel down-after-milliseconds main 6000\n"
                "sentinel failover-timeout main 5000",
                "--sentinel",
            )
        await self.until(second, "master_link_status:up")
        for port in self.sentinels:
            await self.until(port, f"slaves=1,sentinels={SENTINELS}")

    async def _is_up(self, port: int) -> bool:
        for _ in range(200):
            if self.processes[port].poll() is not None:
                return False
            if await self._info(port):
                return True
            await pause(0.05)
        return False

    async def _info(self, port: int) -> str:
        wire = Wire(f"rediss://127.0.0.1:{port}/0?{self.options}")
        try:
            return str(await wire.command("INFO"))
        except (StoreUnreachable, ServerRefused):
            return ""
        finally:
            await wire.aclose()

    async def until(self, port: int, words: str) -> None:
        """Wait until a process says this of itself."""
        async with asyncio.timeout(120):
            while words not in await self._info(port):
                await pause(0.1)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Sentinel that the machine holds up is waited for: here each of them counts."""
    monkeypatch.setattr(sentinel_module, "ASK_SECONDS", 60.0)
    monkeypatch.setattr(sentinel_module, "OTHERS_SECONDS", 60.0)


@asynccontextmanager
async def group_of_its_own() -> AsyncIterator[Group]:
    """Lend a group."""
    with make_folder() as folder:
        group = Group(folder)
        try:
            await group.begin()
            yield group
        finally:
            group.close()


async def port_of(store: Store) -> int:
    """Return the port of the server that a store is connected to."""
    return int((await store.command("CONFIG", "GET", "tls-port"))[1])


def test_a_group_that_speaks_tls_alone_is_found_and_followed() -> None:
    """Sentinels and servers that take no other word, and no client without a certificate."""

    async def play() -> None:
        async with group_of_its_own() as group:
            store = Store(group.url, patience_seconds=120)
            assert await port_of(store) == group.ports[0]
            assert await store.command("SET", "kept", "yes") == "OK"
            while await store.command("WAIT", 1, 5000) < 1:
                pass

            await group.kill(group.ports[0])

            assert await store.command("SET", "after", "too") == "OK"
            assert await port_of(store) == group.ports[1]
            assert await store.command("GET", "kept") == "yes"
            await store.aclose()

    asyncio.run(play())


def test_what_a_sentinel_does_not_say_is_told_at_the_start() -> None:
    """A failover needs most of them, and nobody else looks after them."""

    async def play() -> None:
        async with group_of_its_own() as group:
            store = Store(group.url)
            assert not [line for line in await check_store(store) if "Sentinel" in line]

            await group.kill(group.sentinels[1])

            [warning] = [line for line in await check_store(store) if "Sentinel" in line]
            assert f"1 of 3 Sentinels does not say that 127.0.0.1:{group.ports[0]} is the primary" in warning
            assert f"127.0.0.1:{group.sentinels[1]} (connection refused)" in warning
            await store.aclose()

    asyncio.run(play())


def test_a_client_without_a_certificate_is_told_what_is_missing() -> None:
    """The server says so in TLS's own words, behind the handshake."""

    async def play() -> None:
        async with group_of_its_own() as group:
            for url in (f"rediss://127.0.0.1:{group.ports[0]}/0", group.url.partition("?")[0]):
                store = Store(f"{url}?{group.trust}", patience_seconds=1)
                with pytest.raises(StoreUnreachable, match=r"does it want a certificate of ours \(ssl_certfile\)\?"):
                    await store.command("PING")
                await store.aclose()

    asyncio.run(play())
