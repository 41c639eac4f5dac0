"""The table of invariants: every number has a law, and its laws run on both databases."""

import re
from typing import Final

import pytest

from tests.contract.test_laws import LAWS, WITHOUT_A_BOOK
from tests.docs.test_citations import cited
from tests.source_tree import ROOT

PAGE: Final = ROOT / "docs" / "invariants.md"
ROW: Final = re.compile(r"^\| (?P<number>\d+) \|[^|]+\|(?P<shown_by>[^|]+)\|$", re.MULTILINE)
NUMBERS: Final = (*range(1, 31), 33, 34, *range(42, 46))
OF_TWO_PROCESSES: Final = 44
"""What contends needs two executors: its tests open pairs of stores on each database."""
KEPT: Final = LAWS.keys() - WITHOUT_A_BOOK


def test_every_invariant_has_a_row() -> None:
    """Catches a number that was left out, or told twice."""
    found = [int(row["number"]) for row in ROW.finditer(PAGE.read_text("utf-8"))]
    assert found == list(NUMBERS)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_law_shows_it_on_both_databases(number: int) -> None:
    """Catches an invariant that only folds in memory show."""
    (row,) = [row for row in ROW.finditer(PAGE.read_text("utf-8")) if row["number"] == str(number)]
    named = [f"{path.stem}.{name}" for path, name in cited(row["shown_by"]) if name]
    if number == OF_TWO_PROCESSES:
        assert all(engine in "".join(named) for engine in ("_on_sqlite_", "_on_postgres_"))
    else:
        assert KEPT & set(named), f"none of {named} is a law that test_laws runs"
