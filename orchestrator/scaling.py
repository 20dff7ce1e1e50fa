"""How many workers a pool needs, and why. Pure: figures in, advice out.

    load      what stands in line and what runs, over the slots of one worker; never fewer workers than that
    held      in line, of an app that is paused or at its max_running: no worker helps, so it counts for nothing
    late      a line that is older than LATE_SECONDS gets one worker more than there are: something holds it up
    lanes     steps a second x seconds a step (Little's law): what the pace of the last moments fills
    cores     steps a second x processor time of a step: where steps take no time, cores are the limit and not lanes
    paused    nothing new begins: as many as there are, whatever stands in line

What a step costs was measured (docs/explanation/performance.md, bench/steps.py).
"""

from math import ceil
from typing import Final, Literal, TypeAlias

from orchestrator.contracts.base import Frozen

Pool: TypeAlias = Literal["steps", "plugins"]

#: Processor time of one step, in seconds: in the worker, and in the store's server.
STEP_WORKER_SECONDS: Final = 95e-6
STEP_SERVER_SECONDS: Final = 50e-6
LATE_SECONDS: Final = 30.0


class Load(Frozen):
    """One pool now. Rates are of the last moments, a second; times are seconds; `slots_each` is a worker's.

    Of what is `in_line`, no worker could begin what is `held`; `oldest_seconds` is of the rest.
    """

    pool: Pool
    workers: int
    slots_each: int
    running: int
    in_line: int
    held: int = 0
    oldest_seconds: float = 0.0
    step_rate: float = 0.0
    step_seconds: float = 0.0
    paused: bool = False


class Advice(Frozen):
    """How many workers, and each reason with the number that it asks for."""

    pool: Pool
    workers: int
    desired_workers: int
    load: float
    reasons: tuple[str, ...]


def advise(load: Load) -> Advice:
    """Return what a pool needs.

    >>> advise(Load(pool="steps", workers=1, slots_each=256, running=200, in_line=600)).desired_workers
    4
    """
    able = load.in_line - load.held
    share = (able + load.running) / load.slots_each
    wanted = ceil(share)
    reasons = [
        f"load: {able} in line and {load.running} running, {load.slots_each} slots a worker: {share:.2f}, so {wanted}"
    ]
    if load.held:
        reasons.append(
            f"held: {load.held} more in line, of apps that are paused or at their max_running: no worker helps"
        )
    if load.oldest_seconds > LATE_SECONDS:
        reasons.append(f"late: the first in line waits for {load.oldest_seconds:.0f} s: at least {load.workers + 1}")
        wanted = max(wanted, load.workers + 1)
    lanes = load.step_rate * load.step_seconds
    if load.step_rate:
        needed = ceil(lanes / load.slots_each)
        told = f"{load.step_rate:.1f} steps a second of {load.step_seconds:.2f} s fill {lanes:.0f} slots"
        reasons.append(f"lanes: {told}: {needed}")
        cores = ceil(load.step_rate * STEP_WORKER_SECONDS)
        reasons.append(f"cores: they take {load.step_rate * STEP_WORKER_SECONDS:.2f} of a core: {cores}")
        wanted = max(wanted, needed, cores)
    if load.paused:
        reasons.append(f"paused: nothing new begins, what there is stays: {load.workers}")
        wanted = load.workers
    return Advice(
        pool=load.pool, workers=load.workers, desired_workers=wanted, load=round(share, 3), reasons=tuple(reasons)
    )
