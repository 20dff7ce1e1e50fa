"""Tools that leave a line in a file outside the store for everything that they do."""

import asyncio
import os
from pathlib import Path

from fastmcp import Context, FastMCP
from fastmcp.exceptions import ToolError
from mcp_types import ElicitRequest, ElicitRequestFormParams, ElicitResult, InputRequiredResult


def _note(line: str) -> None:
    ledger = os.environ.get("EVERYTHING_LEDGER")
    if ledger:
        with Path(ledger).open("a") as file:
            file.write(line + "\n")


def register(mcp_app: FastMCP, cfg: dict[str, object]) -> None:
    """Offer the tools."""

    @mcp_app.tool
    def look(value: int) -> dict[str, int]:
        _note(f"look {value}")
        return {"value": value}

    @mcp_app.tool
    def gauge() -> dict[str, object]:
        shown = os.environ.get("EVERYTHING_GAUGE", "0")
        if shown == "broken":
            raise ToolError("the gauge is broken")
        return {"value": int(shown)} if shown != "odd" else {}

    @mcp_app.tool
    def guess(confidence: float, confidence_rationale: str) -> dict[str, bool]:
        return {"ok": 0 <= confidence <= 1 and bool(confidence_rationale)}

    @mcp_app.tool
    def finish(word: object = None) -> dict[str, object]:
        return {"word": word}

    @mcp_app.tool
    def strike(session: str) -> dict[str, str]:
        _note(f"strike {session}")
        return {"struck": session}

    @mcp_app.tool
    def strike_again(session: str) -> dict[str, str]:
        _note(f"strike_again {session}")
        return {"struck": session}

    @mcp_app.tool
    def strike_never(session: str) -> dict[str, str]:
        _note(f"strike_never {session}")
        return {"struck": session}

    @mcp_app.tool
    async def strike_slowly(session: str) -> dict[str, str]:
        _note(f"strike_slowly {session}")
        await asyncio.Event().wait()
        return {"struck": session}

    @mcp_app.tool
    def put(value: int, idempotency_key: str) -> dict[str, object]:
        _note(f"put {value} {idempotency_key}")
        return {"value": value}

    @mcp_app.tool
    def danger(target: str) -> dict[str, str]:
        _note(f"danger {target}")
        return {"target": target}

    @mcp_app.tool
    async def ponder(what: str, ctx: Context) -> InputRequiredResult | dict[str, object]:
        answer = (ctx.input_responses or {}).get("how")
        if not isinstance(answer, ElicitResult) or answer.content is None:
            fields = {
                "count": {"type": "integer"},
                "in what?": {"type": "string", "enum": ["mm", "in"], "default": "mm"},
            }
            form = ElicitRequestFormParams(
                message=f"How many {what}?",
                requested_schema={"type": "object", "properties": fields, "required": ["count"]},
            )
            return InputRequiredResult(input_requests={"how": ElicitRequest(params=form)}, request_state=f"of {what}")
        _note(f"ponder {ctx.request_state} {answer.content}")
        return {"counted": answer.content["count"]}

    @mcp_app.tool
    def page(session: str, team: str, message: str, idempotency_key: str) -> dict[str, str]:
        if team == "day":
            raise ToolError("nobody is there by day")
        _note(f"page {team} {session} {idempotency_key}")
        return {"team": team, "message": message}
