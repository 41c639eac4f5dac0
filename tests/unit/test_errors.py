"""The drawn error tree, the classes, and the statuses that programs depend on."""

import ast
import importlib
import re

from orderledger.ledger import errors
from orderledger.ledger.errors import EXIT_STATUS, OrderLedgerError
from orderledger.ledger.ports import AppendConflict
from tests.source_tree import shipped_files

ROW = re.compile(r"    (?P<branch>[│├└─ ]*)(?P<name>[A-Z]\w+)(?P<text>.*?)(?: +(?P<status>\d{3}))?")
BRANCH_WIDTH = 4
SEEN_BY_STORES_ONLY = {AppendConflict}
"""The executor turns it into a replay, another attempt or a ConcurrencyConflict."""


def _shipped_classes() -> dict[str, type[OrderLedgerError]]:
    """Return every error class of the shipped files by name, wherever it stands."""
    bases: dict[str, tuple[set[str], str]] = {}
    for source in shipped_files():
        for node in ast.walk(source.tree):
            if isinstance(node, ast.ClassDef):
                names = {base.id for base in node.bases if isinstance(base, ast.Name)}
                bases[node.name] = (names, source.path)
    found = {"OrderLedgerError"}
    while more := {name for name, (above, _) in bases.items() if above & found} - found:
        found |= more
    return {name: _class(bases[name][1], name) for name in found}


def _class(path: str, name: str) -> type[OrderLedgerError]:
    module = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    if not module.startswith("orderledger"):
        module = f"orderledger.{module}"
    kind: object = getattr(importlib.import_module(module), name)
    assert isinstance(kind, type)
    assert issubclass(kind, OrderLedgerError)
    return kind


def _drawn() -> dict[str, tuple[str, int | None]]:
    """Return the drawing: each class with its parent and the status beside it."""
    found: dict[str, tuple[str, int | None]] = {}
    path: list[str] = []
    lines = (errors.__doc__ or "").splitlines()
    for line in lines[lines.index("    OrderLedgerError") :]:
        match = ROW.fullmatch(line)
        if match is None:
            break
        del path[len(match["branch"]) // BRANCH_WIDTH :]
        status = int(match["status"]) if match["status"] else None
        found[match["name"]] = (path[-1] if path else "", status)
        path.append(match["name"])
    return found


def test_the_drawing_is_the_tree() -> None:
    """Catches an error that nobody finds in the one place where all of them stand."""
    classes = _shipped_classes()
    drawn = {name: parent for name, (parent, _) in _drawn().items()}
    assert drawn.pop("OrderLedgerError") == ""
    assert drawn == {
        name: kind.__bases__[0].__name__
        for name, kind in classes.items()
        if kind is not OrderLedgerError
    }


def test_the_drawn_statuses_are_sent() -> None:
    """Catches a status that a web integration answers and the documentation does not say."""
    classes = _shipped_classes()
    drawn = _drawn()
    for name, (parent, status) in drawn.items():
        if parent == "OrderLedgerError":
            assert classes[name].http_status == status, name
        elif parent:
            # The status of a branch is that of its twigs, so it is drawn once.
            assert status is None, name
            assert classes[name].http_status == classes[parent].http_status, name


def test_every_branch_has_an_exit_status() -> None:
    """Catches a command that ends with the status of another kind of failure, or 1 by default."""
    branches = set(OrderLedgerError.__subclasses__()) & set(_shipped_classes().values())
    assert set(EXIT_STATUS) == branches - SEEN_BY_STORES_ONLY
