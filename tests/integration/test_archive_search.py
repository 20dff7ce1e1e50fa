"""A search over store and archive that is gone on with: whatever a page holds, in the end everything was told."""

import asyncio
from pathlib import Path

import pytest

from orchestrator.search import Found
from orchestrator.store.listing import Place
from tests.archive_hall import Hall, hall

pytestmark = pytest.mark.usefixtures("ledger")


async def _walk(at: Hall, limit: int) -> list[list[str]]:
    pages: list[Found] = []
    before: Place | None = None
    while not pages or before is not None:
        pages.append(await at.client.search(["needle"], before=before, limit=limit))
        before = pages[-1].after
    return [[one.record.session_id for one in page.listed] for page in pages]


def test_what_lies_in_the_archive_is_found_behind_what_lies_in_the_store(store_url: str, tmp_path: Path) -> None:
    """A page that is full must not hide what is older, and say that there is no more."""

    async def play() -> None:
        async with hall(store_url, f"sqlite:///{tmp_path}/archive.db") as at:
            made = [await at.ended(answer="needle") for _ in range(3)]
            await at.archiver.run_once("ada")
            made += [await at.ended(answer="needle") for _ in range(2)]
            wanted = made[::-1]

            for limit in range(1, 7):
                pages = await _walk(at, limit)
                assert [one for page in pages for one in page] == wanted
                assert max(map(len, pages)) <= limit

    asyncio.run(play())


def test_nothing_is_missed_where_a_search_looks_at_a_part_of_the_store(
    store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the archive has is told at once then, and may be told again where it belongs; but all is told."""
    monkeypatch.setattr("orchestrator.search.LOOKED", 2)
    monkeypatch.setattr("orchestrator.search._STEP", 1)

    async def play() -> None:
        async with hall(store_url, f"sqlite:///{tmp_path}/archive.db") as at:
            made = [await at.ended(answer="needle") for _ in range(3)]
            await at.archiver.run_once("ada")
            here = [await at.ended(answer="hay" if number % 3 else "needle") for number in range(7)]
            wanted = {*made, *here[::3]}

            for limit in range(1, 8):
                pages = await _walk(at, limit)
                assert {one for page in pages for one in page} == wanted

    asyncio.run(play())
