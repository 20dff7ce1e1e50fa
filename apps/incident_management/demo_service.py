"""A small real HTTP service with a fault that a restart cures. Standard library only.

    python demo_service.py --log service.log --port 0 --port-file port

`GET /health` and `GET /work` answer 200 and write a line to the log. `POST /break` damages a price
table in the process's memory: from then on both fail with a real exception, answer 500, and log it.
Nothing of the damage is on disk, so a new process works again. It ends when its log is removed:
that is all that is left to tell it when whoever started the demo was killed and cleaned up after.
"""

import argparse
import json
import logging
import os
import signal
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

log = logging.getLogger("checkout")

POLL_SECONDS = 0.05
#: Turns of the serving loop between two looks at the log: about a second.
LOOK_EVERY = 20


class Shop:
    """The service's work: it adds up a basket by a price table that lies in memory."""

    def __init__(self) -> None:
        self.prices: dict[str, int | None] = {"tea": 350, "cup": 900, "spoon": 240}
        self.served = 0

    def total(self) -> int:
        """Return the price of a basket in cents; raise TypeError once the table is damaged."""
        self.served += 1
        return sum(price for price in self.prices.values())  # type: ignore[misc]

    def damage(self) -> None:
        """Do what a bad refresh would do: leave an entry without a price."""
        self.prices["cup"] = None


class Handler(BaseHTTPRequestHandler):
    """Answers the three paths."""

    shop: Shop
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer /health and /work by really doing the work."""
        if self.path not in ("/health", "/work"):
            self._answer(404, {"error": "no such path"})
            return
        try:
            total = self.shop.total()
        except TypeError as error:
            # One line an error: a traceback would say the same at length.
            log.error("GET %s failed: price table damaged: %s", self.path, error)  # noqa: TRY400
            self._answer(500, {"error": "price table damaged", "served": self.shop.served})
            return
        log.info("GET %s total=%d", self.path, total)
        self._answer(200, {"status": "ok", "total": total, "served": self.shop.served})

    def do_POST(self) -> None:
        """Damage the process's memory."""
        if self.path != "/break":
            self._answer(404, {"error": "no such path"})
            return
        self.rfile.read(min(int(self.headers.get("Content-Length") or 0), 65_536))
        self.shop.damage()
        log.warning("price table refreshed: 1 of %d entries has no price", len(self.shop.prices))
        self._answer(200, {"status": "broken"})

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Say nothing on stderr: what matters is in the log."""

    def _answer(self, status: int, body: dict[str, object]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class LogRemoved(Exception):
    """The log is gone, and with it the folder that this service was started for."""


class Server(ThreadingHTTPServer):
    """Serves until its log is removed, which it looks at now and then."""

    daemon_threads = True
    log_file: Path
    looks = 0

    def service_actions(self) -> None:
        """Raise LogRemoved; called at every turn of the serving loop."""
        self.looks += 1
        if self.looks % LOOK_EVERY == 0 and not self.log_file.exists():
            raise LogRemoved


class _Lines(logging.Formatter):
    """`2026-01-31T12:00:00.123+00:00 ERROR text`."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        return f"{at} {record.levelname} {record.getMessage()}"


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description="a small service with a fault that a restart cures")
    parser.add_argument("--log", type=Path, required=True, help="file that log lines are appended to")
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--port-file", type=Path, help="file that the port is written to")
    options = parser.parse_args()

    handler = logging.FileHandler(options.log)
    handler.setFormatter(_Lines())
    log.addHandler(handler)
    log.setLevel(logging.INFO)

    Handler.shop = Shop()
    server = Server(("127.0.0.1", options.port), Handler)
    server.log_file = options.log
    for number in (signal.SIGTERM, signal.SIGINT):
        # shutdown() waits for the serving loop, which is this very thread.
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown, daemon=True).start())
    if options.port_file is not None:
        written = options.port_file.with_suffix(".new")
        written.write_text(str(server.server_port))
        written.replace(options.port_file)
    log.info("started pid=%d port=%d", os.getpid(), server.server_port)
    with server:
        try:
            server.serve_forever(poll_interval=POLL_SECONDS)
        except LogRemoved:
            return
    log.info("stopped pid=%d", os.getpid())


if __name__ == "__main__":
    main()
