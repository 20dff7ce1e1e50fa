"""Outgoing webhooks: the endpoints that want to be told, and one delivery on its way to one of them."""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, SecretStr, field_validator

from orchestrator.contracts.base import Frozen, Shared

HookEvent: TypeAlias = Literal["session.waiting", "session.ended", "session.dead"]


class Endpoint(Frozen):
    """One receiver. It is told of sessions that wait for a person, that ended, or that became dead letters.

    While a secret is being changed there are two: a delivery is signed with both.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")] = Field(description="What it is called.")
    url: Annotated[str, Field(max_length=2_000)] = Field(
        description="Where it is told.", examples=["https://hooks.example.com/baton"]
    )
    secrets: Annotated[tuple[SecretStr, ...], Field(min_length=1, max_length=2)] = Field(
        description="What its deliveries are signed with; by variables only, two while one is being changed.",
        examples=[["${CHAT_HOOK_SECRET}"]],
    )
    events: Annotated[tuple[HookEvent, ...], Field(min_length=1)] = Field(
        default=("session.waiting", "session.ended", "session.dead"), description="What it is told of."
    )
    apps: tuple[str, ...] = Field(default=(), description="Of which apps; empty: all.")

    @field_validator("url")
    @classmethod
    def _is_http(cls, url: str) -> str:
        host = url.split("/")[2] if url.startswith(("https://", "http://")) else ""
        if not host or "@" in host:
            raise ValueError("not a URL of a receiver; write https://host/path, without a user or a password")
        return url

    @field_validator("secrets")
    @classmethod
    def _are_long(cls, secrets: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if any(len(secret.get_secret_value()) < 16 for secret in secrets):
            raise ValueError("a secret has at least 16 characters; make a longer one")
        return secrets


class WebhooksFile(Frozen):
    """The file webhooks.yaml."""

    webhooks: tuple[Endpoint, ...] = Field(default=(), description="The endpoints.")

    @field_validator("webhooks")
    @classmethod
    def _names_differ(cls, endpoints: tuple[Endpoint, ...]) -> tuple[Endpoint, ...]:
        names = [one.name for one in endpoints]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)}: there is more than one of that name; rename one")
        return endpoints


class Delivery(Shared):
    """One event for one endpoint. `delivery_id` stays the same over all tries; `at` is the store's ms."""

    delivery_id: str
    endpoint: str
    event: HookEvent
    session_id: str
    app: str
    seq: int
    at: int
    attempts: int = 0
    last_error: str = ""
    #: The body as it is signed and sent, the same at every try.
    body: str = ""
