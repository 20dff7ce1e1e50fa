"""A session through the command line: submitted, waiting, answered, settled, explained - and what each command prints."""

import json
from pathlib import Path

import pytest

from tests.commands import Baton

pytestmark = [pytest.mark.integration]

LINE = {
    "session_id",
    "app",
    "phase",
    "status",
    "skill",
    "waits_for",
    "priority",
    "text",
    "parent",
    "reason",
    "created_at",
    "since_at",
    "updated_at",
}


def test_a_session_that_asks_is_approved_and_ends(stack: Baton) -> None:
    """The way that every user goes, each step with its exit code and its shape."""
    submitted = stack.submit("--text", "please", "--set", "plan=danger", code=4)
    session_id = submitted["session_id"]
    shown = stack("show", session_id, "-o", "json").json("session")
    waiting = stack("explain", session_id, "-o", "json").json("explanation")
    decision = stack("approve", session_id, "--reason", "fine", "-o", "json").json("decision")
    watched = stack("watch", session_id, "-o", "json")
    settled = stack("explain", session_id, "-o", "json").json("explanation")
    events = stack("events", session_id, "-o", "json").json("events")
    context = stack("context", session_id, "-o", "json").json("context")

    assert {*LINE, "created", "where", "key", "title", "dry_run", "fields", "wait", "where_it_is"} == set(submitted)
    assert (submitted["phase"], submitted["waits_for"], submitted["created"]) == ("waiting", "approval", True)
    assert shown.keys() > LINE | {"state", "wait", "cursor", "actor", "recent", "fence", "attempts"}
    assert shown["wait"]["call"]["tool"] == "hands:danger"
    assert shown["wait"]["answer_with"] == [
        f"baton approve {session_id} --as ada",
        f"baton deny {session_id} --as ada --reason TEXT",
    ]
    assert (waiting["settled"], waiting["settled_by"]) == (False, None)
    assert waiting["summary"].startswith("not settled: waits for an approval of hands:danger")
    assert (decision["verdict"], decision["wait_id"]) == ("allow", shown["wait"]["wait_id"])
    assert watched.lines("session")[-1]["status"] == "fine"
    assert [event["seq"] for event in watched.lines("event")] == [event["seq"] for event in events]
    assert (settled["settled"], settled["status"]) == (True, "fine")
    assert settled["settled_by"]["rule_text"]["tool_name"] == "finish"
    assert [(call["tool"], call["outcome"], call["approver"]) for call in settled["calls"]] == [
        ("hands:danger", "approved", "ada"),
        ("hands:finish", "executed", None),
    ]
    assert [event["kind"] for event in events][:1] == ["submitted"]
    assert context[0] == {
        "number": 0,
        "role": "user",
        "content": "please",
        "tool_calls": [],
        "call_id": None,
        "skill": "",
        "source": "",
        "reasoning": None,
    }


def test_what_is_allowed_always_is_shown(stack: Baton) -> None:
    """A person sees what a session does not ask again, who said so, and of exactly which call."""
    session_id = stack.submit("--set", "plan=danger", code=4)["session_id"]
    refused = stack.refuse("deny", session_id, "--always", code=2)
    said = stack("approve", session_id, "--always").out
    stack("watch", session_id)
    shown = stack("show", session_id, "-o", "json").json("session")
    table = stack("show", session_id).out

    assert "--always" in refused
    assert said == f'{session_id}: approved hands:danger(target="x"), as ada, and every call like it\n'
    (grant,) = shown["always_allowed"]
    assert (grant["tool"], grant["asked_by"], grant["actor"]) == ("hands:danger", "gateway", "ada")
    assert grant["shown"] == '{"target":"x"}'
    assert 'hands:danger {"target":"x"}, asked by gateway, allowed by ada' in " ".join(table.split())


def test_people_read_the_same(stack: Baton) -> None:
    """The tables name the session, what it waits for, and the command that answers it."""
    session_id = stack.submit("--set", "plan=danger", code=4)["session_id"]

    listed = stack("list", "--phase", "waiting").out
    shown = stack("show", session_id).out
    denied = stack("deny", session_id, "--reason", "not today").out
    explained = stack("watch", session_id).out + stack("explain", session_id).out

    assert session_id in listed
    assert "waiting (approval)" in listed
    assert f"baton approve {session_id} --as ada" in shown
    assert denied == f'{session_id}: denied hands:danger(target="x"), as ada\n'
    assert f"{session_id} ended: fine" in explained
    assert "rejected" in explained
    assert "ada: not today" in explained
    assert "\x1b" not in listed + shown + explained


def test_an_answer_a_signal_and_a_cancel_reach_their_sessions(stack: Baton) -> None:
    """Every kind of wait is ended by the command that `show` names for it."""
    asked = stack.submit("--skill", "ask_first", code=4)
    for word in ("answer", "resume"):
        refused = stack.refuse(word, asked["session_id"], "go south", "--wait-id", "another", code=1)
        assert "it does not wait for another any more; look again" in refused
    stack("answer", asked["session_id"], "go north", "--wait-id", asked["wait"]["wait_id"])
    until = stack("submit", "journey", "--skill", "until", "-o", "json").json("submission")["session_id"]
    stack("signal", until, "go", "--value", "1")
    stopped = stack.submit("--skill", "ask_first", code=4)["session_id"]
    stack("cancel", stopped, "--reason", "no longer wanted")

    ends = [stack("watch", one, "-o", "json").lines("session")[-1] for one in (asked["session_id"], until, stopped)]

    assert asked["wait"]["answer_with"] == [f"baton answer {asked['session_id']} TEXT"]
    assert [(end["status"], end["state"]["answer"]) for end in ends] == [
        ("fine", "go north"),
        ("fine", "none"),
        ("unclear", "none"),
    ]
    assert ends[2]["cursor"]["stop_reason"] == "no longer wanted"


def test_the_same_key_is_the_same_session(stack: Baton) -> None:
    """A caller that got no answer asks again, and gets its session."""
    first = stack("submit", "journey", "--key", "k-1", "-o", "json").json("submission")
    again = stack("submit", "journey", "--key", "k-1", "-o", "json").json("submission")
    refused = stack.refuse("submit", "journey", "--key", "k-1", "--text", "other", code=1)

    assert (first["created"], again["created"]) == (True, False)
    assert first["session_id"] == again["session_id"]
    assert refused == (
        f"idempotency key 'k-1': already used by {first['session_id']} for a different request; use a new key"
    )


def test_many_are_submitted_from_standard_input(stack: Baton) -> None:
    """A batch is JSON lines, and its answer names each line."""
    lines = [{"text": f"number {n}", "state": {"total": n}, "key": f"many-{n}", "priority": "low"} for n in range(20)]
    text = "\n".join(map(json.dumps, lines)) + "\n\n"

    made = stack("submit", "journey", "-f", "-", "--wait", "-o", "json", stdin=text).json("submissions")
    again = stack("submit", "journey", "-f", "-", "-o", "json", stdin=text).json("submissions")

    assert [one["where"] for one in made] == [f"standard input:{n}" for n in range(1, 21)]
    assert {(one["status"], one["priority"], one["created"]) for one in made} == {("fine", "low", True)}
    assert [(one["session_id"], one["created"]) for one in again] == [(one["session_id"], False) for one in made]


def test_a_wrong_line_means_that_none_is_submitted(stack: Baton, tmp_path: Path) -> None:
    """Half a batch is worse than none: every line is checked before the first session exists."""
    good = {"text": "a", "key": "batch-1"}
    rows = [
        json.dumps(good),
        '{"txt": "b"}',
        "{",
        json.dumps({"state": {"total": "x"}}),
        json.dumps({**good, "text": "c"}),
    ]
    file = tmp_path / "in.jsonl"
    file.write_text("\n".join(rows))
    before = len(stack("list", "--limit", "1000", "-o", "json").json("sessions"))

    unreadable = stack.refuse("submit", "journey", "-f", str(file), code=2).splitlines()
    file.write_text("\n".join([rows[0], rows[3], rows[4]]))
    unfit = stack.refuse("submit", "journey", "-f", str(file), code=2).splitlines()
    after = len(stack("list", "--limit", "1000", "-o", "json").json("sessions"))

    assert unreadable[0] == f"{file}:2: unknown field 'txt'; did you mean 'text'?"
    assert unreadable[1].startswith(f"{file}:3: Invalid JSON")
    assert unfit == [
        f"{file}:2: state: total: expected a whole number, got 'x'",
        f"{file}:3: key 'batch-1': {file}:1 has it for something else; use a key of its own",
    ]
    assert after == before


def test_a_dead_letter_is_shown_replayed_and_dies_again(stack: Baton) -> None:
    """What died says why, and what to do; mending is up to a person."""
    submitted = stack.submit("--skill", "broken", code=1)
    session_id = submitted["session_id"]
    listed = stack("dead", "list", "-o", "json").json("dead_letters")
    shown = stack("dead", "show", session_id, "-o", "json").json("dead_letter")
    told = stack("explain", session_id).out
    planned = stack("dead", "replay", "--all", "--dry-run", "-o", "json").json("replayed")
    replayed = stack("dead", "replay", session_id, "--note", "try", "-o", "json").json("replayed")
    again = stack("watch", session_id, "-o", "json", code=1).lines("session")[-1]

    assert submitted["phase"] == "dead"
    assert session_id in {letter["session_id"] for letter in listed}
    assert shown.keys() == {"session_id", "reason", "detail", "error", "failure", "attempts", "at", "skill"}
    assert "ZeroDivisionError" in shown["detail"]
    assert shown["error"] == shown["failure"]["error"] == "ZeroDivisionError"
    assert shown["failure"]["lineage"] == ["ArithmeticError"]
    assert f"baton retry {session_id}" in told
    assert session_id in planned["session_ids"]
    assert (replayed["session_ids"], replayed["dry_run"]) == ([session_id], False)
    assert (again["phase"], again["replays"]) == ("dead", 1)


def test_the_apps_own_options_make_the_submissions(stack: Baton, tmp_path: Path) -> None:
    """`--some-option VALUE` is the app's; an app that has none says so."""
    app = tmp_path / "apps" / "pair"
    app.mkdir(parents=True)
    (app / "app.yaml").write_text(
        "session_id_prefix: PAIR\nentry_skill: rest\n"
        "skills: {rest: {kind: timer, seconds: 60, routes: [{when: default, next: __end__}]}}\n"
    )
    (app / "submit.py").write_text(
        "from orchestrator.contracts.demo import Submission\n"
        "def submissions(options):\n"
        "    return [Submission(text=f'{options}', title=f'n{n}') for n in range(int(options['how_many']))]\n"
    )
    with_pair = {"BATON_APPS_PATH": str(app)}

    made = stack("submit", "pair", "--how-many", "2", "--set", "x=1", "-o", "json", **with_pair).json("submissions")
    none = stack.refuse("submit", "journey", "--how-many", "2", code=2)
    key = stack.refuse("submit", "pair", "--how-many", "2", "--key", "k", code=2, **with_pair)
    failed = stack.refuse("submit", "pair", "--how-few", "2", code=1, **with_pair)

    assert [one["title"] for one in made] == ["n0", "n1"]
    assert none.startswith("option --how-many: app journey has no options of its own (no submit.py)")
    assert key == "option --key: it names one session, and these options give 2; leave it out"
    assert failed == "app pair: submit.py failed: KeyError: 'how_many'; mend the app"


def test_lists_are_chosen_by_app_phase_status_and_time(stack: Baton) -> None:
    """An operator narrows a list down until it fits the screen."""
    session_id = stack.submit()["session_id"]

    def ids(*args: str) -> list[str]:
        return [one["session_id"] for one in stack("list", *args, "-o", "json").json("sessions")]

    assert ids("--status", "fine", "--limit", "1") == [session_id]
    assert session_id in ids("--app", "journey", "--phase", "ended", "--since", "1h")
    assert ids("--since", "2100-01-01") == []
    assert session_id not in ids("--phase", "dead")


def test_the_fleet_and_the_doctor_say_who_is_at_work(stack: Baton) -> None:
    """What an operator asks first."""
    workers = stack("workers", "-o", "json").json("workers")
    doctor = stack("doctor", "-o", "json").json("doctor")

    assert [one["kind"] for one in workers] == ["scheduler", "worker"]
    assert workers[1].keys() == {
        "name", "kind", "host", "pid", "queues", "slots", "running", "draining", "steps", "rss_bytes",
        "loop_lag_ms", "plugin_slots", "plugins_running", "version", "format", "tier", "clock_ahead_ms", "apps",
        "started_at", "seen_at",
    }  # fmt: skip
    assert doctor["ok"] is True
    assert {one["check"] for one in doctor["findings"]} >= {
        "python",
        "packages",
        "settings",
        "apps",
        "store",
        "workers",
    }


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["show", "TRIP-20200101-001"], 3, "session TRIP-20200101-001: not found; see `baton list`"),
        (["cancel", "TRIP-20200101-001"], 3, "session TRIP-20200101-001: not found"),
        (["retry", "TRIP-20200101-001"], 3, "session TRIP-20200101-001: not found"),
        (["drain", "nobody:1"], 2, "worker 'nobody:1': not alive; "),
        (["list", "--status", "fien"], 2, "option --status 'fien': no app declares it; did you mean 'fine'?"),
        (["list", "--app", "jurney"], 2, "did you mean 'journey'?"),
        (["submit", "journey", "--set", "plna=x"], 2, "state: plna: unknown key; did you mean 'plan'?"),
        (["submit", "journey", "--text", "x" * 70_000], 2, "text: 70000 bytes, over the limit of 65536"),
        (["submit", "journey", "--skill", "brokn"], 2, "did you mean 'broken'?"),
    ],
    ids=lambda value: "-".join(value)[:40] if isinstance(value, list) else None,
)
def test_what_is_refused_says_what_to_do(stack: Baton, args: list[str], code: int, message: str) -> None:
    """An error is one line, with the remedy, and the exit code of its kind."""
    said = stack.refuse(*args, code=code)

    assert message in said
    assert len(said.splitlines()) == 1


def test_a_mistyped_id_suggests_a_near_one(stack: Baton) -> None:
    """Ids are copied by hand at night."""
    session_id = stack.submit()["session_id"]
    stem = session_id.rsplit("-", 1)[0]

    assert f"did you mean {stem}-001?" in stack.refuse("show", f"{stem}-99999", code=3)


def test_a_settled_session_takes_nothing_more(stack: Baton) -> None:
    """The request is in order; the session is not where it could reach it."""
    session_id = stack.submit()["session_id"]

    said = [
        stack.refuse(*args, code=1)
        for args in (
            ["approve", session_id],
            ["answer", session_id, "x"],
            ["signal", session_id, "go"],
            ["cancel", session_id],
            ["retry", session_id],
            ["dead", "show", session_id],
        )
    ]

    assert all(line.startswith(f"session {session_id}: it ") for line in said)
    assert said[4] == f"session {session_id}: it is ended, not a dead letter; nothing was replayed"


def test_only_those_on_the_roster_may_answer(stack: Baton) -> None:
    """The name is the one that --as or BATON_ACTOR gives, and the journal keeps it."""
    session_id = stack.submit("--set", "plan=danger", code=4)["session_id"]

    refused = stack.refuse("approve", session_id, "--as", "mallory", code=1)
    still = stack("show", session_id, "-o", "json").json("session")
    stack("approve", session_id, "--as", "grace")

    assert refused == f"session {session_id}: 'mallory' may not answer; ask one of ada, grace"
    assert still["phase"] == "waiting"


def test_an_error_in_json_is_an_object_on_standard_output(stack: Baton) -> None:
    """Whoever parses standard output always finds one object there."""
    done = stack("show", "TRIP-20200101-001", "-o", "json", code=3)

    assert done.json("error") == {
        "type": "SessionNotFound",
        "message": "session TRIP-20200101-001: not found; see `baton list`",
        "exit_code": 3,
    }
    assert done.err.startswith("baton: session TRIP-20200101-001: not found")


def test_a_reader_that_leaves_early_is_no_error(stack: Baton) -> None:
    """`baton apps schema | head -1`: the pipe closes, and no traceback follows."""
    process = stack.open("apps", "schema")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    said = process.stderr.read()
    process.stderr.close()
    process.wait(timeout=60)

    assert said == ""


def test_a_watch_over_all_tells_the_phase_and_the_status_apart(stack: Baton) -> None:
    """Its lines are read by people and by grep: `endedfine` is no word."""
    session_id = stack.submit()["session_id"]
    with stack.open("watch", "--app", "journey") as watching:
        assert watching.stdout is not None
        line = next(line for line in watching.stdout if line.startswith(session_id))
        watching.terminate()
        watching.communicate(timeout=60)

    assert line == f"{session_id}  ended: fine\n"
