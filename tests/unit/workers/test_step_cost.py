"""A step costs the same at the 300th turn, and the 10,000th, as at the 10th: bytes to the server, and what it is asked to do."""

import asyncio
from typing import Any

import pytest

from orchestrator.store.fitness import parse_info
from tests.unit.workers.scenes import replace_function, scene

#: What is added to every number, so that none of them grows by a digit.
FIRST = 100_000


@pytest.mark.parametrize("steps", [300, pytest.param(10_000, marks=[pytest.mark.slow, pytest.mark.timeout(120)])])
def test_a_late_step_costs_what_the_tenth_did(store_url: str, steps: int) -> None:
    """Invariant 6: commits append and nothing rewrites the history, so age does not make a session dear."""

    async def play() -> None:
        async with scene(store_url) as on:
            bytes_in: list[int] = []
            commands: list[int] = []

            async def work(state: dict[str, Any]) -> dict[str, Any]:
                info = parse_info(str(await on.on.store.command("INFO", "stats")))
                bytes_in.append(int(info["total_net_input_bytes"]))
                commands.append(int(info["total_commands_processed"]))
                number = state.get("n", FIRST) + 1
                signal = "again" if number < FIRST + steps else "success"
                return {"n": number, "pad": f"{number:06d}" * 170, "signal": signal}

            on.host.apps = {"plain": replace_function(on.host.apps["plain"], work)}
            session_id = await on.submit()
            await on.executor.run_slice(session_id)

            assert len(bytes_in) == steps
            early, late = [(counts[20] - counts[10], counts[-1] - counts[-11]) for counts in (bytes_in, commands)]
            assert early[1] <= early[0] * 1.01, "bytes of ten steps, early and late"
            assert late[0] == late[1], "commands of ten steps, early and late"

    asyncio.run(play())
