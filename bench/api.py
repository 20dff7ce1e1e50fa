"""What the HTTP API takes: requests, event streams, lists.

    requests   submit and get over 16 connections that stay open: requests a second, p50 and p99
    streams    1,000 clients (200 with --quick), each with a session of its own: memory for each in the
               API's process, processor time while nothing happens, and the time until all are told
    lists      a page of 50 sessions, the first and the one behind it, among 1,000 sessions and among
               1,000,000 (100,000 with --quick)

One process of `baton api` over the bundled server; the client is one more Python process on the same
machine and takes its share of the cores. Of the sessions of the last part all but 500 are there
in the index alone: lists read it, and no more records than they show. Both stand in the same five groups (app and phase or status).
"""

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench._fleet import ACTOR, APP, variables
from bench._harness import ROOT, Options, Report, Target, children, parse_options, percentile, say
from bench._usage import cpu_seconds, memory
from orchestrator.app_loader import load_app
from orchestrator.client import Client
from orchestrator.contracts.ids import partition_of
from orchestrator.embedded import RunningServer, temporary
from orchestrator.store.store import Store

CONNECTIONS, PAGE, KNOWN = 16, 50, 500
#: Connections that are opened at once: more would be measured by the backlog of the listening socket.
OPENED_AT_ONCE = 50
TARGETS = (
    Target("listing_growth", 1.5, "at_most"),
    Target("stream_client_bytes", 65_536, "at_most"),
)


class Connection:
    """One connection that stays open: requests one after the other, with as little of a client as will do."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    async def open(self) -> "Connection":
        """Connect."""
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    def send(self, method: str, path: str, body: bytes = b"") -> None:
        """Write a request."""
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\n"
        if body:
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        self.writer.write(head.encode() + b"\r\n" + body)

    async def ask(self, method: str, path: str, body: bytes = b"") -> bytes:
        """Make a request and return the answer's body; raise RuntimeError where it is refused."""
        self.send(method, path, body)
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line[:15].lower() == b"content-length:")
        answer = await self.reader.readexactly(length)
        if head[9:10] != b"2":
            raise RuntimeError(f"bench: {method} {path}: {answer.decode()[:500]}")
        return answer

    async def close(self) -> None:
        """Close it."""
        self.writer.close()
        await self.writer.wait_closed()


async def measure(report: Report, server: RunningServer, folder: Path, options: Options) -> None:
    """Fill the report."""
    requests, clients, many = (1_000, 200, 100_000) if options.quick else (10_000, 1_000, 1_000_000)
    report.method |= {"requests": requests, "stream_clients": clients, "sessions_in_lists": many, "page": PAGE}
    spec = load_app(ROOT / "bench" / "apps" / APP)
    client = Client(Store(server.url), {spec.name: spec})
    with children() as started:
        try:
            env = {
                **variables(server, lanes=1),
                "BATON_STATE_DIR": str(folder),
                "BATON_API_REQUESTS_PER_SECOND": "100000",
                "BATON_API_REQUESTS_BURST": "1000000",
            }
            args = ("-m", "orchestrator.interfaces.cli.main", "api", "--port", "0", "-o", "json")
            said = folder / "api.log"
            child = started.start(args, log=said, env=env)
            port = await asyncio.to_thread(find_port, said)
            report.put("memory", "api_rss_bytes", memory(child.pid).rss)
            known = await measure_requests(report, port, requests)
            await measure_streams(report, port, child.pid, known[:clients])
            await measure_lists(report, client, port, many)
        finally:
            await client.aclose()


def find_port(said: Path) -> int:
    """Return the port that the API's first line tells."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        text = said.read_text(encoding="utf-8") if said.exists() else ""
        if (line := next((line for line in text.splitlines() if line.startswith('{"')), "")) and line.endswith("}"):
            return int(str(json.loads(line)["api"]["url"]).rpartition(":")[2])
        time.sleep(0.05)
    raise RuntimeError(f"bench: the API does not start: {text[-2000:]}")


async def measure_requests(report: Report, port: int, requests: int) -> list[str]:
    """Submit sessions and get them again; return their ids."""
    lines = [await Connection(port).open() for _ in range(CONNECTIONS)]
    body = json.dumps({"app": APP, "text": "look", "state": {"pad": "x" * 900}}).encode()
    made: list[str] = []

    async def submit(line: Connection, number: int) -> None:
        answer = json.loads(await line.ask("POST", "/v1/sessions", body))
        if number >= 0:
            made.append(answer["session_id"])

    async def get(line: Connection, number: int) -> None:
        await line.ask("GET", f"/v1/sessions/{made[number % len(made)]}")

    for name, act in (("submit", submit), ("get", get)):
        say(f"{requests:,} x {name}")
        await run_all(lines, act, range(-200, 0))  # a warm-up
        began = time.perf_counter()
        times = await run_all(lines, act, range(requests))
        report.put("rates", f"{name}_per_s", requests / (time.perf_counter() - began))
        report.put("latency_ms", f"{name}_p50_ms", percentile(times, 0.5) * 1000)
        report.put("latency_ms", f"{name}_p99_ms", percentile(times, 0.99) * 1000)
    for line in lines:
        await line.close()
    return made


async def run_all(
    lines: Sequence[Connection], act: Callable[[Connection, int], Awaitable[None]], numbers: range
) -> list[float]:
    """Do something for each number, over all connections; return how long each took, in seconds."""
    left, times = iter(numbers), []

    async def work(line: Connection) -> None:
        for number in left:
            began = time.perf_counter()
            await act(line, number)
            times.append(time.perf_counter() - began)

    await asyncio.gather(*(work(line) for line in lines))
    return times


async def measure_streams(report: Report, port: int, pid: int, sessions: Sequence[str]) -> None:
    """Hold a stream for each session, then let something happen in every one of them."""
    say(f"{len(sessions):,} event streams")
    before = memory(pid).rss
    streams: list[Connection] = []
    for start in range(0, len(sessions), OPENED_AT_ONCE):
        opened = await asyncio.gather(
            *(follow(port, session_id) for session_id in sessions[start : start + OPENED_AT_ONCE])
        )
        streams += opened
    await asyncio.sleep(2)
    report.put("streams", "stream_client_bytes", max(memory(pid).rss - before, 1) / len(streams))
    cpu, began = cpu_seconds(pid), time.monotonic()
    await asyncio.sleep(5)
    minutes = (time.monotonic() - began) / 60
    report.put("streams", "streams_held_cpu_seconds_per_minute", (cpu_seconds(pid) - cpu) / minutes)

    say("something happens in every session")
    line = await Connection(port).open()
    began = time.perf_counter()
    told = [asyncio.create_task(hear(stream, began)) for stream in streams]
    for session_id in sessions:
        await line.ask("POST", f"/v1/sessions/{session_id}/cancel", b'{"reason": "bench"}')
    sent = time.perf_counter() - began
    async with asyncio.timeout(60):
        heard = await asyncio.gather(*told)
    report.put("streams", "all_told_after_last_seconds", max(max(heard) - sent, 0.001))
    for one in (line, *streams):
        await one.close()


async def follow(port: int, session_id: str) -> Connection:
    """Open a stream, and read what there is already."""
    stream = await Connection(port).open()
    stream.send("GET", f"/v1/sessions/{session_id}/events")
    await stream.reader.readuntil(b"id: 1\n")
    return stream


async def hear(stream: Connection, began: float) -> float:
    """Return when the next entry came, in seconds since then."""
    await stream.reader.readuntil(b"id: 2\n")
    return time.perf_counter() - began


async def measure_lists(report: Report, client: Client, port: int, many: int) -> None:
    """Read pages among few sessions and among many."""
    await client.store.command("FLUSHDB")
    for start in range(0, KNOWN, 100):
        await asyncio.gather(
            *(client.submit(APP, text=f"one {number}", actor=ACTOR) for number in range(start, start + 100))
        )
    await fill_index(client.store, range(1_000 - KNOWN))
    line = await Connection(port).open()
    few = await time_pages(report, line, "listing_of_1000")
    say(f"{many:,} sessions in the index")
    await fill_index(client.store, range(1_000 - KNOWN, many - KNOWN))
    await asyncio.sleep(2)  # what the server still writes of it is not the list's
    report.put("ratios", "listing_growth", await time_pages(report, line, "listing_of_many") / few)
    await line.close()


async def time_pages(report: Report, line: Connection, name: str) -> float:
    """Return the median of the time that the second page takes, in ms; put both pages' into the report."""
    path, figures = f"/v1/sessions?limit={PAGE}", []
    cursor = json.loads(await line.ask("GET", path))["next_cursor"]
    for page, asked in (("first", path), ("second", f"{path}&cursor={cursor}")):
        times = []
        for _ in range(100):
            began = time.perf_counter()
            answer = json.loads(await line.ask("GET", asked))
            times.append((time.perf_counter() - began) * 1000)
            if len(answer["sessions"]) != PAGE:
                raise RuntimeError(f"bench: a page of {len(answer['sessions'])} sessions, not {PAGE}")
        figures.append(report.put("latency_ms", f"{name}_{page}_page_p50_ms", percentile(times, 0.5)))
        report.put("latency_ms", f"{name}_{page}_page_p99_ms", percentile(times, 0.99))
    return figures[1]


async def fill_index(store: Store, numbers: range) -> None:
    """Put older sessions into the index, spread over apps' statuses as ended ones are."""
    members: dict[int, list[str]] = {}
    for number in numbers:
        session_id = f"OLD-20260101-{number:07d}"
        status = ("done", "failed", "escalated", "stopped")[number % 4]
        partition = partition_of(session_id, store.keys.partitions)
        members.setdefault(partition, []).append(f"{APP}:ended/{status}:-:{1_700_000_000_000 + number}:{session_id}")
    for partition, texts in members.items():
        key = store.keys.of_partition("by", partition)
        for start in range(0, len(texts), 5_000):
            scored = [word for text in texts[start : start + 5_000] for word in (0, text)]
            await store.command("ZADD", key, *scored)


def main() -> None:
    """Run the bench."""
    options = parse_options(__doc__ or "")
    report = Report("api", options.quick, TARGETS)
    report.method = {"connections": CONNECTIONS, "server": "the bundled one, AOF everysec, Unix socket"}
    with tempfile.TemporaryDirectory() as folder, temporary(fsync="everysec") as server:
        report.method["server_version"] = server.version
        asyncio.run(measure(report, server, Path(folder), options))
    report.write(options)


if __name__ == "__main__":
    main()
