"""Reads the checkout as data for the architecture tests: files, syntax trees, imports.

Nothing of ours is imported and nothing is run; a test states a rule and this module says what the tree holds.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RUNTIME = ("orchestrator", "workers", "plugin_sandbox")
SHIPPED = (*RUNTIME, "apps")
TEXT = frozenset({".py", ".lua", ".md", ".yaml", ".yml", ".toml", ".json", ".html", ".css", ".js", ".sh", ".txt"})


@dataclass(frozen=True)
class Module:
    """One Python file: its path below the root with forward slashes, and its syntax tree."""

    path: str
    tree: ast.Module

    @property
    def package(self) -> str:
        """Return the dotted name that a relative import of one dot starts from."""
        return self.path.rsplit("/", 1)[0].replace("/", ".") if "/" in self.path else ""

    def imports(self) -> Iterator[tuple[str, int]]:
        """Yield every imported dotted name and its line: anywhere in the file, inside functions too.

        `from a import b` yields `a.b`, because b may be a module. A literal name that is given to
        `import_module` or `__import__` counts as well.
        """
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((alias.name, node.lineno) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield from ((f"{self._base(node)}.{alias.name}".strip("."), node.lineno) for alias in node.names)
            elif isinstance(node, ast.Call) and node.args and called_name(node) in {"import_module", "__import__"}:
                match node.args[0]:
                    case ast.Constant(value=str(name)):
                        yield name, node.lineno

    def _base(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        parts = self.package.split(".")[: len(self.package.split(".")) - node.level + 1]
        return ".".join([*parts, *([node.module] if node.module else [])])


def called_name(call: ast.Call) -> str:
    """Return the last name of what is called: `sleep` of `time.sleep(1)`.

    >>> called_name(ast.parse("time.sleep(1)", mode="eval").body)
    'sleep'
    """
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def parse(path: str, source: str) -> Module:
    """Return a module of this source: for planting what a rule must find."""
    return Module(path, ast.parse(source, filename=path))


@cache
def load_modules(*folders: str) -> tuple[Module, ...]:
    """Return every Python file of these folders, in the order of their paths."""
    return tuple(
        parse(relative(path), path.read_text(encoding="utf-8"))
        for path in list_files(*folders, kinds=frozenset({".py"}))
    )


def list_files(*folders: str, kinds: frozenset[str] = TEXT) -> list[Path]:
    """Return the files with these endings, without what tools leave behind."""
    found = (path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in kinds)
    return sorted(path for path in found if path.is_file() and not {"__pycache__", "node_modules"} & set(path.parts))


def relative(path: Path) -> str:
    """Return the path below the root, with forward slashes."""
    return path.relative_to(ROOT).as_posix()
