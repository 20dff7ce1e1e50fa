"""Render docs/reference/openapi.json from the routes of the HTTP API, and the table of its operations for http.md."""

from fastapi import FastAPI

from orchestrator.client import Client
from orchestrator.interfaces.http.app import build_app
from orchestrator.interfaces.http.openapi import describe, render_description
from orchestrator.interfaces.http.parts import ROLE_KEY
from orchestrator.settings import Settings
from orchestrator.store.store import Store


def render_openapi() -> str:
    """Return the description of the API, as it is committed."""
    return render_description(_build())


def render_operations() -> str:
    """Return a table of all operations: what each does, and the role that it needs."""
    rows = ["| operation | what it does | role |", "| --- | --- | --- |"]
    for path, operations in sorted(describe(_build())["paths"].items()):
        for method, operation in operations.items():
            what = " ".join(operation["description"].split()).split(". ")[0].rstrip(".").replace("|", "\\|")
            role = operation.get(ROLE_KEY, "its own" if path.startswith("/v1/triggers") else "none")
            rows.append(f"| `{method.upper()} {path}` | {what} | {role} |")
    return "\n".join(rows)


def _build() -> FastAPI:
    return build_app(
        Client(Store("redis://nowhere"), {}), Settings(), open_actor="docs", env={}, endpoints=(), tokens=()
    )
