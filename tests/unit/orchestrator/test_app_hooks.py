"""An app's hooks at boot: what cannot be called, or listens to nothing, is refused with its line."""

from pathlib import Path

import pytest

from orchestrator.app_loader import load_app
from orchestrator.contracts.errors import AppInvalid
from tests.unit.orchestrator.app_folder import write_app

HOOKS = """\
def guard(event, data):
    return None


def one(event):
    return None


class Watch:
    async def __call__(self, event, data):
        return None


watch = Watch()
nothing = 5
"""


def hooks(*lines: str) -> str:
    """Return a `hooks` block."""
    return "\n".join(["hooks:", *(f"  - {line}" for line in lines)])


def test_hooks_are_read_in_their_order(tmp_path: Path) -> None:
    """A function and an object that can be called; what is not said has its default."""
    block = hooks(
        '{call: "hooks.py:guard", event: "tool:pre"}', '{call: "hooks.py:watch", event: "turn:start", priority: -1}'
    )
    spec = load_app(write_app(tmp_path, {"hooks.py": HOOKS}, hooks=block), env={})

    assert [(hook.label, hook.priority, hook.critical) for hook in spec.hooks] == [
        ("guard", 0, False),
        ("watch", -1, False),
    ]
    assert (spec.hooks[0].timeout_seconds, spec.hook_limits.injection_size_limit) == (10.0, 10_240)


@pytest.mark.parametrize(
    ("line", "where", "message"),
    [
        ('{call: "hooks.py:gaurd", event: "tool:pre"}', "hooks[0].call", "did you mean 'guard'?"),
        (
            '{call: "hoks.py:guard", event: "tool:pre"}',
            "hooks[0].call",
            "no such file in the app's folder; did you mean 'hooks.py'?",
        ),
        ('{call: "no.such.module:guard", event: "tool:pre"}', "hooks[0].call", "cannot be imported"),
        ('{call: "hooks.py:nothing", event: "tool:pre"}', "hooks[0].call", "not a function but int"),
        ('{call: "hooks.py:one", event: "tool:pre"}', "hooks[0].call", "does not take two arguments"),
        (
            '{call: "hooks.py:guard", event: "tool:per"}',
            "hooks[0].event",
            "unknown event 'tool:per'; did you mean 'tool:pre'?",
        ),
        (
            '{call: "hooks.py:guard", event: "tool:pre", timeout_seconds: 0}',
            "hooks[0].timeout_seconds",
            "greater than 0",
        ),
        ('{call: "hooks.py:guard", event: "tool:pre", citical: true}', "hooks[0]", "did you mean 'critical'?"),
    ],
)
def test_a_hook_that_cannot_work_is_refused_with_its_line(tmp_path: Path, line: str, where: str, message: str) -> None:
    """A policy that is silently missing would let everything pass."""
    folder = write_app(tmp_path, {"hooks.py": HOOKS}, hooks=hooks(line))
    number = 1 + (folder / "app.yaml").read_text().splitlines().index(f"  - {line}")

    with pytest.raises(AppInvalid) as refused:
        load_app(folder, env={})

    (problem,) = refused.value.problems
    assert f"app.yaml:{number}:" in problem
    assert where in problem
    assert message in problem


def test_two_hooks_of_one_event_have_two_names(tmp_path: Path) -> None:
    """The journal, and what is allowed for good, go by the name; an older name of an event is the same event."""
    twice = ('{call: "hooks.py:guard", event: "llm:pre"}', '{call: "hooks.py:guard", event: "llm:request"}')
    with pytest.raises(
        AppInvalid, match=r"'guard' listens to llm:request already, as hooks\[0\]; give it another name"
    ):
        load_app(write_app(tmp_path, {"hooks.py": HOOKS}, hooks=hooks(*twice)), env={})


def test_who_only_submits_imports_no_hook(tmp_path: Path) -> None:
    """The words are checked all the same."""
    block = hooks('{call: "gone.py:guard", event: "tool:pre"}')

    assert load_app(write_app(tmp_path, hooks=block), env={}, import_code=False).hooks


def test_hooks_are_part_of_an_apps_version(tmp_path: Path) -> None:
    """A session stays with the policy that it was submitted under."""
    block = hooks('{call: "hooks.py:guard", event: "tool:pre"}')
    plain = load_app(write_app(tmp_path / "a", {"hooks.py": HOOKS}), env={})
    hooked = load_app(write_app(tmp_path / "b", {"hooks.py": HOOKS}, hooks=block), env={})

    assert plain.digest() != hooked.digest()
