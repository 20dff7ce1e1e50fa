"""Processes whose files of endpoints differ, as they do while one is changed: what one does not know, another may."""

from typing import Any

from tests.stage import Stage, play
from tests.unit.orchestrator.test_webhooks import make, pass_due, receiving


def test_an_endpoint_that_is_new_loses_nothing_to_a_process_that_does_not_know_it_yet(store_url: str) -> None:
    """Processes are started anew one after the other; whichever takes a delivery, it arrives."""

    async def act(on: Stage) -> Any:
        async with receiving() as receiver:
            old, new = make(on, receiver, name="gone"), make(on, receiver, name="chat")
            await new.open()
            await on.run(on.worker(), await on.submit())
            for happened in await new._outbox.read():
                await new._fan_out(happened)
            await old.look()
            held = len(receiver.got)
            await pass_due(on)
            await new.look()
            told = [headers["webhook-id"].partition(".")[0] for headers, _ in receiver.got]
            await new.aclose()
            return held, told, await new.pending()

    assert play(store_url, act) == (0, ["chat"], 0)


def test_an_endpoint_that_is_gone_for_good_is_tried_no_longer_than_others(store_url: str) -> None:
    """In the end a person is shown what nobody could be told."""

    async def act(on: Stage) -> Any:
        async with receiving() as receiver:
            old, new = make(on, receiver, name="gone"), make(on, receiver, name="chat")
            await old.open()
            await on.run(on.worker(), await on.submit())
            for happened in await old._outbox.read():
                await old._fan_out(happened)
            while await pass_due(on):
                await new.look()
            return len(receiver.got), await new.undelivered()

    got, [given_up] = play(store_url, act)

    assert (got, given_up.endpoint, given_up.attempts) == (0, "gone", 3)
    assert "no such endpoint" in given_up.last_error
