"""Turn tracing on for this process, with OpenTelemetry's SDK: what the settings say, and where spans go.

The SDK is an extra (`baton[otel]`); it is imported here alone, and only where tracing is enabled.
"""

from orchestrator.contracts.errors import ConfigError
from orchestrator.settings_model import TracingSettings
from orchestrator.tracing import is_on, switch_on

MISSING = "tracing.enabled: {name} is missing; install baton[otel], or turn it off"


def configure_tracing(settings: TracingSettings, *, process: str) -> None:
    """Turn tracing on where the settings say so; raise ConfigError where the SDK is missing.

    `process` names what this process is: worker, scheduler, cli, api, mcp. What is left is sent when the process ends.
    """
    if not settings.enabled or is_on():
        return
    try:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
    except ModuleNotFoundError as error:
        raise ConfigError(MISSING.format(name=error.name)) from error
    from orchestrator import __version__

    names = {"service.name": settings.service, "service.version": __version__, "baton.process": process}
    provider = TracerProvider(
        resource=Resource.create(names), sampler=ParentBased(TraceIdRatioBased(settings.sample_ratio))
    )
    exporter: SpanExporter
    if settings.exporter == "console":
        import sys

        exporter = ConsoleSpanExporter(out=sys.stderr)
    else:
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        except ModuleNotFoundError as error:
            raise ConfigError(MISSING.format(name=error.name)) from error
        # Without an endpoint of ours the exporter reads OTEL_EXPORTER_OTLP_ENDPOINT, as everywhere.
        exporter = OTLPSpanExporter(
            endpoint=f"{settings.endpoint.rstrip('/')}/v1/traces" if settings.endpoint else None
        )
    provider.add_span_processor(BatchSpanProcessor(exporter))
    switch_on(provider)
