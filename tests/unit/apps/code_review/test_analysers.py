"""What each analyser finds, and - as important - what it leaves alone."""

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from apps.code_review.analysis.change import is_generated, is_test, judge_change
from apps.code_review.analysis.findings import Finding, Severity, cap_findings, choose_recommendation
from apps.code_review.analysis.ruff import find_in_remarks
from apps.code_review.analysis.secrets import find_secrets, mask_secrets
from apps.code_review.analysis.text import find_conflict_markers
from apps.code_review.plugins.python_checks.checks import Unparseable, find_in_python
from apps.code_review.repository import ChangedFile
from apps.code_review.workspace import Exported, add_file, begin, read_linted, write_index
from tests.unit.apps.code_review.conftest import RunPlugins

KEY = "9fK2qLx8Zr4TvB7nWm3s"
AWS = "AKIA" + "QWERTYUIOPASDF7H"


def rules(source: str) -> list[tuple[str, Severity]]:
    """Return which rules our own checks found."""
    found = find_in_python(textwrap.dedent(source), None)
    return [(finding.rule, finding.severity) for finding in found]


def finding(severity: Severity = "warning", *, line: int = 1, rule: str = "r", file: str = "a.py") -> Finding:
    """Return a finding."""
    return Finding(file=file, line=line, severity=severity, category="c", message="m", rule=rule)


@pytest.fixture
def run_ruff(tmp_path: Path, run_plugins: RunPlugins) -> Callable[..., list[Finding]]:
    """Run the plugin over one exported file; return its findings on changed lines."""

    def run(path: str, source: bytes, lines: set[int] | None) -> list[Finding]:
        folder = tmp_path / "workspace"
        begin(folder)
        name = add_file(folder, 1, path, source)
        write_index(folder, {name: Exported(path=path, changed=None, is_test=False)}, "{}")
        (entry,) = run_plugins(folder, "ruff")
        assert entry["status"] in {"success", "skipped"}, entry
        return find_in_remarks(path, read_linted(folder).get(name, []), lines)

    return run


RunRuff = Callable[..., list[Finding]]


def changed(path: str, *, additions: int = 50, status: str = "modified", binary: bool = False) -> ChangedFile:
    """Return a changed file."""
    return ChangedFile(path, status, None, additions, 0, binary, "a" * 40, None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("try:\n  f()\nexcept:\n  pass", [("bare-except", "error")]),
        ("try:\n  f()\nexcept Exception:\n  pass", [("broad-except", "warning")]),
        ("try:\n  f()\nexcept (OSError, BaseException):\n  log()", [("broad-except", "error")]),
        ("def f(x=[]): ...", [("mutable-default", "warning")]),
        ("def f(*, x={}): ...", [("mutable-default", "warning")]),
        ("async def f(x=dict()): ...", [("mutable-default", "warning")]),
        ("g = lambda x=set(): x", [("mutable-default", "warning")]),
        ("def f(x=collections.deque()): ...", [("mutable-default", "warning")]),
        ("eval(text)", [("eval", "error")]),
        ("exec('x = 1')", [("eval", "warning")]),
        ("subprocess.run(f'rm {x}', shell=True)", [("shell", "error")]),
        ("subprocess.run('ls | wc', shell=True)", [("shell", "warning")]),
        ("os.system(command)", [("shell", "error")]),
    ],
)
def test_what_our_rules_warn_of_is_found(source: str, expected: list[tuple[str, Severity]]) -> None:
    """One case for each form that a rule names."""
    assert rules(source) == expected


@pytest.mark.parametrize(
    "source",
    [
        "try:\n  f()\nexcept:\n  cleanup()\n  raise",
        "try:\n  f()\nexcept Exception as e:\n  raise Wrapped() from e",
        "try:\n  f()\nexcept (OSError, ValueError):\n  pass",
        "try:\n  f()\nexcept errors.Exceptional:\n  pass",
        "def f(x=None, y=(), z=frozenset(), n=0): ...",
        "ast.literal_eval(text)",
        "model.eval()",
        "df.eval('a + b')",
        "cursor.exec(x)",
        "subprocess.run(['ls'], shell=False)",
        "subprocess.run(['ls'])",
        "system(command)",
    ],
)
def test_what_only_looks_like_it_is_left_alone(source: str) -> None:
    """A reviewer who cries wolf is not read."""
    assert rules(source) == []


def test_only_changed_lines_are_remarked_on() -> None:
    """Old sins are another review's; a call counts if any of its lines changed."""
    source = "try:\n    f()\nexcept:\n    pass\nsubprocess.run(\n    command,\n    shell=True,\n)\n"

    assert find_in_python(source, {1, 4}) == []
    assert [it.rule for it in find_in_python(source, {3})] == ["bare-except"]
    assert [it.rule for it in find_in_python(source, {7})] == ["shell"]


@pytest.mark.parametrize("source", ["def f(:\n", "x = 1\x00\n", "(" * 5_000 + ")" * 5_000])
def test_what_cannot_be_parsed_says_so(source: str) -> None:
    """Never a crash: a commit may hold any bytes."""
    with pytest.raises(Unparseable):
        find_in_python(source, None)


@pytest.mark.parametrize(
    ("line", "severity"),
    [
        (f'key = "{AWS}"', "critical"),
        ("-----BEGIN " + "RSA PRIVATE KEY-----", "critical"),
        ("token: ghp_" + "a1B2c3D4e5F6" * 3, "critical"),
        ("url = 'postgres://app:Zk39slQp@db.internal/app'", "critical"),
        (f'API_KEY = "{KEY}"', "error"),
        (f"  'auth_token': '{KEY}',", "error"),
        (f'connect(api_key="{KEY}")', "error"),
        ('password = "Tr0ub4dor&3"', "error"),
        (f"client-secret: '{KEY}'", "error"),
        (f'API_KEY: str = "{KEY}"', "error"),
    ],
)
def test_a_secret_is_found_and_never_repeated(line: str, severity: Severity) -> None:
    """The finding goes into journals and mails: it must not spread what it warns of."""
    (found,) = find_secrets("config.py", line, None)

    assert found.severity == severity
    assert KEY not in found.message
    assert AWS not in found.message


@pytest.mark.parametrize(
    "line",
    [
        *(
            'password = "changeme"',
            'password = "your-password-here"',
            'API_KEY = "<your key>"',
            'token = "xxxxxxxxxxxxxxxx"',
        ),
        *(
            'password = os.environ["PASSWORD"]',
            'TOKEN_ENV = "GITHUB_TOKEN"',
            'token = "${TOKEN}"',
            'secret = "{{ secret }}"',
        ),
        *(
            'password_prompt = "Enter the password: "',
            'token = "=="',
            'api_key = ""',
            'token_url = "https://auth.example.com/t"',
        ),
        *('secret = "vault:kv/data/app"', 'secret_path = "/run/secrets/db_key_1"', 'key = "AKIAIOSFODNN7EXAMPLE"'),
        *(
            'token = "test-token-1234"',
            'access_token = "access_token"',
            'password: "password"',
            "passwords = ['correct horse']",
        ),
        *(
            'url = "postgres://user:password@localhost/db"',
            'url = "postgres://user:${PW}@host/db"',
            "tokenizer = 'bert-base-uncased'",
        ),
        *(
            'secret = "module.submodule"',
            'api_key = "a" * 20',
            "token = 'aaaaaaaaaaaaaaaaaaaa'",
            'x = "https://host/a:b@c"',
        ),
    ],
)
def test_placeholders_references_and_words_are_no_secrets(line: str) -> None:
    """The second kind of rule is worth nothing if it fires on every settings file."""
    assert find_secrets("config.py", line, None) == []


def test_a_secret_in_a_test_is_a_warning() -> None:
    """Tests need keys that look real; a person should look, and no more."""
    (found,) = find_secrets("tests/test_a.py", f'API_KEY = "{KEY}"', None, is_test=True)

    assert found.severity == "warning"


def test_a_lock_files_hashes_are_no_secrets() -> None:
    """Random text under names like token is what lock files are made of."""
    assert find_secrets("uv.lock", f'token = "{KEY}"', None, tokens_only=True) == []


def test_masking_leaves_the_text_and_takes_the_secret() -> None:
    """A diff is stored with the session; what it leaks must not be."""
    block = "-----BEGIN " + "PRIVATE KEY-----\n+MIIEvQIBADANBg\n+kqhkiG9w0BAQ\n+-----END PRIVATE KEY-----\n"
    text = f'+API_KEY = "{KEY}"\n+aws = "{AWS}"\n+{block}+x = 1\n'

    masked = mask_secrets(text)

    assert not any(secret in masked for secret in (KEY, AWS, "MIIEvQ", "kqhkiG9w0BAQ"))
    assert masked.startswith("+API_KEY = ")
    assert masked.endswith("+x = 1\n")


def test_conflict_markers_count_only_as_three_in_order() -> None:
    """A row of equals signs is a heading in many formats."""
    conflict = "a\n<<<<<<< HEAD\nb\n=======\nc\n>>>>>>> side\n"

    assert [found.line for found in find_conflict_markers("a.txt", conflict, None)] == [2]
    assert find_conflict_markers("a.md", "Title\n=======\n>>>>>>> quoted\n", None) == []


def test_ruff_finds_what_would_crash_on_changed_lines_only(run_ruff: RunRuff) -> None:
    """The real program over real source; what was there before is left alone."""
    source = b"import os\n\n\ndef f():\n    return undefined_name\n"

    found = run_ruff("src/a.py", source, {5})

    assert [(it.rule, it.line, it.severity, it.file) for it in found] == [("F821", 5, "error", "src/a.py")]
    assert [it.rule for it in run_ruff("src/a.py", source, None)] == ["F401", "F821"]


def test_a_syntax_error_counts_wherever_it_is(run_ruff: RunRuff) -> None:
    """A file that does not parse is broken as a whole."""
    found = run_ruff("a.py", b"x = 1\ndef f(:\n", {1})

    assert {(it.rule, it.severity) for it in found} == {("invalid-syntax", "error")}


@pytest.mark.parametrize(
    "path", ["-x.py", "--config=/etc/passwd.py", "a b.py", "node_modules/a.py", ".venv/a.py", "é.pyi"]
)
def test_a_files_name_changes_nothing_of_how_ruff_runs(run_ruff: RunRuff, path: str) -> None:
    """A name is chosen by whoever commits: it is no option, and exempts from nothing."""
    assert [it.rule for it in run_ruff(path, b"x: int = undefined\n", None)] == ["F821"]


def test_tests_and_generated_files_are_known_by_their_paths() -> None:
    """Rules differ for them."""
    assert all(map(is_test, ("tests/a.py", "test_a.py", "pkg/a_test.go", "conftest.py", "web/a.spec.ts")))
    assert not any(map(is_test, ("src/contest.py", "latest.py", "testament.py", "src/attest/a.py")))
    assert all(map(is_generated, ("uv.lock", "web/app.min.js", "package-lock.json", "a_pb2.py")))


def test_source_without_a_test_is_remarked_on_by_its_size() -> None:
    """Thirty untested lines deserve a word; two deserve a mention."""
    (large,) = judge_change("Add", [changed("src/a.py", additions=60)], {})
    (small,) = judge_change("Fix", [changed("src/a.py", additions=2)], {})

    assert (large.rule, large.severity) == ("untested-change", "warning")
    assert small.severity == "info"


@pytest.mark.parametrize(
    "files",
    [
        [changed("src/a.py"), changed("tests/test_a.py")],
        [changed("README.md"), changed("docs/conf.py")],
        [changed("src/__init__.py"), changed("setup.py")],
        [changed("src/a.py", status="deleted", additions=0)],
    ],
)
def test_what_needs_no_test_is_left_alone(files: list[ChangedFile]) -> None:
    """Documentation, packaging and deletions are not untested."""
    assert judge_change("Change", files, {}) == []


def test_an_oversized_change_and_a_large_binary_are_remarked_on() -> None:
    """Lock files do not make a change large; a binary is judged by its bytes."""
    lock = changed("uv.lock", additions=90_000)
    huge = [changed(f"docs/{n}.md", additions=100) for n in range(12)]
    blob = changed("a.bin", binary=True, additions=0)

    assert judge_change("Lock", [lock], {}) == []
    assert [it.rule for it in judge_change("Huge", huge, {})] == ["oversized-change"]
    assert [it.rule for it in judge_change("Blob", [blob], {"a" * 40: 5_000_000})] == ["large-binary"]


def test_a_flood_of_one_kind_does_not_hide_the_one_of_another() -> None:
    """A review stays readable, and what is gravest stays in it."""
    flood = [finding("warning", line=n, rule="flood") for n in range(1, 1_001)]
    grave = finding("critical", rule="grave", file="z.py")

    kept, left_out = cap_findings([*flood, grave], limit=50)

    assert kept[0] == grave
    assert len(kept) == 6
    assert "995 more" in kept[-1].message
    assert left_out == 995


def test_never_more_findings_than_the_limit() -> None:
    """Each finding becomes a tool call and a part of the state."""
    many = [finding("info", file=f"{n}.py") for n in range(500)]

    kept, left_out = cap_findings(many, limit=50)

    assert (len(kept), left_out) == (50, 450)


@pytest.mark.parametrize(
    ("severities", "expected"),
    [
        ([], "approve"),
        (["info", "info"], "approve"),
        (["warning"], "comment"),
        (["error", "info"], "comment"),
        (["error", "error"], "request_changes"),
        (["critical"], "request_changes"),
    ],
)
def test_the_decision_rule(severities: list[Severity], expected: str) -> None:
    """Any critical one or two errors ask for changes; an error or a warning is a comment."""
    assert choose_recommendation(severities) == expected
