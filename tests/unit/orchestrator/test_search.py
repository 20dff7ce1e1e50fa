"""Search over the store: bounded, honest about what it left out, and whole when it is gone on with."""

import asyncio

import pytest

from orchestrator.contracts.errors import InputError
from orchestrator.search import Found
from orchestrator.store.listing import Place
from tests.stage import Stage, stage

WANTED = 6


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a search look at seven sessions, at three places and two sessions at once."""
    monkeypatch.setattr("orchestrator.search.LOOKED", 7)
    monkeypatch.setattr("orchestrator.search._STEP", 3)
    monkeypatch.setattr("orchestrator.search._AT_ONCE", 2)


async def _submit(on: Stage) -> list[str]:
    """Submit twenty sessions, of which every third is wanted; return those, the newest first."""
    wanted = []
    for number in range(20):
        made = await on.client.submit(
            "everything", actor="ada", text="A Needle" if number % 3 == 0 and number < 18 else "hay"
        )
        if number % 3 == 0 and number < 18:
            wanted.append(made.session_id)
    return wanted[::-1]


async def _walk(on: Stage, limit: int) -> list[Found]:
    pages: list[Found] = []
    before: Place | None = None
    while not pages or before is not None:
        pages.append(await on.client.search(["needle", "EVERY"], before=before, limit=limit))
        before = pages[-1].after
    return pages


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("limit", [1, 2, 50])
def test_a_search_looks_at_so_many_and_says_where_to_go_on(store_url: str, limit: int) -> None:
    """A word that few of a million sessions hold must cost no more, and what was not looked at must not seem absent."""

    async def run() -> tuple[list[str], list[Found]]:
        async with stage(store_url) as on:
            return await _submit(on), await _walk(on, limit)

    wanted, pages = asyncio.run(run())

    assert len(wanted) == WANTED
    found = [one.record.session_id for page in pages for one in page.listed]
    assert sorted(found) == sorted(wanted)
    assert [one.row.since_at for page in pages for one in page.listed] == sorted(
        (one.row.since_at for page in pages for one in page.listed), reverse=True
    )
    assert max(len(page.listed) for page in pages) <= min(limit, 3)
    assert all(page.after is not None for page in pages[:-1])
    assert len(pages) >= 3


def test_a_search_that_saw_everything_says_so(store_url: str) -> None:
    """Nothing to go on with means that there is no more."""

    async def run() -> Found:
        async with stage(store_url) as on:
            await on.client.submit("everything", actor="ada", text="hay")
            return await on.client.search(["needle"])

    assert asyncio.run(run()) == Found((), None)


def test_a_search_needs_a_word_and_not_too_many(store_url: str) -> None:
    """Blank words are none."""

    async def run(words: list[str]) -> None:
        async with stage(store_url) as on:
            await on.client.search(words)

    for words in ([], [" "], ["w"] * 11):
        with pytest.raises(InputError, match="1 to 10"):
            asyncio.run(run(words))


def test_a_word_has_a_longest_length(store_url: str) -> None:
    """SQLite refuses patterns of tens of thousands of bytes: then the archive looked as if it were away."""

    async def run(word: str) -> Found:
        async with stage(store_url) as on:
            return await on.client.search([word])

    assert asyncio.run(run("w" * 1_000)) == Found((), None)
    with pytest.raises(InputError, match="over 1,000 characters; give a part"):
        asyncio.run(run("w" * 1_001))
