"""What nobody here can work on is left alone where nobody else can, and by no more than that calls for."""

import asyncio
from collections.abc import Sequence
from typing import cast

from orchestrator.store.due import Due
from orchestrator.store.fleet import WorkerInfo
from orchestrator.store.leases import ClaimRefused
from workers.leaving import LeftToOthers

REFUSED = ClaimRefused("newer", "2", "a")


class Scene:
    """A clock, a fleet, and what was left for how long."""

    def __init__(self) -> None:
        self.at, self.looks = 100.0, 0
        self.members: list[WorkerInfo] = []
        self.left: list[float] = []
        self.others = LeftToOthers(cast("Due", self), self.look, now=lambda: self.at)

    async def look(self) -> Sequence[WorkerInfo]:
        """Say who is at work."""
        self.looks += 1
        return tuple(self.members)

    async def leave(self, _: str, seconds: float) -> None:
        """Note it."""
        self.left.append(seconds)

    def refuse(self, *after: float, refused: ClaimRefused = REFUSED) -> list[float]:
        """Have claims refused, so many seconds after one another; return for how long sessions were left."""
        self.left.clear()
        for seconds in after:
            self.at += seconds
            asyncio.run(self.others.leave("S-1", refused))
        return [*self.left]


def worker(**parts: object) -> WorkerInfo:
    """Return a worker that could take it, but for these parts."""
    return WorkerInfo.model_validate({"name": "w", "format": 2, "digests": {"a": "d"}, **parts})


def test_the_longer_nobody_is_there_the_longer_it_is_left() -> None:
    """Twice as long each time, until half a minute: wake-ups in vain for days would cost all others."""
    assert Scene().refuse(0, 0.5, 0.5, 1, 2, 4, 8, 16, 30) == [1, 2, 4, 8, 16, 30, 30]


def test_whoever_can_read_it_is_waited_for_as_before() -> None:
    """In an upgrade the next wake-up may be theirs; one that drains, or has other apps, takes none."""
    scene = Scene()
    for other in (worker(format=1), worker(draining=True), worker(digests={"b": "d"})):
        scene.members = [other]
        assert scene.refuse(1, 1) == [1]
        scene.members = [other, worker(format=3)]
        assert scene.refuse(1, 1) == []


def test_an_absence_of_before_does_not_count() -> None:
    """A newer worker that is started anew finds its sessions soon, whatever was yesterday."""
    scene = Scene()
    assert scene.refuse(0, 40) == [30]
    assert scene.refuse(60) == [30]
    assert scene.refuse(61, 1) == [1]


def test_each_app_and_format_counts_for_itself_and_the_fleet_is_asked_once_a_second() -> None:
    """Somebody may be there for one of them."""
    scene = Scene()
    assert scene.refuse(0, 0.25, 0.25) == []
    assert scene.looks == 1
    assert scene.refuse(0.5, refused=ClaimRefused("newer", "3", "a")) == []
    assert scene.refuse(0, refused=ClaimRefused("newer", "2", "b")) == []
    assert scene.looks == 2
    assert scene.refuse(0) == [1]


def test_a_session_of_an_app_that_no_worker_has_is_left_alone() -> None:
    """Which version of it somebody has is another question: one that has the app may take the session over."""
    scene, foreign = Scene(), ClaimRefused("foreign", "digest", "a")

    assert scene.refuse(0, 1, 2, refused=foreign) == [1, 3]
    scene.members = [worker(format=1)]
    assert scene.refuse(1, 1, refused=foreign) == []
