"""The words that grant, who may say them, and what they are bound to.

This is the only place that knows the approval vocabulary. Three words grant; everything else,
silence included, denies. A post that does not answer this very wait is neither: it is stray, and
the wait goes on, so that an outsider or a late message cannot decide in either direction.
Pure; consuming the post exactly once is the work of the store.
"""

from collections.abc import Collection
from typing import Final, Literal, TypeAlias

from orchestrator.contracts.base import Frozen
from orchestrator.contracts.session import Post, Wait, args_digest

#: What `baton approve` and `baton deny` send.
ALLOW: Final = "allow"
DENY: Final = "deny"
GRANTING: Final = frozenset({"allow", "allow once", "allow always"})

StrayReason: TypeAlias = Literal["not_a_decision", "other_wait", "not_on_roster", "other_arguments"]


class Granted(Frozen):
    """The call may be made, once, with exactly these arguments."""

    actor: str
    rationale: str = ""


class Denied(Frozen):
    """The call is not made; `reason` is what the model is told."""

    actor: str
    reason: str
    rationale: str = ""


class Stray(Frozen):
    """The post does not answer the wait, which goes on."""

    reason: StrayReason


Decision: TypeAlias = Granted | Denied | Stray


def is_granted(verdict: str | None) -> bool:
    """Say whether a verdict grants. Case does not count; space and every other word deny.

    >>> [is_granted(v) for v in ("allow", "Allow Once", "ALLOW ALWAYS")]
    [True, True, True]
    >>> [is_granted(v) for v in ("allow ", "approve", "yes", "", None)]
    [False, False, False, False, False]
    """
    return isinstance(verdict, str) and verdict.lower() in GRANTING


def is_on_roster(actor: str, roster: Collection[str]) -> bool:
    """Say whether an actor may answer; an empty roster lets anyone. Names are compared exactly."""
    return not roster or actor in roster


def check_binding(wait: Wait, post: Post) -> StrayReason | None:
    """Return why a post is no answer to this wait, or None if it is one.

    It has to name the wait and come from the roster. Serves every wait that a person answers.
    """
    if post.wait_id != wait.wait_id:
        return "other_wait"
    if not is_on_roster(post.actor, wait.roster):
        return "not_on_roster"
    return None


def has_same_arguments(wait: Wait, digest: str) -> bool:
    """Say whether `digest` names the call in question, as it was shown and as it would be made.

    The wait's own digest is checked against its call, so that neither can be changed alone. A hook's question about
    something that is no call is bound to its own words.
    """
    if not wait.digest or digest != wait.digest:
        return False
    if wait.call is None and wait.hook:
        return True
    return wait.call is not None and args_digest(wait.call.tool, wait.call.args) == wait.digest


def check_decision(wait: Wait, post: Post) -> Decision:
    """Return what a post means for the approval that a session waits for.

    Denying needs no digest: what is refused need not be known exactly. Granting does, and a grant
    of other arguments is stray, because the person who gave it has not seen these.
    """
    if wait.kind != "approval" or post.kind != "decision":
        return Stray(reason="not_a_decision")
    stray = check_binding(wait, post)
    if stray:
        return Stray(reason=stray)
    if not is_granted(post.verdict):
        reason = "denied" if post.verdict == DENY else f"verdict {post.verdict!r} grants nothing"
        return Denied(actor=post.actor, reason=reason, rationale=post.text)
    if not has_same_arguments(wait, post.digest):
        return Stray(reason="other_arguments")
    return Granted(actor=post.actor, rationale=post.text)
