"""What a scheduler is told of a broker that is away: one error, whatever the transport calls it."""

import pytest

from orchestrator.settings import Settings
from workers.celery_app import make_celery
from workers.wakeups import CeleryWakeups


@pytest.mark.parametrize("url", ["amqp://127.0.0.1:1//", "redis://127.0.0.1:1/0"])
def test_a_broker_that_is_away_is_an_error_of_the_system(url: str) -> None:
    """The scheduler waits for it then, and goes on with everything else; another error would end it."""
    settings = Settings()
    app = make_celery(settings, url)
    soon = {"max_retries": 1, "interval_start": 0}  # it tries again, as always, and waits for nothing before it does
    app.conf.broker_transport_options = {**app.conf.broker_transport_options, **soon}
    wakeups = CeleryWakeups(app, settings)

    with pytest.raises(OSError, match="broker: "):
        wakeups.backlog(settings.queues.steps)
