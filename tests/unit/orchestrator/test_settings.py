"""Settings come in layers, hold together, and say where they came from."""

import os
from pathlib import Path

import pytest
import yaml

from orchestrator.contracts.errors import SourceInvalid
from orchestrator.settings import Settings, explain_settings, find_app_paths, find_config_dir, load_settings, mask_url

CONFIG = Path(__file__).resolve().parents[3] / "config"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return an empty folder of settings."""
    (tmp_path / "runtime.d").mkdir()
    return tmp_path


def refused(
    folder: Path, *, env: dict[str, str] | None = None, overrides: dict[str, object] | None = None
) -> list[str]:
    """Return the problems without the folder in front."""
    with pytest.raises(SourceInvalid) as caught:
        load_settings(config_dir=folder, env=env or {}, overrides=overrides)
    return [problem.replace(f"{folder}/", "") for problem in caught.value.problems]


def test_the_committed_files_repeat_the_built_in_defaults() -> None:
    """Who reads config/ must see what runs, and who deletes a line must change nothing."""
    assert load_settings(config_dir=CONFIG, env={}) == Settings()


def test_every_setting_stands_in_the_committed_files_with_a_reason() -> None:
    """A default without its unit and its reason is a number that nobody dares to change."""
    origins = explain_settings(config_dir=CONFIG, env={})
    lines = [
        (line.split("#", 1)[0], line)
        for name in ("runtime.yaml", "queues.yaml")
        for line in (CONFIG / name).read_text(encoding="utf-8").splitlines()
    ]

    assert [one.path for one in origins if one.origin == "built-in default"] == []
    assert [
        line for code, line in lines if code.startswith("  ") and not code.rstrip().endswith(":") and "#" not in line
    ] == []


def test_later_layers_win_value_by_value(folder: Path) -> None:
    """A drop-in changes one number and leaves the rest of its section."""
    (folder / "runtime.yaml").write_text("lease: {seconds: 20, renew_seconds: 6, max_attempts: 7}\n", encoding="utf-8")
    (folder / "runtime.d/10.yaml").write_text("lease: {seconds: 30, renew_seconds: 7}\n", encoding="utf-8")
    (folder / "runtime.d/20.yaml").write_text("lease: {seconds: 40}\n", encoding="utf-8")

    settings = load_settings(
        config_dir=folder,
        env={"BATON_LEASE_SECONDS": "50"},
        overrides={"lease": {"seconds": 60}, "lanes.drain_steps": 3},
    )

    assert settings.lease.model_dump() == {"seconds": 60.0, "renew_seconds": 7.0, "max_attempts": 7}
    assert settings.lanes.drain_steps == 3
    assert settings.retry == Settings().retry


def test_every_value_says_where_it_came_from(folder: Path) -> None:
    """`baton config show --origin` answers the question that every incident begins with."""
    (folder / "queues.yaml").write_text("queues:\n  steps: mine\n", encoding="utf-8")
    env = {"BATON_REDIS_URL": "redis://user:pw@host/0"}

    told = {one.path: one for one in explain_settings(config_dir=folder, env=env, overrides={"lanes.drain_steps": 3})}

    assert told["queues.steps"].origin == f"{folder}/queues.yaml:2:10"
    assert (told["store.url"].origin, told["store.url"].value) == (
        "environment BATON_REDIS_URL",
        "redis://user:***@host/0",
    )
    assert told["lanes.drain_steps"].origin == "override lanes.drain_steps"
    assert told["lease.seconds"].origin == "built-in default"


def test_short_names_and_paths_are_read(folder: Path) -> None:
    """These three are what nearly every installation sets."""
    env = {
        "BATON_REDIS_URL": "redis://a/0",
        "BATON_BROKER_URL": "amqp://b",
        "BATON_APPS_PATH": os.pathsep.join(["/x", "/y"]),
        "BATON_QUEUES_TRANSPORT_OPTIONS_PRIORITY_STEPS": "0, 5",
        "BATON_SOMETHING_ELSE": "not a setting, and none of our business",
    }

    settings = load_settings(config_dir=folder, env=env)

    assert (settings.store.url, settings.queues.broker_url) == ("redis://a/0", "amqp://b")
    assert settings.queues.transport_options.priority_steps == (0, 5)
    assert find_app_paths(settings)[:2] == (Path("/x"), Path("/y"))
    assert find_app_paths(settings)[-1].name == "apps"


def test_the_bundled_apps_can_be_left_out(folder: Path) -> None:
    """Who runs apps of the same names must not be in their way."""
    assert find_app_paths(load_settings(config_dir=folder, env={}, overrides={"apps.bundled": False})) == ()


def test_problems_of_all_layers_come_at_once(folder: Path) -> None:
    """File, environment and flags are mended in one go."""
    (folder / "runtime.yaml").write_text("lease:\n  secnds: 3\nlanes: {per_process: 0}\nlaese: {}\n", encoding="utf-8")
    (folder / "runtime.d/a.yml").write_text("", encoding="utf-8")
    (folder / "runtime.d/b.yaml").write_text("[", encoding="utf-8")
    env = {
        "BATON_LEASE_RENEW": "1",
        "BATON_STORE_PARTITIONS": "few",
        "BATON_STORE_URL": "redis://a",
        "BATON_REDIS_URL": "redis://b",
    }

    assert sorted(refused(folder, env=env, overrides={"retry.jiter": 1})) == [
        "environment BATON_LEASE_RENEW: no such setting; did you mean 'BATON_LEASE_RENEW_SECONDS'?",
        "environment BATON_STORE_PARTITIONS: store.partitions: expected a whole number",
        "environment BATON_STORE_URL: store.url: BATON_REDIS_URL says otherwise; unset one of them",
        "override retry.jiter: retry.jiter: unknown key; did you mean 'jitter'?",
        "runtime.d/a.yml: is not read; rename it to .yaml",
        "runtime.d/b.yaml:2:1: not YAML: did not find expected node content while parsing a flow node",
        "runtime.yaml:2:3: lease.secnds: unknown key; did you mean 'seconds'?",
        "runtime.yaml:3:22: lanes.per_process: should be greater than or equal to 1, got 0",
        "runtime.yaml:4:1: laese: unknown key; did you mean 'lease'?",
    ]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("BATON_ARCHVE_ENABLED", "BATON_ARCHIVE_ENABLED"),
        ("BATON_SOTRE_PARTITIONS", "BATON_STORE_PARTITIONS"),
        ("BATON_QUEUE_TRANSPORT_OPTIONS_PRIORITY_STEPS", "BATON_QUEUES_TRANSPORT_OPTIONS_PRIORITY_STEPS"),
        ("BATON_REDSI_URL_FILE", "BATON_REDIS_URL_FILE"),
    ],
)
def test_a_variable_whose_section_is_misspelt_is_refused(folder: Path, name: str, meant: str) -> None:
    """As in a file: what was to be switched off must not stay on in silence."""
    assert refused(folder, env={name: "1"}) == [f"environment {name}: no such setting; did you mean {meant!r}?"]


@pytest.mark.parametrize(
    "name", ["BATON_REVIEW_MODEL", "BATON_STORE2_URL", "BATON_OUR_STORE_URL", "BATON_SHOP_ENABLED", "BATON_STATE_DIR"]
)
def test_a_variable_of_somebody_else_is_left_alone(folder: Path, name: str) -> None:
    """Apps and platforms have variables of their own, and some begin as ours do."""
    assert load_settings(config_dir=folder, env={name: "1"}) == load_settings(config_dir=folder, env={})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "lease:\n  renew_seconds: 7.5",
            "2:18: lease.renew_seconds: 7.5 is not below half of lease.seconds (15); one lost renewal would lose the lease",
        ),
        (
            "lease:\n  seconds: 10",
            "1:1: lease.renew_seconds: 5 is not below half of lease.seconds (10); one lost renewal would lose the lease",
        ),
        (
            "limits: {message_bytes: 4000000}",
            "1:9: limits.entry_bytes: 2097152 is less than limits.message_bytes (4000000); an entry holds a message",
        ),
        (
            "retry: {base_seconds: 90}",
            "1:8: retry.max_seconds: 60 is less than retry.base_seconds (90); raise it, or lower that",
        ),
        (
            "scheduler: {tick_seconds: 2}",
            "1:12: scheduler.idle_tick_seconds: 1 is less than scheduler.tick_seconds (2); raise it, or lower that",
        ),
        (
            "queues: {plugins: baton.steps}",
            "1:19: queues.plugins: queues.steps, queues.finalize and queues.plugins need three different names",
        ),
        ("store: {url: localhost}", "1:14: store.url: not a URL; write e.g. redis://host:6379/0, or leave it empty"),
        ("store: {partitions: 0}", "1:21: store.partitions: should be greater than or equal to 1, got 0"),
        (
            "logging: {level: LOUD}",
            "1:18: logging.level: unknown value 'LOUD'; known: CRITICAL, DEBUG, ERROR, INFO, WARNING",
        ),
        ("- lease", "1:1: expected a mapping of sections"),
    ],
)
def test_settings_hold_together(folder: Path, text: str, problem: str) -> None:
    """Numbers that do not go together fail at the start, not at the first fault."""
    (folder / "runtime.yaml").write_text(text + "\n", encoding="utf-8")

    told = refused(folder)

    assert len(told) == 1
    assert told[0].endswith(problem.split(":", 2)[2])


def test_variables_are_expanded_in_files(folder: Path) -> None:
    """A password comes from a mounted file, and is not repeated when it is wrong."""
    (folder / "password").write_text("s3cret\n", encoding="utf-8")
    text = "store: {url: 'redis://:${file:password}@${HOST:-localhost}/0', partitions: '${PARTS}'}\n"
    (folder / "runtime.yaml").write_text(text, encoding="utf-8")

    assert load_settings(config_dir=folder, env={"PARTS": "8"}).store.url == "redis://:s3cret@localhost/0"
    assert refused(folder, env={"PARTS": "s3cret"}) == ["runtime.yaml:1:76: store.partitions: expected a whole number"]


def test_a_password_is_not_in_what_is_printed(folder: Path) -> None:
    """Settings are logged at the start of every process."""
    settings = load_settings(config_dir=folder, env={"BATON_REDIS_URL": "redis://:s3cret@h/0"})

    assert "s3cret" not in repr(settings)
    assert mask_url("x redis://:s3cret@h y") == "x redis://:***@h y"
    assert mask_url("redis://h/0?password=s3cret&db=1") == "redis://h/0?password=***&db=1"
    assert mask_url("redis://h/0") == "redis://h/0"
    assert mask_url("redis://:an@s3cret@h/0") == "redis://:***@h/0"


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """A typing error in BATON_CONFIG_DIR must not mean "all defaults"."""
    env = {"BATON_CONFIG_DIR": str(tmp_path / "nowhere")}

    with pytest.raises(SourceInvalid, match="no such folder; mend BATON_CONFIG_DIR"):
        load_settings(env=env)


def test_the_current_directory_configures_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who starts a command in somebody's folder must not get that folder's settings."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config/runtime.yaml").write_text("lease: {seconds: 99}\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    assert find_config_dir({}) == CONFIG
    assert load_settings(env={}).lease.seconds == 15.0


def test_none_overrides_nothing(folder: Path) -> None:
    """A flag that was not given is None on every command line."""
    assert load_settings(config_dir=folder, env={}, overrides={"lease.seconds": None}) == Settings()


def test_every_number_has_bounds() -> None:
    """A limit without a limit is no limit."""
    unbounded = []
    schema = Settings.model_json_schema()
    for name, section in schema["$defs"].items():
        for field, spec in section["properties"].items():
            if spec.get("type") in ("integer", "number") and not (
                {"minimum", "exclusiveMinimum"} & set(spec) and {"maximum", "exclusiveMaximum"} & set(spec)
            ):
                unbounded.append(f"{name}.{field}")

    assert unbounded == []


def test_the_files_are_plain_yaml() -> None:
    """Other tools read them too: no reader of ours is needed."""
    for path in sorted(CONFIG.glob("*.yaml")):
        assert isinstance(yaml.safe_load(path.read_text(encoding="utf-8")), dict)


def test_a_secret_comes_from_a_file(tmp_path: Path) -> None:
    """systemd, compose and Kubernetes hand secrets over as files; a process's environment is seen by too many."""
    (tmp_path / "url").write_text("redis://:pw@host:6379/0\n")

    found = load_settings(env={"BATON_REDIS_URL_FILE": str(tmp_path / "url")})

    assert found.store.url == "redis://:pw@host:6379/0"
    with pytest.raises(SourceInvalid, match="name a text file that can be read"):
        load_settings(env={"BATON_REDIS_URL_FILE": str(tmp_path / "none")})
    with pytest.raises(SourceInvalid, match="says otherwise"):
        load_settings(env={"BATON_REDIS_URL_FILE": str(tmp_path / "url"), "BATON_REDIS_URL": "redis://other:6379/0"})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"x" * (1024 * 1024 + 1), "over 1048576 bytes; name a text file that can be read"),
        (b"redis://\xff", "invalid start byte; name a text file that can be read"),
        (None, "Is a directory; name a text file that can be read"),
    ],
    ids=["endless", "no text", "folder"],
)
def test_a_file_that_holds_no_value_is_refused(tmp_path: Path, content: bytes | None, said: str) -> None:
    """A device named by mistake would fill the memory of every process before it said a word."""
    if content is not None:
        (tmp_path / "url").write_bytes(content)
    named = {"BATON_REDIS_URL_FILE": str(tmp_path / "url" if content is not None else tmp_path)}

    with pytest.raises(SourceInvalid) as caught:
        load_settings(env=named)

    assert str(caught.value).startswith("environment BATON_REDIS_URL_FILE: store.url: '/")
    assert str(caught.value).endswith(said)


def test_a_value_where_its_file_belongs_shows_no_password() -> None:
    """The most likely mistake with such a variable is to set it to the secret itself."""
    with pytest.raises(SourceInvalid) as caught:
        load_settings(env={"BATON_REDIS_URL_FILE": "redis://me:sw0rdfish@host:6379/0"})

    assert "No such file or directory" in str(caught.value)
    assert "sw0rdfish" not in str(caught.value)


def test_a_file_with_a_byte_order_mark_holds_its_value(tmp_path: Path) -> None:
    """Some editors write one, and no person sees it."""
    (tmp_path / "seconds").write_text("\ufeff20\n", encoding="utf-8")

    assert load_settings(env={"BATON_LEASE_SECONDS_FILE": str(tmp_path / "seconds")}).lease.seconds == 20
