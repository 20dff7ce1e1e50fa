"""What a tool asks of a person before it acts, and what goes back to it with the answers (MCP: InputRequiredResult).

The call has not acted: it is made again with the answers, by whichever worker goes on. How a question becomes fields is
decided in kernel/tool_questions.py.
"""

from orchestrator.contracts.base import Frozen, JsonObject
from orchestrator.contracts.plugins import PromptField


class ToolAnswers(Frozen):
    """The answers to a tool's requests, by its own keys, each an MCP ElicitResult; and its state, as it gave it."""

    responses: dict[str, JsonObject] = {}
    request_state: str | None = None


class ToolQuestion(Frozen):
    """A tool's question. `round` counts those of one call from 1; `request_state` is the tool's own and goes back as it is.

    `prompt` and `fields` are what a person is shown; `places` tells which request, and which property of its form, a field
    answers, no property where agreeing is the answer. `keys` are all requests. `answers` is None until a person has answered.
    """

    round: int
    request_state: str | None = None
    prompt: str = ""
    fields: tuple[PromptField, ...] = ()
    places: dict[str, tuple[str, str]] = {}
    keys: tuple[str, ...] = ()
    answers: JsonObject | None = None
