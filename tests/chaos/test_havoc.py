"""What strikes waits for its turn at the store, and does not strike where its turn comes too late."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from orchestrator.settings import Settings
from tests.chaos.havoc import LATE_SECONDS, Havoc
from tests.chaos.plan import Fault


class SlowStore:
    """A store at which each thing takes an hour, by the loop's clock."""

    def __init__(self) -> None:
        self.struck: list[str] = []
        self.is_settled = False

    async def strike(self, fault: Fault, hands: Havoc) -> bool:
        """Note it, and let the time go on."""
        self.struck.append(fault.slot)
        loop = asyncio.get_running_loop()
        late = loop.time() + 3600
        cast(Any, loop).time = lambda: late
        return True

    async def settle(self, hands: Havoc) -> None:
        """Note that all is over."""
        self.is_settled = True


def test_what_waited_too_long_for_its_turn_is_left_out(tmp_path: Path) -> None:
    """On a busy machine six failovers were still to come when the run was judged, and all that it found was their doing."""
    plan = [Fault(0.0, "failover", f"shard{number}", 0.0, 0.0) for number in range(3)]
    store = SlowStore()

    async def run() -> Havoc:
        havoc = Havoc(
            fleet=cast(Any, SimpleNamespace(members=[])),
            control=cast(Any, None),
            driver=cast(Any, SimpleNamespace(messages=1, allowed=0)),
            store=cast(Any, store),
            proxies={},
            newer=Settings(),
            plan=plan,
            history=tmp_path,
        )
        await havoc.rage()
        return havoc

    havoc = asyncio.run(run())

    assert LATE_SECONDS < 3600
    assert (store.struck, store.is_settled) == (["shard0"], True)
    assert [fault.slot for fault in havoc.left_out] == ["shard1", "shard2"]
    assert havoc.under_way == []
