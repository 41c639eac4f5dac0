"""Balances on two clocks, by the table of docs/money.md."""

from datetime import UTC, datetime, timedelta

import pytest

from orderledger.ledger.balances import BalanceRow, balance
from orderledger.ledger.journal import Layer

ACCOUNT = "assets:bank:main"
RECORDED = datetime(2026, 2, 1, tzinfo=UTC)

# recorded as number, effective in January, amount
EVENTS = ((1, 5, 100), (2, 10, 50), (3, 6, -30), (4, 20, -50), (5, 10, 60))
# effective until, then the balance as recorded until 1 … 5
MATRIX = """
5   100 100 100 100 100
7   100 100  70  70  70
10  100 150 120 120 180
31  100 150 120  70 130
"""

ROWS = [
    BalanceRow(
        ACCOUNT,
        "USD",
        minor,
        datetime(2026, 1, day, tzinfo=UTC),
        RECORDED + timedelta(microseconds=number),
    )
    for number, day, minor in EVENTS
]


@pytest.mark.parametrize("row", [line.split() for line in MATRIX.strip().splitlines()])
def test_the_table_of_both_clocks(row: list[str]) -> None:
    """A back-dated entry that changes what was known before it was recorded."""
    effective_to = datetime(2026, 1, int(row[0]), tzinfo=UTC)
    for number, want in enumerate(row[1:], start=1):
        recorded_to = RECORDED + timedelta(microseconds=number)
        found = balance(ROWS, ACCOUNT, effective_to, recorded_to)
        assert found == {(Layer.POSTED, "USD"): int(want)}, (row[0], number)


def test_either_clock_may_be_left_out() -> None:
    """A default that silently cuts off what is effective in the future."""
    assert balance(ROWS, ACCOUNT) == {(Layer.POSTED, "USD"): 130}
    assert balance(ROWS, ACCOUNT, datetime(2026, 1, 7, tzinfo=UTC)) == {(Layer.POSTED, "USD"): 70}
    recorded_to = RECORDED + timedelta(microseconds=2)
    assert balance(ROWS, ACCOUNT, recorded_to=recorded_to) == {(Layer.POSTED, "USD"): 150}
    assert balance(ROWS, "assets:bank:other") == {}


def test_layers_and_currencies_stay_apart() -> None:
    """A hold, or another currency, added to posted money."""
    held = BalanceRow(ACCOUNT, "USD", 7, RECORDED, RECORDED, Layer.HELD)
    euro = BalanceRow(ACCOUNT, "EUR", 9, RECORDED, RECORDED)
    assert balance([held, euro], ACCOUNT) == {
        (Layer.HELD, "USD"): 7,
        (Layer.POSTED, "EUR"): 9,
    }
