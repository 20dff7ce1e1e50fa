"""How a plugin asks a host through the one way out, against a way out that answers what a test says."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from plugin_sandbox.api import PluginContext, PluginError

OK = b"HTTP/1.1 200 OK\r\n\r\n"
HELLO = b"HTTP/1.1 201 Made\r\nContent-Length: 5\r\nX-Kind: One\r\nX-kind: two\r\n\r\nhello"

Fetch = Callable[..., Any]


class WayOut:
    """One connection: takes a CONNECT, gives a verdict, takes a request, gives an answer, closes."""

    def __init__(self, path: Path, verdict: bytes, answer: bytes) -> None:
        self.path, self._verdict, self._answer = path, verdict, answer
        self.asked, self.requested = b"", b""
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen(1)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        made, _ = self._listener.accept()
        with made, suppress(ConnectionError):  # the other side may have heard enough
            self.asked = _head(made)
            made.sendall(self._verdict)
            if self._answer:
                self.requested = _head(made)
                made.sendall(self._answer)
            made.shutdown(socket.SHUT_WR)
            while more := made.recv(4096):  # a body, until the other side has read all
                self.requested += more

    def close(self) -> None:
        """Wait for the connection's end."""
        self._thread.join()
        self._listener.close()


def _head(made: socket.socket) -> bytes:
    taken = b""
    while not taken.endswith(b"\r\n\r\n") and (byte := made.recv(1)):
        taken += byte
    return taken


@pytest.fixture
def way_out(tmp_path: Path) -> Iterator[Callable[[bytes, bytes], WayOut]]:
    """Open ways out; each serves one connection."""
    opened: list[WayOut] = []

    def begin(verdict: bytes = OK, answer: bytes = HELLO) -> WayOut:
        opened.append(WayOut(tmp_path / f"out{len(opened)}", verdict, answer))
        return opened[-1]

    yield begin
    for one in opened:
        one.close()


def fetch(proxy: str, url: str, **more: Any) -> Any:
    """Ask as a plugin does."""
    return PluginContext(variables={}, dst_root=Path(), answers_file=Path(), proxy=proxy).fetch(url, **more)


def test_a_request_goes_through_the_way_out_to_the_host_that_it_names(way_out: Any) -> None:
    """The plugin gets status, headers and body."""
    out = way_out()
    answer = fetch(str(out.path), "http://example.org/a?b=1", method="POST", headers={"X-Own": "1"}, body=b"data")
    out.close()

    assert (answer.status, answer.body, answer.headers["x-kind"]) == (201, b"hello", "two")
    assert out.asked == b"CONNECT example.org:80 HTTP/1.1\r\nHost: example.org:80\r\n\r\n"
    assert out.requested.startswith(b"POST /a?b=1 HTTP/1.1\r\n")
    assert b"X-Own: 1\r\n" in out.requested
    assert out.requested.endswith(b"\r\n\r\ndata")


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("http://[2001:db8::1]:81", b"CONNECT [2001:db8::1]:81 "),
        ("http://example.org:8080/x", b"CONNECT example.org:8080 "),
    ],
)
def test_a_port_and_an_address_are_asked_for_as_they_are_written(way_out: Any, url: str, asked: bytes) -> None:
    """The manifest grants exactly these; without a path it is the root."""
    out = way_out()
    fetch(str(out.path), url)
    out.close()

    assert out.asked.startswith(asked)
    assert out.requested.startswith(b"GET / " if url.endswith("81") else b"GET /x ")


@pytest.mark.parametrize(
    ("verdict", "answer", "said"),
    [
        (b"HTTP/1.1 403 example.org:80: not granted\r\n\r\n", b"", "network: example.org:80: not granted"),
        (b"", b"", "network: the way out is closed"),
        (b"HTTP/1.1 200 " + b"x" * 5000, b"", "network: the way out is closed"),
        (OK, b"nonsense\r\n\r\n", "network: example.org: BadStatusLine: "),
        (OK, HELLO[:-2], "network: example.org: the answer ended 2 bytes before its end"),
        (OK, HELLO.replace(b"5", b"9", 1) + b"more", "the answer is larger than 8 bytes; raise most_bytes"),
    ],
)
def test_what_does_not_come_back_whole_is_an_error_in_words(
    way_out: Any, verdict: bytes, answer: bytes, said: str
) -> None:
    """A plugin that believes half of an answer would write half of a file."""
    with pytest.raises(PluginError) as caught:
        fetch(str(way_out(verdict, answer).path), "http://example.org/", most_bytes=8)

    assert said in str(caught.value)


def test_a_host_that_does_not_speak_tls_is_no_secure_one(way_out: Any) -> None:
    """Nothing is sent to it in the clear."""
    out = way_out(OK, b"")
    with pytest.raises(PluginError, match=r"^network: example\.org: .*SSL"):
        fetch(str(out.path), "https://example.org/", headers={"X-Own": "secret"})
    out.close()

    assert out.asked.startswith(b"CONNECT example.org:443 ")
    assert b"secret" not in out.requested


@pytest.mark.parametrize(
    "url",
    ["ftp://example.org/", "example.org", "http://", "http:///x", "http://a:99999/", "http://a:b/", "http://[::1/"],
)
def test_what_is_no_address_is_an_error_in_words(url: str) -> None:
    """Also where the library has another exception for it."""
    with pytest.raises(PluginError, match=r"^network: .* is no "):
        fetch("/nowhere", url)


def test_without_a_way_out_the_manifest_is_named(tmp_path: Path) -> None:
    """And one that is gone is an error like any other."""
    with pytest.raises(PluginError, match=r"none was granted; name the host in isolation\.hosts of the manifest"):
        fetch("", "http://example.org/")
    with pytest.raises(PluginError, match=r"^network: example\.org: FileNotFoundError"):
        fetch(str(tmp_path / "gone"), "http://example.org/")
