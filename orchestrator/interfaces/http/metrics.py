"""The seam to the exporter: `orchestrator.exporter.render(client)` where it is there, else the store's bare counters."""

import inspect
from importlib import import_module
from importlib.util import find_spec

from orchestrator.client import Client


async def render_metrics(client: Client) -> str:
    """Return Prometheus text."""
    if find_spec("orchestrator.exporter") is not None:
        found = import_module("orchestrator.exporter").render(client)
        return str(await found if inspect.isawaitable(found) else found)
    counters = sorted((await client.stats()).items())
    lines = ["# TYPE baton_counter untyped"]
    lines += [f'baton_counter{{name="{_escape(name)}"}} {value}' for name, value in counters]
    return "\n".join(lines) + "\n"


def _escape(text: str) -> str:
    r"""Return a label's value.

    >>> _escape('a"b')
    'a\\"b'
    """
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
