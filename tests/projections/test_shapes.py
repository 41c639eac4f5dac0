"""A row that cannot be stored as it is parks the stream it came from, on every engine alike."""

from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from orderledger.ledger.model_ports import Column, Kind, Row, Table
from orderledger.ledger.stores.models_memory import MemoryModels
from orderledger.projections.models import ReadModel, Recorded, Rows
from orderledger.projections.read_models import ReadModels
from orderledger.projections.shapes import Shape
from orderledger.testing import memory_book
from tests.projections.books import fill

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SAMPLES = Table(
    "samples",
    (
        Column("name", Kind.TEXT),
        Column("count", Kind.INTEGER),
        Column("minor", Kind.AMOUNT),
        Column("at", Kind.INSTANT, is_optional=True),
        Column("is_open", Kind.BOOLEAN),
        Column("note", Kind.TEXT, is_optional=True),
    ),
)


class Colour(StrEnum):
    RED = "red"


GOOD: tuple[Row, ...] = (
    ("a", 1, 1, NOW, True, None),
    ("", -(2**63), 1 - 10**30, None, False, ""),
    ("ü\u2028 \\u0000 1234567890123456789", 2**63 - 1, 10**30 - 1, NOW, False, "0" * 40),
    ("a", 0, 0, datetime(2026, 1, 1, tzinfo=ZoneInfo("UTC")), True, None),
)
BAD: dict[str, tuple[Any, str]] = {
    "short": (("a", 1, 1, NOW, True), "has 6 values, not 5"),
    "long": (("a", 1, 1, NOW, True, None, 1), "has 6 values, not 7"),
    "number for text": ((1, 1, 1, NOW, True, None), "column name of samples is text, not int"),
    "text for number": (("a", "1", 1, NOW, True, None), "column count of samples is integer"),
    "boolean for number": (("a", True, 1, NOW, True, None), "is integer, not bool"),
    "number for boolean": (("a", 1, 1, NOW, 1, None), "is boolean, not int"),
    "float": (("a", 1, 1.0, NOW, True, None), "column minor of samples is amount, not float"),
    "choice": ((Colour.RED, 1, 1, NOW, True, None), "is text, not Colour"),
    "nothing": (("a", None, 1, NOW, True, None), "column count of samples is integer, not None"),
    "text for instant": (("a", 1, 1, "now", True, None), "is instant or empty, not str"),
    "naive": (("a", 1, 1, NOW.replace(tzinfo=None), True, None), "which is not in UTC"),
    "elsewhere": (
        ("a", 1, 1, NOW.astimezone(timezone(timedelta(hours=1))), True, None),
        "column at of samples has the instant 2026-01-01T01:00:00.01:00, which is not in UTC",
    ),
    "64 bits": (
        ("a", 2**63, 1, NOW, True, None),
        "count of samples has 9223372036854775808",
    ),
    "30 digits": (("a", 1, -(10**30), NOW, True, None), "of kind amount holds"),
    "NUL": (("a\x00", 1, 1, NOW, True, None), "column name of samples has a NUL character"),
    "surrogate": (("a", 1, 1, NOW, True, "\ud800"), "surrogates not allowed"),
}


@pytest.mark.parametrize("row", GOOD)
def test_what_every_engine_stores_is_accepted(row: Row) -> None:
    """Catches a check that refuses what a column holds."""
    shape = Shape(SAMPLES)
    for _ in range(2):
        shape.check(row)


@pytest.mark.parametrize("name", BAD)
def test_a_row_that_cannot_be_stored_is_refused(name: str) -> None:
    """Catches a row that is stored as another, or on one engine only."""
    row, said = BAD[name]
    shape = Shape(SAMPLES)
    for good in GOOD:
        shape.check(good)
    for _ in range(2):
        with pytest.raises((ValueError, TypeError), match=said):
            shape.check(row)


class Samples(ReadModel):
    """Puts or derives one bad row among good ones."""

    name = "samples"
    tables = (SAMPLES,)

    def __init__(self, bad: Any, how: str) -> None:
        self.bad = bad
        self.how = how

    def _row(self, position: int) -> Any:
        return self.bad if position == 7 else (str(position), position, 1, NOW, True, None)

    def project(self, recorded: Recorded, rows: Rows) -> None:
        if self.how == "put":
            rows.put(SAMPLES, self._row(recorded.position))
        else:
            rows.touch(SAMPLES, (str(recorded.position),))

    def derive(self, table: Table, key: Any, rows: Rows) -> Row | None:
        row: Row = self._row(int(key[0]))
        return row


@pytest.mark.parametrize("how", ["put", "derived"])
@pytest.mark.parametrize("name", [*BAD, "another key"])
def test_a_projector_that_makes_such_a_row_parks_one_stream(name: str, how: str) -> None:
    """Catches a model that stops for all, or whose stored rows are not those of its digest."""
    if name == "another key" and how == "put":
        return
    bad = ("x", 1, 1, NOW, True, None) if name == "another key" else BAD[name][0]
    book = memory_book()
    fill(book.store)
    models = ReadModels(book.store, MemoryModels(), [Samples(bad, how)])
    head = models.catch_up("samples", batch_events=10)
    (parked,) = models.parked("samples")
    assert parked.position == 7
    stream = book.store.read(6, limit=1)[0].stream
    left_out = {event.position for event in book.store.stream(stream)}
    shown = {row[1] for row in models.find(SAMPLES, {})}
    assert shown == set(range(1, head + 1)) - left_out
