"""Is a history of concurrent operations what one register, or one lock, could have answered, one operation at a time?

The search is Wing and Gong's, with Lowe's memory of what was tried: among the operations that had begun before the
first of the others ended, try each as the next one; go back where the model refuses what was answered. An operation
without an answer - its process was killed - may have happened at any time after it began, or not at all.

Models say what is legal; this module knows no lease and no clock. Sessions share nothing, so each has a history of
its own, which keeps the search small. Times are any comparable numbers of one clock.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

#: What a model makes of an operation in a state: every state that may follow, none where the answer cannot be.
Model: TypeAlias = Callable[[Any, "Op"], Iterable[Hashable]]


@dataclass(frozen=True)
class Op:
    """One operation. `ended` and `answer` are None for one whose process never heard.

    One that `may_be_undone` was answered, and may have been forgotten since: it may also count for nothing.
    """

    what: str
    args: tuple[Any, ...]
    began: float
    ended: float | None = None
    answer: Any = None
    may_be_undone: bool = False


@dataclass(frozen=True)
class Verdict:
    """Whether an order was found; if not, how far the longest one came and what could not follow it."""

    is_linearizable: bool
    order: tuple[Op, ...]
    stuck: tuple[Op, ...] = ()

    def tell(self) -> str:
        """Return the end of the longest order, and the operations that do not fit behind it."""
        lines = [f"  … {op.what}{op.args} -> {op.answer}" for op in self.order[-5:]]
        return "\n".join([*lines, *(f"  and then not {op.what}{op.args} -> {op.answer}" for op in self.stuck)])


def check_history(model: Model, initial: Hashable, ops: Sequence[Op]) -> Verdict:
    """Search an order in which the model gives every answer that was given.

    >>> begin = Op("write", (1,), 0, 2)
    >>> check_history(register, 0, [begin, Op("read", (), 1, 3, 1)]).is_linearizable
    True
    >>> check_history(register, 0, [begin, Op("read", (), 3, 4, 0)]).is_linearizable
    False
    """
    ordered = sorted(ops, key=lambda op: op.began)
    answered = sum(1 << number for number, op in enumerate(ordered) if op.ended is not None)
    tried: set[tuple[int, Hashable]] = set()
    path: list[int] = []
    best: list[int] = []
    stuck: list[int] = []
    #: One level for each operation that is placed: what may still be tried there.
    levels = [_choices(model, ordered, 0, initial)]
    done = 0
    while levels:
        if done & answered == answered:
            return Verdict(is_linearizable=True, order=tuple(ordered[number] for number in path))
        number, state = next(levels[-1], (None, None))
        if number is None:
            if len(path) >= len(best):
                best, stuck = list(path), _candidates(ordered, done)
            levels.pop()
            if path:
                done &= ~(1 << path.pop())
            continue
        after = done | 1 << number
        if (after, state) in tried:
            continue
        tried.add((after, state))
        done = after
        path.append(number)
        levels.append(_choices(model, ordered, done, state))
    return Verdict(
        is_linearizable=False, order=tuple(ordered[one] for one in best), stuck=tuple(ordered[one] for one in stuck)
    )


def _candidates(ops: Sequence[Op], done: int) -> list[int]:
    """Return what may come next: whatever began before the first of those that are left had ended."""
    found, horizon = [], float("inf")
    for number, op in enumerate(ops):
        if op.began > horizon:
            break  # they are ordered by their beginnings: whatever follows began later still
        if not done >> number & 1:
            found.append(number)
            horizon = min(horizon, float("inf") if op.ended is None else op.ended)
    # Those that nobody heard of come last: most of them never happened or do not matter.
    return sorted((one for one in found if ops[one].began <= horizon), key=lambda one: ops[one].ended is None)


def _choices(model: Model, ops: Sequence[Op], done: int, state: Any) -> Iterator[tuple[int, Any]]:
    for number in _candidates(ops, done):
        for after in model(state, ops[number]):
            yield number, after
        if ops[number].may_be_undone:
            yield number, state


def register(state: Any, op: Op) -> Iterable[Hashable]:
    """Model a register with read, write and compare-and-set: the textbook's, for tests and as an example."""
    unheard = op.ended is None
    match op.what:
        case "write":
            return (op.args[0],)
        case "read":
            return (state,) if unheard or op.answer == state else ()
        case "cas":
            expected, wanted = op.args
            fits = state == expected
            return (wanted if fits else state,) if unheard or op.answer is fits else ()
    raise ValueError(f"register: no operation {op.what!r}; use read, write or cas")


def lock(state: Any, op: Op) -> Iterable[Hashable]:
    """Model a plain lock: the state is its holder, None while it is free; an answer says whether it was given."""
    unheard = op.ended is None
    [who] = op.args
    match op.what:
        case "lock":
            free = state is None
            return (who if free else state,) if unheard or op.answer is free else ()
        case "unlock":
            held = state == who
            return (None if held else state,) if unheard or op.answer is held else ()
    raise ValueError(f"lock: no operation {op.what!r}; use lock or unlock")
