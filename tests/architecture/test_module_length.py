"""One idea a file: no module over 400 lines."""

from tests.architecture.source_tree import ROOT, SHIPPED, list_files, relative

LIMIT_LINES = 400


def test_no_module_is_over_the_limit() -> None:
    """What does not fit is two ideas; it is split where they part."""
    files = [*list_files(*SHIPPED, "bench", "deploy", kinds=frozenset({".py", ".lua"})), ROOT / "baton"]

    lengths = {relative(path): len(path.read_text(encoding="utf-8").splitlines()) for path in files}

    assert {path: lines for path, lines in lengths.items() if lines > LIMIT_LINES} == {}
