"""RQ without a fork for every job: SimpleWorker."""

from side_rq import SimpleSide as Side

__all__ = ["Side"]
