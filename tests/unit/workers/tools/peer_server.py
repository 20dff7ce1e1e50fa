"""A real MCP server for the tests of remote servers: `peer_server.py stdio` or `peer_server.py PORT`.

Over HTTP it prints one line when it listens. `hang` never answers; `await_hanging` answers once `hang` was called.
"""

import asyncio
import os
import socket
import sys

os.environ["FASTMCP_LOG_ENABLED"] = "false"

import uvicorn
from fastmcp import Context, FastMCP
from fastmcp.exceptions import ToolError
from mcp.server.request_state import RequestStateSecurity
from mcp_types import ElicitRequest, ElicitRequestFormParams, ElicitResult, InputRequiredResult

# Any process with the same key finishes what another one began.
SEALED = RequestStateSecurity(keys=["k" * 32], ttl=86_400, audience="peer")

app = FastMCP("peer", mask_error_details=True, request_state_security=SEALED)
hanging = asyncio.Event()


@app.tool
def add(a: int, b: int = 1) -> int:
    """Add two numbers."""
    return a + b


@app.tool
def process() -> dict[str, int]:
    """Say which process answers."""
    return {"pid": os.getpid()}


@app.tool
async def hang() -> str:
    """Never answer."""
    hanging.set()
    await asyncio.Event().wait()
    return "unreachable"


@app.tool
async def await_hanging() -> str:
    """Answer once somebody hangs."""
    await hanging.wait()
    hanging.clear()
    return "somebody hangs"


@app.tool
def fail() -> str:
    """Raise what the model must not read."""
    raise RuntimeError("the password is swordfish")


@app.tool
def refuse() -> str:
    """Raise what the model must read."""
    raise ToolError("that is already done")


@app.tool
def large(size: int) -> str:
    """Return many characters."""
    return "x" * size


@app.tool
def die() -> str:
    """End in the middle of a call."""
    os._exit(3)


@app.tool
def question() -> InputRequiredResult:
    """Ask instead of answering."""
    form = ElicitRequestFormParams(message="Which one?", requested_schema={"type": "object", "properties": {}})
    return InputRequiredResult(input_requests={"which": ElicitRequest(params=form)}, request_state="halfway")


@app.tool
async def paint(what: str, ctx: Context) -> InputRequiredResult | dict[str, object]:
    """Ask for a colour, then paint."""
    answer = (ctx.input_responses or {}).get("colour")
    if not isinstance(answer, ElicitResult) or answer.content is None:
        form = ElicitRequestFormParams(
            message="Which colour?",
            requested_schema={"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
        )
        return InputRequiredResult(input_requests={"colour": ElicitRequest(params=form)}, request_state=f"begun {what}")
    return {"painted": what, "state": ctx.request_state, "colour": answer.content["name"]}


@app.tool
async def elicit(ctx: Context) -> str:
    """Ask in the middle of the call, as old servers do."""
    answer = await ctx.elicit("Really?", str)
    return str(answer.action)


def main() -> None:
    """Serve until ended."""
    if sys.argv[1] == "stdio":
        print("the peer starts", file=sys.stderr, flush=True)
        app.run("stdio", show_banner=False)
        return
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", int(sys.argv[1])))
    listening.listen()
    print("listening", listening.getsockname()[1], flush=True)
    config = uvicorn.Config(app.http_app(), log_level="critical", lifespan="on")
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
