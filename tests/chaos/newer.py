"""What a newer Baton would be: the same code, told to read and write sessions in the next format.

Each cursor and each post that it writes says in a field more in which format it is. An older Baton cannot read that, and would
bury the session if it tried: so does this code, without `become`. Nothing of it is a setting; it is these tests' own.
"""

from collections.abc import Callable
from typing import Any, Final

from orchestrator.contracts import formats
from orchestrator.contracts.base import Frozen, dump_json, load_json
from orchestrator.contracts.session import Cursor, Entry, Post

OLDER: Final = formats.FORMAT
NEWER: Final = OLDER + 1
FIELD: Final = "written_in"
_SHAPES: Final[tuple[type[Frozen], ...]] = (Cursor, Post)


def become() -> None:
    """Make this process one of the newer Baton, for good: to be called before anything else takes the number for itself."""
    formats.FORMAT = NEWER  # type: ignore[misc]
    read_both()
    write_newer()


def read_both() -> Callable[[], None]:
    """Let this process read what the newer Baton wrote; return what undoes that."""

    def read(cls: type[Frozen], value: object, **options: Any) -> Any:
        known = {name: one for name, one in value.items() if name != FIELD} if isinstance(value, dict) else value
        return super(cls, cls).model_validate(known, **options)

    def read_json(cls: type[Frozen], text: str | bytes, **options: Any) -> Any:
        value = load_json(text)
        if isinstance(value, dict):
            value.pop(FIELD, None)
        return super(cls, cls).model_validate_json(dump_json(value), **options)

    return _change(model_validate=classmethod(read), model_validate_json=classmethod(read_json))


def write_newer() -> Callable[[], None]:
    """Let this process write what only the newer Baton can read; return what undoes that."""

    def write(self: Frozen) -> str:
        value = load_json(Frozen.to_json(self))
        assert isinstance(value, dict)
        return dump_json({**value, FIELD: NEWER})

    return _change(to_json=write)


def find_format(entry: Entry) -> int | None:
    """Return in which format a step wrote its session's cursor; None for an entry that wrote none.

    >>> find_format(Entry(kind="step", actor="w", set={"cursor": '{"skill":"a"}'})) == OLDER
    True
    """
    if entry.kind != "step" or "cursor" not in entry.set:
        return None
    cursor = load_json(entry.set["cursor"])
    found = cursor.get(FIELD, OLDER) if isinstance(cursor, dict) else OLDER
    return found if isinstance(found, int) else OLDER


def _change(**acts: object) -> Callable[[], None]:
    """Give the shapes acts of their own in place of those that they inherit; return what takes them away."""
    for shape in _SHAPES:
        for name, act in acts.items():
            setattr(shape, name, act)

    def undo() -> None:
        for shape in _SHAPES:
            for name in acts:
                delattr(shape, name)

    return undo
