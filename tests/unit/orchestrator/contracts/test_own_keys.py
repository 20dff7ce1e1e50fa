"""Keys under which Baton submits by itself: none of them comes in from outside, and no other one is kept out."""

import pytest

from orchestrator.contracts.errors import InputError
from orchestrator.contracts.own_keys import OwnKey, check_callers_key
from orchestrator.contracts.session import Cursor, Record
from orchestrator.kernel.children import child_key
from orchestrator.kernel.monitoring import watch_key

SESSION = "MY-APP-20261120-1000"
PARENT = Record(session_id=SESSION, app="a", spec="d", phase="running", cursor=Cursor(skill="s", serial=12))

#: A key of each form, as it has been since there is one: another Baton repeats a submission under it.
MADE = {
    OwnKey.CHILD: (OwnKey.CHILD.make(SESSION, 12, 0), f"child:{SESSION}:12:0"),
    OwnKey.LOOK: (OwnKey.LOOK.make(SESSION, 12), f"{SESSION}/look-12"),
    OwnKey.WATCH: (OwnKey.WATCH.make("disk_2", "2026-11-21"), "monitor/disk_2/2026-11-21"),
    OwnKey.SCHEDULE: (OwnKey.SCHEDULE.make("At-9", "2026-11-21T09:00Z"), "schedule/At-9/2026-11-21T09:00Z"),
    OwnKey.TRIGGER: (OwnKey.TRIGGER.make("by_mail", "a b/c:d"), "trigger/by_mail/a b/c:d"),
}


@pytest.mark.parametrize("form", OwnKey, ids=lambda form: form.name)
def test_a_key_of_each_form_is_refused_to_callers(form: OwnKey) -> None:
    """Who had one could take the place of a child, a day's watch, a webhook; a new form is tried here or fails."""
    key, since_ever = MADE[form]

    assert key == since_ever
    with pytest.raises(InputError, match=r"^idempotency key '.*': keys of this form are Baton's own; use another one$"):
        check_callers_key(key)


@pytest.mark.parametrize("key", [child_key(PARENT, 199), watch_key("disk", 1_795_227_451_733)])
def test_what_the_kernel_makes_is_of_these_forms(key: str) -> None:
    """It makes them of a record and a time."""
    with pytest.raises(InputError, match="Baton's own"):
        check_callers_key(key)


@pytest.mark.parametrize(
    "key",
    [
        None,
        "k",
        "child-17",
        "child:17",
        f"child:{SESSION}",
        f"child:{SESSION}:12",
        f"child:{SESSION}:12:0:1",
        f"child:{SESSION}:12:x",
        f"my-child:{SESSION}:12:0",
        SESSION,
        f"{SESSION}/look",
        f"{SESSION}/look-",
        "SES-1/look-1",
        "trigger",
        "trigger/",
        "trigger/alerts",
        "trigger/alerts/",
        "trigger/two words/17",
        "triggers/alerts/17",
        "schedule of today",
        "schedule/nightly",
        "schedule/nightly/2026-11-21",
        "schedule/nightly/2026-11-21T09:00:00Z",
        "monitor/disk",
        "monitor/disk/today",
        "monitor/Disk/2026-11-21",
        "monitor/disk/2026-11-21/2",
        "Trigger/alerts/17",
    ],
)
def test_a_key_that_only_looks_like_one_is_taken(key: str | None) -> None:
    """Baton would never make it: refusing it would break whoever uses it."""
    assert check_callers_key(key) == key
