"""Names on the wire: there and back without a guess."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.contracts.messages import Message, ModelRequest, ToolRequest
from orchestrator.contracts.provider_errors import InvalidToolCallError
from workers.providers.names import WireNames, make_call_id, resolve_tool, unique_call_ids, wire_call_id


def request_with(*used: str, turn: int = 0) -> ModelRequest:
    """Return a request whose context has calls with these ids."""
    calls = tuple(ToolRequest(call_id=i, tool="s:t") for i in used)
    messages = (Message(role="assistant", tool_calls=calls),) if used else ()
    return ModelRequest(session_id="SES-20261120-001", skill="a", turn=turn, messages=messages)


def test_a_qualified_name_travels_with_two_underscores() -> None:
    """The plain case is readable in a service's own logs."""
    names = WireNames(["disk:read_file"])

    assert names.wire("disk:read_file") == "disk__read_file"
    assert names.full("disk__read_file") == "disk:read_file"


def test_names_that_would_collide_stay_apart() -> None:
    """Splitting at `__` would send one tool's call to another."""
    names = WireNames(["a:b__c", "a__b:c", "a:b:c", "x.y:z", "x_y:z"])
    wires = {names.wire(n) for n in ("a:b__c", "a__b:c", "a:b:c", "x.y:z", "x_y:z")}

    assert len(wires) == 5
    assert {names.full(w) for w in wires} == {"a:b__c", "a__b:c", "a:b:c", "x.y:z", "x_y:z"}


@given(st.lists(st.text(min_size=1, max_size=100), unique=True, max_size=8))
def test_every_name_survives_the_way_there_and_back(full: list[str]) -> None:
    """Whatever a server calls its tools, services accept the name and the answer finds the tool."""
    names = WireNames(full)

    for name in full:
        wire = names.wire(name)
        assert 1 <= len(wire) <= 64
        assert all(c.isascii() and (c.isalnum() or c in "_-") for c in wire)
        assert names.full(wire) == name


def test_a_name_that_no_tool_has_is_passed_on() -> None:
    """The runtime answers an invented tool; the adapter does not pick a near one."""
    assert WireNames(["s:read"]).full("s__raed") == "s__raed"


def test_call_ids_are_the_same_for_the_same_turn_and_differ_otherwise() -> None:
    """A step that is tried again asks for the same calls: intents and approvals are bound to ids."""
    first = make_call_id(request_with(), 0)

    assert make_call_id(request_with(), 0) == first
    others = {
        make_call_id(request_with(), 1),
        make_call_id(request_with(turn=1), 0),
        make_call_id(request_with("x"), 0),
    }
    assert len({first, *others}) == 4


def test_an_id_that_was_used_or_is_missing_is_made_anew() -> None:
    """Some services count from call_0 in each response: answers would pair with the wrong calls."""
    request = request_with("call_0")
    ids = list(unique_call_ids(request, ["call_0", "call_1", "call_1", None, ""]))

    assert ids[1] == "call_1"
    assert len({*ids, "call_0"}) == 6


def test_wire_ids_are_accepted_everywhere() -> None:
    """A session's own ids have characters that services refuse."""
    assert wire_call_id("toolu_01-x") == "toolu_01-x"
    assert wire_call_id("SES-20261120-001:4:0") == wire_call_id("SES-20261120-001:4:0")
    assert wire_call_id("a:b") != wire_call_id("a/b")


def test_a_bare_name_means_the_one_tool_that_has_it() -> None:
    """Policies and transcripts are written without servers."""
    assert resolve_tool("read", ["disk:read", "net:get"], where="here", provider="rules") == "disk:read"
    assert resolve_tool("net:get", ["disk:read", "x:net:get"], where="here", provider="rules") == "x:net:get"


@pytest.mark.parametrize(
    ("name", "what"),
    [("raed", "did you mean 'read'?"), ("get", "ambiguous; write one of net:get, web:get"), ("", "has no tool")],
)
def test_an_unknown_or_ambiguous_tool_is_refused(name: str, what: str) -> None:
    """A guess would act on something nobody named."""
    with pytest.raises(InvalidToolCallError) as caught:
        resolve_tool(name, ["disk:read", "net:get", "web:get"], where="here", provider="rules")
    assert what in str(caught.value)
