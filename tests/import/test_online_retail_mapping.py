"""What each kind of line becomes: events, balances, anomalies. The files are made up."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import orderledger
from orderledger.importers.online_retail_import import import_file
from orderledger.importers.online_retail_summary import Summary
from orderledger.ledger.orders import Lifecycle
from tests.imported_book import balances, events, retail_file, sqlite_url, topics

PSP = "assets:psp:imported"
SHOP = "liabilities:seller:shop"


@pytest.fixture
def book(tmp_path: Path) -> Iterator[orderledger.Book]:
    """Open an empty book."""
    with orderledger.open(sqlite_url(tmp_path / "book.db")) as opened:
        yield opened


def _import(book: orderledger.Book, tmp_path: Path, *lines: str) -> Summary:
    summary = import_file(book, retail_file(tmp_path / "file.csv", *lines))
    assert sum(one.lines for one in summary.categories.values()) == summary.lines == len(lines)
    return summary


def _anomalies(book: orderledger.Book) -> Counter[str]:
    return Counter(
        json.loads(event.payload)["kind"]
        for event in events(book)
        if event.topic == "anomaly.raised.v2"
    )


def test_an_invoice_is_placed_paid_shipped_and_released(
    book: orderledger.Book, tmp_path: Path
) -> None:
    """Catches an order without its money, or money left in escrow."""
    _import(book, tmp_path, "100 10001 6 2.55 17850", "100 10002 2 1.00 17850 10:01:00")
    assert balances(book) == {PSP: 1730, SHOP: -1730}
    order = book.order("100")
    assert (order.lifecycle, order.total, order.released) == (Lifecycle.CONFIRMED, 1730, 1730)
    assert {key: line.shipped for key, line in order.lines.items()} == {"1": 6, "2": 2}
    assert (order.buyer_ref, order.channel) == ("17850", "France")
    assert book.payment("100").captured == 1730
    assert not _anomalies(book)
    times = {event.topic: event.occurred_at.strftime("%H:%M") for event in events(book)}
    assert times["order.placed.v1"] == "10:00"
    assert times["fulfilment.shipment_dispatched.v1"] == "10:01"
    assert all('"source":"import"' in event.context for event in events(book))


def test_shipping_and_adjustments_are_charges_of_the_order(
    book: orderledger.Book, tmp_path: Path
) -> None:
    """Catches postage sold as an article, and an order that has nothing but postage refused."""
    _import(
        book,
        tmp_path,
        "100 10001 1 5.00 1",
        "100 POST 2 18.00 1",
        "100 M 1 0.50 1",
        "101 DOT 1 10.00 -",
    )
    order = book.order("100")
    assert [charge.amount for charge in order.shipping] == [3600]
    assert [charge.amount for charge in order.surcharges] == [50]
    assert list(order.lines) == ["1"]
    assert list(book.order("101").lines) == ["1"]
    assert balances(book) == {PSP: 5150, SHOP: -5150}


def test_a_cancellation_is_returned_and_refunded(book: orderledger.Book, tmp_path: Path) -> None:
    """Catches a refund of the wrong order, and one that raises anomalies without a reason."""
    summary = _import(
        book,
        tmp_path,
        "100 10001 5 2.00 1",
        "101 10001 5 2.00 1",
        "102 10001 5 2.00 2",
        "C103 10001 -7 2.00 1",
    )
    assert summary.cancelled_lines["same_price"] == 1
    assert balances(book) == {PSP: 1600, SHOP: -1600}
    first, second = book.order("100"), book.order("101")
    assert (first.lines["1"].returned_ok, second.lines["1"].returned_ok) == (5, 2)
    assert (first.granted, second.granted, book.order("102").granted) == (1000, 400, 0)
    assert book.payment("100").refunded == 1000
    assert not _anomalies(book)


def test_lines_of_the_same_price_are_matched_first(book: orderledger.Book, tmp_path: Path) -> None:
    """Catches a refund at 3.00 of the line bought at 2.00 while one at 3.00 is there."""
    summary = _import(
        book,
        tmp_path,
        "100 10001 1 2.00 1",
        "101 10001 1 3.00 1",
        "C102 10001 -1 3.00 1",
        "C103 10001 -1 3.00 1",
    )
    assert (book.order("100").granted, book.order("101").granted) == (200, 300)
    assert summary.cancelled_lines == {
        "same_price": 1,
        "other_price": 1,
        "over_returned": 0,
        "no_earlier_purchase": 0,
        "no_customer": 0,
    }
    # The second refund is 1.00 more than was paid: that part is credited.
    assert summary.credited_minor == 100
    assert balances(book) == {PSP: -100, "expenses:goodwill": 100}


def test_shipping_is_refunded_without_goods(book: orderledger.Book, tmp_path: Path) -> None:
    """Catches a return of parcels of postage, and a refund of postage that finds no payment."""
    _import(book, tmp_path, "100 10001 1 5.00 1", "100 POST 1 18.00 1", "C101 POST -1 18.00 1")
    assert balances(book) == {PSP: 500, SHOP: -500}
    assert topics(book)["return.received.v1"] == 0
    assert book.order("100").grants["C101"].total == 1800


@pytest.mark.parametrize(
    ("lines", "matching"),
    [
        (("C100 10001 -2 3.00 1",), "no_earlier_purchase"),
        (("C100 10001 -2 3.00 -",), "no_customer"),
        (("99 10001 2 3.00 2", "C100 10001 -2 3.00 1"), "no_earlier_purchase"),
        (("C100 10001 -2 3.00 1", "101 10001 2 3.00 1"), "no_earlier_purchase"),
    ],
)
def test_a_cancellation_without_purchase_is_an_anomaly(
    book: orderledger.Book, tmp_path: Path, lines: tuple[str, ...], matching: str
) -> None:
    """Catches money that left the shop and is dropped because nothing explains it."""
    summary = _import(book, tmp_path, *lines)
    assert summary.cancelled_lines[matching] == 1
    assert summary.credited_minor == 600
    assert balances(book)["expenses:goodwill"] == 600
    assert _anomalies(book)["UnknownOrder"] == 1
    assert book.payment("C100").credited == 600


def test_what_was_returned_too_much_is_an_anomaly(book: orderledger.Book, tmp_path: Path) -> None:
    """Catches units matched twice, and a whole line dropped because part of it does not match."""
    summary = _import(
        book, tmp_path, "100 10001 5 2.00 1", "C101 10001 -3 2.00 1", "C102 10001 -3 2.00 1"
    )
    assert summary.cancelled_lines["over_returned"] == 1
    assert book.order("100").granted == 1000
    assert balances(book) == {PSP: -200, "expenses:goodwill": 200}
    assert _anomalies(book)["UnknownOrder"] == 1


def test_an_order_cancelled_whole_leaves_nothing(book: orderledger.Book, tmp_path: Path) -> None:
    """Catches a large order and its cancellation minutes later that do not cancel out."""
    _import(book, tmp_path, "100 23843 80995 2.08 16446", "C101 23843 -80995 2.08 16446")
    assert balances(book) == {}
    assert book.order("100").grants["C101"].total == 16846960


def test_fees_discounts_and_bad_debt_are_journal_entries(
    book: orderledger.Book, tmp_path: Path
) -> None:
    """Catches a fee sold as an article and bad debt paid in cash."""
    summary = _import(
        book,
        tmp_path,
        "100 BANK_CHARGES 1 15.00 1",
        "C101 BANK_CHARGES -1 20.00 -",
        "C102 AMAZONFEE -1 100.00 -",
        "C103 CRUK -1 8.00 1",
        "C104 D -2 3.50 1",
        "A105 B 1 60.00 -",
        "A106 B 1 -90.00 -",
    )
    assert balances(book) == {
        PSP: -12000,
        "assets:receivables:imported": -3000,
        "expenses:bank_fees": 500,
        "expenses:marketplace_fees": 10000,
        "expenses:commission": 800,
        "expenses:promo": 700,
        "expenses:bad_debt": 3000,
    }
    assert summary.categories["fee"].lines == 4
    assert set(topics(book)) == {"journal.entry_posted.v1"}


def test_write_offs_are_counted_in_units(book: orderledger.Book, tmp_path: Path) -> None:
    """Catches damaged stock that becomes an order, or disappears for want of a price."""
    summary = _import(book, tmp_path, "100 22139 -10 0.0 -")
    assert balances(book) == {"expenses:stock_written_off": 10, "assets:stock:22139": -10}
    assert (summary.orders, summary.minor, summary.zero_total_invoices) == (0, 0, 1)


def test_vouchers_are_owed_to_their_holder(book: orderledger.Book, tmp_path: Path) -> None:
    """Catches a voucher counted as earned when it is sold."""
    _import(book, tmp_path, "100 10001 1 5.00 -", "100 gift_0001_20 1 16.67 -")
    assert balances(book) == {
        PSP: 2167,
        SHOP: -500,
        "liabilities:store_credit:gift-100-2": -1667,
    }
    _import(book, tmp_path, "101 gift_0001_20 1 10.00 7")
    assert balances(book)["liabilities:store_credit:7"] == -1000


def test_an_invoice_of_nothing_is_an_order(book: orderledger.Book, tmp_path: Path) -> None:
    """Catches zero-total invoices refused for want of a payment."""
    summary = _import(book, tmp_path, "100 10001 3 0.0 1")
    order = book.order("100")
    assert (order.lifecycle, order.total, order.payments) == (Lifecycle.CONFIRMED, 0, {})
    assert (summary.zero_total_invoices, balances(book)) == (1, {})


def test_prices_below_a_penny_are_rounded_once_and_listed(
    book: orderledger.Book, tmp_path: Path
) -> None:
    """Catches a rounding per unit, per part, or unseen."""
    summary = _import(
        book,
        tmp_path,
        "100 PADS 1 0.001 1",
        "101 PADS 5 0.001 1",
        "102 PADS 7 0.001 1",
        "103 BANK_CHARGES 1 0.001 1",
        "C104 PADS -13 0.001 1",
    )
    assert [(one.invoice, one.exact, one.rounded) for one in summary.roundings] == [
        ("100", "0.001", "0.00"),
        ("101", "0.005", "0.00"),
        ("102", "0.007", "0.01"),
        ("103", "0.001", "0.00"),
        ("C104", "-0.013", "-0.01"),
    ]
    assert (summary.exact, summary.minor) == ("0.001", 0)
    assert book.order("103").lines["1"].line.sku == "BANK CHARGES"


def test_identical_lines_are_all_recorded(book: orderledger.Book, tmp_path: Path) -> None:
    """Catches exact duplicates taken for a mistake; in the data they are sales."""
    _import(book, tmp_path, *["100 10001 1 2.00 1"] * 3)
    assert len(book.order("100").lines) == 3
    assert balances(book)[PSP] == 600


def test_a_long_invoice_is_one_order(book: orderledger.Book, tmp_path: Path) -> None:
    """Catches a limit below what real invoices need."""
    lines = [f"100 {20000 + index} 1 0.01 1" for index in range(1_114)]
    _import(book, tmp_path, *lines)
    assert len(book.order("100").lines) == 1_114
