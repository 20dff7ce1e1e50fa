"""The gate before a model service: its rates, its circuit, and what it asked for, shared by all workers.

A call that may not go now is told when it may; nobody waits here. Whether a failure speaks against the service is the
caller's to say (kernel/failover.py). See scripts/admit.lua for what is kept, and how.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias
from uuid import uuid4

from orchestrator.contracts.errors import StoreError
from orchestrator.contracts.rates import Bucket
from orchestrator.store.keys import model_key
from orchestrator.store.store import Store

#: A rate is spent; the service asked to be left alone; its circuit is open; somebody is trying it just now.
Why: TypeAlias = Literal["rate", "asked", "circuit", "probing"]
Verdict: TypeAlias = Literal["answered", "failed", "unknown"]


class Charge(NamedTuple):
    """How many units of a bucket a call takes."""

    bucket: Bucket
    units: int


class Admitted(NamedTuple):
    """The call may go now. `probing`: it tries a service whose circuit was open; `failures` in a row came before it."""

    probing: bool
    failures: int


class NotNow(NamedTuple):
    """The call may not go now, and after how long it may; `reserved`: its place is taken, it need not ask for it again."""

    wait_ms: int
    why: Why
    reserved: bool = False


class Reported(NamedTuple):
    """What a report came to: failures in a row, and whether the circuit is open now."""

    failures: int
    is_open: bool


class ModelGate:
    """The gate of every service, for one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def admit(
        self,
        provider: str,
        service: str,
        charges: Sequence[Charge] = (),
        *,
        mark: str,
        probe_ms: int,
        reserve: bool = False,
    ) -> Admitted | NotNow:
        """Ask whether `service` may be called now; `mark` is this try's own, `probe_ms` how long a probe may take.

        Without charges only the circuit is asked, as for a call whose place was reserved.
        """
        words: list[str | int] = [service, mark, int(reserve), probe_ms]
        for (name, _, interval_us, capacity, shared), units in charges:
            words += [name, units, interval_us, capacity, int(shared)]
        reply = await self._store.act_on_key("admit", model_key(provider), *words)
        match reply[0]:
            case "admitted":
                return Admitted(bool(reply[1]), int(reply[2]))
            case "limited" | "reserved":
                return NotNow(int(reply[1]), "rate", reserved=reply[0] == "reserved")
            case "held":
                return NotNow(int(reply[1]), reply[2])
        raise StoreError(f"service {service}: admit refused ({reply[0]}); this is a defect, report it")

    async def report(
        self,
        provider: str,
        service: str,
        verdict: Verdict,
        *,
        signature: str = "",
        hold_ms: int = 0,
        threshold: int = 0,
        open_ms: int = 0,
        used: Sequence[tuple[Charge, int]] = (),
    ) -> Reported:
        """Say how a call ended; `used` are the units that it really took of what it was charged.

        `signature` tells failures apart: only the same one, `threshold` times in a row, opens the circuit for `open_ms`.
        """
        request = uuid4().hex[:12]
        words: list[str | int] = [service, verdict, signature, hold_ms, threshold, open_ms, request]
        for (bucket, charged), units in used:
            words += [bucket.name, bucket.interval_us, charged, units]
        reply = await self._store.act_on_key("report", model_key(provider), *words)
        if reply[0] == "malformed":
            raise StoreError(f"service {service}: report refused ({reply[0]}); this is a defect, report it")
        return Reported(int(reply[1]), reply[0] == "opened")
