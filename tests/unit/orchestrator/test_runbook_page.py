"""A runbook page is read whole or refused with its line."""

import pytest

from orchestrator.runbook_page import TITLES, RunbookInvalid, choose_page, find_runbooks, load_pages, read_page

FRONT = "---\nalert: BatonX\nseverity: page\ndrills: [x]\nvalues: {seconds: 5}\n---\n"


def page_text(**sections: str) -> str:
    """Return a page with these bodies, by title with underscores."""
    bodies = {title: sections.get(title.replace(" ", "_"), "Words.") for title in TITLES}
    return FRONT + "# X\n\n" + "\n\n".join(f"## {title}\n{body}" for title, body in bodies.items()) + "\n"


def test_blocks_keep_their_kind_their_time_and_their_branch() -> None:
    """What is run, when it is asked for, and for how long it is tried stands in the page alone."""
    act = '### one: the first\n```console change\n$ baton retry <session> --note "a b"\n... sent\n```\n### two: the other\nBy hand.\n'
    page = read_page("x", page_text(Act=act, Verify="```console check within 30s\n$ baton metrics\nup 1\n```"))
    block, verify = page.section("Act").blocks[0], page.section("Verify").blocks[0]

    assert (block.kind, block.branch, block.commands[0].words[-1]) == ("change", "one", "a b")
    assert block.commands[0].expected == ("... sent",)
    assert page.section("Act").branches == {"one": "the first", "two": "the other"}
    assert (verify.within_seconds, page.front.values) == (30.0, {"seconds": 5})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("# X\n", "no front matter"),
        (
            page_text(Act="```console chekc\n$ baton list\n```"),
            "x.md:22: 'chekc' is no kind of block; did you mean 'check'?",
        ),
        (page_text(Act="```console\n$ baton list\n```"), "say which"),
        (page_text(Act="```console check\nbaton list\n```"), "begins with `$ command`"),
        (page_text(Act="```console check\n```"), "an empty block"),
        (page_text(Act="```console check\n$ baton list"), "x.md"),
        (page_text(Act="### Two ways\n"), "is no branch"),
        (page_text().replace("## Verify", "## Check"), "the sections You see"),
        (page_text().replace("severity: page", "severity: loud"), "front matter cannot be read"),
    ],
)
def test_a_page_that_is_not_one_is_refused(text: str, says: str) -> None:
    """At night nobody guesses what a page means."""
    with pytest.raises(RunbookInvalid, match=None) as refused:
        read_page("x", text)

    assert says in str(refused.value)


def test_a_page_is_found_by_its_alert_and_a_near_name_is_suggested() -> None:
    """The alert's name is what stands in the message that woke somebody."""
    pages = load_pages(find_runbooks())

    assert choose_page("BatonStoreDown", pages).name == "store_down"
    with pytest.raises(Exception, match="did you mean 'store_down'"):
        choose_page("store_donw", pages)
