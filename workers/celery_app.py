"""The Celery application: three tasks, wake-ups only, nothing kept.

A message carries no truth, so it is acknowledged early and never stored: no result backend, no
unacked bookkeeping, no visibility timeout that could run a thing twice, no prefetch that would
hide work from the queue's length. What is lost is sent again by the scheduler.
"""

from celery import Celery

from orchestrator.settings import Settings
from orchestrator.store.fitness import check_broker_url
from workers.broker_url import plan_broker

#: How long a child of a pool that forks may take to be up: longer than a process gives itself (process.py: START_SECONDS).
CHILD_SECONDS = 90.0

STEP, FINALIZE, PLUGIN = "baton.step", "baton.finalize", "baton.plugin"


def make_celery(settings: Settings, broker_url: str) -> Celery:
    """Build the application for one broker; raise ConfigError for one that Celery cannot use safely."""
    check_broker_url(broker_url)
    queues = settings.queues
    broker_url, options, use_ssl, is_redis = plan_broker(broker_url, queues.transport_options.model_dump(mode="json"))
    app = Celery("baton", broker=broker_url, set_as_current=False)
    app.conf.update(
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        task_acks_late=False,
        task_publish_retry=False,
        task_default_queue=queues.steps,
        task_create_missing_queues=True,
        task_create_missing_queue_type="quorum" if queues.quorum and not is_redis else "classic",
        task_default_queue_type="quorum" if queues.quorum and not is_redis else "classic",
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=is_redis,
        worker_enable_remote_control=False,
        worker_hijack_root_logger=False,
        # What code prints goes to the log as it is, not as a warning of Celery's for each piece of a line.
        worker_redirect_stdouts=False,
        # A child of a pool that forks asks tool servers before it is up; Celery would kill it after four seconds, again and again.
        worker_proc_alive_timeout=CHILD_SECONDS,
        worker_disable_rate_limits=True,
        worker_send_task_events=False,
        broker_connection_retry_on_startup=True,
        # A failover answers what waits with an error of the protocol (UNBLOCKED, READONLY), which would end the worker.
        broker_channel_error_retry=is_redis,
        worker_consumer="workers.consuming:PatientConsumer",
        # They are a Redis transport's own words; another broker would refuse them.
        broker_transport_options=options,
        broker_use_ssl=use_ssl or False,
        task_routes={
            STEP: {"queue": queues.steps},
            FINALIZE: {"queue": queues.finalize},
            PLUGIN: {"queue": queues.plugins},
        },
    )
    return app
