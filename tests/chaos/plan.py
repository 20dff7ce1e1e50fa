"""What goes wrong in a run, when, and for how long: drawn from a seed before anything begins, so that a seed replays.

Pure. A fault that cannot strike at its time - its process is just starting, or is the last one at work - is left out
by whoever strikes; the others come as they are planned.
"""

import random
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

What: TypeAlias = Literal[
    "kill",  # SIGKILL a process and its children; its like starts in its place
    "stop",  # SIGSTOP, up to three leases, then SIGCONT
    "cut",  # its connections to store and broker end, new ones are refused
    "freeze",  # nothing passes, nothing ends
    "deafen",  # what it asks is done, and it never hears the answer
    "slow",  # every piece of the network takes longer
    "clock",  # its wall clock jumps, hours or days, either way
    "memory",  # the server takes no writes: its memory is full
    "disk",  # the server's file cannot grow: its disk is full
    "restart",  # the server is killed, and starts with its AOF
    "stop_server",  # the server ends in order, and starts again
    "power",  # the server loses its power, and what no fsync has covered
    "deploy",  # every process is replaced by one with a newer version of the app
    "upgrade",  # one process is replaced by one of a newer Baton, that writes what an older one cannot read
    "downgrade",  # one of a newer Baton is replaced by one of the older again
    "failover",  # a master is killed, its replica takes over, and it comes back as one
    "hang",  # a master stands still until its replica has taken over, and goes on as if nothing had been
    "split",  # a master loses its replica and all who watch it, but nobody whom it serves, until it is taken over
]
KINDS: Final = get_args(What)
#: What a seed draws only where it is asked for, from a chance of its own: its other faults are the same with it and without.
ASKED: Final[frozenset[What]] = frozenset({"upgrade", "downgrade"})
#: What the stack stands on: one server with the broker beside it, or servers that take over from each other.
StoreKind: TypeAlias = Literal["server", "sentinel", "cluster"]
STORES: Final = get_args(StoreKind)

#: How often each is drawn. What concerns the server or everybody has times of its own.
_WEIGHTS: Final[dict[What, int]] = {"kill": 6, "stop": 4, "cut": 3, "freeze": 2, "deafen": 3, "slow": 2, "clock": 2}
WORKERS: Final = {"w1": "threads", "w2": "prefork", "w3": "threads", "w4": "solo"}
SCHEDULERS: Final = ("s1", "s2")
#: Whoever submits, posts and answers: nobody kills it, and its network fails like any other.
OUTSIDE: Final = "outside"
#: The process that serves HTTP, and the line between it and those who ask it.
API: Final = "api"
FRONT: Final = "front"
_NETWORK: Final = frozenset({"cut", "freeze", "deafen", "slow"})
_OF_ONE_SERVER: Final = frozenset({"memory", "disk", "restart", "stop_server", "power"})
_OF_SEVERAL: Final = frozenset({"failover", "hang", "split"})
#: How many masters a cluster has.
SHARDS: Final = 3


def kinds_of(store: StoreKind) -> tuple[What, ...]:
    """Return what can go wrong in a run over such a store.

    >>> sorted(set(kinds_of("server")) ^ set(kinds_of("cluster")))
    ['disk', 'failover', 'hang', 'memory', 'power', 'restart', 'split', 'stop_server']
    """
    missing = _OF_SEVERAL if store == "server" else _OF_ONE_SERVER
    return tuple(what for what in KINDS if what not in missing)


@dataclass(frozen=True)
class Fault:
    """One of them: seconds from the beginning, what, to whom, for how long. `size` is a delay, or a jump, in seconds.

    `slot` is a process's place; for a master, which part of the store it has (`shard_of`).
    """

    at: float
    what: What
    slot: str = ""
    lasts: float = 0.0
    size: float = 0.0


def make_plan(
    seed: int,
    seconds: float,
    *,
    lease_seconds: float,
    only: frozenset[str] = frozenset(),
    also: frozenset[str] = frozenset(),
    power_cuts: int | None = None,
    store: StoreKind = "server",
) -> tuple[Fault, ...]:
    """Return the faults of a run in their order; `only` leaves out all other kinds, `also` adds some of ASKED."""
    chance = random.Random(f"plan:{seed}")
    found: list[Fault] = []
    at = chance.uniform(0.5, 1.5)
    names = [name for name in _WEIGHTS if not only or name in only]
    while at < seconds and names:
        what = chance.choices(names, [_WEIGHTS[name] for name in names])[0]
        slot = chance.choice(list(WORKERS))
        if chance.random() < 1 / 7:
            slot = chance.choice(SCHEDULERS)
        if what in _NETWORK and chance.random() < 1 / 8:
            slot = OUTSIDE
        lasts = chance.uniform(0.3, 3 * lease_seconds if what == "stop" else 1.5 * lease_seconds)
        size = chance.uniform(0.005, 0.1) if what == "slow" else chance.choice((-1, 1)) * chance.uniform(60, 300_000)
        found.append(Fault(round(at, 2), what, slot, round(min(lasts, max(seconds - at, 0.3)), 2), round(size, 3)))
        at += chance.uniform(0.7, 2.0)
    if store == "server":
        found += _of_the_server(chance, seconds, only, power_cuts)
    else:
        found += _of_the_servers(chance, seconds, only, SHARDS if store == "cluster" else 1)
    found += _of_the_api(seed, seconds, only, lease_seconds)
    found += _of_baton(seed, seconds, only | also)
    return tuple(sorted(found, key=lambda fault: fault.at))


def _of_the_api(seed: int, seconds: float, only: frozenset[str], lease_seconds: float) -> list[Fault]:
    """Return what happens to the API, its network, and the line to it: from a chance of its own, so that all else is as it was before there was one."""
    chance = random.Random(f"api:{seed}")
    found: list[Fault] = []
    at = chance.uniform(1, 4)
    names = [name for name in _WEIGHTS if not only or name in only]
    while at < seconds and names:
        what = chance.choices(names, [_WEIGHTS[name] for name in names])[0]
        slot = FRONT if what in _NETWORK and chance.random() < 1 / 2 else API
        lasts = chance.uniform(0.3, 3 * lease_seconds if what == "stop" else 1.5 * lease_seconds)
        size = chance.uniform(0.005, 0.1) if what == "slow" else chance.choice((-1, 1)) * chance.uniform(60, 300_000)
        found.append(Fault(round(at, 2), what, slot, round(min(lasts, max(seconds - at, 0.3)), 2), round(size, 3)))
        at += chance.uniform(2.5, 6.0)
    return found


def _of_baton(seed: int, seconds: float, asked: frozenset[str]) -> list[Fault]:
    """Return how every process becomes one of a newer Baton, one after another, those outside among them.

    With `downgrade` it is begun with one worker and one scheduler, which soon are older ones again; for a while, as long as the last of
    them lasts, nobody can go on with what they had touched. Then it is done.
    """
    if not asked & ASKED:
        return []
    chance = random.Random(f"upgrade:{seed}")
    first: list[tuple[What, str, float]] = []
    if "downgrade" in asked:
        tried = chance.sample([chance.choice(list(WORKERS)), chance.choice(SCHEDULERS)], 2)
        first = [("upgrade", slot, chance.uniform(0.5, 1.5)) for slot in tried]
        first += [("downgrade", slot, chance.uniform(2, 4) * (slot == tried[-1])) for slot in tried]
    everybody = chance.sample([*WORKERS, *SCHEDULERS, OUTSIDE], len(WORKERS) + len(SCHEDULERS) + 1)
    order = [*first, *(("upgrade", slot, 0.0) for slot in everybody)]
    step = seconds * 0.9 / len(order)
    api = Fault(round(seconds * random.Random(f"upgrade of the api:{seed}").uniform(0.5, 0.85), 2), "upgrade", API)
    return [
        api,
        *(
            Fault(round(step * (number + chance.uniform(0.1, 0.9)), 2), what, slot, round(lasts, 2))
            for number, (what, slot, lasts) in enumerate(order)
        ),
    ]


def _of_the_server(chance: random.Random, seconds: float, only: frozenset[str], power_cuts: int | None) -> list[Fault]:
    """Return what happens to the server and to everybody: one after another, with time to recover in between."""
    minutes = max(round(seconds / 60), 1)
    wanted: list[What] = ["restart", "stop_server", "memory", "disk"] * minutes
    wanted += ["power"] * (minutes if power_cuts is None else power_cuts)
    wanted = [what for what in wanted if not only or what in only]
    chance.shuffle(wanted)
    order = _with_a_deploy(wanted, only)
    step = seconds * 0.9 / max(len(order), 1)
    return [
        Fault(round(step * (number + chance.uniform(0.3, 0.7)), 2), what, lasts=round(chance.uniform(0.2, 1.5), 2))
        for number, what in enumerate(order)
    ]


def _of_the_servers(chance: random.Random, seconds: float, only: frozenset[str], shards: int) -> list[Fault]:
    """Return what happens to masters with replicas: one after another; each lasts as long as it takes to be taken over."""
    wanted: list[What] = ["failover", "hang", "split"] * max(round(seconds / 45), 1)
    wanted = [what for what in wanted if not only or what in only]
    chance.shuffle(wanted)
    order = _with_a_deploy(wanted, only)
    step = seconds * 0.9 / max(len(order), 1)
    return [
        Fault(
            round(step * (number + chance.uniform(0.1, 0.5)), 2),
            what,
            "" if what == "deploy" else shard_of(chance.randrange(shards)),
            round(chance.uniform(0.2, 1.5), 2),
        )
        for number, what in enumerate(order)
    ]


def _with_a_deploy(wanted: list[What], only: frozenset[str]) -> list[What]:
    """Return them in their order, with a deploy in the middle."""
    half = len(wanted) // 2
    deploys: list[What] = ["deploy"] if not only or "deploy" in only else []
    return [*wanted[:half], *deploys, *wanted[half:]]


def shard_of(number: int) -> str:
    """Return the place of a master: what it has of the store, whoever it is by then."""
    return f"shard{number}"
