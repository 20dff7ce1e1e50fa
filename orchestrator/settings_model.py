"""The sections of settings: fields, defaults, bounds, and what must hold between them.

The defaults stand here; config/ repeats each with its unit and the reason for its value, and a
test keeps the two equal. Reading them is the work of `settings`. Units are in the names: seconds,
bytes; everything else is a count. A rule between two fields is checked at the later one.
"""

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from orchestrator.contracts.rates import Price, RateLimit
from orchestrator.settings_api import ApiSettings, WebhookSettings
from orchestrator.settings_section import KIB, MIB, Level, Seconds, Section, Url, at_least, check_url

ServiceName = Annotated[str, Field(min_length=1, max_length=200)]


class StoreSettings(Section):
    """The server that holds the truth."""

    url: Url = Field(
        default="",
        description="Redis or Valkey by URL: a server, Sentinels, a cluster, each with TLS; empty: the bundled server.",
    )
    partitions: Annotated[int, Field(ge=1, le=16_384)] = Field(
        default=64, description="Fixed when the store is created; each is one slot of a cluster."
    )
    patience_seconds: Seconds = Field(default=20.0, description="How long a command waits for a server that is away.")
    durability: Literal["server", "wait"] = Field(
        default="server", description="When a critical act is answered: as the server answers, or once the disk has it."
    )
    replicas: Annotated[int, Field(ge=0, le=16)] = Field(
        default=0, description="With `durability: wait`, how many replicas must have it, too."
    )

    _url = field_validator("url")(check_url)

    @field_validator("replicas")
    @classmethod
    def _waits_for_replicas(cls, value: int, info: ValidationInfo) -> int:
        if value and info.data.get("durability") != "wait":
            raise ValueError(
                f"{value} replicas are waited for only with store.durability: wait; set it, or leave this 0"
            )
        return value


class LimitsSettings(Section):
    """The most that is stored; what is over a limit is refused with a clear error."""

    state_bytes: Annotated[int, Field(ge=KIB, le=16 * MIB)] = Field(default=262_144, description="A session's state.")
    message_bytes: Annotated[int, Field(ge=KIB, le=64 * MIB)] = Field(default=1_048_576, description="One message.")
    entry_bytes: Annotated[int, Field(ge=KIB, le=128 * MIB)] = Field(default=2_097_152, description="A journal entry.")
    text_bytes: Annotated[int, Field(ge=KIB, le=16 * MIB)] = Field(default=65_536, description="A submission's text.")
    mailbox_posts: Annotated[int, Field(ge=1, le=100_000)] = Field(default=256, description="Posts not yet taken.")
    journal_entries: Annotated[int, Field(ge=100, le=10_000_000)] = Field(
        default=200_000, description="Journal entries of one session."
    )
    context_messages: Annotated[int, Field(ge=10, le=1_000_000)] = Field(
        default=20_000, description="Messages in a session's context."
    )
    result_bytes: Annotated[int, Field(ge=KIB, le=16 * MIB)] = Field(default=262_144, description="A tool's result.")
    stream_pieces: Annotated[int, Field(ge=10, le=1_000_000)] = Field(
        default=2_000, description="Pieces of streamed answers that are kept of a session; the oldest go."
    )
    stream_seconds: Annotated[int, Field(ge=10, le=2_592_000)] = Field(
        default=3_600, description="How long they are kept after the last one."
    )

    @field_validator("entry_bytes")
    @classmethod
    def _entries_hold_messages(cls, value: int, info: ValidationInfo) -> int:
        least = info.data.get("message_bytes", 0)
        if value < least:
            raise ValueError(f"{value} is less than limits.message_bytes ({least}); an entry holds a message")
        return value


class LeaseSettings(Section):
    """How long a session belongs to a worker that may have died."""

    seconds: Annotated[float, Field(ge=1, le=3_600)] = Field(default=15.0, description="How long a lease lasts.")
    renew_seconds: Annotated[float, Field(ge=0.1, le=1_800)] = Field(
        default=5.0, description="How often it is renewed."
    )
    max_attempts: Annotated[int, Field(ge=1, le=100)] = Field(
        default=5, description="Claims of one step without a commit before the session is buried."
    )

    @field_validator("renew_seconds")
    @classmethod
    def _renewed_twice(cls, value: float, info: ValidationInfo) -> float:
        lease = info.data.get("seconds")
        if lease is not None and value >= lease / 2:
            raise ValueError(
                f"{value:g} is not below half of lease.seconds ({lease:g}); one lost renewal would lose the lease"
            )
        return value


class LanesSettings(Section):
    """How many sessions one process advances at once, and for how long each."""

    per_process: Annotated[int, Field(ge=1, le=10_000)] = Field(default=256, description="Sessions at once.")
    drain_seconds: Annotated[float, Field(ge=0, le=600)] = Field(default=2.0, description="A session's slice: time.")
    drain_steps: Annotated[int, Field(ge=1, le=100_000)] = Field(default=200, description="A session's slice: steps.")
    blocking_threads: Annotated[int, Field(ge=1, le=1_000)] = Field(default=8, description="Threads for blocking work.")


class SchedulerSettings(Section):
    """How due sessions are found and sent."""

    tick_seconds: Annotated[float, Field(ge=0.01, le=60)] = Field(default=0.2, description="Between rounds.")
    idle_tick_seconds: Annotated[float, Field(ge=0.01, le=60)] = Field(default=1.0, description="... with nothing due.")
    resend_seconds: Annotated[float, Field(ge=0.5, le=600)] = Field(
        default=5.0, description="When a wake-up that nobody answered is sent again."
    )
    batch: Annotated[int, Field(ge=1, le=1_000)] = Field(default=128, description="Sessions in one message.")
    tick_batch: Annotated[int, Field(ge=1, le=10_000)] = Field(default=256, description="Sessions in a round.")
    leader_seconds: Annotated[float, Field(ge=1, le=600)] = Field(default=10.0, description="The lease of a leader.")

    @field_validator("idle_tick_seconds")
    @classmethod
    def _idle_is_slower(cls, value: float, info: ValidationInfo) -> float:
        return at_least(value, info, "tick_seconds", "scheduler")

    @field_validator("resend_seconds")
    @classmethod
    def _resends_after_a_tick(cls, value: float, info: ValidationInfo) -> float:
        return at_least(value, info, "idle_tick_seconds", "scheduler")

    @field_validator("leader_seconds")
    @classmethod
    def _leads_for_some_ticks(cls, value: float, info: ValidationInfo) -> float:
        idle = info.data.get("idle_tick_seconds", 0)
        if value < 2 * idle:
            raise ValueError(
                f"{value:g} is less than twice scheduler.idle_tick_seconds ({idle:g}); leaders would keep changing"
            )
        return value


class RetrySettings(Section):
    """The back-off between attempts of a step."""

    base_seconds: Annotated[float, Field(ge=0.01, le=3_600)] = Field(
        default=1.0, description="Before the second attempt."
    )
    max_seconds: Annotated[float, Field(ge=0.01, le=86_400)] = Field(
        default=60.0, description="Never longer than this."
    )
    jitter: Annotated[float, Field(ge=0, le=1)] = Field(default=0.2, description="Share of the time that is random.")

    @field_validator("max_seconds")
    @classmethod
    def _max_over_base(cls, value: float, info: ValidationInfo) -> float:
        return at_least(value, info, "base_seconds", "retry")


class ModelsSettings(Section):
    """Model services: their rates and prices, and when one that fails is left alone."""

    limits: dict[ServiceName, RateLimit] = Field(
        default={}, description="Rates by `PROVIDER` or `PROVIDER/MODEL`, kept by all workers together."
    )
    prices: dict[ServiceName, Price] = Field(
        default={}, description="Prices by `PROVIDER/MODEL`; `PROVIDER` counts for its models without one."
    )
    breaker_failures: Annotated[int, Field(ge=0, le=1_000)] = Field(
        default=5, description="Same failures in a row after which a service is left alone; 0: never."
    )
    breaker_seconds: Annotated[float, Field(ge=0.1, le=86_400)] = Field(
        default=30.0, description="How long; then one call at a time tries it."
    )
    patience_seconds: Annotated[float, Field(ge=0, le=2_592_000)] = Field(
        default=900.0, description="How long a session waits for services that are left alone; then its step fails."
    )


class WorkerSettings(Section):
    """The worker processes of one machine."""

    processes: Annotated[int, Field(ge=1, le=512)] = Field(default=2, description="Processes that `baton up` starts.")
    grace_seconds: Annotated[float, Field(ge=0, le=3_600)] = Field(default=20.0, description="To finish after SIGTERM.")
    heartbeat_seconds: Annotated[float, Field(ge=0.1, le=300)] = Field(
        default=2.0, description="Between signs of life."
    )
    plugin_slots: Annotated[int, Field(ge=1, le=1_024)] = Field(
        default=4, description="Plugins that one process runs at once, where it takes the queue of plugins."
    )


class SubmitSettings(Section):
    """Submissions."""

    key_ttl_seconds: Annotated[int, Field(ge=60, le=31_536_000)] = Field(
        default=86_400, description="How long an idempotency key is remembered."
    )


class ArchiveSettings(Section):
    """Where sessions go that ended, and when."""

    url: Url = Field(
        default="",
        description="A database by URL: sqlite:////path/archive.db, postgresql://host/name. Empty: a file beside the bundled server.",
    )
    enabled: bool = Field(
        default=True, description="Whether schedulers see to it; `baton archive run` does it by hand."
    )
    retention_hours: Annotated[float, Field(ge=0, le=876_000)] = Field(
        default=168.0, description="How long an ended session stays in the store."
    )
    every_seconds: Annotated[float, Field(ge=1, le=86_400)] = Field(default=60.0, description="Between two looks.")
    batch: Annotated[int, Field(ge=1, le=10_000)] = Field(default=500, description="Sessions moved at one look.")

    _url = field_validator("url")(check_url)


class TransportOptions(Section):
    """Celery's broker transport, by its own option names."""

    ack_emulation: bool = Field(default=False, description="Whether unacknowledged messages are kept.")
    priority_steps: tuple[Annotated[int, Field(ge=0, le=255)], ...] = Field(
        default=(0,), min_length=1, description="Priorities inside a queue; ours are queues of their own."
    )
    socket_timeout: Seconds = Field(default=10.0, description="Seconds for one answer of the broker.")
    socket_connect_timeout: Seconds = Field(default=5.0, description="Seconds to connect.")
    socket_keepalive: bool = Field(default=True, description="Whether dead connections are noticed.")
    health_check_interval: Annotated[int, Field(ge=0, le=3_600)] = Field(
        default=10, description="Seconds between pings."
    )
    visibility_timeout: Annotated[int, Field(ge=60, le=31_536_000)] = Field(
        default=3_600, description="Seconds; without effect while ack_emulation is off."
    )


class QueuesSettings(Section):
    """Celery's queues and their broker."""

    steps: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,100}$")] = Field(
        default="baton.steps", description="Steps."
    )
    finalize: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,100}$")] = Field(
        default="baton.finalize", description="Settling."
    )
    plugins: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,100}$")] = Field(
        default="baton.plugins", description="Plugin passes."
    )
    broker_url: Url = Field(
        default="", description="The broker by URL: Redis, Sentinels or RabbitMQ, with TLS; empty: the store's server."
    )
    quorum: bool = Field(
        default=False, description="Whether a RabbitMQ makes replicated (quorum) queues; a Redis broker has none."
    )
    transport_options: TransportOptions = Field(default=TransportOptions(), description="For a Redis broker.")

    _url = field_validator("broker_url")(check_url)

    @field_validator("plugins")
    @classmethod
    def _all_different(cls, value: str, info: ValidationInfo) -> str:
        if len({value, info.data.get("steps"), info.data.get("finalize")}) < 3:
            raise ValueError("queues.steps, queues.finalize and queues.plugins need three different names")
        return value


class AppsSettings(Section):
    """Where apps are found."""

    path: tuple[str, ...] = Field(default=(), description="Folders of app folders.")
    bundled: bool = Field(default=True, description="Whether the apps that come with Baton are loaded as well.")
    plugins: str = Field(default="", description="A folder of plugins that go before an app's own; empty: none.")
    workspaces: tuple[str, ...] = Field(
        default=(), description="Folders below which plugins may work; empty: wherever a session says."
    )


class LoggingSettings(Section):
    """What is logged, and how."""

    level: Level = Field(default="INFO", description="The least that is logged.")
    format: Literal["auto", "text", "json"] = Field(
        default="auto",
        description="Lines for people, one JSON object a line, or the first on a terminal and else the second.",
    )
    loggers: dict[str, Level] = Field(
        default={"celery": "WARNING", "kombu": "WARNING", "amqp": "WARNING", "fastmcp": "ERROR", "mcp": "WARNING"},
        description="Levels of single loggers.",
    )


class TracingSettings(Section):
    """Spans for a collector; needs the extra `otel`."""

    enabled: bool = Field(default=False, description="Whether spans are made.")
    exporter: Literal["otlp", "console"] = Field(
        default="otlp", description="A collector by OTLP over HTTP, or standard error."
    )
    endpoint: Url = Field(default="", description="The collector by URL; empty: OTEL_EXPORTER_OTLP_ENDPOINT.")
    service: Annotated[str, Field(min_length=1, max_length=100)] = Field(
        default="baton", description="The name that the collector shows."
    )
    sample_ratio: Annotated[float, Field(ge=0, le=1)] = Field(
        default=1.0, description="Share of sessions with a trace."
    )

    _url = field_validator("endpoint")(check_url)


class Settings(Section):
    """All settings; a section that is not given holds its defaults."""

    store: StoreSettings = StoreSettings()
    limits: LimitsSettings = LimitsSettings()
    lease: LeaseSettings = LeaseSettings()
    lanes: LanesSettings = LanesSettings()
    scheduler: SchedulerSettings = SchedulerSettings()
    retry: RetrySettings = RetrySettings()
    models: ModelsSettings = ModelsSettings()
    worker: WorkerSettings = WorkerSettings()
    submit: SubmitSettings = SubmitSettings()
    archive: ArchiveSettings = ArchiveSettings()
    queues: QueuesSettings = QueuesSettings()
    apps: AppsSettings = AppsSettings()
    logging: LoggingSettings = LoggingSettings()
    tracing: TracingSettings = TracingSettings()
    api: ApiSettings = ApiSettings()
    webhooks: WebhookSettings = WebhookSettings()
