"""Manifests: strict, bounded, and one bad one is that plugin's rejection alone."""

import os
from pathlib import Path

import pytest

from plugin_sandbox import manifest
from plugin_sandbox.copies import remove_tree
from plugin_sandbox.manifest import ManifestInvalid, digest_of, read_manifest
from plugin_sandbox.registry import Registry, choose_files
from plugin_sandbox.settings import SandboxSettings

GOOD = 'name: p\nversion: "1.10"\napi_version: "1"\nsupported_extensions: [.txt]\n'
REFUSED = {
    "": "missing required field 'name'",
    "- a list": "missing required field 'name'",
    "name: p": "missing required field 'version'",
    GOOD.replace("name: p", 'name: "p\\n"'): "invalid name",
    GOOD.replace("name: p", "name: 5"): "invalid name '5'",
    GOOD.replace('"1.10"', "1.10"): "version",
    GOOD.replace('api_version: "1"', "api_version: 1.0"): "unsupported api_version '1.0'",
    GOOD.replace("[.txt]", "txt"): "supported_extensions must be a list of strings",
    GOOD + "isolation: 5": "isolation block must be a mapping",
    GOOD + "isolation: {timeout_seconds: 301}": "isolation.timeout_seconds=301 exceeds cap 300",
    GOOD + "isolation: {memory_mb: 4096}": "isolation.memory_mb=4096 exceeds cap 2048",
    GOOD + "isolation: {memory_mb: -5}": "isolation.memory_mb",
    GOOD + "isolation: {timeout_seconds: 0}": "isolation.timeout_seconds",
    GOOD + "isolation: {timeout_seconds: .inf}": "isolation.timeout_seconds",
    GOOD + "isolation: {timeout_seconds: true}": "isolation.timeout_seconds",
    GOOD + 'isolation: {memory_mb: "64"}': "isolation.memory_mb",
    GOOD + 'isolation: {network: "false"}': "isolation.network",
    GOOD + "isolation: {network: true, hosts: [example.org]}": "network declared but not granted: example.org",
    GOOD + "isolation: {programs: [ruff]}": "programs declared but not granted: ruff",
    GOOD + "isolation: {memory: 5}": "isolation.memory: unknown; did you mean 'memory_mb'?",
    GOOD + "nmae: q": "nmae: unknown; did you mean 'name'?",
    GOOD + "name: q": "a key is there twice",
    "a: &a [x]\nb: *a\n" + GOOD: "aliases are not allowed",
    GOOD + "x: !!python/object:os.system {}": "malformed manifest",
    GOOD + "description: " + "x" * 70_000: "more than 65536 bytes",
    **{
        GOOD + f"author: !!{tag}": "tags are not allowed"
        for tag in ('int ""', "bool maybe", "timestamp x", "str x", "binary YQ==")
    },
    GOOD + "isolation: {memory_mb: 0x" + "f" * 9000 + "}": "a number of more than 63 bits",
    GOOD.replace("name: p", "name: 0x" + "f" * 9000): "a number of more than 63 bits",
    GOOD + '"\\e[2J": 1': "\\x1b[2J: unknown",
    GOOD.replace("name: p", 'name: "\\e[2J"'): "invalid name '\\x1b[2J'",
    GOOD + "writes: [" + ", ".join(["a"] * 65) + "]": "writes",
    GOOD + "writes: [" + "a" * 201 + "]": "writes",
}


def write(folder: Path, text: str | bytes, code: str = "") -> Path:
    """Make a plugin's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.yml").write_bytes(text if isinstance(text, bytes) else text.encode())
    (folder / "__init__.py").write_text(code)
    return folder


@pytest.mark.parametrize(("text", "reason"), REFUSED.items(), ids=range(len(REFUSED)))
def test_a_bad_manifest_says_why(tmp_path: Path, text: str, reason: str) -> None:
    """Each with the words that tell its author what to do."""
    with pytest.raises(ManifestInvalid, match="^.*" + __import__("re").escape(reason)):
        read_manifest(write(tmp_path / "p", text), SandboxSettings())


def test_a_good_manifest_has_its_defaults(tmp_path: Path) -> None:
    """A manifest of four lines is enough."""
    manifest = read_manifest(write(tmp_path / "p", GOOD), SandboxSettings())

    assert (manifest.name, manifest.version, manifest.writes) == ("p", "1.10", ("**",))
    assert (manifest.isolation.timeout_seconds, manifest.isolation.memory_mb, manifest.isolation.processes) == (
        30,
        512,
        0,
    )


def test_a_granted_program_is_accepted(tmp_path: Path) -> None:
    """By the name that the operator gave it."""
    settings = SandboxSettings(programs={"ruff": "/usr/bin/ruff"})

    manifest = read_manifest(write(tmp_path / "p", GOOD + "isolation: {programs: [ruff]}"), settings)

    assert manifest.isolation.programs == ("ruff",)


def test_one_bad_plugin_does_not_empty_the_registry(tmp_path: Path) -> None:
    """Non-UTF-8, a link instead of a manifest, nothing at all: each is its own rejection."""
    write(tmp_path / "lab" / "good", GOOD)
    write(tmp_path / "lab" / "bytes", b"\xff\xfe")
    (tmp_path / "lab" / "empty").mkdir()
    linked = tmp_path / "lab" / "linked"
    linked.mkdir()
    (linked / "manifest.yml").symlink_to(tmp_path / "lab" / "good" / "manifest.yml")
    registry = Registry(SandboxSettings(), lab=[tmp_path / "lab", tmp_path / "missing"])

    report = registry.reload()

    assert report.loaded == ("p",)
    assert set(report.rejected) == {"bytes", "empty", "linked"}
    assert report.rejected["empty"] == "missing manifest.yml"


def test_a_lab_plugin_replaces_a_bundled_one_and_twins_are_refused(tmp_path: Path) -> None:
    """A rejected lab copy leaves the bundled one; two of one name below one root are nobody's choice."""
    write(tmp_path / "bundled" / "a", GOOD)
    write(tmp_path / "bundled" / "b", GOOD.replace("name: p", "name: q"))
    write(tmp_path / "lab" / "a", GOOD.replace("1.10", "2"))
    write(tmp_path / "lab" / "b", GOOD.replace("name: p", "name: q") + "isolation: 5")
    registry = Registry(SandboxSettings(), bundled=[tmp_path / "bundled"], lab=[tmp_path / "lab"])
    registry.reload()
    found = {one.manifest.name: (one.manifest.version, one.root) for one in registry.list_all()}
    write(tmp_path / "lab" / "c", GOOD.replace("1.10", "3"))

    report = registry.reload()

    assert found == {"p": ("2", "lab"), "q": ("1.10", "bundled")}
    assert "two plugins" in report.rejected["p"]


def test_files_are_chosen_by_suffix_or_whole_name(tmp_path: Path) -> None:
    """In any case of letters; a plugin without extensions takes all."""
    settings = SandboxSettings()
    text = GOOD.replace("[.txt]", "[.TXT, Makefile, .gitignore]")
    registry = Registry(settings, bundled=[write(tmp_path / "r" / "p", text).parent])
    registry.reload()
    record = registry.get("p")
    assert record is not None

    chosen = choose_files(record, ["a.txt", "b.Txt", "c.csv", "makefile", "sub/.gitignore"])

    assert chosen == ("a.txt", "b.Txt", "makefile", "sub/.gitignore")
    assert [plan.files for plan in registry.candidates_for(["x.csv"])] == []


def test_a_digest_changes_with_any_file_and_refuses_links(tmp_path: Path) -> None:
    """What is pinned at registration is names, contents, and what may be executed."""
    folder = write(tmp_path / "p", GOOD)
    seen = {digest_of(folder)}

    (folder / "more.py").write_text("x = 1")
    seen.add(digest_of(folder))
    (folder / "more.py").write_text("x = 2")
    seen.add(digest_of(folder))
    (folder / "more.py").chmod(0o755)
    seen.add(digest_of(folder))
    (folder / "__pycache__").mkdir()
    seen.add(digest_of(folder))

    assert len(seen) == 4
    (folder / "link").symlink_to("/etc/passwd")
    with pytest.raises(ManifestInvalid, match="link: neither file nor folder"):
        digest_of(folder)


def test_a_manifest_is_a_regular_file_that_can_be_read(tmp_path: Path) -> None:
    """A pipe would keep whoever looks for plugins waiting."""
    os.mkfifo(tmp_path / "manifest.yml")

    with pytest.raises(ManifestInvalid, match=r"^manifest\.yml: it is no regular file; make it one$"):
        read_manifest(tmp_path, SandboxSettings())


def test_a_network_without_hosts_is_a_wish_for_everything(tmp_path: Path) -> None:
    """Nobody grants that."""
    write(tmp_path, GOOD + "isolation: {network: true}")

    with pytest.raises(ManifestInvalid, match=r"^isolation\.network: no host is named; name hosts, or leave it out$"):
        read_manifest(tmp_path, SandboxSettings())


def test_a_package_has_a_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read whole before every call: as many files and bytes as are allowed, and not one more."""
    monkeypatch.setattr(manifest, "_MOST_FILES", 3)
    monkeypatch.setattr(manifest, "_MOST_PACKAGE_BYTES", len(GOOD) + 10)
    write(tmp_path, GOOD, "x" * 10)
    (tmp_path / "data").mkdir()
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "big.pyc").write_bytes(b"x" * 1000)
    whole = digest_of(tmp_path)

    (tmp_path / "data" / "one").write_bytes(b"x")
    with pytest.raises(ManifestInvalid, match=rf"^more than {len(GOOD) + 10} bytes; make the package smaller$"):
        digest_of(tmp_path)
    (tmp_path / "data" / "one").write_bytes(b"")
    assert digest_of(tmp_path) != whole
    (tmp_path / "data" / "two").write_bytes(b"")
    with pytest.raises(ManifestInvalid, match=r"^more than 3 files or folders; make the package smaller$"):
        digest_of(tmp_path)


def test_a_plugin_that_cannot_be_read_is_its_own_rejection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the file that is in the way; hidden folders and files beside them are no plugins."""
    write(tmp_path / "good", GOOD)
    write(tmp_path / ".hidden", GOOD)
    write(tmp_path / "__pycache__", GOOD)
    (tmp_path / "README.md").write_text("read me")
    long = write(tmp_path / "long", GOOD.replace("name: p", "name: q"))
    monkeypatch.chdir(long)
    for _ in range(20):  # deeper than a path may be long, made from within
        Path("d" * 250).mkdir()
        os.chdir("d" * 250)
    monkeypatch.undo()
    report = Registry(SandboxSettings(), lab=[tmp_path]).reload()
    remove_tree(long)

    assert report.loaded == ("p",)
    assert set(report.rejected) == {"long"}
    assert report.rejected["long"].endswith("File name too long; make it readable")


def test_one_bad_plugin_is_that_plugins_rejection_alone(tmp_path: Path) -> None:
    """Whatever is in it, its folder's name among it: the others stay."""
    write(tmp_path / "good", GOOD)
    for number, text in enumerate(REFUSED):
        write(tmp_path / f"bad-{number}", text)
    write(tmp_path / os.fsdecode(b"\xff\x1b[2J"), "")

    report = Registry(SandboxSettings(), lab=[tmp_path]).reload()

    assert report.loaded == ("p",)
    assert set(report.rejected) == {*(f"bad-{number}" for number in range(len(REFUSED))), "\\udcff\\x1b[2J"}
    assert all(text.isprintable() for text in report.rejected.values())


def test_a_file_of_any_size_is_refused_before_it_is_read(tmp_path: Path) -> None:
    """A file with holes takes no room, and would take all of the worker's memory."""
    write(tmp_path, GOOD)
    with (tmp_path / "hollow").open("wb") as file:
        file.truncate(2**40)

    with pytest.raises(ManifestInvalid, match="bytes; make the package smaller"):
        digest_of(tmp_path)


def test_folders_are_counted_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is opened before every call."""
    monkeypatch.setattr(manifest, "_MOST_FILES", 3)
    write(tmp_path, GOOD)
    for name in "abcd":
        (tmp_path / name).mkdir()

    with pytest.raises(ManifestInvalid, match="or folders; make the package smaller"):
        digest_of(tmp_path)


@pytest.mark.parametrize(("name", "counts"), [("x.py", True), ("x.so", True), ("x.pyc", False)])
def test_of_a_cache_of_bytecode_all_counts_but_bytecode(tmp_path: Path, name: str, *, counts: bool) -> None:
    """What an interpreter leaves there is no change of the plugin; what can be imported from there is."""
    write(tmp_path, GOOD)
    before = digest_of(tmp_path)

    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / name).write_text("x")

    assert (digest_of(tmp_path) != before) is counts


def test_a_file_that_becomes_shorter_while_it_is_read_has_no_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of what was there is not what an operator accepts."""
    write(tmp_path, GOOD)
    monkeypatch.setattr(
        manifest.os, "fstat", lambda _: os.stat_result((0o100644, 0, 0, 1, 0, 0, len(GOOD) + 1, 0, 0, 0))
    )

    with pytest.raises(ManifestInvalid, match="it became shorter while it was read"):
        digest_of(tmp_path)
