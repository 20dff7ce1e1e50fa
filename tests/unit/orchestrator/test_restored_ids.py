"""Ids behind a backup: what was given since it was made is given to nobody again, however often the backup is put back."""

import pytest

from orchestrator.operations import Operations
from orchestrator.store.keys import counter_key
from tests.stage import Stage, play

#: A minute, in ms, and a noon of 2026.
MINUTE, NOON = 60_000, 1_795_348_800_000


@pytest.mark.parametrize("hour", [-12, 0, 11])
def test_a_backup_that_is_put_back_twice_gives_no_id_twice(
    store_url: str, monkeypatch: pytest.MonkeyPatch, hour: int
) -> None:
    """A tool that was told an id as part of a call's key would take the new session's call for one that it knows."""

    async def act(on: Stage) -> list[list[str]]:
        given = []
        prefix, counter = on.specs["everything"].session_id_prefix, ""
        for minute in (0, 1, 2, 59):
            now = NOON + (hour * 60 + minute) * MINUTE

            async def tell(now: int = now) -> int:
                return now

            monkeypatch.setattr(on.store, "now_ms", tell)
            counter = counter or counter_key(prefix, (await on.client.intake.mint(prefix)).rsplit("-", 2)[1])
            await on.store.command("SET", counter, 7)  # as the backup has it
            await Operations(on.client).mark_restored(actor="ada", reason="a backup")
            given.append([await on.client.intake.mint(prefix) for _ in range(5)])
        return given

    given = play(store_url, act)

    ids = [one for some in given for one in some]
    assert len(set(ids)) == len(ids) == 20
    assert [int(some[0].rsplit("-", 1)[1]) > 1_000_000 for some in given] == [True] * 4
