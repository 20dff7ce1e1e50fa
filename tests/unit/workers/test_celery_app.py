"""What Celery is told of its own workers, where its defaults would work against ours."""

from orchestrator.settings import Settings
from workers.celery_app import make_celery
from workers.process import START_SECONDS


def test_a_child_has_as_long_to_start_as_it_gives_itself() -> None:
    """Celery kills one that is not up after four seconds, and its successor: one slow tool server, and a dead child stays dead."""
    conf = make_celery(Settings(), "redis://127.0.0.1:1/0").conf

    assert conf.worker_proc_alive_timeout > START_SECONDS
