"""`baton runbook` as a person at a terminal, and as a script, would use it."""

import pytest

from tests.commands import Baton

pytestmark = [pytest.mark.integration]


def test_a_runbook_is_walked_by_commands_of_its_own(stack: Baton) -> None:
    """Without a terminal nothing changes unasked; with --yes the page finds the session, acts, and sees that it helped."""
    asked = stack("submit", "journey", "--set", "plan=danger", "--wait", "-o", "json", code=4).json("submission")
    args = ("runbook", "run", "BatonApprovalWaits", "--set", "seconds=0", "--branch", "approve", "-o", "json")
    looked = stack(*args, "--dry-run").json("walk")
    refused = stack(*args, code=1).json("walk")
    walk = stack(*args, "--yes").json("walk")
    again = stack(*args, "--yes", code=1).json("walk")
    stack("watch", asked["session_id"])

    assert (looked["verdict"], refused["verdict"]) == ("confirmed", "refused")
    assert (walk["verdict"], again["verdict"]) == ("verified", "not_confirmed")
    assert f"baton approve {asked['session_id']}" in [one["command"] for one in walk["ran"]]
    assert stack("events", asked["session_id"]).out.count("ada") >= 1


def test_runbooks_are_listed_and_shown(baton: Baton) -> None:
    """The alert's name leads to the page, also where nothing runs."""
    names = [one["runbook"] for one in baton("runbook", "list", "-o", "json").json("runbooks")]
    shown = baton("runbook", "show", "BatonNoScheduler").out

    assert "no_scheduler" in names
    assert "# No scheduler lives" in shown
    assert "did you mean 'no_workers'" in baton.refuse("runbook", "show", "no_worker", code=2)
