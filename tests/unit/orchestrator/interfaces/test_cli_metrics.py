"""`baton metrics --from`: an exporter's page as Prometheus reads it, and why it cannot be read."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from orchestrator.interfaces.cli.main import main

PAGE = "# TYPE baton_store_up gauge\nbaton_store_up 1\n\n"


@contextmanager
def exporter(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    """Lend the URL of something that answers like this."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/metrics"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def tell(handler: BaseHTTPRequestHandler, status: int, page: str) -> None:
    """Answer with a page."""
    handler.send_response(status)
    handler.end_headers()
    handler.wfile.write(page.encode())


def guard(handler: BaseHTTPRequestHandler) -> None:
    """Show the page to who has the token."""
    is_known = handler.headers.get("Authorization") == "Bearer baton_x"
    tell(handler, 200 if is_known else 401, PAGE if is_known else "")


@pytest.mark.parametrize(
    ("url", "code", "said"),
    [
        ("ftp://host/metrics", 2, "is no URL; write e.g. http://127.0.0.1:8080/metrics"),
        ("http://[", 2, "is no URL; write e.g. http://127.0.0.1:8080/metrics"),
        ("http://127.0.0.1:port/metrics", 2, "cannot be read as HTTP (nonnumeric port: 'port'); mend the URL"),
        ("http://127.0.0.1:1/metrics", 5, "is the exporter running?"),
    ],
)
def test_what_is_no_url_and_what_does_not_answer_are_told_apart(
    capsys: pytest.CaptureFixture[str], url: str, code: int, said: str
) -> None:
    """The one is mended in the command, the other on another machine."""
    ended = main(["metrics", "--from", url])

    assert ended == code
    assert said in capsys.readouterr().err


def test_a_token_opens_an_exporter_and_one_that_is_missing_is_no_outage(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond loopback the API always asks for a token; a runbook must not take that for a dead exporter."""
    monkeypatch.delenv("BATON_TOKEN", raising=False)
    with exporter(guard) as url:
        without = main(["metrics", "--from", url]), capsys.readouterr().err
        monkeypatch.setenv("BATON_TOKEN", "baton_y")
        wrong = main(["metrics", "--from", url]), capsys.readouterr().err
        monkeypatch.setenv("BATON_TOKEN", "baton_x")
        right = main(["metrics", "--from", url]), capsys.readouterr().out

    assert without == (
        1,
        f"baton: metrics {url}: it asks for a token (401); set BATON_TOKEN to one with the role viewer\n",
    )
    assert (wrong[0], "the token of BATON_TOKEN opens nothing there (401)" in wrong[1]) == (1, True)
    assert right == (0, PAGE)


def test_a_page_that_is_no_exporters_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong path or port leads to some other page, and JSON could not be made of that."""
    with exporter(lambda handler: tell(handler, 200, "<html>hello</html>\n")) as url:
        code = main(["metrics", "--from", url, "-o", "json"])

    assert code == 2
    assert "answers with a page that holds no metrics; is it the exporter's?" in capsys.readouterr().err
