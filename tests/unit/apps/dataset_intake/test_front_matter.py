"""Front matter of a README: read for a check, completed without touching what is there."""

import pytest

from apps.dataset_intake.plugins.readme_front_matter.front_matter import FrontMatterError, add_keys, read_keys

README = "---\r\nlicense: 'MIT'  # as agreed\r\ntags:\r\n  - weather\r\ntitle:\r\n---\r\n# Data\r\n"


def test_keys_are_read_as_a_person_reads_them() -> None:
    """Quotes and remarks are not part of a value; a nested key is not one of the document's."""
    assert read_keys(README) == {"license": "MIT", "tags": "", "title": ""}


@pytest.mark.parametrize("text", ["# Data\n", "", "----\na: b\n----\n", " ---\na: b\n---\n", "text\n---\na: b\n---\n"])
def test_a_text_without_front_matter_has_no_keys(text: str) -> None:
    """A ruler in the middle of a text opens nothing."""
    assert read_keys(text) == {}


def test_what_is_there_stays_byte_for_byte() -> None:
    """New keys stand behind the old ones, with the text's own line ends."""
    made = add_keys(README, {"rows": 3, "units": ["m", "s"]})

    assert made == README.replace("title:\r\n", 'title:\r\nrows: 3\r\nunits: ["m", "s"]\r\n')


def test_a_value_may_hold_anything() -> None:
    """It is quoted, so that it is the same text for every reader of YAML."""
    made = add_keys("# A\n", {"title": 'a: "b" # c\n---\nd'})

    assert read_keys(made).keys() == {"title"}
    assert made.endswith("---\n\n# A\n")


@pytest.mark.parametrize(("text", "why"), [("---\na: b\n", "no end"), ("---\na: 1\na: 2\n---\n", "twice")])
def test_what_cannot_be_read_is_told(text: str, why: str) -> None:
    """Completing it would make it worse."""
    with pytest.raises(FrontMatterError, match=why):
        read_keys(text)
