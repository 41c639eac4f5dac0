"""A book with everything that an export must bring over: a marketplace's day, and odd entries."""

from datetime import UTC, datetime

from orderledger.book import Book
from orderledger.commands import model as m
from orderledger.commands.account_commands import PostingInput
from orderledger.ledger.journal import Layer
from orderledger.ledger.ports import EventStore
from orderledger.ledger.value_events import ValueKind, ValueSource
from tests.model.shop import Shop, item
from tests.projections.books import day

CLOSED = datetime(2025, 11, 1, tzinfo=UTC)
NOW = datetime(2027, 1, 5, 12, tzinfo=UTC)
HOSTILE = 'a "quote" \\ and\n2026-01-01 open Assets:Stolen\n; a comment: x, (b | c'
ODD_ACCOUNTS = (
    *("assets:bank:Main", "assets:bank:main", "assets:bank:MAIN", "assets:bank:mAIN"),
    *("assets:bank:a_b", "assets:bank:a-b", "assets:bank:a.b", "assets:bank:a_-b"),
    *("assets:bank:a@b/c+d", "assets:bank:0", "assets:bank:a_", "assets:bank:A_", "assets:bank:a-"),
    *("assets:bank:x:y", "assets:bank:x_y", "assets:bank:x--y"),
)


def fill(store: EventStore) -> Book:
    """Let the day pass, then everything else; return the book."""
    book = Book(store, clock=lambda: NOW)
    book.execute_many(day())
    _points(store)
    _closed_period(book)
    for number, account in enumerate(ODD_ACCOUNTS):
        _post(book, f"odd-{number}", account, 10**number + 1, "EUR")
    _post(book, "dinar", "assets:bank:kuwait", 12_345, "KWD")
    _post(book, "large", "assets:bank:large", 10**26 + 1, "EUR")
    _post(book, "held", "assets:bank:main", 700, "EUR", layer=Layer.HELD)
    book.execute(
        m.ConvertCurrency(
            entry_id="bank-1",
            bank="main",
            sold=10_000,
            sold_currency="EUR",
            bought=1_650_000,
            bought_currency="JPY",
        )
    )
    while store.sequence():
        pass
    return book


def _points(store: EventStore) -> None:
    shop = Shop(store)
    shop.place(item("a", "50"), order_id="points-1")
    shop.run(
        m.IssueValue(
            account_id="points-b1",
            amount=900,
            currency="PTSGOLD",
            kind=ValueKind.LOYALTY,
            source=ValueSource.GOODWILL,
            lot_id="l1",
            holder="b1",
        )
    )
    shop.run(
        m.RedeemValue(
            account_id="points-b1",
            redemption_id="points-z1",
            amount=400,
            currency="PTSGOLD",
            order_id="points-1",
            order_amount=2_000,
        )
    )


def _closed_period(book: Book) -> None:
    """Close a month, then report something effective in it: it posts later and says so."""
    book.execute(m.ClosePeriod(period="2025-10", end=CLOSED))
    book.execute(
        m.RecordSettlement(
            entry_id="late-1",
            provider="adyen",
            bank="main",
            gross=500,
            fee=20,
            currency="EUR",
            occurred_at=datetime(2025, 10, 9, tzinfo=UTC),
        )
    )
    _post(book, "wrong", "assets:bank:main", 77, "EUR", at=CLOSED)
    book.execute(m.ReverseEntry(entry_id="wrong", reversal_id="r1", reason=HOSTILE))
    book.execute(
        m.PostEntry(
            entry_id="right",
            description=HOSTILE,
            adjusts="wrong",
            postings=_legs("assets:bank:main", 70, "EUR"),
            occurred_at=CLOSED,
        )
    )


def _post(
    book: Book, entry_id: str, account: str, minor: int, currency: str, **more: object
) -> None:
    layer = more.get("layer", Layer.POSTED)
    at = more.get("at")
    assert isinstance(layer, Layer)
    assert at is None or isinstance(at, datetime)
    book.execute(
        m.PostEntry(
            entry_id=entry_id,
            description=f"entry {entry_id}",
            postings=_legs(account, minor, currency, layer),
            occurred_at=at,
        )
    )


def _legs(
    account: str, minor: int, currency: str, layer: Layer = Layer.POSTED
) -> tuple[PostingInput, ...]:
    return (
        PostingInput(account, currency, minor, layer),
        PostingInput("equity:opening", currency, -minor, layer),
    )
