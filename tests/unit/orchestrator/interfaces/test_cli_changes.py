"""Everything that the command line changes: a dry run says what it would do and does nothing; what is done has an actor."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from socket import gethostname
from typing import Any

import pytest

from orchestrator.interfaces.cli import connect
from orchestrator.interfaces.cli.main import main
from orchestrator.operations import Operations
from orchestrator.store.fleet import WorkerInfo
from tests.archive_hall import hall
from tests.stage import Stage, stage

EVERYTHING = Path(__file__).parents[4] / "tests" / "apps" / "everything"


@pytest.fixture
def url(store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store, with everything that the commands of this test find it by."""
    for name, value in {
        "BATON_REDIS_URL": store_url,
        "BATON_APPS_PATH": str(EVERYTHING),
        "BATON_APPS_BUNDLED": "false",
        "BATON_ARCHIVE_URL": f"sqlite:///{tmp_path / 'archive.db'}",
        "BATON_STATE_DIR": str(tmp_path / "state"),
        "BATON_ACTOR": "ada",
    }.items():
        monkeypatch.setenv(name, value)
    connect.settings.cache_clear()
    return store_url


async def set_scene(url: str, archive_url: str) -> dict[str, str]:
    """Leave something for each verb to change; return the ids."""
    async with hall(url, archive_url) as at:
        on = at.on
        archived = await at.ended()
        await at.archiver.run_once("somebody", retention_hours=0)
        worker = on.worker()
        made = {"archived": archived, "ended": await at.ended(), "asking": await on.submit(plan="danger")}
        made |= {"gated": await on.submit(plan="gate"), "question": await on.submit("ask_first")}
        made |= {"dead": await on.submit("broken"), "key": ""}
        for name in ("asking", "gated", "question"):
            assert (await on.run(worker, made[name])).phase == "waiting"
        assert (await on.run(worker, made["dead"])).phase == "dead"
        made["key"] = (await on.client.submit("everything", text="one", actor="ada", key="known")).session_id
        await on.client.fleet.beat(WorkerInfo(name="host:1:a", host="host", version="9.9.9", tier="portable"))
        await Operations(on.client).make_token("bob", ("viewer",), actor="root")
    return made


async def snapshot(url: str) -> Mapping[str, object]:
    """Return all that the store holds."""
    async with stage(url) as on:
        names = sorted(await on.store.command("KEYS", "*"))
        return {name: await _content(on, name) for name in names}


async def _content(on: Stage, name: str) -> object:
    kinds = {
        "hash": ("HGETALL", name),
        "zset": ("ZRANGE", name, 0, -1, "WITHSCORES"),
        "set": ("SMEMBERS", name),
        "list": ("LRANGE", name, 0, -1),
        "stream": ("XRANGE", name, "-", "+"),
        "string": ("GET", name),
    }
    found = await on.store.command(*kinds[str(await on.store.command("TYPE", name))])
    return sorted(found) if isinstance(found, set) else found


#: What is asked for, and what is told of it; {names} are the scene's.
DRY: list[tuple[list[str], str]] = [
    (["submit", "everything", "--text", "x"], "submission: would be submitted, as ada: x"),
    (["submit", "everything", "--text", "one", "--key", "known"], "is there already, as {key}: the same key"),
    (["approve", "{asking}"], "{asking}: would be approved hands:danger"),
    (["deny", "{asking}"], "{asking}: would be denied hands:danger"),
    (["answer", "{question}", "this"], "{question}: would be answered, as ada"),
    (["resume", "{gated}", "go on"], "{gated}: would be answered, as ada"),
    (["resume", "{gated}", "--escalate", "--team", "day"], "{gated}: would be answered, as ada"),
    (["signal", "{asking}", "go"], "{asking}: signal 'go' would be sent, as ada"),
    (["cancel", "{asking}"], "{asking}: would be asked to stop, as ada"),
    (["fork", "{ended}"], "{ended}: would be forked where it last had work, as ada"),
    (["retry", "{dead}"], "{dead}: would be sent again"),
    (["dead", "replay", "--all"], "{dead}: would be sent again"),
    (["pause", "steps"], "queue:steps: would be paused"),
    (["unpause", "steps"], "queue:steps: nothing to do, it is not paused"),
    (["drain", "host:1"], "host:1:a: would be told to drain"),
    (["drain", "--all", "--wait"], "host:1:a: would be told to drain"),
    (["tokens", "new", "eve", "--role", "viewer"], "eve: would be made, viewer, as ada"),
    (["tokens", "revoke", "bob"], "bob: would be revoked"),
    (["archive", "run", "--older-than", "0"], "1 session to be moved into the archive"),
    (["archive", "purge", "--older-than", "0"], "1 session to be deleted from the archive"),
    (["apps", "new", "sample", "--path", "{folder}"], "app.yaml: would be written"),
    (["plugins", "new", "sample", "--path", "{folder}"], "manifest.yml: would be written"),
    (["redis", "start"], "would be started on "),
    (["redis", "stop"], "no server runs"),
]


def test_a_dry_run_says_what_it_would_do_and_does_nothing(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever looks before they leap has not leapt: the store, the archive and the disk are as they were."""
    archive = f"sqlite:///{tmp_path / 'archive.db'}"
    names = {**asyncio.run(set_scene(url, archive)), "folder": str(tmp_path / "new")}
    before, kept = asyncio.run(snapshot(url)), asyncio.run(count(url, archive))
    told = []
    for args, _ in DRY:
        code = main([*(word.format(**names) for word in args), "--dry-run"])
        told.append((args, code, capsys.readouterr()))
    after = asyncio.run(snapshot(url))

    for (args, code, said), (_, line) in zip(told, DRY, strict=True):
        assert (code, said.err) == (0, ""), args
        assert line.format(**names) in said.out, args
    assert {name for name in {*before, *after} if before.get(name) != after.get(name)} == set()
    assert asyncio.run(count(url, archive)) == kept
    assert not (tmp_path / "new").exists()
    assert not (tmp_path / "state" / "server").exists()


def test_a_fork_is_told_with_the_same_keys_before_and_after(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A script that is tried with `--dry-run` finds every key that it reads later."""
    session_id = asyncio.run(set_scene(url, f"sqlite:///{tmp_path / 'archive.db'}"))["ended"]
    shapes = []
    for more in (["--dry-run"], []):
        assert main(["fork", session_id, "-o", "json", *more]) == 0
        shapes.append(json.loads(capsys.readouterr().out)["fork"])
    dry, done = shapes

    assert list(dry) == list(done)
    assert {name: value for name, value in dry.items() if value is not None} == {
        "app": "everything",
        "parent": session_id,
        "actor": "ada",
        "dry_run": True,
    }
    assert (done["parent"], done["created"], done["dry_run"]) == (session_id, True, False)


def test_the_archives_last_run_is_told_while_schedulers_see_to_it(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once it is switched off it grows old for ever, and with it the alert that an archive stands still."""
    asyncio.run(set_scene(url, f"sqlite:///{tmp_path / 'archive.db'}"))
    told = []
    for name, value in (("BATON_ACTOR", "ada"), ("BATON_ARCHIVE_ENABLED", "false"), ("BATON_ARCHIVE_URL", "")):
        with monkeypatch.context() as changed:
            changed.setenv(name, value)
            connect.settings.cache_clear()
            assert main(["metrics", "-o", "json"]) == 0
        told.append("baton_archive_last_run_timestamp_seconds" in json.loads(capsys.readouterr().out)["metrics"])

    assert told == [True, False, False]


def test_what_is_paused_is_told_with_the_command_that_ends_it(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`resume` is for sessions: whoever tries it next would be told that `steps` is no id."""
    codes = [main(["pause", "steps"]), main(["pause", "steps"]), main(["unpause", "steps"])]

    assert codes == [0, 0, 0]
    assert capsys.readouterr().out.splitlines() == [
        "queue:steps: paused; 0 in line; `baton unpause steps` lets it go on",
        "queue:steps: nothing to do, it is paused already; 0 in line; `baton unpause steps` lets it go on",
        "queue:steps: goes on; 0 in line",
    ]


@pytest.mark.parametrize("args", [["status"], ["purge", "--older-than", "365d", "--yes"]], ids=lambda args: args[0])
def test_an_archive_whose_folder_is_missing_is_told_and_not_made(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, args: list[str]
) -> None:
    """A disk that is not mounted, or a path with a slip in it: an empty archive in its place would look like the truth."""
    monkeypatch.setenv("BATON_ARCHIVE_URL", f"sqlite:///{tmp_path / 'disk' / 'archive.db'}")
    connect.settings.cache_clear()

    code = main(["archive", *args])

    out, err = capsys.readouterr()
    assert (code, out) == (1, "")
    assert err == (
        f"baton: archive.url: {tmp_path / 'disk'}: there is no such folder, so nothing is archived there; "
        "mount or make it, or mend the URL\n"
    )
    assert not (tmp_path / "disk").exists()


async def count(url: str, archive_url: str) -> int:
    """Return how many sessions the archive has."""
    async with hall(url, archive_url) as at:
        return (await at.archive.figures()).sessions


@pytest.mark.parametrize(
    ("args", "code", "line"),
    [
        (["approve", "{question}"], 1, "not for this approval"),
        (["approve", "{asking}", "--as", "mallory"], 1, "'mallory' may not answer; ask one of ada, grace"),
        (["answer", "{question}", " "], 2, "the answer is blank; say something"),
        (["cancel", "{ended}"], 1, "it is ended already; nothing more reaches it"),
        (["signal", "{ended}", "go"], 1, "it is ended already; nothing more reaches it"),
        (["fork", "{ended}", "--at", "9999"], 2, "no entry 9999 yet"),
        (["retry", "{ended}"], 1, "it is ended, not a dead letter"),
        (["tokens", "new", "bob", "--role", "viewer"], 2, "there is one of that name"),
        (["tokens", "revoke", "bo"], 2, "there is none in the store; did you mean 'bob'?"),
        (["drain", "hst"], 2, "not alive"),
        (["pause", "app:everythin"], 2, "did you mean 'everything'?"),
        (["submit", "everything", "--wait"], 2, "there would be nothing to wait for"),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, list) else "",
)
def test_a_dry_run_is_refused_as_the_act_would_be(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], args: list[str], code: int, line: str
) -> None:
    """One that promises what would then be refused is worse than none; and not even the refusal is written down."""
    names = asyncio.run(set_scene(url, f"sqlite:///{tmp_path / 'archive.db'}"))
    before = asyncio.run(snapshot(url))

    assert main([*(word.format(**names) for word in args), "--dry-run"]) == code
    assert line in capsys.readouterr().err
    assert asyncio.run(snapshot(url)) == before


def test_what_operators_do_is_in_their_log_with_who_did_it(url: str, tmp_path: Path) -> None:
    """A drain, a purge, a pause: months later somebody asks who it was."""
    asyncio.run(set_scene(url, f"sqlite:///{tmp_path / 'archive.db'}"))

    assert main(["drain", "host:1", "--as", "grace"]) == 0
    assert main(["archive", "purge", "--older-than", "0", "--yes", "--as", "grace"]) == 0
    assert main(["pause", "steps", "--as", "grace"]) == 0
    assert main(["tokens", "revoke", "bob", "--as", "grace"]) == 0

    async def read() -> list[Any]:
        async with stage(url) as on:
            return await Operations(on.client).acts(limit=10)

    acts = [(one.act, one.actor, one.target) for one in asyncio.run(read())]
    assert acts[:4] == [
        ("token.revoke", "grace", "bob"),
        ("pause", "grace", "queue:steps"),
        ("archive.purge", "grace", "archive"),
        ("drain", "grace", "host:1:a"),
    ]


def test_a_pod_drains_itself_also_where_its_user_has_no_name(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own last act must not fail for want of a name; whoever drains others says who they are."""

    def find_nobody() -> str:
        raise KeyError("no such uid")

    async def scene() -> None:
        async with stage(url) as on:
            await on.client.fleet.beat(WorkerInfo(name="here:1:a", host=gethostname()))

    async def read() -> list[tuple[str, str]]:
        async with stage(url) as on:
            return [(one.actor, one.target) for one in await Operations(on.client).acts(limit=10)]

    monkeypatch.delenv("BATON_ACTOR")
    monkeypatch.setattr("orchestrator.interfaces.cli.options.getuser", find_nobody)
    asyncio.run(scene())

    assert main(["drain", "--all"]) == 2
    assert main(["drain", "--self"]) == 0
    assert asyncio.run(read()) == [(gethostname(), "here:1:a")]


@pytest.mark.parametrize("verb", [["cancel"], ["signal"], ["retry"], ["approve"], ["show"]], ids=" ".join)
def test_an_unknown_id_is_told_with_those_near_it(
    url: str, capsys: pytest.CaptureFixture[str], verb: list[str]
) -> None:
    """Whatever was to be done with it."""

    async def scene() -> str:
        async with stage(url) as on:
            return await on.submit()

    there = asyncio.run(scene())
    missing = f"{there[:-3]}777"

    assert main([*verb, missing, *(["go"] if verb == ["signal"] else [])]) == 3
    assert there in capsys.readouterr().err


def test_the_id_that_was_meant_is_the_first_to_be_named(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Two digits swapped, among many sessions of the day: the first of the day was hardly meant."""

    async def scene() -> list[str]:
        async with stage(url) as on:
            return [await on.submit() for _ in range(12)]

    meant = asyncio.run(scene())[11]
    assert meant.endswith("-012")

    assert main(["show", f"{meant[:-3]}021"]) == 3
    assert f"did you mean {meant}?" in capsys.readouterr().err


def test_one_letter_that_cannot_be_read_holds_up_no_other(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`dead replay --all` sends what it can, and says what it could not."""

    async def scene() -> tuple[str, str]:
        async with stage(url) as on:
            worker, good, bad = on.worker(), await on.submit("broken"), await on.submit()
            assert (await on.run(worker, good)).phase == "dead"
            await on.store.command("HSET", on.store.keys.of_session("record", bad), "cursor", "no cursor")
            await worker.run_slice(bad)
            return good, bad

    good, bad = asyncio.run(scene())
    assert main(["dead", "replay", "--all", "-o", "json"]) == 0
    said = capsys.readouterr()

    assert json.loads(said.out)["replayed"]["session_ids"] == [good]
    assert f"baton: left out: session {bad}: its record cannot be read" in said.err


def test_workers_say_their_version_and_tier(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In an upgrade, and where a sandbox is weaker than it should be, that is the first question."""
    asyncio.run(set_scene(url, f"sqlite:///{tmp_path / 'archive.db'}"))

    assert main(["workers"]) == 0
    table = capsys.readouterr().out
    assert main(["workers", "-o", "json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["workers"]

    assert "9.9.9" in table
    assert "portable" in table
    assert (row["version"], row["format"], row["tier"]) == ("9.9.9", 1, "portable")


@pytest.mark.parametrize("verb", [["list"], ["search", "go"], ["watch"]], ids=" ".join)
def test_a_mistyped_app_is_told_wherever_its_sessions_are_asked_for(
    url: str, capsys: pytest.CaptureFixture[str], verb: list[str]
) -> None:
    """An empty list looks like the truth, and a watch over nothing like patience."""
    assert main([*verb, "--app", "everythin"]) == 2
    assert "option --app 'everythin': it has no sessions and is not installed; did you mean 'everything'?" in (
        capsys.readouterr().err
    )


def test_a_reason_of_which_nothing_died_is_named(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`no dead letters` would send whoever mistyped the reason home."""
    asyncio.run(set_scene(url, f"sqlite:///{tmp_path / 'archive.db'}"))

    assert main(["dead", "replay", "--all", "--reason", "permanent"]) == 0
    assert capsys.readouterr().out == "no dead letter of the reason 'permanent'; see `baton dead list`\n"
