"""What a mount plan may hold: what a session refuses, what it reads, what the validator finds."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.contracts.errors import ConfigError, MountPlanInvalid, MountPlanMistyped
from orchestrator.contracts.mount_plan import ModuleEntry, ValidationCheck
from orchestrator.kernel.mount_validation import (
    MountPlanValidator,
    check_config,
    check_instances,
    default_provider_name,
    read_role,
    read_section,
)

LONG = {"session": {"orchestrator": {"module": "loop"}, "context": {"module": "context"}}}
NO_ORCHESTRATOR = "Configuration must specify session.orchestrator"
NO_CONTEXT = "Configuration must specify session.context"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "Configuration is required"),
        ({"providers": []}, NO_ORCHESTRATOR),
        ({"session": {}}, NO_ORCHESTRATOR),
        ({"session": {"orchestrator": None, "context": "c"}}, NO_ORCHESTRATOR),
        ({"session": {"orchestrator": "", "context": "c"}}, NO_ORCHESTRATOR),
        ({"session": {"orchestrator": {}, "context": "c"}}, NO_ORCHESTRATOR),
        ({"session": {"orchestrator": {"config": {}}, "context": "c"}}, NO_ORCHESTRATOR),
        ({"session": {"orchestrator": "o"}}, NO_CONTEXT),
        ({"session": {"orchestrator": "o", "context": {"module": ""}}}, NO_CONTEXT),
    ],
    ids=str,
)
def test_a_plan_that_cannot_start_is_refused(config: dict[str, Any], message: str) -> None:
    """The message says what to add, before anything is loaded."""
    with pytest.raises(MountPlanInvalid) as caught:
        check_config(config)

    assert str(caught.value) == message
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, ConfigError)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (None, "Configuration is required"),
        ([], "Configuration must be a dict, got list"),
        ("loop", "Configuration must be a dict, got str"),
        ({"session": None}, "session must be a dict, got NoneType"),
        ({"session": ["o"]}, "session must be a dict, got list"),
        ({"session": {"orchestrator": 5, "context": "c"}}, "session.orchestrator must be a module's id"),
    ],
    ids=str,
)
def test_a_plan_of_the_wrong_type_is_refused_as_such(config: Any, message: str) -> None:
    """It is an error of the caller's code, and of the value: whoever catches either has it."""
    with pytest.raises(MountPlanMistyped, match=message) as caught:
        check_config(config)

    assert isinstance(caught.value, TypeError)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("config", [LONG, {"session": {"orchestrator": "o", "context": {"module": "c"}}}])
def test_a_session_takes_the_short_and_the_long_form(config: dict[str, Any]) -> None:
    """A bare id is enough to start."""
    check_config(config)


def test_the_short_form_has_its_source_and_config_elsewhere() -> None:
    """The session's own keys name the source, the top-level section the config."""
    config = {
        "session": {"orchestrator": "loop", "orchestrator_source": "here", "context": "context"},
        "orchestrator": {"config": {"a": 1}},
    }

    assert read_role(config, "orchestrator") == ModuleEntry(module="loop", source="here", config={"a": 1})
    assert read_role(config, "context") == ModuleEntry(module="context")


def test_the_long_form_has_everything_itself() -> None:
    """What stands elsewhere belongs to the short form and is not mixed in."""
    config = {
        "session": {"orchestrator": {"module": "loop", "config": None}, "orchestrator_source": "no", "context": "c"},
        "orchestrator": {"config": {"a": 1}},
    }

    assert read_role(config, "orchestrator") == ModuleEntry(module="loop")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"session": {"context": "c"}, "context": []}, None),
        ({"session": {"context": "c"}, "context": [1]}, "context must be a dict, got list"),
        ({"session": {"context": {"module": "c", "config": [1]}}}, "session.context.config: "),
        ({"session": {"context": {"module": 5}}}, "session.context.module: "),
    ],
    ids=str,
)
def test_a_role_that_cannot_be_read_is_refused(config: dict[str, Any], message: str | None) -> None:
    """The message names the place in the plan."""
    if message is None:
        assert read_role(config, "context") == ModuleEntry(module="c")
        return
    with pytest.raises(MountPlanMistyped, match=message):
        read_role(config, "context")


def test_a_section_is_read_in_order_without_what_names_no_module() -> None:
    """The order is the order of mounting."""
    config = {
        **LONG,
        "tools": [
            {"module": "b", "source": {"git": "x"}},
            {},
            {"config": {}},
            {"module": ""},
            {"module": "a", "extra": 1},
        ],
        "hooks": None,
    }

    assert read_section(config, "tools") == [ModuleEntry(module="b", source={"git": "x"}), ModuleEntry(module="a")]
    assert read_section(config, "hooks") == read_section(config, "providers") == []


def test_a_plan_may_require_all_of_its_modules_or_one() -> None:
    """A session that is silently short of a tool does the wrong thing; one without its banner does not."""
    session = {**LONG["session"], "require_modules": True}
    tools = [{"module": "a"}, {"module": "b", "required": False}]

    assert [entry.required for entry in read_section({"session": session, "tools": tools}, "tools")] == [True, False]
    assert [entry.required for entry in read_section({**LONG, "tools": tools}, "tools")] == [False, False]


@pytest.mark.parametrize(
    ("tools", "message"),
    [
        ({"a": 1}, "tools must be a list, got dict"),
        (["a"], r"tools\[0\] must be a dict .*, got str"),
        ([{"module": "a"}, None], r"tools\[1\] must be a dict .*, got NoneType"),
        ([{"module": 5}], r"tools\[0\].module: "),
        ([{"module": "a", "config": "x"}], r"tools\[0\].config: "),
        ([{"module": "a", "required": "yes"}], r"tools\[0\].required: "),
    ],
    ids=str,
)
def test_a_section_that_cannot_be_read_is_refused(tools: Any, message: str) -> None:
    """A module that fails may be left out; a plan that makes no sense may not be guessed at."""
    with pytest.raises(MountPlanMistyped, match=message):
        read_section({**LONG, "tools": tools}, "tools")


def providers(*instances: str | None, module: str = "provider-a") -> list[ModuleEntry]:
    """Return entries of one module with these instance ids."""
    return [ModuleEntry(module=module, instance_id=instance) for instance in instances]


def test_two_providers_of_a_module_need_different_names() -> None:
    """The second would replace the first without a word."""
    message = (
        "Multi-instance providers require explicit 'instance_id' on each additional entry. Found 2 entries for "
        "module 'provider-a' without instance_id (at most 1 allowed as the default instance)."
    )

    with pytest.raises(MountPlanInvalid) as caught:
        check_instances([*providers("x", None, ""), *providers(None, module="provider-b")])

    assert str(caught.value) == message


@pytest.mark.parametrize("entries", [[], providers(None), providers("a"), providers(None, "a", "b")])
def test_one_provider_of_a_module_may_go_without_a_name(entries: list[ModuleEntry]) -> None:
    """It has the module's own."""
    check_instances(entries)


@given(st.lists(st.sampled_from([None, "", "x", "y"])), st.lists(st.sampled_from([None, "", "x"])))
def test_only_the_count_of_unnamed_entries_of_one_module_matters(
    ours: list[str | None], theirs: list[str | None]
) -> None:
    """Neither the order nor other modules make a difference."""
    entries = [*providers(*ours), *providers(*theirs, module="other")]
    is_refused = any(sum(not name for name in names) > 1 for names in (ours, theirs))

    for order in (entries, entries[::-1]):
        if is_refused:
            with pytest.raises(MountPlanInvalid):
                check_instances(order)
        else:
            check_instances(order)


def test_a_provider_s_own_name_is_its_id_without_the_prefix() -> None:
    """Only at the front."""
    assert [default_provider_name(name) for name in ("provider-a", "a", "x-provider-")] == ["a", "a", "x-provider-"]


def names(plan: object) -> list[str]:
    """Return the checks of a plan, the failed ones marked by their severity."""
    checks = MountPlanValidator.validate(plan).checks
    return [check.name if check.passed else f"{check.severity} {check.name}" for check in checks]


GOOD = ["root_type", "session_present", "session.orchestrator_module_valid", "session.context_module_valid"]


def with_tools(*tools: Any) -> dict[str, Any]:
    """Return a good plan with these tools."""
    return {**LONG, "tools": list(tools)}


@pytest.mark.parametrize(
    ("plan", "found"),
    [
        (LONG, GOOD),
        (None, ["error root_type"]),
        ("x", ["error root_type"]),
        ({}, ["root_type", "error session_present"]),
        (
            {"b": 1, "tools": [{"module": "a"}, {}]},
            [
                *("root_type", "error session_present", "warning unknown_sections"),
                *("tools[0]_module_valid", "error tools[1]_module_required"),
            ],
        ),
        ({"session": None}, [*GOOD[:2], "error session_type"]),
        ({"session": {}}, [*GOOD[:2], "error session_orchestrator_present", "error session_context_present"]),
        (
            {"session": {"orchestrator": "o", "context": None}},
            [*GOOD[:2], "error session.orchestrator_type", "error session.context_type"],
        ),
        ({**LONG, "b": 1, 3: 4}, [*GOOD[:2], "warning unknown_sections", *GOOD[2:]]),
        ({**LONG, "orchestrator": {"config": {}}}, [*GOOD[:2], "warning unknown_sections", *GOOD[2:]]),
        ({**LONG, "agents": 5}, GOOD),
        ({**LONG, "tools": None}, [*GOOD, "error tools_type"]),
        ({**LONG, "hooks": {}}, [*GOOD, "error hooks_type"]),
        (with_tools(), [*GOOD, "tools_empty"]),
        (with_tools("a", None), [*GOOD, "error tools[0]_type", "error tools[1]_type"]),
        (with_tools({}), [*GOOD, "error tools[0]_module_required"]),
        (with_tools({"module": ""}), [*GOOD, "error tools[0]_module_empty"]),
        (with_tools({"module": " "}), [*GOOD, "tools[0]_module_valid"]),
        (with_tools({"module": None}), [*GOOD, "error tools[0]_module_type"]),
        (
            with_tools({"config": None, "source": 5}),
            [*GOOD, "error tools[0]_module_required", "error tools[0]_config_type", "error tools[0]_source_type"],
        ),
        (
            with_tools({"module": "a", "config": [], "source": None}),
            [*GOOD, "tools[0]_module_valid", "error tools[0]_config_type", "error tools[0]_source_type"],
        ),
        (with_tools({"module": "a", "config": {}, "source": "", "more": 1}), [*GOOD, "tools[0]_module_valid"]),
        (
            {"session": {**LONG["session"], "injection_size_limit": -1, "injection_budget_per_turn": "5"}},
            [
                *GOOD,
                "warning session.injection_budget_per_turn_type",
                "warning session.injection_size_limit_type",
            ],
        ),
        ({"session": {**LONG["session"], "injection_size_limit": 0, "injection_budget_per_turn": None}}, GOOD),
        (
            {**LONG, "providers": [{"module": "p"}, {"module": "p"}]},
            [*GOOD, "providers[0]_module_valid", "providers[1]_module_valid", "warning providers_instances"],
        ),
        (
            {**LONG, "providers": [{"module": "p"}, {"module": "p", "instance_id": "q"}]},
            [*GOOD, "providers[0]_module_valid", "providers[1]_module_valid"],
        ),
    ],
    ids=str,
)
def test_the_validator_finds(plan: object, found: list[str]) -> None:
    """Whoever stores plans for others learns everything that is wrong, by names that do not change."""
    assert names(plan) == found


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["session", "orchestrator", "context", "tools", "providers", "module", "config", "x"]),
                inner,
                max_size=4,
            )
        ),
    )
)
def test_the_validator_answers_whatever_it_is_given_and_a_session_starts_from_what_it_passes(plan: Any) -> None:
    """It is asked about what comes from outside; its yes must be worth something."""
    if MountPlanValidator.validate(plan).passed:
        check_config(plan)


def test_a_result_counts_and_lists_its_errors() -> None:
    """A line for the log, and a list for the one who mends it."""
    result = MountPlanValidator.validate({"session": {"orchestrator": {"module": "o"}}, "more": 1})

    assert result.summary() == "failed: 3 of 5 checks good, 1 errors, 1 warnings"
    assert result.format_errors() == "1. session_context_present: session.context: missing; name its module"
    assert [check.name for check in result.warnings] == ["unknown_sections"]
    assert MountPlanValidator.validate(LONG).format_errors() == "no errors"
    assert result.checks[0] == ValidationCheck(
        name="root_type", passed=True, message="the mount plan is a dict", severity="info"
    )
