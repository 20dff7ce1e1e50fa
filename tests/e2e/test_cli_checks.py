"""`baton apps check` finds what a worker would find at its start; `baton plugins run` is the sandbox as workers have it."""

from pathlib import Path

import pytest

from tests.commands import ROOT, Baton


@pytest.fixture
def app(baton: Baton, tmp_path: Path) -> Path:
    """Lend the app of `apps new`."""
    folder = tmp_path / "stock_count"
    baton("apps", "new", "stock_count", "--path", str(folder))
    return folder


def change(app: Path, old: str, new: str) -> None:
    """Write a mistake into app.yaml."""
    text = (app / "app.yaml").read_text(encoding="utf-8")
    assert text.count(old) == 1
    (app / "app.yaml").write_text(text.replace(old, new), encoding="utf-8")


def test_a_gate_and_a_rule_for_tools_that_are_not_there_are_told_together(baton: Baton, app: Path) -> None:
    """Such a gate would never ask anybody, and only the servers know it: who checks has to hear of it before a worker does."""
    change(app, "policy: {write_report: medium}", "policy: {write_raport: high}")
    change(app, "tool_name: write_report", "tool_name: write_rport")

    told = baton("apps", "check", str(app), code=1).out.splitlines()

    assert len(told) == 2
    assert told[0].startswith(f"{app}/app.yaml:25:16: terminal_tools[0].tool_name: references tool 'write_rport'")
    assert told[1].startswith(f"{app}/app.yaml:59:12: gateway.policy.write_raport: references tool 'write_raport'")


def test_a_provider_that_nobody_brings_is_told_with_its_place(baton: Baton, app: Path) -> None:
    """A worker would refuse to start with it."""
    change(app, '"${STOCK_COUNT_PROVIDER:-rules}"', "rulse")

    told = baton("apps", "check", str(app), code=1).out

    assert told == f"{app}/app.yaml:64:13: model.provider: unknown provider 'rulse'; did you mean 'rules'?\n"


def test_a_key_that_is_missing_here_is_a_note(baton: Baton, app: Path) -> None:
    """A pipeline that checks apps has no keys of models, and should have none."""
    (one,) = baton(
        "apps",
        "check",
        str(app),
        "-o",
        "json",
        STOCK_COUNT_PROVIDER="openai_compat",
        STOCK_COUNT_MODEL="gpt-5-mini",
    ).json("checked")

    assert (one["app"], one["ok"], one["problems"]) == ("stock_count", True, [])
    assert [note.split(": ")[0] for note in one["notes"]] == ["with the variables of this shell no worker would start"]


WEBHOOK = "triggers:\n  - {name: %s, kind: webhook, secret_env: [%s]}\n"


def test_a_model_whose_price_is_missing_here_is_a_note(baton: Baton, app: Path) -> None:
    """A worker does not start with an app that counts money and does not know a price: whoever checks it wants to hear so."""
    with (app / "app.yaml").open("a") as file:
        file.write('budget: {session: {cost: "2.50"}}\n')

    (free,) = baton("apps", "check", str(app), "-o", "json").json("checked")
    (dear,) = baton(
        "apps",
        "check",
        str(app),
        "-o",
        "json",
        STOCK_COUNT_PROVIDER="openai_compat",
        STOCK_COUNT_MODEL="a-model",
        OPENAI_API_KEY="sk-not-a-real-one",
    ).json("checked")

    assert (free["ok"], free["notes"]) == (True, [])
    assert (dear["ok"], len(dear["notes"])) == (True, 1)
    assert dear["notes"][0].startswith("with the settings here no worker would start: ")
    assert "openai_compat/a-model has no price; add it to models.prices" in dear["notes"][0]


def test_a_webhooks_secret_that_is_not_set_here_is_a_note(baton: Baton, app: Path) -> None:
    """Without it `baton api` does not start; it may have what this shell has not. What the shell holds is not shown."""
    change(app, "gateway:\n", (WEBHOOK % ("alerts", "STOCK_SECRET")) + "gateway:\n")

    told = baton("apps", "check", str(app)).out.splitlines()
    (short,) = baton("apps", "check", str(app), "-o", "json", STOCK_SECRET="letmein").json("checked")
    (fine,) = baton("apps", "check", str(app), "-o", "json", STOCK_SECRET="a long enough secret").json("checked")

    note = (
        "with the variables of this shell `baton api` would not start: app stock_count: trigger alerts: "
        "STOCK_SECRET is not set to a secret of at least 16 characters; set it"
    )
    assert told == [f"stock_count: ok ({app})", f"  note: {note}"]
    assert (short["ok"], short["notes"]) == (True, [note])
    assert (fine["ok"], fine["notes"]) == (True, [])


def test_a_schedule_that_never_comes_is_a_mistake(baton: Baton, app: Path) -> None:
    """Its trigger would be silent for ever, and nobody would learn why."""
    trigger = "triggers:\n  - {name: rare, kind: schedule, schedule: '0 6 30 2 *'}\n"
    change(app, "gateway:\n", trigger + "gateway:\n")

    told = baton("apps", "check", str(app), code=1).out

    assert told.startswith(f"{app}/app.yaml:")
    assert told.endswith(
        "triggers[0].schedule: schedule '0 6 30 2 *': day of month '30' is never in month '2'; mend one of them\n"
    )


def test_a_server_that_is_away_leaves_tools_unchecked_and_says_so(baton: Baton, app: Path) -> None:
    """It may well be there where the workers are."""
    change(app, "mcp_servers:\n", "mcp_servers:\n  - {name: far, url: 'http://127.0.0.1:1/mcp'}\n")

    told = baton("apps", "check", str(app)).out.splitlines()

    assert told[0] == f"stock_count: ok ({app})"
    assert told[1].startswith("  note: app stock_count: its tools were not checked: ")


def test_what_an_apps_code_prints_is_no_part_of_the_report(baton: Baton, app: Path) -> None:
    """A program that reads standard output finds one object there, and nothing of what an import prints."""
    server = app / "mcp_servers" / "files.py"
    server.write_text(server.read_text(encoding="utf-8") + '\nprint("hello")\n', encoding="utf-8")

    (one,) = baton("apps", "check", str(app), "-o", "json").json("checked")

    assert (one["ok"], one["problems"], one["notes"]) == (True, [], [])


def test_an_operators_plugin_counts_where_an_app_is_checked(baton: Baton, app: Path, tmp_path: Path) -> None:
    """Workers find it; a check that does not would refuse what runs."""
    plugins = tmp_path / "plugins"
    baton("plugins", "new", "trim", "--path", str(plugins / "trim"))
    skill = app / "skills" / "survey" / "config.yaml"
    skill.write_text(
        "kind: plugin_pass\nplugins: [trim]\nworkspace: '=state[\"folder\"]'\nroutes: [{when: default, next: __end__}]\n",
        encoding="utf-8",
    )
    (app / "skills" / "survey" / "system.md").unlink()
    text = (app / "app.yaml").read_text(encoding="utf-8")
    rules = text[text.index("    survey:\n      - when") : text.index("    report:\n      - when")]
    (app / "app.yaml").write_text(text.replace(rules, ""), encoding="utf-8")

    without = baton("apps", "check", str(app), code=1).out
    with_it = baton("apps", "check", str(app), BATON_APPS_PLUGINS=str(plugins)).out

    assert "unknown plugin 'trim'" in without
    assert with_it == f"stock_count: ok ({app})\n"


def test_a_bundled_plugin_can_be_tried_alone(baton: Baton, tmp_path: Path) -> None:
    """It executes a program that the workers' settings grant; without them the sandbox refuses it."""
    (tmp_path / "work").mkdir()
    plugin = ROOT / "apps" / "code_review" / "plugins" / "ruff"

    done = baton("plugins", "run", str(plugin), "--workspace", str(tmp_path / "work"), "--dry-run")
    nowhere = baton("plugins", "run", str(plugin), "--workspace", str(tmp_path / "none"), code=2).err

    assert done.out.startswith("ruff 1.0: skipped\n")
    assert nowhere == f"baton: --workspace: {tmp_path}/none is no folder; name one\n"
