"""Everybody but us: the raw floor and Celery in its pools, each as processes that wait for a round.

A round puts its whole load in line first and starts the clock when the processes may begin; it
ends when the last task of the last chain has run. So nobody is measured while publishing.
"""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from celery import chain
from celery.canvas import Signature
from redis import Redis

from bench import _peers
from bench._harness import ROOT, Children, halted
from orchestrator.embedded import RunningServer

UP_SECONDS, ROUND_SECONDS = 30.0, 120


class Floor:
    """Two processes that do nothing but one script a step."""

    def __init__(self, server: RunningServer, *, sessions: int, steps: int, state_bytes: int) -> None:
        self._steps = sessions * steps
        self._rounds = 0
        each = sessions // 2
        self._processes = [
            subprocess.Popen(
                [sys.executable, "-P", str(ROOT / "bench" / "_floor.py"), server.url, name, str(each), str(steps),
                 str(state_bytes)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for name in ("a", "b")
        ]  # fmt: skip
        for process in self._processes:
            self._answer(process)

    @staticmethod
    def _answer(process: "subprocess.Popen[str]") -> list[str]:
        assert process.stdout is not None
        words = process.stdout.readline().split()
        if not words:
            raise RuntimeError("bench: a process of the floor ended; see what it wrote above")
        return words

    def round(self) -> float:
        """Return the steps a second of both together."""
        self._rounds += 1
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(f"{self._rounds}\n")
            process.stdin.flush()
        times = [tuple(map(float, self._answer(process))) for process in self._processes]
        return self._steps / (max(end for _, end in times) - min(begin for begin, _ in times))

    def close(self) -> None:
        """End both."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(10)


class CeleryPeer:
    """Celery's own worker command in one pool; `workers` processes of it."""

    def __init__(
        self, started: Children, server: RunningServer, *, pool: str, concurrency: int, workers: int = 1
    ) -> None:
        log = Path(server.state_dir) / f"celery-{pool}-{concurrency}.log"
        env = {"BENCH_BROKER": _broker(server), "BENCH_STORE": server.url}
        self._children = started
        self._log = log
        self._client = Redis.from_url(server.url, socket_timeout=ROUND_SECONDS + 5)
        _peers.app.conf.broker_url = _broker(server)
        self.processes = [
            started.start(
                ["-m", "celery", "-A", "bench._peers", "worker", "-P", pool, "-c", str(concurrency),
                 "-n", f"{pool}{number}@bench", "--loglevel", "INFO"],
                log=log,
                env=env,
            )
            for number in range(workers)
        ]  # fmt: skip

    def wait_until_up(self) -> None:
        """Wait until every worker has said that it is ready."""
        deadline = time.monotonic() + UP_SECONDS
        while self._log.read_text().count(" ready.") < len(self.processes):
            if time.monotonic() > deadline or any(process.poll() is not None for process in self.processes):
                raise RuntimeError(f"bench: Celery did not start; its log says:\n{self._log.read_text()[-2000:]}")
            time.sleep(0.05)

    def chains(
        self, count: int, length: int, link: Callable[[int], Signature], last: Callable[[int], Signature]
    ) -> float:
        """Run so many chains of tasks; return the tasks a second."""
        return self._round(
            count, count * length, lambda one: chain(*[link(one)] * (length - 1), last(one)).apply_async()
        )

    def self_enqueue(self, count: int, length: int) -> float:
        """Run so many tasks that send their successors themselves."""
        return self._round(count, count * length, lambda _: _peers.again.delay(length, count))

    def noops(self, count: int, length: int) -> float:
        """Run chains of tasks that do nothing."""
        return self.chains(count, length, lambda _: _peers.noop.si(), lambda _: _peers.noop.si(total=count))

    def locked(self, count: int, length: int, *, state_bytes: int) -> float:
        """Run chains of tasks that work on a state under a lock."""
        for one in range(count):
            self._client.set(f"peers:state:{one}", "x" * state_bytes)
        return self.chains(
            count, length, lambda one: _peers.locked.si(str(one)), lambda one: _peers.locked.si(str(one), total=count)
        )

    def naps(self, count: int, length: int, *, seconds: float) -> float:
        """Run chains of tasks that wait."""
        return self.chains(
            count, length, lambda _: _peers.nap.si(seconds), lambda _: _peers.nap.si(seconds, total=count)
        )

    def _round(self, count: int, tasks: int, publish: Callable[[int], object]) -> float:
        self._client.delete(_peers.COUNT, _peers.ENDED)
        with ExitStack() as standing:
            for process in self.processes:
                standing.enter_context(halted(process))
            for one in range(count):
                publish(one)
            began = time.time()
        ended = self._client.blpop([_peers.ENDED], timeout=ROUND_SECONDS)
        if ended is None:
            raise TimeoutError(f"bench: Celery's round did not end within {ROUND_SECONDS} s; see {self._log}")
        return tasks / (float(ended[1]) - began)

    def close(self) -> None:
        """End its workers at once: SIGQUIT is Celery's cold shutdown, which ends a pool's children too."""
        self._children.end(*self.processes, by=signal.SIGQUIT)
        self._client.close()


def _broker(server: RunningServer) -> str:
    return server.broker_url.rsplit("virtual_host=", 1)[0] + "virtual_host=3"
