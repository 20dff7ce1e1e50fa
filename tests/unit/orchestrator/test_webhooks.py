"""Webhooks that go out: signed, once an event, tried again, given up, switched off, and never into our own networks."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from pydantic import ValidationError

from orchestrator import webhooks as webhooks_module
from orchestrator.archive import Archive
from orchestrator.client import Client
from orchestrator.contracts.errors import ArchiveUnreachable, ConfigError, SourceInvalid
from orchestrator.contracts.webhooks import Endpoint
from orchestrator.egress import DestinationRefused, resolve
from orchestrator.interfaces.http.shapes import waiting_shape
from orchestrator.kernel.signatures import find_fault
from orchestrator.settings_api import WebhookSettings
from orchestrator.store.keys import ARCHIVE_ID, META
from orchestrator.webhooks import Webhooks, load_endpoints
from tests.stage import Stage, play

SECRET = "a secret of enough letters"


@dataclass
class Receiver:
    """A real HTTP server that keeps what it is sent, and answers as it is told."""

    answers: list[str] = field(default_factory=list)
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one request."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:]) if name}
        body = await reader.readexactly(int(headers["content-length"]))
        self.got.append(({**headers, ":line": head[0]}, body))
        status = self.answers.pop(0) if self.answers else "204 No Content"
        more = "Location: http://127.0.0.1:1/\r\n" if status.startswith("302") else ""
        writer.write(f"HTTP/1.1 {status}\r\n{more}Content-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()


@asynccontextmanager
async def receiving(*answers: str) -> AsyncIterator[Receiver]:
    """Lend a receiver on a port."""
    made = Receiver(list(answers))
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    async with server:
        yield made


def make(on: Stage, receiver: Receiver, *, name: str = "chat", **more: Any) -> Webhooks:
    """Return webhooks with one endpoint at the receiver."""
    settings = {"allow_private": True, "base_seconds": 1000.0, "attempts": 3, **more.pop("settings", {})}
    endpoint = Endpoint(name=name, url=f"http://127.0.0.1:{receiver.port}/in?x=1", secrets=(SECRET,), **more)
    return Webhooks(on.client, [endpoint], WebhookSettings(**settings), waiting_shape, dice=random.Random(1))


async def pass_due(on: Stage) -> int:
    """Let every delivery be due now; return how many there are."""
    count = 0
    for partition in range(on.store.keys.partitions):
        key = on.store.keys.of_partition("deliveries", partition)
        for one in await on.store.command("ZRANGE", key, 0, -1):
            count += 1
            await on.store.command("ZADD", key, 1, one)
    return count


def test_what_happens_is_told_once_and_signed(store_url: str) -> None:
    """A wait for a person, an end and a death are told; a timer's wait is nobody's business."""

    async def act(on: Stage) -> tuple[list[Any], int]:
        async with receiving() as receiver:
            hooks = make(on, receiver)
            before = await on.submit("ask_first")
            await on.run(on.worker(), before)  # nobody is told of what happened before there was somebody to tell
            await hooks.open()
            worker = on.worker()
            asked, ended, died, naps = [await on.submit(skill) for skill in ("ask_first", "start", "broken", "nap")]
            for session_id in (asked, ended, died, naps):
                await on.run(worker, session_id)
            while await hooks.look():
                pass
            left = await hooks.pending()
            await hooks.aclose()
            told = []
            for headers, body in receiver.got:
                assert find_fault([SECRET], headers, body, await on.store.now_ms() / 1000) is None
                assert headers[":line"] == "POST /in?x=1 HTTP/1.1"
                said = json.loads(body)
                told.append((said["type"], said["data"]["session_id"], headers["webhook-id"]))
            wanted = [("session.waiting", asked), ("session.ended", ended), ("session.dead", died)]
            assert sorted(one[:2] for one in told) == sorted(wanted)
            return told, left

    told, left = play(store_url, act)

    assert len({number for _, _, number in told}) == 3
    assert left == 0


def test_deliverers_side_by_side_send_once(store_url: str) -> None:
    """Each delivery is taken by one of them."""

    async def act(on: Stage) -> int:
        async with receiving() as receiver:
            many = [make(on, receiver) for _ in range(4)]
            await many[0].open()
            worker = on.worker()
            for _ in range(5):
                await on.run(worker, await on.submit())
            while any(await asyncio.gather(*(one.look() for one in many))):
                pass
            await asyncio.gather(*(one.aclose() for one in many))
            return len(receiver.got)

    assert play(store_url, act) == 5


class AwayArchive(Archive):
    """An archive whose database does not answer."""

    async def is_used(self) -> bool:
        raise ArchiveUnreachable("archive: away; it is tried again")


@pytest.mark.parametrize(("kind", "trouble"), [(Archive, "no archive is named"), (AwayArchive, "away")])
def test_an_archive_that_is_not_known_here_keeps_back_its_sessions_alone(
    store_url: str, kind: type[Archive], trouble: str
) -> None:
    """A deliverer that ends for it would tell nobody of anything any more, and say so nowhere."""

    async def act(on: Stage) -> tuple[int, int, bool]:
        async with receiving() as receiver:
            hooks = make(on, receiver)
            hooks._client = Client(on.store, on.specs, archive=kind(on.store, ""))
            await hooks.open()
            archived, here = await on.submit(), await on.submit()
            for session_id in (archived, here):
                await on.run(on.worker(), session_id)
            await on.store.command("HSET", META, ARCHIVE_ID, "elsewhere")
            await on.store.command("DEL", on.store.keys.of_session("record", archived))
            with pytest.raises((ConfigError, ArchiveUnreachable), match=trouble):
                await hooks.look()
            told, waiting = len(receiver.got), len(await hooks._outbox.read())

            looks, look = asyncio.Queue[int](), hooks.look

            async def count() -> bool:
                looks.put_nowait(1)
                return await look()

            hooks.look = count  # type: ignore[method-assign]
            running = asyncio.create_task(hooks.run())
            for _ in range(2):
                looked = asyncio.create_task(looks.get())
                await asyncio.wait({running, looked}, return_when=asyncio.FIRST_COMPLETED)
                looked.cancel()
            is_alive = not running.done()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await hooks.aclose()
            return told, waiting, is_alive

    assert play(store_url, act) == (1, 1, True)


def test_what_has_no_turn_in_time_is_left_to_whoever_takes_it_next(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a receiver that is slow a long line outlasts its own time: another deliverer may have taken it by then."""

    async def act(on: Stage) -> tuple[int, int, int]:
        async with receiving() as receiver:
            deliverer = make(on, receiver)
            await deliverer.open()
            await on.run(on.worker(), await on.submit())
            monkeypatch.setattr(webhooks_module, "BEGIN_SECONDS", -100.0)
            monkeypatch.setattr(deliverer._outbox, "take", partial(take, deliverer._outbox.take))
            await deliverer.look()
            late = len(receiver.got)
            monkeypatch.undo()
            waiting = await pass_due(on)
            await deliverer.look()
            await deliverer.aclose()
            return late, waiting, len(receiver.got)

    async def take(before: Any, _: float) -> Any:
        return await before(60.0)

    assert play(store_url, act) == (0, 1, 1)


def test_a_failure_is_tried_again_with_the_same_id_then_given_up_and_replayed(store_url: str) -> None:
    """A receiver that is away for a while gets everything; one that is away for long is shown to a person."""

    async def act(on: Stage) -> Any:
        bad = "503 Service Unavailable"
        async with receiving(bad, "302 Found", bad) as receiver:
            hooks = make(on, receiver)
            await hooks.open()
            await on.run(on.worker(), await on.submit())
            await hooks.look()
            assert not await hooks.look()  # its time has not come
            while await pass_due(on):
                await hooks.look()
            given_up = await hooks.undelivered()
            again = await hooks.replay([])
            await hooks.look()
            await hooks.aclose()
            return given_up, again, [headers["webhook-id"] for headers, _ in receiver.got], await hooks.undelivered()

    given_up, again, ids, left = play(store_url, act)

    assert [(one.attempts, one.last_error) for one in given_up] == [(3, "it answered 503")]
    assert again == [given_up[0].delivery_id]
    assert len(ids) == 4 and len(set(ids)) == 1
    assert left == []


def test_a_receiver_that_is_gone_is_switched_off_until_a_person_switches_it_on(store_url: str) -> None:
    """410 means: do not come again."""

    async def act(on: Stage) -> Any:
        async with receiving("410 Gone") as receiver:
            hooks = make(on, receiver)
            await hooks.open()
            worker = on.worker()
            await on.run(worker, await on.submit())
            await hooks.look()
            off = await hooks.disabled()
            await on.run(worker, await on.submit())
            await hooks.look()
            silent = len(receiver.got)
            assert await hooks.enable("chat")
            sent = await hooks.replay([])
            await hooks.look()
            await hooks.aclose()
            return off, silent, len(sent), len(receiver.got)

    off, silent, sent, got = play(store_url, act)

    assert off == {"chat": "it answered 410 Gone"}
    assert (silent, sent, got) == (1, 2, 3)


def test_a_deliverer_that_dies_in_between_tells_it_again(store_url: str) -> None:
    """Between the deliveries and the forgetting, and with a delivery in hand: nothing is lost."""

    async def act(on: Stage) -> list[int]:
        async with receiving() as receiver:
            dies, lives = make(on, receiver), make(on, receiver)
            await dies.open()
            await on.run(on.worker(), await on.submit())
            [happened] = await dies._outbox.read()
            told = await dies._tell(happened)
            await dies._outbox.add(dies._make(dies.endpoints[0], "session.ended", happened, told), 1)
            taken = await dies._outbox.take(60)
            await lives.look()
            held = len(receiver.got)
            await pass_due(on)
            await lives.look()
            await lives.aclose()
            return [len(taken), held, len(receiver.got)]

    assert play(store_url, act) == [1, 0, 1]


def test_what_this_version_cannot_read_is_told_all_the_same(store_url: str) -> None:
    """In an upgrade any of the processes delivers; and a session that is dead because it is damaged must not die in silence."""

    async def act(on: Stage) -> tuple[dict[str, str], dict[str, Any]]:
        async with receiving() as receiver:
            hooks = make(on, receiver)
            await hooks.open()
            worker = on.worker()
            made = {
                name: await on.submit(skill)
                for name, skill in (("asks", "ask_first"), ("naps", "nap"), ("dies", "start"))
            }
            for name in ("asks", "naps"):
                await on.run(worker, made[name])
            for name in ("asks", "naps", "dies"):
                key = on.store.keys.of_session("record", made[name])
                await on.store.command("HSET", key, "cursor", '{"skill": "start", "mood": "fine"}')
            await worker.run_slice(made["dies"])
            while await hooks.look():
                pass
            await hooks.aclose()
            said = [json.loads(body) for _, body in receiver.got]
            return made, {one["data"]["session_id"]: one for one in said}

    made, told = play(store_url, act)

    assert set(told) == {made["asks"], made["dies"]}
    assert (told[made["asks"]]["type"], told[made["dies"]]["type"]) == ("session.waiting", "session.dead")
    assert told[made["dies"]]["data"]["phase"] == "dead"
    assert "cannot be read" in told[made["asks"]]["data"]["unreadable"]


def test_without_endpoints_nothing_is_noted(store_url: str) -> None:
    """Who wants to be told of nothing pays for nothing."""

    async def act(on: Stage) -> int:
        await on.run(on.worker(), await on.submit())
        return len(await on.store.command("KEYS", "*outbox*"))

    assert play(store_url, act) == 0


def test_an_endpoint_inside_of_our_networks_is_not_reached(store_url: str) -> None:
    """Whoever may name an endpoint must not reach what only we can reach."""

    async def act(on: Stage) -> tuple[int, str]:
        async with receiving() as receiver:
            hooks = make(on, receiver, settings={"allow_private": False, "attempts": 1})
            await hooks.open()
            await on.run(on.worker(), await on.submit())
            await hooks.look()
            [given_up] = await hooks.undelivered()
            await hooks.aclose()
            return len(receiver.got), given_up.last_error

    got, error = play(store_url, act)

    assert got == 0
    assert "lies in a private network" in error


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://localhost:6379/",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://[::1]/",
        "http://[::ffff:169.254.169.254]/",
        "http://169.254.169.254/latest",
        "http://10.0.0.1/",
        "http://0.0.0.0/",
        "https://user@93.184.216.34/",
        "file:///etc/passwd",
        "gopher://93.184.216.34/",
        "http://93.184.216.34:99999/",
        "http://[::ffff:0:127.0.0.1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[64:ff9b:1::7f00:1]/",
        "http://0/",
        "http://017700000001/",
        "https://hooks..example/",
        "https://" + "a" * 70 + ".example/",
        "https://[::1/",
    ],
)
def test_a_url_that_leads_inside_is_refused(url: str) -> None:
    """In every spelling that a resolver understands; one that none understands is refused in the same way, and breaks nothing."""
    with pytest.raises(DestinationRefused) as refused:
        asyncio.run(resolve(f"{url}in?key=secret-of-theirs", allow_private=False))

    assert "secret-of-theirs" not in str(refused.value)


def test_a_public_address_is_gone_to_as_it_was_resolved() -> None:
    """The request goes to the address that was judged; the name stays for TLS and for the receiver."""
    where = asyncio.run(resolve("https://93.184.216.34:8443/a/b?c=d", allow_private=False))

    assert where.url == "https://93.184.216.34:8443/a/b?c=d"
    assert (where.host_header, where.server_name) == ("93.184.216.34:8443", "93.184.216.34")


def test_the_file_of_endpoints_is_read_with_its_secrets_from_outside(tmp_path: Any) -> None:
    """What is wrong is told with its place; a secret is shown nowhere."""
    file = tmp_path / "webhooks.yaml"
    file.write_text('webhooks:\n  - {name: chat, url: "https://x.example/in", secrets: ["${HOOK}"]}\n')

    [endpoint] = load_endpoints(file, env={"HOOK": SECRET})

    assert SECRET not in repr(endpoint)
    with pytest.raises(SourceInvalid, match="at least 16"):
        load_endpoints(file, env={"HOOK": "short"})
    with pytest.raises(ConfigError, match="base64"):
        load_endpoints(file, env={"HOOK": "whsec_this is not base64"})
    file.write_text('webhooks: [{name: chat, url: "ftp://x", secrets: ["${HOOK}"]}]\n')
    with pytest.raises(SourceInvalid, match="not a URL of a receiver"):
        load_endpoints(file, env={"HOOK": SECRET})
    with pytest.raises(ValidationError):
        Endpoint(name="Upper", url="https://x.example", secrets=(SECRET,))
