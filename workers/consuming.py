"""Celery's consumer, which goes on where something unreadable lies in the broker's list.

A Redis list takes what anybody puts there. Its message is out of the list before it is read, and Celery ends its worker where that
fails: each such message one worker, and all of a fleet that is started again meets the next. A wake-up carries no truth, so one that
cannot be read is lost as any other may be: the connection is made anew, and the worker goes on. What can be read and is no wake-up
of ours, Celery itself drops.
"""

import logging
from typing import Final

from celery.worker.consumer import Consumer

log = logging.getLogger(__name__)

#: What a text raises that is no JSON, or no UTF-8, or no object.
UNREADABLE: Final = (TypeError, ValueError)


class PatientConsumer(Consumer):  # type: ignore[misc]
    """Connects anew where it would have ended. It counts on `broker_channel_error_retry`."""

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **options)
        self.channel_errors = (*self.conninfo.channel_errors, *UNREADABLE)

    def on_connection_error_after_connected(self, exc: BaseException) -> None:
        """Say what is given up with the connection, then connect anew."""
        if isinstance(exc, UNREADABLE):
            log.error(
                "broker: a message cannot be read and was dropped: who else writes into our queues?", exc_info=exc
            )
        super().on_connection_error_after_connected(exc)
