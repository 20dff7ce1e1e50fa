"""An exporter in a process of its own: `python exporter.py PORT` serves Baton's metrics over HTTP."""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from orchestrator.client import Client
from orchestrator.exporter import CONTENT_TYPE, render
from orchestrator.interfaces.cli.connect import settings, with_client


async def read(client: Client) -> str:
    """Return the page, as the command line and the API do."""
    return await render(client, is_archiving=settings().archive.enabled)


class Handler(BaseHTTPRequestHandler):
    """Answers every path with the page."""

    def do_GET(self) -> None:
        data = with_client(read).encode()
        self.send_response(200)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
