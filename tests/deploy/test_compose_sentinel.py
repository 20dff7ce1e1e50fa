"""The compose file of Sentinels: its addresses are read as they stand, and its servers' words are taken by real ones.

The containers themselves are not started here.
"""

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.embedded_binary import bundled_path, find_server
from orchestrator.store.fitness import check_broker_url
from orchestrator.store.sentinel import parse_sentinels
from tests.architecture.source_tree import ROOT
from tests.deploy.drills.lab import wait_until
from tests.ports import free_port

COMPOSE = ROOT / "deploy" / "compose"
SERVICES = yaml.safe_load((COMPOSE / "sentinel.yaml").read_text(encoding="utf-8"))["services"]
SENTINELS = ["sentinel-1", "sentinel-2", "sentinel-3"]


def test_every_process_finds_its_server_by_all_the_sentinels() -> None:
    """One that names a Sentinel that is not there would believe two of two."""
    everybody = yaml.safe_load((COMPOSE / "compose.yaml").read_text(encoding="utf-8"))["services"]

    assert set(SERVICES) - set(everybody) == {"redis-replica", *SENTINELS}
    for name in set(everybody) - {"redis"}:
        given = SERVICES[name]["environment"]
        store = parse_sentinels(given["BATON_REDIS_URL"])
        broker = parse_sentinels(given["BATON_BROKER_URL"], what="broker URL")
        check_broker_url(given["BATON_BROKER_URL"])
        assert [host for host, _ in store.hosts] == [host for host, _ in broker.hosts] == SENTINELS
        assert (store.name, store.db, broker.name, broker.db) == ("main", 0, "main", 1)
        assert set(SERVICES[name]["depends_on"]) == {"redis-replica", *SENTINELS}


@contextmanager
def server(folder: Path, *words: str) -> Iterator[None]:
    """Lend a server with these words."""
    folder.mkdir(exist_ok=True)
    with subprocess.Popen([str(find_server().path), *words, "--loglevel", "warning"], cwd=folder) as process:
        try:
            yield
        finally:
            process.terminate()
            process.wait(timeout=60)


def ask(port: int, *words: str) -> Any:
    """Ask a server; None while it is not there."""
    import redis

    with redis.Redis(port=port, decode_responses=True) as client:
        try:
            return client.execute_command(*words)
        except redis.ConnectionError:
            return None


@pytest.mark.integration
@pytest.mark.skipif(bundled_path() is None, reason="no server is bundled for this platform")
def test_real_servers_take_the_words_as_they_stand(tmp_path: Path) -> None:
    """Only names and ports are put in place: the Sentinel finds the primary, its replica, and that the replica could take over."""
    ports = {"redis": free_port(), "redis-replica": free_port()}
    sentinel = free_port()
    script = SERVICES["sentinel-1"]["command"][2]
    config = script.partition("<<END\n")[2].partition("END\n")[0]
    config = config.replace("port 26379", f"port {sentinel}").replace("/data", str(tmp_path))
    (tmp_path / "sentinel.conf").write_text(config.replace("redis 6379 2", f"127.0.0.1 {ports['redis']} 1"))
    with ExitStack() as running:
        for name, port in ports.items():
            words = [
                word.replace("redis 6379", f"127.0.0.1 {ports['redis']}")
                for word in SERVICES[name]["command"][1:]
                if word
                not in {"--replica-announce-ip", *ports}  # names that are known in the containers' network alone
            ]
            running.enter_context(server(tmp_path / name, *words, "--port", str(port)))
            wait_until(lambda port=port: ask(port, "PING"), f"{name} answers")
        running.enter_context(server(tmp_path, str(tmp_path / "sentinel.conf"), "--sentinel"))

        def replicas() -> list[dict[str, str]]:
            rows = ask(sentinel, "SENTINEL", "REPLICAS", "main") or []
            return [row if isinstance(row, dict) else dict(zip(row[::2], row[1::2], strict=True)) for row in rows]

        found = wait_until(
            lambda: [one for one in replicas() if one["master-link-status"] == "ok"], "the replica is seen"
        )
        primary = ask(sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main")

    assert "exec valkey-server /data/sentinel.conf --sentinel" in script
    assert [int(one["port"]) for one in found] == [ports["redis-replica"]], json.dumps(found)
    assert int(primary[1]) == ports["redis"]
