"""YAML that people write: read with places, bounded, and refused with everything that is wrong."""

import textwrap
from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, JsonValue

from orchestrator.contracts.base import Frozen, dump_json
from orchestrator.contracts.errors import SourceInvalid
from orchestrator.yaml_document import MAX_NODES
from orchestrator.yaml_source import build, load, read_data, scan, scan_text


class Cat(Frozen):
    kind: Literal["cat"] = "cat"
    lives: int = 9


class Dog(Frozen):
    kind: Literal["dog"] = "dog"
    barks: bool = False


class House(Frozen):
    """What the tests read."""

    name: str
    port: int = 0
    open: bool = False
    colour: Literal["red", "green"] = "red"
    pets: dict[str, Annotated[Cat | Dog, Field(discriminator="kind")]] = {}
    sizes: tuple[float, ...] = ()
    either: str | float | None = None
    source: str | None = Field(default=None, alias="from")
    notes: dict[str, JsonValue] = {}


def refused(text: str, **env: str) -> list[str]:
    """Return the problems of a text, which must have some."""
    with pytest.raises(SourceInvalid) as caught:
        build(House, scan_text(textwrap.dedent(text).lstrip(), label="h.yaml", env=env))
    return list(caught.value.problems)


def read(text: str, **env: str) -> JsonValue:
    """Return the bare data of a text."""
    return read_data(scan_text(text, label="h.yaml", env=env))


def test_all_problems_come_at_once_and_in_the_order_of_the_file() -> None:
    """An operator mends a file in one go, from top to bottom."""
    problems = refused(
        """
        nmae: x
        port: many
        pets:
          tom: {kind: cat, lifes: 7}
          rex: {kind: dgo}
          bo: {kind: dog, lives: 3}
        colour: gren
        """
    )

    assert problems == [
        "h.yaml:1:1: name: required; add it",
        "h.yaml:1:1: nmae: unknown key; did you mean 'name'?",
        "h.yaml:2:7: port: expected a whole number, got 'many'",
        "h.yaml:4:20: pets.tom.lifes: unknown key; did you mean 'lives'?",
        "h.yaml:5:15: pets.rex.kind: unknown kind 'dgo'; did you mean 'dog'?",
        "h.yaml:6:19: pets.bo.lives: 'lives' is a field of kind cat, not of dog; remove it",
        "h.yaml:7:9: colour: unknown value 'gren'; did you mean 'green'?",
    ]


def test_a_union_is_refused_once_with_all_that_it_takes() -> None:
    """Pydantic tells each branch; a person reads one sentence."""
    assert refused("name: x\neither: [1]") == ["h.yaml:2:9: either: expected text or a number, got a list"]


def test_a_missing_kind_is_told_with_the_choices() -> None:
    """Without a kind no other field can be judged."""
    assert refused("name: x\npets: {tom: {}}") == ["h.yaml:2:13: pets.tom: kind: required; one of cat, dog"]


def test_text_that_looks_like_something_else_is_told_to_be_quoted() -> None:
    """`1.0` and `true` are the usual surprises in a version or a label."""
    assert refused("name: 1.0") == ["h.yaml:1:7: name: expected text, got 1.0; put it in quotes"]


def test_aliases_of_fields_are_the_keys_that_are_known() -> None:
    """A person writes `from`, not the attribute behind it."""
    assert build(House, scan_text("name: x\nfrom: here", label="h.yaml")).source == "here"
    assert refused("name: x\nfrm: here") == ["h.yaml:2:1: frm: unknown key; did you mean 'from'?"]
    assert refused("name: x\nsource: here")[0].startswith("h.yaml:2:1: source: unknown key")


def test_a_duplicate_key_is_refused_with_the_line_of_the_first() -> None:
    """YAML readers silently keep the last one, and an operator looks at the first."""
    assert refused("name: x\nport: 1\nport: 2") == [
        "h.yaml:3:1: port: duplicate key; it is already on line 2; keep one"
    ]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"),
        ("on", "on"),
        ("no", "no"),
        ("true", True),
        ("007", "007"),
        ("12", 12),
        ("-1.5e3", -1500.0),
        ("1:30", "1:30"),
        ("2026-11-20", "2026-11-20"),
        ("~", None),
        ("'1'", "1"),
        ("!!str 1", "1"),
        (".nan", ".nan"),
        ("1e999", "1e999"),
        ("[1, {a: b}]", [1, {"a": "b"}]),
        ("1: x", {"1": "x"}),
    ],
)
def test_scalars_follow_yaml_1_2(text: str, value: JsonValue) -> None:
    """A signal called `no`, a time or a date must not turn into something else."""
    assert read(text) == value


def test_every_form_of_variable_is_expanded() -> None:
    """The four forms are what operators know from their shell and from compose files."""
    text = "['a${A}b', '${B:-d}', '${EMPTY:-d}', '${B:-${A}}', $$A, '$${A}', $A, '${A}${A}', '$5']"

    assert read(text, A="1", EMPTY="") == ["a1b", "d", "d", "1", "$A", "${A}", "$A", "11", "$5"]


def test_a_value_never_becomes_yaml() -> None:
    """A secret with a colon, a brace or a newline is text, whatever it looks like."""
    assert read("k: ${V}", V="a: {b: 1}\nc: ${W}") == {"k": "a: {b: 1}\nc: ${W}"}


def test_an_expanded_number_still_validates_as_a_number() -> None:
    """Ports and limits come by variable, and variables are text."""
    document = scan_text("name: x\nport: ${PORT:-8080}\nopen: ${OPEN:-true}", label="h.yaml", env={})

    built = build(House, document)

    assert (built.port, built.open) == (8080, True)


def test_all_missing_variables_come_at_once_and_only_once() -> None:
    """A deployment with five missing variables must not need five starts."""
    forms = "${VAR}, ${VAR:-default}, ${VAR:?message}, ${file:/path}"

    assert refused("name: ${A}\nport: ${B}\ncolour: ${C:?say which}\nnotes: {x: '${D', y: '${1}'}") == [
        "h.yaml:1:7: name: environment variable A is not set; set it, or write ${A:-default}",
        "h.yaml:2:7: port: environment variable B is not set; set it, or write ${B:-default}",
        "h.yaml:3:9: colour: environment variable C: say which",
        "h.yaml:4:12: notes.x: ${ without its }; write $$ for a dollar",
        f"h.yaml:4:22: notes.y: ${{1}} is not understood; write {forms}, or $$ for a dollar",
    ]


def test_a_block_that_is_switched_off_needs_no_variables() -> None:
    """A sample configuration with a disabled server must load without the server's secrets."""
    assert read("enabled: false\nurl: ${A}\nheaders: {x: '${file:/nowhere}'}") == {
        "enabled": False,
        "url": "",
        "headers": {"x": ""},
    }


def test_a_file_is_read_relative_to_the_yaml_and_loses_its_last_newline(tmp_path: Path) -> None:
    """Secrets are mounted as files, and editors end them with a newline."""
    (tmp_path / "secret").write_text("s3\n", encoding="utf-8")
    (tmp_path / "a.yaml").write_text("k: ${file:secret}\nl: ${file:${DIR}/secret}\n", encoding="utf-8")

    document = scan(tmp_path / "a.yaml", env={"DIR": str(tmp_path)})

    assert read_data(document) == {"k": "s3", "l": "s3"}


def test_an_expanded_value_is_never_repeated_in_a_message() -> None:
    """It may be a secret, and messages end in logs."""
    assert refused("name: x\nport: ${SECRET}", SECRET="hunter2") == ["h.yaml:2:7: port: expected a whole number"]


def test_a_variable_that_is_not_text_is_refused() -> None:
    """Bytes that are not UTF-8 could be neither stored nor logged."""
    assert refused("name: ${V}", V="\udc80") == [
        "h.yaml:1:7: name: environment variable V: not UTF-8 text; set it anew"
    ]


def test_merge_keys_give_way_to_what_a_mapping_says_itself() -> None:
    """Anchors with `<<` are how people share defaults in YAML."""
    assert read("a: &a {x: 1, y: 1}\nb: {<<: *a, y: 2}\nc: {y: 3, <<: [*a, {z: 4}]}") == {
        "a": {"x": 1, "y": 1},
        "b": {"y": 2, "x": 1},
        "c": {"y": 3, "x": 1, "z": 4},
    }


BOMBS = {
    "billion laughs": "a0: &a0 [x, x]\n" + "\n".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 60)),
    "merge bomb": "a0: &a0 {x: 1}\n" + "\n".join(f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}" for i in range(1, 60)),
    "chain of aliases": "a0: &a0 [x]\n" + "\n".join(f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 5000)),
    "long text often": "a: &a '" + "x" * 500_000 + "'\nb: [" + ", ".join(["*a"] * 40) + "]",
    "itself": "a: &a [*a]",
    "brackets": "[" * 300_000,
    "braces": "{a: " * 200_000,
    "dashes": "- " * 300_000,
    "many values": "[" + "1, " * (MAX_NODES + 1) + "]",
}


@pytest.mark.parametrize("text", BOMBS.values(), ids=BOMBS)
def test_a_bomb_is_one_problem_and_no_crash(text: str) -> None:
    """The parser's own composer dies of deep nesting with a signal; a loader must not."""
    document = scan_text(text, label="b.yaml", env={})

    assert len(document.problems) == 1
    assert not document.readable


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("a: 'x", "not YAML"),
        ("a: 1\n---\nb: 2", "a second document"),
        ("? [a]\n: b", "keys are text"),
        ("a: !!python/object:os.system x", "only plain YAML types"),
        ("a: !own {}", "only plain YAML types"),
        ("a: \x01", "not YAML"),
        ("a: {b: ${B}}", "put ${...} into quotes"),
        ("a: *b", "alias *b: no such anchor"),
        ("a: !!int x", "not a value of !!int"),
        ("{<<: 1}", "merges mappings only"),
    ],
)
def test_what_is_not_plain_yaml_is_refused_with_its_place(text: str, fragment: str) -> None:
    """A tag could build anything; a second document would be ignored."""
    with pytest.raises(SourceInvalid, match=r"^b\.yaml:\d+:\d+: ") as caught:
        read_data(scan_text(text, label="b.yaml", env={}))

    assert fragment in str(caught.value)


def test_files_that_cannot_be_read_are_problems(tmp_path: Path) -> None:
    """Whatever is wrong with a file, the operator gets its name and one sentence."""
    (tmp_path / "latin.yaml").write_bytes(b"a: \xe4")
    (tmp_path / "big.yaml").write_bytes(b"# " + b"x" * (1024 * 1024))
    (tmp_path / "folder.yaml").mkdir()

    messages = {
        name: str(scan(tmp_path / name).problems[0]) for name in ("none.yaml", "latin.yaml", "big.yaml", "folder.yaml")
    }

    assert messages["none.yaml"].endswith("none.yaml: not found; make it, or name another file")
    assert "not UTF-8 text: byte 3" in messages["latin.yaml"]
    assert "over 1048576 bytes" in messages["big.yaml"]
    assert "cannot be read" in messages["folder.yaml"]


def test_load_reads_and_builds(tmp_path: Path) -> None:
    """The short way for whoever has one file and one model."""
    (tmp_path / "h.yaml").write_text("\ufeffname: x\n", encoding="utf-8")

    assert load(House, tmp_path / "h.yaml") == House(name="x")


@given(st.text(max_size=300))
def test_no_text_raises_anything_but_source_invalid(text: str) -> None:
    """Whatever a file holds, the caller has one error to catch."""
    try:
        build(House, scan_text(text, label="h.yaml", env={}))
    except SourceInvalid as error:
        assert error.problems


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(10**60), 10**60) | st.text(alphabet="abc$ {}:-\n\"'#é", max_size=20),
        lambda inner: (
            st.lists(inner, max_size=4) | st.dictionaries(st.text("abc", min_size=1, max_size=3), inner, max_size=4)
        ),
        max_leaves=20,
    )
)
def test_json_is_yaml_and_reads_back(value: JsonValue) -> None:
    """JSON is YAML 1.2: what programs write reads back as it was, dollars doubled."""
    assert read(dump_json(value).replace("$", "$$")) == value
