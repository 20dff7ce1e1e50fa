"""What a tool gives back in one process: whether it worked, and its output or its error.

How the output is written for a model is kernel/tool_output.py.
"""

from typing import Any, Self

from pydantic import model_validator

from orchestrator.contracts.base import Lenient


class ToolResult(Lenient):
    """A tool's result. A failure without an output takes its error's `message` for one.

    >>> ToolResult(success=False, error={"message": "no such file"}).output
    'no such file'
    """

    success: bool = True
    output: Any = None
    error: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _speak_for_itself(self) -> Self:
        if not self.success and self.output is None and self.error and self.error.get("message"):
            object.__setattr__(self, "output", self.error["message"])
            self.__pydantic_fields_set__.add("output")
        return self

    def __str__(self) -> str:
        if self.success:
            return str(self.output) if self.output else "Success"
        if self.error:
            return f"Error: {self.error.get('message', 'Unknown error')}"
        return "Failed"
