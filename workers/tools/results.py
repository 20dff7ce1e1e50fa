"""Turn what a tool answered into JSON that a session can hold.

Structured content wins over text; what fastmcp wrapped as {"result": x} is unwrapped; a size limit is kept.
Pure: the calls themselves are made in inprocess.py and remote.py.
"""

from collections.abc import Mapping, Sequence
from typing import cast

from mcp_types import ContentBlock, TextContent
from pydantic import JsonValue, ValidationError
from pydantic_core import from_json, to_json

from orchestrator.contracts.errors import ToolError

#: fastmcp's mark on results and schemas of tools whose result is not an object.
_WRAP_META, _WRAP_SCHEMA = "wrap_result", "x-fastmcp-wrap-result"


def text_of(content: Sequence[ContentBlock]) -> str:
    """Return the text blocks as one text.

    >>> text_of([TextContent(type="text", text="a"), TextContent(type="text", text="b")])
    'a\\nb'
    """
    return "\n".join(block.text for block in content if isinstance(block, TextContent))


def is_wrapped(meta: Mapping[str, object] | None, output_schema: Mapping[str, object] | None) -> bool:
    """Say whether the structured content is {"result": x} around the tool's real result.

    >>> is_wrapped({"fastmcp": {"wrap_result": True}}, None), is_wrapped(None, {"type": "object"})
    (True, False)
    """
    ours = (meta or {}).get("fastmcp")
    if isinstance(ours, Mapping) and ours.get(_WRAP_META) is True:
        return True
    return output_schema is not None and output_schema.get(_WRAP_SCHEMA) is True


def choose_value(structured: Mapping[str, object] | None, content: Sequence[ContentBlock], *, wrapped: bool) -> object:
    """Return the structured content, else the text, else the blocks as they are; None for no answer at all.

    >>> choose_value({"result": [1]}, [], wrapped=True), choose_value({"result": [1]}, [], wrapped=False)
    ([1], {'result': [1]})
    """
    if structured is not None:
        return structured.get("result") if wrapped else structured
    if not content:
        return None
    if all(isinstance(block, TextContent) for block in content):
        return text_of(content)
    return [block.model_dump(mode="json", by_alias=True, exclude_none=True) for block in content]


def bound(value: object, *, limit_bytes: int, where: str) -> JsonValue:
    """Return `value` as plain JSON, or raise ToolError when it is over the limit or is not JSON.

    NaN and infinities become null: no reader of a session's data accepts them.

    >>> bound({"a": float("nan")}, limit_bytes=100, where="s:t")
    {'a': None}
    """
    try:
        body = to_json(value)
    except ValueError as error:
        raise ToolError(f"{where}: its result is not JSON ({type(error).__name__}); the tool must be mended") from error
    if len(body) > limit_bytes:
        raise ToolError(f"{where}: its result has {len(body)} bytes, over the limit of {limit_bytes}; ask it for less")
    if b"NaN" in body or b"Infinity" in body:
        return cast(JsonValue, from_json(to_json(value, inf_nan_mode="null")))
    return cast(JsonValue, value)


def describe_arguments(error: ValidationError) -> str:
    """Say which arguments are wrong, without repeating their values.

    >>> from pydantic import TypeAdapter
    >>> try:
    ...     TypeAdapter(dict[str, int]).validate_python({"a": "x"})
    ... except ValidationError as error:
    ...     describe_arguments(error)
    'a: Input should be a valid integer, unable to parse string as an integer'
    """
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    return "; ".join(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in problems[:8])
