"""A step costs the same at the 300th turn as at the 10th: bytes to the server, and what the server is asked to do."""

import asyncio
from typing import Any

from orchestrator.store.fitness import parse_info
from tests.unit.workers.scenes import replace_function, scene

STEPS = 300


def test_the_three_hundredth_step_costs_what_the_tenth_did(store_url: str) -> None:
    """Invariant 6: commits append and nothing rewrites the history, so age does not make a session dear."""

    async def play() -> None:
        async with scene(store_url) as on:
            bytes_in: list[int] = []
            commands: list[int] = []

            async def work(state: dict[str, Any]) -> dict[str, Any]:
                info = parse_info(str(await on.on.store.command("INFO", "stats")))
                bytes_in.append(int(info["total_net_input_bytes"]))
                commands.append(int(info["total_commands_processed"]))
                number = state.get("n", 100) + 1
                signal = "again" if number < 100 + STEPS else "success"
                return {"n": number, "pad": f"{number:04d}" * 250, "signal": signal}

            on.host.apps = {"plain": replace_function(on.host.apps["plain"], work)}
            session_id = await on.submit()
            await on.executor.run_slice(session_id)

            assert len(bytes_in) == STEPS
            early, late = [(counts[20] - counts[10], counts[-1] - counts[-11]) for counts in (bytes_in, commands)]
            assert early[1] <= early[0] * 1.01, "bytes of ten steps, early and late"
            assert late[0] == late[1], "commands of ten steps, early and late"

    asyncio.run(play())
