"""An app's folder becomes an AppSpec, or is refused with everything that is wrong with it."""

import re
import string
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.app_loader import find_apps, load_app, load_apps
from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.errors import AppInvalid, ConfigError
from orchestrator.contracts.skill import ComputeStep, Responsive
from orchestrator.skill_checks import POLICY_NAMES
from tests.unit.orchestrator.app_folder import APP, FILES, write_app
from workers.providers.facts import FACT_NAMES


def refused(folder: Path, **env: str) -> list[str]:
    """Return the problems of an app without the folder in front."""
    with pytest.raises(AppInvalid) as caught:
        load_app(folder, env=env)
    return [problem.replace(f"{folder}/", "") for problem in caught.value.problems]


def test_a_folder_becomes_a_spec(tmp_path: Path) -> None:
    """What the files say is what the runtime works with, prompts and places included."""
    spec = load_app(write_app(tmp_path / "any"), env={})

    look, think = spec.skills["look"], spec.skills["think"]
    assert (spec.name, spec.root) == ("sample", str((tmp_path / "any").resolve()))
    assert isinstance(look, Responsive)
    assert look.prompt == "First.\n\nSecond."
    assert isinstance(think, ComputeStep)
    assert (look.name, think.name) == ("look", "think")
    assert re.fullmatch(r"[0-9a-f]{16}", spec.sources)


def test_the_folder_names_an_app_that_does_not_name_itself(tmp_path: Path) -> None:
    """The shortest app.yaml should do."""
    assert load_app(write_app(tmp_path / "short_name", name=""), env={}).name == "short_name"


def test_the_common_text_is_appended_to_every_agent(tmp_path: Path) -> None:
    """House rules are written once, and apply to agents that are declared inline as well."""
    inline = "skills:\n  talk: {prompt: Talk., routes: [{when: default, next: __end__}]}"
    app = write_app(
        tmp_path, {"skills/_common/rules.md": "Be brief."}, skills=inline, model="model: {provider: scripted}"
    )
    (tmp_path / "skills/look/config.yaml").write_text("routes: [{when: default, next: talk}]", encoding="utf-8")

    spec = load_app(app, env={})

    prompts = [skill.prompt for skill in spec.skills.values() if isinstance(skill, Responsive)]
    assert sorted(prompts) == ["First.\n\nSecond.\n\nBe brief.", "Talk.\n\nBe brief."]


def test_problems_of_every_sort_come_together(tmp_path: Path) -> None:
    """A wrong key must not hide a wrong route: the second start should be the good one."""
    changes = {"skills/look/config.yaml": "tols: {local: [finish]}\nroutes: [{when: succes, next: thinc}]\n"}
    app = write_app(
        tmp_path, changes, entry_skill="entry_skill: lok", session_id_prefix="session_id_prefix: under_score"
    )

    problems = refused(app)

    assert [re.split(": |=", line)[1] for line in problems] == [
        "entry_skill",
        "session_id_prefix",
        "skills.look.tols",
        "skills.look.routes",
        "skills.look.routes[0].when",
        "skills.look.routes[0].next",
    ]
    assert (
        problems[-1]
        == "skills/look/config.yaml:2:31: skills.look.routes[0].next: unknown skill 'thinc'; did you mean 'think'?"
    )


CASES = {
    "unknown key": ("limits: {}", "limits: unknown key; "),
    "the loader's own field": ("root: /", "root: set by the loader; remove it"),
    "no skill of that name": ("entry_skill: x", "entry_skill='x' is not a known skill (known: ['look', 'think'])"),
    "unreachable rule": (
        "terminal_tools: [{tool_name: a, status: done}, {tool_name: 'local:a', status: lost, match_args: {k: v}}]",
        "terminal_tools[1]: is never reached: terminal_tools[0] decides first",
    ),
    "non-terminal end": ("terminal_tools: [{tool_name: a, status: busy}]", "references a non-terminal status"),
    "bad lookup": (
        "terminal_tools: [{tool_name: a, status: done, extract_fields: {x: [team, args.a]}}]",
        "terminal_tools[0].extract_fields.x[0]: 'team' is no lookup; write args.NAME or result.NAME",
    ),
    "unknown server": (
        "patch_tools: ['lokal:a']",
        "patch_tools[0]: tool 'lokal:a': unknown server 'lokal'; did you mean",
    ),
    "twice": ("patch_tools: [a, a]", "patch_tools[1]: 'a' is there twice; keep one"),
    "patch and harvest": (
        "patch_tools: [a]\nharvest_terminal_tools: [a]",
        "patch_tools[0]: 'a' is among harvest_terminal_tools too",
    ),
    "pending and terminal": (
        "statuses: {done: {kind: pending}, lost: {kind: failure}}",
        "statuses.done.kind: a pending status does not end a session; write terminal: false",
    ),
    "cancelled status": ("cancelled_status: busy", "cancelled_status='busy' references a non-terminal status"),
    "unknown cancelled status": ("cancelled_status: dnoe", "cancelled_status='dnoe' is not a declared status"),
    "budget's status": (
        "budget: {status: dnoe, session: {turns: 1}}",
        "budget.status: status='dnoe' is not a declared status; did you mean 'done'?",
    ),
    "budget's status that ends nothing": (
        "budget: {status: busy, session: {turns: 1}}",
        "budget.status: status='busy' does not end a session; name a terminal one",
    ),
    "budget of nothing": ("budget: {warn_at: 0.5}", "budget: it limits nothing; set session or app"),
    "budget over the app's": (
        "budget: {session: {tokens: 11}, app: {tokens: 10}}",
        "budget.session.tokens: 11 is over budget.app.tokens (10); lower it",
    ),
    "mirror of itself": (
        "statuses: {done: {kind: success, mirrors: {team: team}}, lost: {kind: failure}}",
        "statuses.done.mirrors.team: copies one field under another name",
    ),
    "team off the roster": (
        "escalate_action_default_team: blu\nescalation_teams: [blue, red]",
        "escalate_action_default_team: unknown team 'blu'; did you mean 'blue'?",
    ),
    "escalation tool": (
        "escalate_action_tool_name: finnish",
        "escalate_action_tool_name: tool 'finnish' is named nowhere else in the app; did you mean 'finish'?",
    ),
    "escalation argument": (
        "escalate_action_tool_name: finish\nescalate_action_args: {a: session.team}",
        "escalate_action_args.a: 'session.team' names nothing",
    ),
    "injected name": ("injected_args: {a-b: session.id}", "injected_args.a-b: 'a-b' is no name of an argument"),
    "injected path": ("injected_args: {a: state.team}", "'state.team' must start with 'session.'"),
    "injected field": ("injected_args: {a: session.state.tem}", "injected_args.a: 'tem' is no field of state.py:State"),
    "two ways to a server": (
        "mcp_servers: [{name: local, module: servers/local.py, url: 'http://x'}]",
        "server 'local' needs exactly one of module, url, command; module and url is given",
    ),
    "no way to a server": ("mcp_servers: [{name: local}]", "module, url, command; none is given"),
    "server twice": (
        "mcp_servers: [{name: local, module: servers/local.py}, {name: local, url: 'http://x'}]",
        "mcp_servers[1].name: 'local' is already mcp_servers[0]; rename one",
    ),
    "headers nobody reads": (
        "mcp_servers: [{name: local, module: servers/local.py, headers: {a: b}}]",
        "mcp_servers[0].headers: is read only with url; remove it",
    ),
    "no URL": ("mcp_servers: [{name: local, url: x}]", "mcp_servers[0].url: not a URL"),
    "disabled server in use": (
        "mcp_servers: [{name: local, module: servers/local.py, enabled: false}]",
        "skills.look.tools.local: server 'local' is disabled",
    ),
    "module that is not there": (
        "mcp_servers: [{name: local, module: servers/locl.py}]",
        "'servers/locl.py': no such file in the app's folder; did you mean 'servers/local.py'?",
    ),
    "update of no field": (
        "tools: {finish: {updates: [{into: fund, from: result.x}]}}",
        "tools.finish.updates[0].into: 'fund' is no field of state.py:State; did you mean 'found'?",
    ),
    "update from nowhere": (
        "tools: {finish: {updates: [{into: found, from: x}]}}",
        "tools.finish.updates[0].from: 'x' is no lookup",
    ),
    "environment": (
        "environments: [production, test]\ngate_policy: {gated_environments: [prodution]}",
        "gate_policy.gated_environments[0]: unknown environment 'prodution'; did you mean 'production'?",
    ),
    "glob as a name": ("gateway: {policy: {'fin*': high}}", "gateway.policy['fin*']: 'fin*' is no name of a tool"),
    "signal in capitals": ("signals: [success, Failed]", "signals[1]: 'Failed' is never met: signals are lower case"),
    "skill given twice": (
        "skills: {look: {kind: timer, seconds: 1}, think: {kind: timer, seconds: 1}}",
        "skills.look: given twice: here and in ",
    ),
    "name of an inline skill": (
        "skills: {think: {name: think, kind: timer, seconds: 1, routes: [{when: default, next: __end__}]}}",
        "skills.think.name: a skill's name is where it stands",
    ),
    "policy for nobody": (
        "model: {rules: {lok: [{say: x}], look: [{say: x}]}}",
        "model.rules.lok: unknown skill 'lok'; did you mean 'look'?",
    ),
    "policy for a step": (
        "model: {rules: {think: [{say: x}], look: [{say: x}]}}",
        "model.rules.think: 'think' is of kind compute and asks no model",
    ),
    "no policy": ("model: {provider: rules}", "model.rules: provider rules has no policy for skill 'look'"),
    "policy that cannot be parsed": (
        "model: {rules: {look: [{when: 'x ==', say: x}]}}",
        "model.rules.look[0].when: expression 'x =='",
    ),
    "policy's unknown name": (
        "model: {rules: {look: [{when: stat, say: x}]}}",
        "model.rules.look[0].when: unknown name 'stat' in the expression; did you mean 'state'?",
    ),
    "policy's foreign tool": (
        "model: {rules: {look: [{call: [{tool: finsh}]}, {say: x}]}}",
        "model.rules.look[0].call[0].tool: skill 'look' does not declare tool 'finsh'; did you mean 'finish'?",
    ),
    "policy's item": (
        "model: {rules: {look: [{call: [{tool: finish, args: {a: [{b: =item}]}}]}]}}",
        "model.rules.look[0].call[0].args.a[0].b: unknown name 'item'",
    ),
    "policy that does nothing": ("model: {rules: {look: [{when: turn}]}}", "model.rules.look[0]: does nothing"),
    "policy behind a rule that always holds": (
        "model: {rules: {look: [{say: x}, {say: y}]}}",
        "model.rules.look[0]: always holds: the rules after it are never reached",
    ),
    "confidence over one": (
        "model: {rules: {look: [{say: x, confidence: 7}]}}",
        "model.rules.look[0].confidence: 7.0 is not within 0-1",
    ),
    "compute without a function": (
        "skills: {think: {kind: compute, call: 'steps.py:thinc', routes: [{when: default, next: __end__}]}}",
        "skills.think.call: 'steps.py:thinc': steps.py has no 'thinc'; did you mean 'think'?",
    ),
    "state outside the folder": ("state_schema: ../state.py:State", "outside the app's folder"),
    "overrides for no environment": (
        "environments: [dev, live]\ngateway: {prod_overrides: {resolution_trigger_tools: [finish]}}",
        "resolution_trigger_tools: never apply: environments has no 'production'; write which of them",
    ),
    "blank state schema": ("state_schema: ' '", "state_schema must be non-empty when set"),
    "no dotted path": ("state_schema: a:b:C", "state_schema='a:b:C' is not a valid dotted path"),
}


@pytest.mark.parametrize(("text", "fragment"), CASES.values(), ids=CASES)
def test_what_does_not_hold_together_is_refused(tmp_path: Path, text: str, fragment: str) -> None:
    """Each of these would otherwise be a rule, a gate or a tool that silently never applies."""
    key = text.split(":", 1)[0]

    problems = refused(write_app(tmp_path, **{key: text}))

    assert any(fragment in problem for problem in problems), problems
    assert all(re.match(r"(app\.yaml|skills/\w+/config\.yaml):\d+:\d+: ", problem) for problem in problems)


SKILLS = {
    "no prompt": ({"skills/look/a.md": None, "skills/look/b.md": None}, "skills.look: no prompt; write "),
    "blank prompt": ({"skills/look/a.md": " ", "skills/look/b.md": "\n"}, "are empty; write the prompt"),
    "prompt twice": ({"skills/look/config.yaml": "prompt: x\n"}, "given here and by the .md files beside it"),
    "no config": ({"skills/look/config.yaml": None}, "config.yaml: skills.look: not found"),
    "prompt of a step": (
        {"skills/nap/config.yaml": "kind: timer\nseconds: 1\n", "skills/nap/a.md": "x"},
        "a skill of kind timer has no prompt",
    ),
    "list": ({"skills/look/config.yaml": "[]"}, "config.yaml:1:1: skills.look: expected a mapping"),
    "bad folder": (
        {"skills/Bad-Name/config.yaml": "x: 1", "skills/Bad-Name/a.md": "x"},
        "skills.Bad-Name.name: string should match",
    ),
    "not text": ({"skills/look/config.yaml": "routes: ["}, "config.yaml:2:1: skills.look: not YAML"),
}


@pytest.mark.parametrize(("changes", "fragment"), SKILLS.values(), ids=SKILLS)
def test_a_skills_folder_is_complete(tmp_path: Path, changes: dict[str, str | None], fragment: str) -> None:
    """An agent without a prompt would run on nothing but its name."""
    problems = refused(write_app(tmp_path, changes))

    assert any(fragment in problem for problem in problems), problems


@pytest.mark.parametrize("seconds", ["inf", "'Infinity'", "1e300", "3153600001"])
def test_a_time_without_an_end_is_refused(tmp_path: Path, seconds: str) -> None:
    """No clock can hold it: each session that came to such a wait would be a dead letter."""
    nap = f"skills: {{nap: {{kind: timer, seconds: {seconds}}}, ask: {{kind: ask, prompt: a, into: team, timeout_seconds: {seconds}}}}}"
    more = {
        "tools": f"tools: {{finish: {{timeout_seconds: {seconds}}}}}",
        "gateway": f"gateway: {{approval_timeout_seconds: {seconds}}}",
        "budget": f"budget: {{session: {{wall_seconds: {seconds}}}}}",
    }

    told = [line for line in refused(write_app(tmp_path, skills=nap, **more)) if "less than or equal to" in line]

    assert len(told) == 5


def test_folders_that_are_no_skills_are_skipped(tmp_path: Path) -> None:
    """Drafts, bytecode and pictures may lie beside the skills."""
    app = write_app(tmp_path, {"skills/_draft/config.yaml": "[", "skills/.git/x.md": "x", "skills/art/a.png": "x"})

    assert set(load_app(app, env={}).skills) == {"look", "think"}


def test_the_loader_knows_the_names_that_policies_see() -> None:
    """A name that the provider gives and the loader refuses, or the other way round, breaks good apps."""
    assert POLICY_NAMES == FACT_NAMES


def test_variables_come_from_the_given_environment(tmp_path: Path) -> None:
    """Each deployment sets its own; all that are missing are told at once."""
    server = "mcp_servers: [{name: local, url: 'http://${HOST}/', headers: {Authorization: 'Bearer ${TOKEN}'}}]"
    app = write_app(tmp_path, mcp_servers=server)

    assert load_app(app, env={"HOST": "h", "TOKEN": "t"}).mcp_servers[0].url == "http://h/"
    assert [line.split(": ")[2] for line in refused(app)] == [
        "environment variable HOST is not set; set it, or write ${HOST:-default}",
        "environment variable TOKEN is not set; set it, or write ${TOKEN:-default}",
    ]


def test_a_secret_in_the_wrong_place_is_in_no_line(tmp_path: Path) -> None:
    """Problems are printed, logged and pasted into tickets; what a check quotes may have come out of a variable."""
    (tmp_path / "key").write_text("sw0rdfish-of-a-file\n", encoding="utf-8")
    ask = "{kind: ask, prompt: a, into: '${file:key}', routes: [{when: '${SITE_TOKEN}', next: __end__}]}"
    app = write_app(tmp_path, entry_skill="entry_skill: ${SITE_TOKEN}", skills=f"skills: {{ask: {ask}}}")

    with pytest.raises(AppInvalid) as caught:
        load_app(app, env={"SITE_TOKEN": "t0ken-of-a-variable"})

    assert "entry_skill='[hidden]' is not a known skill" in str(caught.value)
    assert "unknown signal '[hidden]'" in str(caught.value)
    assert "t0ken" not in str(caught.value)
    assert "sw0rd" not in str(caught.value)


def test_a_rotated_credential_is_no_new_version(tmp_path: Path) -> None:
    """Sessions pin their app's version: a new token must not strand every session that waits."""
    server = "mcp_servers: [{name: local, url: 'http://h/', headers: {Authorization: '${TOKEN}'}}]"
    app = write_app(tmp_path, mcp_servers=server)

    assert load_app(app, env={"TOKEN": "a"}).digest() == load_app(app, env={"TOKEN": "b"}).digest()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "triggers: [{kind: webhook, name: alerts, auth: none}]",
            "triggers: [{kind: webhook, name: alarms, auth: token}]",
        ),
        ("triggers: [{kind: schedule, name: daily, schedule: 0 6 * * *}]", "triggers: []"),
    ],
)
def test_a_changed_trigger_is_no_new_version(tmp_path: Path, before: str, after: str) -> None:
    """Nor is a remark: what starts sessions changes none that goes on, and app.yaml is no part of the sources."""
    was = load_app(write_app(tmp_path, triggers=before), env={})
    now = load_app(write_app(tmp_path, triggers=f"{after}  # a remark"), env={})

    assert was.triggers != now.triggers
    assert was.digest() == now.digest()


def test_what_app_yaml_says_of_sessions_is_a_new_version(tmp_path: Path) -> None:
    """The spec holds all of it, so the file itself need not count."""
    was = load_app(write_app(tmp_path), env={})
    now = load_app(write_app(tmp_path, max_turns="max_turns: 7"), env={})

    assert was.sources == now.sources
    assert was.digest() != now.digest()


@pytest.mark.parametrize("name", ["words.py", "skills/look/a.md", "skills/look/config.yaml"])
def test_a_change_of_any_source_is_a_new_version(tmp_path: Path, name: str) -> None:
    """A session must not go on half by old and half by new code."""
    before = load_app(write_app(tmp_path), env={}).digest()
    (tmp_path / name).write_text(FILES[name] + "# changed\n", encoding="utf-8")

    assert load_app(tmp_path, env={}).digest() != before


def test_tests_readme_and_place_are_no_part_of_the_version(tmp_path: Path) -> None:
    """The same app in another folder, or with another README, is the same app."""
    before = load_app(write_app(tmp_path / "a"), env={}).digest()
    more = {"README.md": "x", "tests/test_x.py": "x", "demo.py": "x", ".hidden/x.py": "x"}

    assert load_app(write_app(tmp_path / "b", more), env={}).digest() == before


def test_a_submitter_need_not_import_servers(tmp_path: Path) -> None:
    """Importing every server costs a second, and the one who submits calls none."""
    app = write_app(tmp_path, {"servers/local.py": "raise RuntimeError('imported')"})

    assert load_app(app, env={}, import_code=False).name == "sample"
    assert "'servers/local.py' cannot be imported: RuntimeError: imported" in refused(app)[0]


def test_apps_are_found_below_paths_and_loaded_by_name(tmp_path: Path) -> None:
    """A path holds app folders, or is one; drafts and other folders are skipped."""
    write_app(tmp_path / "many/one", name="name: one", session_id_prefix="session_id_prefix: ONE")
    write_app(tmp_path / "many/_two", name="name: two")
    (tmp_path / "many/empty").mkdir()
    write_app(tmp_path / "three", name="name: three", session_id_prefix="session_id_prefix: TRE")

    specs = load_apps([tmp_path / "many", tmp_path / "three", tmp_path / "many"], env={})

    assert list(specs) == ["one", "three"]
    assert len(find_apps([tmp_path / "many"])) == 1


def test_names_and_prefixes_are_unique_over_apps(tmp_path: Path) -> None:
    """A session's id leads to one app only."""
    write_app(tmp_path / "one")
    write_app(tmp_path / "two")

    with pytest.raises(AppInvalid) as caught:
        load_apps([tmp_path], env={})

    assert f"two/app.yaml:1:7: name: app 'sample' is also in {tmp_path / 'one'}; rename one" in str(caught.value)
    assert "session_id_prefix='SMP' is also that of" in str(caught.value)


def test_every_broken_app_is_told(tmp_path: Path) -> None:
    """One start shows what is wrong with all apps."""
    write_app(tmp_path / "one", {"app.yaml": "nmae: one\n"})
    write_app(tmp_path / "two", {"app.yaml": "["})

    with pytest.raises(AppInvalid) as caught:
        load_apps([tmp_path], env={})

    assert caught.value.app == "one, two"
    assert "one/app.yaml:1:1: nmae: unknown key; did you mean 'name'?" in str(caught.value)
    assert "two/app.yaml:2:1: not YAML" in str(caught.value)


def test_a_path_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    """A typing error in BATON_APPS_PATH must not mean "no apps"."""
    with pytest.raises(ConfigError, match="not a directory; mend BATON_APPS_PATH"):
        load_apps([tmp_path / "nowhere"])


def test_a_folder_without_app_yaml_is_refused(tmp_path: Path) -> None:
    """The message names the file that is missing."""
    assert refused(tmp_path) == ["app.yaml: not found; make it, or name another file"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_mutation_of_an_app_raises_anything_but_app_invalid(tmp_path: Path, data: st.DataObject) -> None:
    """Whatever people write, the loader gives a spec or a list of problems with places."""
    name = data.draw(st.sampled_from(["app.yaml", "skills/look/config.yaml"]))
    text = FILES[name]
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(at, min(len(text), at + 12)))
        text = text[:at] + data.draw(st.text(string.printable + "é€", max_size=6)) + text[end:]
    app = write_app(tmp_path, {name: text})

    try:
        spec = load_app(app, env={})
    except AppInvalid as error:
        assert error.problems
        assert all(problem.strip() for problem in error.problems)
    else:
        assert AppSpec.from_json(spec.to_json()) == spec


VALUES = st.recursive(
    st.sampled_from(["null", "true", "1", "-1", "x", "'*'", "look", "__end__", "default", "'=x'", "[]", "{}"]),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda parts: f"[{', '.join(parts)}]")
        | inner.map(lambda part: f"{{tool: {part}, when: {part}, kind: {part}}}")
    ),
    max_leaves=5,
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=st.sampled_from(sorted(AppSpec.model_fields)), value=VALUES)
def test_any_value_anywhere_is_read_or_refused(tmp_path: Path, key: str, value: str) -> None:
    """Checks see whatever the contracts let through, and say what is wrong instead of failing."""
    text = re.sub(rf"(?m)^{key}:.*(\n[ -].*)*\n", "", APP)
    app = write_app(tmp_path, {"app.yaml": f"{text}{key}: {value}\n"})

    try:
        load_app(app, env={})
    except AppInvalid as error:
        assert error.problems
