"""Write a tool's result as the text that a model reads."""

import json
from decimal import Decimal

from orchestrator.contracts.tool_result import ToolResult
from orchestrator.kernel.sanitise import sanitise_for_model


def serialise_output(result: ToolResult) -> str:
    """Return the output as text: JSON for a mapping or a list, else what `str` makes of it.

    Control characters are deleted from that text; inside JSON they stand escaped and stay. Without an
    output it is the error, or "Success". Raises TypeError for a mapping or a list that holds what is no
    JSON; a Decimal in it is written as a string.

    >>> serialise_output(ToolResult(output={"cost": Decimal("0.10")}))
    '{"cost": "0.10"}'
    >>> serialise_output(ToolResult(success=False))
    'Error: Failed'
    """
    output = result.output
    if output is not None:
        text = json.dumps(output, default=_write_decimal) if isinstance(output, dict | list) else str(output)
        return sanitise_for_model(text)
    if result.success:
        return "Success"
    if result.error:
        return f"Error: {result.error.get('message', 'Unknown error')}"
    return "Error: Failed"


def _write_decimal(value: object) -> str:
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"tool output: {type(value).__name__} cannot be written as JSON; give plain data")
