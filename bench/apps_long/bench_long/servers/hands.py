"""A tool that says what it was told."""

from fastmcp import FastMCP


def register(mcp_app: FastMCP, _cfg: dict[str, object]) -> None:
    """Offer it."""

    @mcp_app.tool
    async def put(value: int, idempotency_key: str) -> dict[str, object]:
        return {"value": value, "key": idempotency_key}
