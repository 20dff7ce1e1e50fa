"""Hosts whose names are written in other alphabets: they are reached, and judged, as resolvers write them."""

import asyncio
from typing import Any

import pytest

from orchestrator.contracts.webhooks import Endpoint
from orchestrator.egress import resolve
from tests.stage import Stage, play
from tests.unit.orchestrator.test_webhooks import SECRET, make, receiving


def test_a_host_with_letters_of_its_own_language_is_told(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name goes over the wire as resolvers write it; as it stands in the file no header carries it, and that ended all deliveries."""

    async def act(on: Stage) -> tuple[list[Any], int]:
        async with receiving() as receiver:
            loop = asyncio.get_running_loop()
            look_up = loop.getaddrinfo

            async def find(host: str, port: int, **more: Any) -> Any:
                return await look_up("127.0.0.1" if "cher" in host else host, port, **more)

            monkeypatch.setattr(loop, "getaddrinfo", find)
            hooks = make(on, receiver)
            url = f"http://bücher.example:{receiver.port}/für?x=ö"
            hooks._endpoints = {"chat": Endpoint(name="chat", url=url, secrets=(SECRET,))}
            await hooks.open()
            await on.run(on.worker(), await on.submit())
            await hooks.look()
            left = await hooks.pending()
            await hooks.aclose()
            return [(headers["host"], headers[":line"]) for headers, _ in receiver.got], left

    [(host, line)], left = play(store_url, act)

    assert host.startswith("xn--bcher-kva.example:")
    assert line == "POST /f%C3%BCr?x=%C3%B6 HTTP/1.1"
    assert left == 0


def test_the_name_for_a_certificate_is_written_as_certificates_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a name in another alphabet too: what is asked for by TLS is what the receiver has shown."""

    async def run() -> Any:
        loop = asyncio.get_running_loop()
        look_up = loop.getaddrinfo
        monkeypatch.setattr(loop, "getaddrinfo", lambda _host, port, **more: look_up("93.184.216.34", port, **more))
        return await resolve("https://bücher.example/a", allow_private=False)

    where = asyncio.run(run())

    assert (where.host_header, where.server_name) == ("xn--bcher-kva.example", "xn--bcher-kva.example")
