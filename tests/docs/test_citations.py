"""What the documentation points at is there."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from orderledger.ledger import folds
from orderledger.ledger.events import topics
from tests.source_tree import ROOT

DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("**/*.md"))]
# One cell may name several tests of the file that it names first.
CITED = re.compile(r"`(?P<file>tests/[\w/]+\.py)?(?:::(?P<test>\w+))?`")
TOPIC = re.compile(r"`([a-z_]+(?:\.[a-z_]+)+\.v\d+)`")
LINK = re.compile(r"\]\((?!https?://|#)(?P<target>[^)#\s]+)")


def cited(text: str) -> Iterator[tuple[Path, str]]:
    """Return file and name of each test, or machine of tests, that a text cites; "": the file."""
    file = ROOT
    for found in CITED.finditer(text):
        if found["file"]:
            file = ROOT / found["file"]
        if found["file"] or found["test"]:
            yield file, found["test"] or ""


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_cited_tests_exist(path: Path) -> None:
    """Catches a guarantee whose test was renamed or removed."""
    for file, name in cited(path.read_text("utf-8")):
        assert file.is_file(), file
        tree = ast.parse(file.read_text("utf-8"))
        kinds = (ast.FunctionDef, ast.ClassDef)
        names = {node.name for node in tree.body if isinstance(node, kinds)}
        assert not name or name in names, f"{file}: {name}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    """Catches a link to a page that moved."""
    for link in LINK.finditer(path.read_text("utf-8")):
        assert (path.parent / link["target"]).exists(), link["target"]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_cited_topics_exist(path: Path) -> None:
    """Catches an event that was renamed in the code only."""
    folds.fold_of("order-1")  # importing the module has registered the topics
    for topic in TOPIC.findall(path.read_text("utf-8")):
        assert topic in topics(), topic
