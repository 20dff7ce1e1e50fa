"""What is asked of modules, written down twice: as protocols for people, as names for the loader."""

from typing import Any

import pytest

from orchestrator.contracts import module_ports, ports
from orchestrator.kernel.module_rules import PARTS

PROTOCOLS: dict[str, Any] = {
    "orchestrator": module_ports.Orchestrator,
    "provider": module_ports.Provider,
    "tool": module_ports.Tool,
    "context": ports.ContextManager,
}


@pytest.mark.parametrize("kind", sorted(PROTOCOLS))
def test_what_the_loader_looks_for_is_what_the_protocol_asks(kind: Any) -> None:
    """A module that follows the protocol is never refused for a part that the protocol does not name."""
    asked = {name for name in vars(PROTOCOLS[kind]) if not name.startswith("_")}

    # A tool without a schema takes anything, so that this part may be missing.
    assert asked - {"input_schema"} == set(PARTS[kind])


def test_a_tool_that_says_nothing_of_its_input_takes_anything() -> None:
    """Models are shown an empty schema, which every input fits."""

    class Bare(module_ports.Tool):
        """A tool of two parts and no schema."""

        name = "bare"
        description = "Does little."

        async def execute(self, arguments: Any, /) -> Any:
            return arguments

    assert Bare().input_schema == {}
