"""Typed rows: what a reader gets, and which questions are refused."""

from datetime import datetime
from enum import StrEnum
from itertools import pairwise
from typing import Any, assert_type

import pytest

from orderledger.ledger.errors import InvalidInput, NotFound, SchemaMismatch
from orderledger.ledger.model_ports import Column, Kind, Table
from orderledger.ledger.stores.models_memory import MemoryModels
from orderledger.projections.models import ReadModel, fingerprint
from orderledger.projections.orders import OrderLineRow, OrderRow
from orderledger.projections.payments import PaymentRow
from orderledger.projections.read_models import ReadModels
from orderledger.projections.shipped import SHIPPED
from orderledger.projections.stock import StockReservationRow
from orderledger.projections.tables import Amount, TableRow, table
from tests.projections.books import day_in_memory
from tests.projections.toy_models import Entries, EntryRow, Totals

FINGERPRINTS = {
    "anomalies": "0c0e4908ec78",
    "chargebacks": "6f55bd85bac7",
    "customers": "f24611755ef4",
    "indicators": "1a214c1ebf8f",
    "orders": "14877eb08b84",
    "payments": "64929359baf4",
    "refunds": "2395d6b049ee",
    "stock": "5fe4fa5ddae0",
    "timeline": "56d4e9b160b1",
}
"""As released books have them: another one makes every book refuse its rows until a rebuild."""


@pytest.fixture(scope="module")
def models() -> ReadModels:
    """Give the shipped models of a day, caught up."""
    made = ReadModels(day_in_memory().store, MemoryModels(), SHIPPED)
    for name in made.names:
        made.catch_up(name)
    return made


@pytest.mark.parametrize("name", FINGERPRINTS)
def test_fingerprints_stay(name: str) -> None:
    """Catches a declaration that changed the shape of a table, or its order, without a version."""
    (model,) = [one for one in SHIPPED if one.name == name]
    assert fingerprint(model) == FINGERPRINTS[name]


def test_every_shipped_table_is_declared_by_a_documented_row_type() -> None:
    """Catches a table that a program cannot select by type, or whose units stand nowhere."""
    for model in SHIPPED:
        for one in model.tables:
            (row_type,) = [
                kind for kind in TableRow.__subclasses__() if getattr(kind, "table", None) is one
            ]
            assert row_type.__doc__
            amounts = [column for column in one.columns if column.kind is Kind.AMOUNT]
            assert not amounts or "minor units" in row_type.__doc__


def test_annotations_say_what_columns_hold() -> None:
    """Catches an annotation that becomes another kind, or loses that it may be empty."""

    @table("samples", key_count=2, indexes=(("at",),))
    class Sample(TableRow, frozen=True):
        name: str
        number: int
        amount: Amount
        change: Amount | None
        at: datetime | None
        is_good: bool

    assert Sample.table == Table(
        "samples",
        (
            Column("name", Kind.TEXT),
            Column("number", Kind.INTEGER),
            Column("amount", Kind.AMOUNT),
            Column("change", Kind.AMOUNT, is_optional=True),
            Column("at", Kind.INSTANT, is_optional=True),
            Column("is_good", Kind.BOOLEAN),
        ),
        2,
        (("at",),),
    )


@pytest.mark.parametrize("annotation", [float, "str | int", list[str], bytes])
def test_what_no_column_can_hold_is_refused_at_once(annotation: Any) -> None:
    """Catches a float for money that is found only by the first batch."""
    kind = str | int if annotation == "str | int" else annotation
    odd = type("Odd", (TableRow,), {"__annotations__": {"key": str, "odd": kind}}, frozen=True)
    with pytest.raises(TypeError, match=r"field odd of Odd is .*; a column is a str, int, Amount"):
        table("odd")(odd)


def test_a_column_cannot_take_the_name_of_a_parameter() -> None:
    """Catches a column that nobody could ask for."""
    odd = type("Odd", (TableRow,), {"__annotations__": {"after": str}}, frozen=True)
    with pytest.raises(TypeError, match="field after of Odd has a name that is taken"):
        table("odd")(odd)


def test_rows_are_typed_in_key_order_and_paged(
    models: ReadModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a page border that loses, doubles or moves a row."""
    whole = assert_type(list(models.select(OrderLineRow)), list[OrderLineRow])
    monkeypatch.setattr("orderledger.projections.read_models.PAGE_ROWS", 7)
    assert list(models.select(OrderLineRow)) == whole
    assert all(
        (one.order_id, one.line_id) < (other.order_id, other.line_id)
        for one, other in pairwise(whole)
    )
    assert all(type(row) is OrderLineRow and type(row.charged) is int for row in whole)
    start = whole[9]
    rest = models.select(OrderLineRow, after=(start.order_id, start.line_id))
    assert list(rest) == whole[10:]


def test_filters_and_keys_find_what_they_name(models: ReadModels) -> None:
    """Catches a filter that is not applied, or a key that finds its neighbour."""
    whole = list(models.select(OrderRow))
    buyer = whole[0].buyer_ref
    expected = [row for row in whole if row.buyer_ref == buyer and row.lifecycle == "confirmed"]
    assert list(models.select(OrderRow, buyer_ref=buyer, lifecycle="confirmed")) == expected
    assert models.get(OrderRow, whole[3].order_id) == whole[3]
    assert_type(models.get(OrderRow, "nobody's"), OrderRow | None)
    assert models.get(OrderRow, "nobody's") is None
    open_ended = [row for row in models.select(StockReservationRow) if row.until is None]
    assert list(models.select(StockReservationRow, until=None)) == open_ended
    placed_at = whole[5].placed_at
    assert whole[5] in list(models.select(OrderRow, placed_at=placed_at))


class _Word(StrEnum):
    CONFIRMED = "confirmed"


def test_a_member_of_an_enumeration_is_its_text(models: ReadModels) -> None:
    """Catches a status given by its constant that finds nothing, or that a driver refuses."""
    found = list(models.select(OrderRow, lifecycle=_Word.CONFIRMED))
    assert found == list(models.select(OrderRow, lifecycle="confirmed"))
    assert found


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"buyer": "x"}, r"table orders has no column buyer; it has order_id, buyer_ref, .*"),
    ({"total": "12"}, r"column total of table orders holds an amount \(int.* never '12' \(str\)"),
    ({"total": True}, r"column total .* holds an amount .* never True \(bool\)"),
    ({"total": 12.0}, r"column total .* holds an amount .* never 12\.0 \(float\)"),
    ({"total": 10**30}, r"column total .* at most 30 digits"),
    ({"line_count": 2**63}, r"column line_count .* holds an integer of 64 bits"),
    ({"is_held": 1}, r"column is_held .* holds true or false \(bool\); it is never 1 \(int\)"),
    ({"lifecycle": None}, r"column lifecycle .* holds a text \(str\); it is never empty \(None\)"),
    ({"lifecycle": "a\x00b"}, r"column lifecycle .* holds a text"),
    ({"lifecycle": "\udcff"}, r"column lifecycle .* holds a text"),
    ({"placed_at": "2026-01-01"}, r"column placed_at .* holds an instant \(datetime with .* or No"),
    ({"placed_at": datetime(2026, 1, 1)}, r"column placed_at .* has no time zone"),
]


@pytest.mark.parametrize(("where", "message"), REFUSED)
def test_a_value_that_a_column_cannot_have_is_refused(
    models: ReadModels, where: dict[str, Any], message: str
) -> None:
    """Catches a question of the wrong type that is answered with no rows."""
    with pytest.raises(InvalidInput, match=f"^{message}"):
        models.select(OrderRow, **where)


def test_keys_are_checked_too(models: ReadModels) -> None:
    """Catches half a key that finds the first row that begins like it."""
    with pytest.raises(InvalidInput, match="a key of table order_lines is order_id, line_id, not"):
        models.get(OrderLineRow, "o1")
    with pytest.raises(InvalidInput, match="column line_id of table order_lines holds a text"):
        models.select(OrderLineRow, after=("o1", 3))


def test_the_ends_of_ranges_are_no_errors(models: ReadModels) -> None:
    """Catches a limit that is one too small."""
    assert list(models.select(OrderRow, line_count=-(2**63), total=1 - 10**30)) == []
    assert list(models.select(OrderRow, line_count=2**63 - 1, total=10**30 - 1)) == []


def test_position_is_that_of_the_rows() -> None:
    """Catches a freshness that is the log's, not the model's."""
    models = ReadModels(day_in_memory().store, MemoryModels(), SHIPPED)
    assert models.position("orders") == 0
    assert list(models.select(OrderRow)) == []
    models.follower("orders").catch_up(40)
    assert models.position("orders") == 40
    assert models.position("payments") == 0
    with pytest.raises(NotFound):
        models.position("nope")


def test_a_table_of_no_model_is_refused(models: ReadModels) -> None:
    """Catches rows of a model that the book was not opened with, answered as none."""
    with pytest.raises(NotFound, match="there is no table entries; there are alerts, anomalies, "):
        models.select(EntryRow)

    @table("orders")
    class Impostor(TableRow, frozen=True):
        order_id: str

    with pytest.raises(NotFound, match="read model orders has a table orders of other columns"):
        models.select(Impostor)


def test_own_and_shipped_models_stand_side_by_side() -> None:
    """Catches a host's own model that its own row type does not find."""
    models = ReadModels(day_in_memory().store, MemoryModels(), [*SHIPPED, Totals(), Entries()])
    models.catch_up("entries")
    models.catch_up("payments")
    assert models.owner(EntryRow.table).name == "entries"
    assert models.get(PaymentRow, next(iter(models.select(PaymentRow))).payment_id)


class _Short(ReadModel):
    name = "short"
    tables = (EntryRow.table,)

    def project(self, recorded: Any, rows: Any) -> None:
        """Make no rows."""


def test_rows_of_another_shape_ask_for_a_rebuild(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a column that is not there yet, reported as a database without tables."""
    store = MemoryModels()
    old = ReadModels(day_in_memory().store, store, [_Short()])
    old.follower("short")
    model = _Short()
    model.version = 2

    def lacks_a_column(*_: object) -> None:
        raise SchemaMismatch("no such column")

    monkeypatch.setattr(store, "find", lacks_a_column)
    new = ReadModels(day_in_memory().store, store, [model])
    with pytest.raises(SchemaMismatch, match=r"made by version 1 .*, this code has version 2 .*"):
        list(new.select(EntryRow))
    with pytest.raises(SchemaMismatch, match=r"^no such column$"):
        list(old.select(EntryRow))
