"""Two tools: one that ends a session, one that must be asked for."""

from fastmcp import FastMCP


def register(mcp_app: FastMCP, cfg: dict[str, object]) -> None:
    """Offer the tools."""

    @mcp_app.tool
    def finish(word: str) -> dict[str, str]:
        return {"word": word}

    @mcp_app.tool
    def danger(target: str) -> dict[str, str]:
        return {"target": target}
