"""The files of this repository as the style tests read them."""

import ast
import functools
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
COMPONENTS: Final = ("ledger", "commands", "projections", "replay", "snapshots")
SHIPPED: Final = (*COMPONENTS, "orderledger")
NOT_OURS: Final = {".git", ".venv", "build", "dist", "__pycache__", ".hypothesis"}


@dataclass(frozen=True)
class Source:
    """One text file: its path from the root with slashes, its text."""

    path: str
    text: str

    @property
    def lines(self) -> list[str]:
        """Return the lines without their ends."""
        return self.text.splitlines()

    @functools.cached_property
    def tree(self) -> ast.Module:
        """Return the syntax tree of a Python file."""
        return ast.parse(self.text, self.path)

    def is_under(self, *prefixes: str) -> bool:
        """Tell whether the path starts with one of the prefixes, as written."""
        return self.path.startswith(prefixes)

    def functions(self) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
        """Yield every function and method with its dotted name inside the file."""
        yield from _functions(self.tree, "")

    def imports(self) -> Iterator[tuple[int, str]]:
        """Yield line and absolute dotted name of what is imported; relative ones are left out.

        `from a import b` yields `a` and `a.b`, since b may be a module.
        """
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield node.lineno, alias.name
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                yield node.lineno, node.module
                for alias in node.names:
                    yield node.lineno, f"{node.module}.{alias.name}"


def _functions(
    node: ast.AST, prefix: str
) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield prefix + child.name, child
            yield from _functions(child, f"{prefix}{child.name}.")
        elif isinstance(child, ast.ClassDef):
            yield from _functions(child, f"{prefix}{child.name}.")
        else:
            yield from _functions(child, prefix)


@functools.cache
def text_files() -> tuple[Source, ...]:
    """Return every text file that is, or could be, committed; binary ones are left out."""
    found = []
    for path in _paths():
        if path.is_file() and not path.is_symlink():
            try:
                text = path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue
            found.append(Source(path.relative_to(ROOT).as_posix(), text))
    return tuple(found)


@functools.cache
def python_files() -> tuple[Source, ...]:
    """Return the Python files among them."""
    return tuple(source for source in text_files() if source.path.endswith(".py"))


def shipped_files() -> tuple[Source, ...]:
    """Return the Python files that the wheel holds."""
    return tuple(
        source for source in python_files() if source.is_under(*(f"{name}/" for name in SHIPPED))
    )


def _paths() -> list[Path]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    names = sorted({name for name in listed.stdout.split("\0") if name})
    if listed.returncode == 0 and "pyproject.toml" in names:
        return [ROOT / name for name in names]
    # An unpacked archive has no git; links are not followed, so no component is read twice.
    return sorted(path for path in _walk(ROOT) if not path.name.endswith((".pyc", ".db")))


def _walk(directory: Path) -> Iterator[Path]:
    for path in directory.iterdir():
        if (
            path.is_symlink()
            or path.name in NOT_OURS
            or path.name.endswith(("_cache", ".egg-info"))
        ):
            continue
        if path.is_dir():
            yield from _walk(path)
        else:
            yield path
