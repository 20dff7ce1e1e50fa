"""Who submits or forks under a key has had it made, or checked, by contracts/own_keys.py.

A key of our own that is not known there could be brought by anybody.
"""

import ast

import pytest

from tests.architecture.source_tree import RUNTIME, Module, called_name, load_modules, parse

SUBMITS = frozenset({"submit", "fork", "submit_request"})
#: Where keys are made or checked: its forms, and what the kernel makes of them.
MAKERS = (
    "orchestrator.contracts.own_keys.",
    "orchestrator.kernel.children.child_key",
    "orchestrator.kernel.monitoring.watch_key",
)
#: They hand on what they are given: the client to the store; the command line what its batch has checked.
HANDS_ON = {"orchestrator/client.py", "orchestrator/interfaces/cli/submit.py"}


def find_unknown_keys(module: Module) -> list[str]:
    """Return each submission under a key of which own_keys knows nothing."""
    is_known = any(name.startswith(MAKERS) for name, _ in module.imports())
    return [
        f"{module.path}:{node.lineno}"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and called_name(node) in SUBMITS
        for word in node.keywords
        if word.arg == "key" and (not is_known or isinstance(word.value, ast.JoinedStr))
    ]


def test_no_submission_has_a_key_that_callers_could_bring() -> None:
    """A door without the check, or a part of Baton with a key of its own making, is found here."""
    found = [line for module in load_modules(*RUNTIME) for line in find_unknown_keys(module)]

    assert {line.split(":")[0] for line in found} == HANDS_ON


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("async def f(): await client.submit(app, actor=a, key=key)", 1),
        ("async def f(): await client.submit(app, actor=a)", 0),
        ("from orchestrator.contracts.own_keys import OwnKey\nclient.fork(one, key=OwnKey.LOOK.make(one, 1))", 0),
        ("from orchestrator.contracts.own_keys import OwnKey\nsubmit_request(client, key=f'look/{one}')", 1),
    ],
)
def test_an_unknown_key_is_found(source: str, count: int) -> None:
    """Planted, it is found."""
    assert len(find_unknown_keys(parse("workers/x.py", source))) == count
