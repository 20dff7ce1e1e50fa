"""How a tool's result reads to a model."""

from decimal import Decimal
from typing import Any

import pytest

from orchestrator.contracts.tool_result import ToolResult
from orchestrator.kernel.tool_output import serialise_output


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"output": {"a": 1, "b": "é"}}, '{"a": 1, "b": "\\u00e9"}'),
        ({"output": [1, None, float("nan")]}, "[1, null, NaN]"),
        ({"output": {"cost": Decimal("1.10")}}, '{"cost": "1.10"}'),
        ({"output": {1: 2}}, '{"1": 2}'),
        ({"output": (1, "x")}, "(1, 'x')"),
        ({"output": Decimal("2.0")}, "2.0"),
        ({"output": False}, "False"),
        ({"output": ""}, ""),
        ({"output": "a\x00b\x1b[0m\tc\ud800"}, "ab[0m\tc"),
        ({"output": {"a": "\x00"}}, '{"a": "\\u0000"}'),
        ({}, "Success"),
        ({"success": False}, "Error: Failed"),
        ({"success": False, "error": {}}, "Error: Failed"),
        ({"success": False, "error": {"code": 1}}, "Error: Unknown error"),
        ({"success": False, "error": {"message": ""}}, "Error: "),
        ({"success": False, "error": {"message": "a\x00b"}}, "ab"),
        ({"success": False, "error": {"message": {"x": 1}}}, '{"x": 1}'),
        ({"success": False, "output": "partly", "error": {"message": "m"}}, "partly"),
    ],
)
def test_an_output_is_written_as_text(fields: dict[str, Any], text: str) -> None:
    """JSON for structures, without what no terminal and no model should get."""
    assert serialise_output(ToolResult(**fields)) == text


@pytest.mark.parametrize("inside", [{1, 2}, object(), b"x"])
def test_what_is_no_json_is_refused(inside: object) -> None:
    """A tool's author hears of it, not the model."""
    with pytest.raises(TypeError, match=f"{type(inside).__name__} cannot be written as JSON"):
        serialise_output(ToolResult(output={"a": inside}))
