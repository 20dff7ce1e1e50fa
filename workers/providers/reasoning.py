"""What a model thought before it asked for tools: kept as its service wrote it, and given back to it alone.

Services whose models think refuse to go on with the answers of tools unless they are shown the reasoning that led to the
calls, unchanged: Anthropic's sealed thinking blocks, DeepSeek's and Kimi's `reasoning_content`, OpenRouter's `reasoning_details`,
Gemini's sealed calls. Others refuse it, and none reads another's seal. So it is kept only with tool calls, under the name
of who wrote it, and left out of what anybody else is asked - a fallback, or another model of the skill. Pure.
"""

from orchestrator.contracts.messages import Message, ModelRequest, ModelResponse, Reasoning


def sign(response: ModelResponse, by: str) -> ModelResponse:
    """Return a response whose reasoning says who wrote it; without tool calls nobody wants it back."""
    has_any = response.reasoning is not None or any(call.seal is not None for call in response.tool_calls)
    if not has_any:
        return response
    kept = (response.reasoning or Reasoning()).model_copy(update={"by": by}) if response.tool_calls else None
    return response.model_copy(update={"reasoning": kept})


def leave_own(request: ModelRequest, by: str) -> ModelRequest:
    """Return a request in which no reasoning is another one's."""
    if all(one.reasoning is None or one.reasoning.by == by for one in request.messages):
        return request
    return request.model_copy(update={"messages": tuple(_leave_own(one, by) for one in request.messages)})


def _leave_own(message: Message, by: str) -> Message:
    if message.reasoning is None or message.reasoning.by == by:
        return message
    calls = tuple(call.model_copy(update={"seal": None}) for call in message.tool_calls)
    return message.model_copy(update={"reasoning": None, "tool_calls": calls})
