"""The rules provider: a policy decides turns, the same way every time."""

import asyncio
from typing import Any

import pytest

from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.base import dump_json
from orchestrator.contracts.errors import ConfigError
from orchestrator.contracts.messages import Message, ModelRequest, ModelResponse, ToolRequest, ToolSchema
from orchestrator.contracts.provider_errors import ConfigurationError, LLMError
from workers.providers.facts import Facts, FactsCache
from workers.providers.rules import RulesProvider, build

TOOLS = tuple(ToolSchema(name=n) for n in ("s:read", "s:write", "t:done", "u:copy", "v:copy"))
SKILL = {"kind": "responsive", "name": "work", "prompt": "Work."}


def spec_of(*rules: dict[str, Any], **more: Any) -> AppSpec:
    """Return an app whose skill `work` follows these rules."""
    other = {**SKILL, "name": "other"}
    return AppSpec.model_validate(
        {
            "name": "demo",
            "entry_skill": "work",
            "skills": {"work": SKILL, "other": other},
            "model": {"provider": "rules", "rules": {"work": list(rules)}},
            **more,
        }
    )


def provider_of(*rules: dict[str, Any], **more: Any) -> RulesProvider:
    """Return the provider of such an app."""
    return build(spec_of(*rules, **more), env={})


def request_of(*messages: Message, **more: Any) -> ModelRequest:
    """Return a request of the skill `work`."""
    return ModelRequest(session_id="SES-20261120-001", messages=messages, tools=TOOLS, **{"skill": "work", **more})


def decide(provider: RulesProvider, request: ModelRequest) -> ModelResponse:
    """Return what the provider says."""
    return asyncio.run(provider.complete(request))


def user(text: str) -> Message:
    """Return what a person said."""
    return Message(role="user", content=text)


def asked(call_id: str, tool: str, skill: str = "work") -> Message:
    """Return the message with which an agent asked for a call."""
    return Message(role="assistant", skill=skill, tool_calls=(ToolRequest(call_id=call_id, tool=tool),))


def answered(call_id: str, result: object, skill: str = "work") -> Message:
    """Return a tool's answer; anything but text is written as JSON."""
    content = result if isinstance(result, str) else dump_json(result)
    return Message(role="tool", call_id=call_id, content=content, skill=skill)


def test_the_first_rule_that_holds_decides() -> None:
    """Policies read from top to bottom."""
    provider = provider_of(
        {"when": "turn > 0", "say": "later"},
        {"when": "turn == 0", "say": "now", "confidence": 0.5, "rationale": "first", "signal": "success"},
        {"say": "never"},
    )

    response = decide(provider, request_of())
    assert (response.content, response.confidence, response.rationale, response.signal) == (
        "now",
        0.5,
        "first",
        "success",
    )
    assert response.tool_calls == ()
    assert decide(provider, request_of(turn=1)).content == "later"


def test_arguments_are_expressions_over_the_facts() -> None:
    """A policy passes on what tools returned and what the state holds."""
    rule = {
        "call": [
            {
                "tool": "write",
                "args": {
                    "path": "=state['path']",
                    "lines": "=results['read']['lines'][:2]",
                    "note": "=upper(text) + join(',', inputs)",
                    "raw": "==x",
                    "deep": {"n": ["=turn"]},
                },
            }
        ]
    }
    messages = (user("go"), asked("c1", "s:read"), answered("c1", {"lines": [1, 2, 3]}), user("yes"), user("no"))

    response = decide(provider_of(rule), request_of(*messages, state={"path": "/a"}, turn=3))
    (call,) = response.tool_calls
    assert call.tool == "s:write"
    assert call.args == {"path": "/a", "lines": [1, 2], "note": "GOyes,no", "raw": "=x", "deep": {"n": [3]}}
    assert response.stop_reason == "tool_use"


def test_for_each_makes_one_call_for_each_item_that_passes() -> None:
    """Fan-out over a result is the most common thing that a policy does."""
    rule = {
        "call": [
            {
                "tool": "s:read",
                "for_each": "results['read']",
                "when": "item['ok']",
                "args": {"name": "=item['name']", "n": "=index"},
            },
            {"tool": "done", "when": "turn == 9"},
        ]
    }
    items = [{"name": "a", "ok": True}, {"name": "b", "ok": False}, {"name": "c", "ok": True}]

    response = decide(provider_of(rule), request_of(asked("c", "s:read"), answered("c", items)))
    assert [c.args for c in response.tool_calls] == [{"name": "a", "n": 0}, {"name": "c", "n": 2}]
    assert len({c.call_id for c in response.tool_calls}) == 2


def test_the_same_request_gets_the_same_response() -> None:
    """A step that is tried again after a crash must ask for the very same calls."""
    rule = {"call": [{"tool": "read", "args": {"x": "=turn"}}]}

    first, again = (decide(provider_of(rule), request_of(user("go"))) for _ in range(2))
    assert first == again
    assert (
        decide(provider_of(rule), request_of(user("go"), turn=1)).tool_calls[0].call_id != first.tool_calls[0].call_id
    )


def test_a_condition_over_a_missing_result_does_not_hold() -> None:
    """Most rules ask for results that are not there yet; that is no failure."""
    provider = provider_of({"when": "results['read']['ok']", "say": "read"}, {"call": [{"tool": "read"}]})

    assert decide(provider, request_of()).tool_calls[0].tool == "s:read"


def test_a_failed_call_shows_as_its_error() -> None:
    """A policy can go another way when a tool fails."""
    provider = provider_of({"when": "'error' in results['read']", "say": "=results['read']['error']"})

    response = decide(provider, request_of(asked("c", "s:read"), answered("c", {"error": "no such file"})))
    assert response.content == "no such file"


def test_a_rule_whose_calls_fall_away_makes_room_for_the_next() -> None:
    """An empty list is not a last word."""
    provider = provider_of({"call": [{"tool": "read", "for_each": "[]"}]}, {"say": "nothing to read"})

    assert decide(provider, request_of()).content == "nothing to read"


def test_a_rule_that_also_says_something_has_its_last_word_when_its_calls_fall_away() -> None:
    """Then what it says is what there is to say."""
    rule = {"call": [{"tool": "read", "for_each": "state['xs']"}], "say": "=str(len(state['xs'])) + ' read'"}

    with_calls = decide(provider_of(rule), request_of(state={"xs": [1]}))
    without = decide(provider_of(rule), request_of(state={"xs": []}))
    assert (with_calls.content, len(with_calls.tool_calls)) == ("1 read", 1)
    assert (without.content, without.tool_calls) == ("0 read", ())


def test_no_rule_ends_with_no_confidence_and_the_reasons() -> None:
    """No gate lets it pass, and a person reads which conditions could not be evaluated."""
    response = decide(provider_of({"when": "results['read']['ok']", "say": "x"}), request_of())

    assert response.content == "no rule applies: skill work, turn 0"
    assert (response.confidence, response.signal) == (0.0, "failed")
    assert "no key 'read'" in (response.rationale or "")


def test_no_rule_gives_no_signal_that_the_app_does_not_have() -> None:
    """A signal outside the vocabulary would mean nothing."""
    provider = provider_of({"when": "False", "say": "x"}, signals=["done"])

    assert decide(provider, request_of()).signal is None


def test_confidence_rationale_and_signal_may_be_computed() -> None:
    """What a policy is sure of depends on what it saw."""
    rule = {
        "say": "=text",
        "confidence": "0.5 + 0.1 * count(state['xs'], 'ok', True)",
        "rationale": "='seen ' + str(len(state['xs']))",
        "signal": "='success' if state['xs'] else 'failed'",
    }

    response = decide(provider_of(rule), request_of(user("hi"), state={"xs": [{"ok": True}, {"ok": False}]}))
    assert response == ModelResponse(content="hi", confidence=0.6, rationale="seen 2", signal="success", model="rules")


@pytest.mark.parametrize(
    ("rule", "what"),
    [
        ({"call": [{"tool": "raed"}]}, "did you mean 'read'?"),
        ({"call": [{"tool": "copy"}]}, "ambiguous; write one of u:copy, v:copy"),
        ({"call": [{"tool": "read", "args": {"x": "=state['zzz']"}}]}, "no key 'zzz'"),
        ({"call": [{"tool": "read", "for_each": "text"}]}, "is no list"),
        ({"call": [{"tool": "read", "for_each": "state['many']"}]}, "over 200 calls"),
        ({"say": "x", "confidence": "text"}, "no number from 0 to 1"),
        ({"say": "=1 / 0"}, "division by zero"),
    ],
)
def test_what_a_policy_cannot_do_is_refused(rule: dict[str, Any], what: str) -> None:
    """Trying again would give the same; the message says where to mend it."""
    with pytest.raises(LLMError) as caught:
        decide(provider_of(rule), request_of(user("hi"), state={"many": list(range(201))}))

    assert what in str(caught.value)
    assert "model.rules.work[0]" in str(caught.value)
    assert not caught.value.retryable


def test_a_skill_without_rules_is_refused() -> None:
    """A policy that forgot a skill says so, and does not end its sessions quietly."""
    with pytest.raises(ConfigurationError, match=r"model\.rules\.other: the policy has no rules"):
        decide(provider_of({"say": "x"}), request_of(skill="other"))


def test_everything_that_cannot_work_is_refused_at_boot_at_once() -> None:
    """An app's author mends one list of problems, before any session runs."""
    rules: list[dict[str, Any]] = [
        {"when": "trun == 0", "say": "x"},
        {"when": "state.x", "say": "=resluts", "confidence": "1 +"},
        {"call": [{"tool": "read", "args": {"a": ["=item"]}, "when": "index > 0"}]},
        {"rationale": "why"},
    ]
    spec = spec_of(*rules)
    spec = spec.model_copy(
        update={
            "model": spec.model.model_copy(update={"rules": {**spec.model.rules, "wrok": spec.model.rules["work"][:0]}})
        }
    )

    with pytest.raises(ConfigError) as caught:
        build(spec, env={})
    lines = str(caught.value).splitlines()
    assert len(lines) == 8
    assert "model.rules.work[0].when: unknown name 'trun'; did you mean 'turn'?" in lines[0]
    assert "[1].when" in lines[1]
    assert "attribute" in lines[1]
    assert any("did you mean 'results'?" in line for line in lines)
    assert any("[2].call[0].args.a: unknown name 'item'" in line for line in lines)
    assert any("[3]: the rule does nothing" in line for line in lines)
    assert "did you mean 'work'?" in lines[-1]


def test_calls_are_those_of_the_current_activation() -> None:
    """A skill that is entered again begins anew; what another skill called is not its own."""
    messages = (
        user("go"),
        asked("c1", "s:read"),
        answered("c1", {}),
        asked("c2", "t:done", skill="other"),
        answered("c2", {}, skill="other"),
        asked("c3", "s:write"),
        answered("c3", {}),
        user("an answer of a person, nobody's skill"),
        asked("c4", "s:write"),
        answered("c4", {}),
    )
    facts = Facts()
    facts.fold(messages)

    assert facts.names(request_of(*messages))["calls"] == ["write", "write"]
    assert facts.names(request_of(*messages, skill="other"))["calls"] == []


def test_results_are_the_latest_by_bare_name() -> None:
    """A policy looks at what is so now; text that is no JSON stays text."""
    messages = (asked("c1", "s:read"), answered("c1", {"v": 1}), asked("c2", "x:read"), answered("c2", "plain text"))
    facts = Facts()
    facts.fold(messages)

    assert facts.names(request_of(*messages))["results"] == {"read": "plain text"}


def test_kept_facts_are_those_of_the_whole_context() -> None:
    """The cache saves work and must never change what is seen: not after a rewrite, not when full."""
    cache = FactsCache(limit=2)
    messages = tuple(
        m for n in range(50) for m in (asked(f"c{n}", "s:read"), answered(f"c{n}", {"n": n}), user(f"u{n}"))
    )

    for end in (0, 1, 5, 60, 150, 30, 90):
        request = request_of(*messages[:end])
        fresh = Facts()
        fresh.fold(request.messages)
        assert cache.read(request) == fresh.names(request)
    rewritten = request_of(user("other"), *messages[1:])
    assert cache.read(rewritten)["text"] == "other"
    for session in ("SES-20261120-002", "SES-20261120-003", "SES-20261120-001"):
        assert cache.read(request_of(*messages).model_copy(update={"session_id": session}))["text"] == "u0"
