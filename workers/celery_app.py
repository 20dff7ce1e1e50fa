"""The Celery application: three tasks, wake-ups only, nothing kept.

A message carries no truth, so it is acknowledged early and never stored: no result backend, no
unacked bookkeeping, no visibility timeout that could run a thing twice, no prefetch that would
hide work from the queue's length. What is lost is sent again by the scheduler.
"""

from urllib.parse import quote

from celery import Celery

from orchestrator.contracts.base import JsonObject
from orchestrator.settings import Settings
from orchestrator.store.fitness import check_broker_url
from orchestrator.store.sentinel import SCHEME, parse_sentinels

STEP, FINALIZE, PLUGIN = "baton.step", "baton.finalize", "baton.plugin"


def plan_sentinels(url: str) -> tuple[str, JsonObject]:
    """Return a URL of Sentinels in the words of Celery's transport, and the options that go with it.

    >>> plan_sentinels("sentinel://:pw@a:26379,b:26379/main?db=1")
    ('sentinel://:pw@a:26379/1;sentinel://:pw@b:26379/1', {'master_name': 'main'})
    """
    found = parse_sentinels(url)
    secret = f"{quote(found.username, safe='')}:{quote(found.password, safe='')}@" if found.password else ""
    options: JsonObject = {"master_name": found.name}
    if found.sentinel_password:
        options["sentinel_kwargs"] = {"password": found.sentinel_password}
    return ";".join(f"{SCHEME}{secret}{host}:{port}/{found.db}" for host, port in found.hosts), options


def make_celery(settings: Settings, broker_url: str) -> Celery:
    """Build the application for one broker; raise ConfigError for one that Celery cannot use safely."""
    check_broker_url(broker_url)
    queues = settings.queues
    is_redis = broker_url.startswith(("redis", "rediss", "sentinel"))
    options: JsonObject = queues.transport_options.model_dump(mode="json") if is_redis else {}
    if broker_url.startswith(SCHEME):
        broker_url, more = plan_sentinels(broker_url)
        options |= more
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
        worker_disable_rate_limits=True,
        worker_send_task_events=False,
        broker_connection_retry_on_startup=True,
        # A failover answers what waits with an error of the protocol (UNBLOCKED, READONLY), which would end the worker.
        broker_channel_error_retry=is_redis,
        # They are a Redis transport's own words; another broker would refuse them.
        broker_transport_options=options,
        task_routes={
            STEP: {"queue": queues.steps},
            FINALIZE: {"queue": queues.finalize},
            PLUGIN: {"queue": queues.plugins},
        },
    )
    return app
