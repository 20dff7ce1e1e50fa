"""When the store went back in time, how far at most, and what part of it: what a loss may be explained by, and nothing else.

A power cut takes what no fsync has covered, a failover what no replica had got. Who finds a loss asks here whether a cut
explains it: it had been answered within the cut's time, and lay in the part of the store that was struck.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from orchestrator.store.cluster_map import SLOTS, slot_of
from orchestrator.store.keys import Keys

#: The moments from which nothing is answered any more that is gone, and how far back it goes at most; monotonic ms.
Windows: TypeAlias = Sequence[tuple[float, float]]
#: What a cut may take beyond the marks that bound it.
SLACK_MS = 100.0
#: How long after the answer to its announcement a tool may act: it works a while first. A failover cuts nobody off, so
#: that who was answered by a server whose word counts for nothing goes on to act.
ACT_MS = 1_500.0


@dataclass(frozen=True)
class Cut:
    """One of them: until when (monotonic ms) acts were answered that are gone, and how old those are at most.

    `bytes_lost` of the file of acts, or of what is replicated. `place` is the part of the store, `slots` what of a cluster's
    slots it has, all by default. `split_at` is from when on two servers may have answered as one, None where there was
    one at any time.
    """

    at: float
    bytes_lost: int
    back_ms: float
    what: str = "power"
    place: str = ""
    slots: tuple[int, int] = (0, SLOTS - 1)
    split_at: float | None = None

    @property
    def window(self) -> tuple[float, float]:
        """Return what it explains."""
        late = 0.0 if self.what == "power" else ACT_MS
        return self.at + late, self.back_ms + late + SLACK_MS

    @property
    def since(self) -> float:
        """Return from when on (monotonic ms) something may be gone."""
        return self.at - self.back_ms - SLACK_MS

    @property
    def moments(self) -> list[float]:
        """Return between which moments a history is one server's."""
        return [self.at if self.split_at is None else self.split_at]

    @property
    def doubtful(self) -> list[tuple[float, float]]:
        """Return when an answer may have come from a server whose word counts for nothing."""
        return [] if self.split_at is None else [(self.split_at, self.at)]

    def touches(self, session_id: str, keys: Keys) -> bool:
        """Say whether a session lies in the part of the store that went back."""
        return self.touches_key(keys.of_session("record", session_id))

    def touches_key(self, key: str) -> bool:
        """Say whether one key lies there."""
        first, last = self.slots
        return first <= slot_of(key) <= last
