"""What the tools work with, and what each asks for: the desk, and the decorator that puts a tool on it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from fastmcp import FastMCP
from mcp_types import ToolAnnotations

from orchestrator.client import Client
from orchestrator.contracts.access import Caller, Role
from orchestrator.operations import Operations

F = TypeVar("F", bound=Callable[..., Awaitable[Any]])


@dataclass(frozen=True, slots=True)
class Desk:
    """One server's wired parts. `find_caller` tells whose request is being served; `roles` is what each tool asks for."""

    operations: Operations
    find_caller: Callable[[], Caller]
    roles: dict[str, Role] = field(default_factory=dict)

    @property
    def client(self) -> Client:
        """The client of the store."""
        return self.operations.client

    @property
    def actor(self) -> str:
        """The name that the journal shows."""
        return self.find_caller().name

    def tool(self, server: FastMCP[Any], role: Role, *, destructive: bool = False) -> Callable[[F], F]:
        """Return a decorator that registers a function as a tool for callers with this role."""

        def register(function: F) -> F:
            name = function.__name__
            hints = ToolAnnotations(
                read_only_hint=role == "viewer",
                destructive_hint=destructive,
                idempotent_hint=role == "viewer",
                open_world_hint=False,
            )
            server.tool(function, name=name, annotations=hints, tags={role})
            self.roles[name] = role
            return function

        return register
