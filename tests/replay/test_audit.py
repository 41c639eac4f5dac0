"""What an audit tells of a subject: all of it, nothing of another, and nothing that came later."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from orderledger.book import Book
from orderledger.commands import model as m
from orderledger.commands.account_commands import ConstrainAccount, FreezeAccount
from orderledger.commands.requests import SYSTEM, Actor, Envelope
from orderledger.ledger import folds
from orderledger.ledger.account_events import ConstraintKind
from orderledger.ledger.as_of import AsOf
from orderledger.ledger.errors import (
    IntegrityViolation,
    InvalidAccount,
    InvalidInput,
    NotFound,
    Rejected,
)
from orderledger.ledger.events import topics
from orderledger.ledger.ports import EventStore
from orderledger.ledger.stores.memory import MemoryStore
from orderledger.reading import Reading
from orderledger.replay.audit import AuditEntry, AuditEvent, AuditRefusal
from orderledger.replay.audit_facts import PEOPLE, REASONS, RULES
from tests.commands.entries import post
from tests.contract.batches import batch, command
from tests.model.shop import item
from tests.projections.market_book import MarketBook
from tests.seeding import Seeder, memory_store, ticking, transfer

ANN = Actor("staff", "ann")
SUSPECT = re.compile(
    r"reason|why|grounds|cause$|cause_event|detail|description|statement$|^note|resolution$"
    r"|^by$|_by$|polic|^rule|_version$|^basis$"
)
NOT_TOLD = {"evidence_due_by": "a deadline", "new_version": "a result, not what it was decided on"}


@pytest.fixture(scope="module")
def market() -> EventStore:
    """Give a marketplace's trouble, in memory."""
    store = memory_store()
    MarketBook(store)
    return store


@pytest.fixture
def book() -> Iterator[Book]:
    """Give an empty book whose two clocks go together, a second at each look."""
    clock = ticking()
    with Book(MemoryStore(clock=clock), clock=clock) as found:
        yield found


def events_of(entries: list[AuditEntry]) -> list[AuditEvent]:
    return [one for one in entries if isinstance(one, AuditEvent)]


def refusals_of(entries: list[AuditEntry]) -> list[AuditRefusal]:
    return [one for one in entries if isinstance(one, AuditRefusal)]


def place(order_id: str, price: str = "10") -> m.PlaceOrder:
    return m.PlaceOrder(
        order_id=order_id, buyer_ref="b1", currency="USD", lines=(item("a", price),)
    )


def test_every_field_that_says_why_or_who_or_by_which_rule_is_told() -> None:
    """Catches an event whose reason no audit shows."""
    assert folds.FOLDS
    told = {*REASONS, *PEOPLE, *RULES}
    found = {
        field.name
        for struct in topics().values()
        for field in msgspec.structs.fields(struct)
        if SUSPECT.search(field.name)
    }
    assert found - told == set(NOT_TOLD)
    assert told <= found, "a field that no event has"


def test_an_order_is_told_with_all_that_belongs_to_it(market: EventStore) -> None:
    """Catches an event of a payment or a dispute that the order's audit leaves out."""
    reading = Reading(market)
    audit = reading.audit("order", "o1")
    entries = events_of(list(audit))
    assert [one.recorded for one in entries] == list(reading.order_history("o1"))
    assert audit.streams == ("order-o1", "payment-p1", "dispute-d1")
    assert all(one.command for one in entries), "each has its command"
    filed = next(one for one in entries if one.recorded.topic.startswith("dispute.filed"))
    assert filed.command == "FileDispute"
    assert filed.recorded.context.actor == SYSTEM
    rules = {one.field: one.text for one in filed.rules}
    assert rules["rule_book"] == "house, version 3"
    assert len(rules["rule_book_hash"]) == 64
    struck = next(one for one in entries if "evidence_struck" in one.recorded.topic)
    assert [(one.field, one.text) for one in struck.reasons] == [("reason", "forged")]
    assert [(one.field, one.text) for one in struck.people] == [("by", "clerk")]


@pytest.mark.parametrize(
    ("kind", "subject"),
    [
        ("order", "o1"),
        ("payment", "p2"),
        ("dispute", "d1"),
        ("account", "assets:psp:psp"),
        ("actor", "system:orderledger"),
    ],
)
def test_as_of_a_position_is_what_stood_until_there(
    market: EventStore, kind: str, subject: str
) -> None:
    """Catches an audit of the past that tells something later, or less than was known."""
    reading = Reading(market)
    whole = events_of(list(reading.audit(kind, subject)))
    assert len(whole) > 5
    for cut in (1, len(whole) // 2, len(whole)):
        position = whole[cut - 1].recorded.position
        assert position is not None
        wanted = AsOf(position=position)
        assert events_of(list(reading.audit(kind, subject, wanted))) == whole[:cut]
        assert events_of(list(reading.as_of(position).audit(kind, subject))) == whole[:cut]
    happened = sorted(one.recorded.occurred_at for one in whole)
    by_then = AsOf(effective_to=happened[0])
    kept = [one for one in whole if one.recorded.occurred_at <= happened[0]]
    assert events_of(list(reading.audit(kind, subject, by_then))) == kept


def test_what_was_refused_is_told_with_who_and_on_what(book: Book) -> None:
    """Catches a refusal that leaves no trace for an auditor."""
    book.execute(place("o1"), key="place", actor=ANN)
    with pytest.raises(Rejected):
        book.execute(place("o1", "11"), key="again", actor=ANN)
    book.execute(place("o2"), key="other")
    entries = list(book.read.audit("order", "o1"))
    (refused,) = refusals_of(entries)
    assert entries[-1] == refused, "in the order of recording"
    assert (refused.command, refused.key, refused.reason) == (
        "PlaceOrder",
        "again",
        "already_exists",
    )
    assert refused.streams["order-o1"] == 1
    assert refused.context is not None
    assert refused.context.actor == ANN
    assert refusals_of(list(book.read.audit("order", "o2"))) == []
    assert refusals_of(list(book.read.audit("actor", "staff:ann"))) == [refused]
    assert list(book.read.audit("command", "again")) == [refused]
    assert list(book.read.audit("command", refused.command_id)) == [refused]


def test_a_refusal_is_not_told_before_it_was(book: Book) -> None:
    """Catches a past in which somebody was already refused."""
    first = book.execute(place("o1"), key="place")
    with pytest.raises(Rejected):
        book.execute(place("o1", "11"), key="again")
    assert first.positions is not None
    (refused,) = refusals_of(list(book.read.audit("order", "o1")))
    assert refusals_of(list(book.read.audit("order", "o1", AsOf(position=1)))) == []
    for at, count in ((refused.recorded_at, 1), (refused.recorded_at - timedelta(seconds=1), 0)):
        told = list(book.read.audit("order", "o1", AsOf(recorded_to=at)))
        assert len(refusals_of(told)) == count
    with pytest.raises(NotFound, match="nothing of command again by position 1"):
        list(book.read.audit("command", "again", AsOf(position=1)))
    book.execute(place("o2"))
    assert len(refusals_of(list(book.read.as_of(2).audit("order", "o1")))) == 1


def test_a_refusal_of_an_older_release_is_found_by_what_it_names() -> None:
    """Catches refusals that were recorded before they named streams, and vanish from audits."""
    store = memory_store()
    Seeder(store).append(transfer(1, datetime(2026, 1, 1, tzinfo=UTC), entry_id="e1"))
    book = Book(store)
    book.execute(place("o1"))
    old = msgspec.structs.replace(
        command("old", refused=True),
        reply='{"error":"Rejected","reason":"on_hold","message":"held","facts":{"order_id":"o1"}}',
    )
    store.append(batch(old))
    (refused,) = refusals_of(list(book.read.audit("order", "o1")))
    assert (refused.key, refused.message, refused.context) == ("old", "held", None)
    book.execute(place("o2"))
    assert refusals_of(list(book.read.audit("order", "o2"))) == []
    book.close()


def test_an_account_is_told_with_its_entries_and_what_was_decided_about_it(book: Book) -> None:
    """Catches an account whose freezing nobody can explain, or an entry told twice."""
    book.execute(post("e1", 100), key="e1")
    account = "assets:bank:main"
    book.execute(
        ConstrainAccount(account=account, kind=ConstraintKind.FLOOR, currency="GBP", limit=0)
    )
    book.execute(post("e2", 50), key="e2")
    book.execute(FreezeAccount(account=account, reason="court order"), key="freeze", actor=ANN)
    with pytest.raises(Rejected):
        book.execute(post("e3", 1), key="e3")
    entries = list(book.read.audit("account", account))
    assert [one.recorded.topic for one in events_of(entries)] == [
        "journal.entry_posted.v1",
        "account.constrained.v1",
        "journal.entry_posted.v1",
        "account.frozen.v1",
    ]
    frozen = events_of(entries)[-1]
    assert [one.text for one in frozen.reasons] == ["court order"]
    assert [one.reason for one in refusals_of(entries)] == ["account_frozen"]


def test_an_account_whose_entries_do_not_come_to_its_balance_is_told(
    book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches an audit that lists entries and never looks whether they are all."""
    book.execute(post("e1", 100))
    balances = book.read.balances
    monkeypatch.setattr(type(balances), "balance_at", lambda *_: 99)
    with pytest.raises(IntegrityViolation, match=r"come to 100 .* its balance is 99"):
        list(book.read.audit("account", "assets:bank:main"))


def test_a_command_is_found_by_its_key_and_by_its_id(market: EventStore) -> None:
    """Catches a command whose events on another stream are not told."""
    reading = Reading(market)
    by_key = events_of(list(reading.audit("command", "market-3")))
    assert [one.recorded.stream for one in by_key] == ["payment-p1", "order-o1"]
    assert {one.command for one in by_key} == {"InitiatePayment"}
    assert list(reading.audit("command", by_key[0].command_id)) == by_key


def test_a_command_without_a_key_is_found_by_its_id(book: Book) -> None:
    """Catches commands that nobody gave a key and that cannot be audited."""
    receipt = book.execute(place("o1"))
    (entry,) = events_of(list(book.read.audit("command", str(receipt.command_id))))
    assert entry.command == "PlaceOrder"
    assert [one.command for one in events_of(list(book.read.audit("order", "o1")))] == [
        "PlaceOrder"
    ]


def test_the_chain_of_causes_is_told(book: Book) -> None:
    """Catches an envelope field that is stored and never shown."""
    book.execute_many(
        [Envelope(command=place("o1"), key="k", correlation_id="cart-1", causation_id="click-7")]
    )
    (entry,) = events_of(list(book.read.audit("order", "o1")))
    context = entry.recorded.context
    assert (context.correlation_id, context.causation_id) == ("cart-1", "click-7")


@pytest.mark.parametrize(
    ("kind", "subject", "error", "why"),
    [
        ("order", "nobody", NotFound, "stream order-nobody has no events by position 157"),
        ("payment", "nobody", NotFound, "stream payment-nobody has no events"),
        ("dispute", "nobody", NotFound, "stream dispute-nobody has no events"),
        ("account", "assets:nowhere", NotFound, "no account assets:nowhere was ever posted to"),
        ("account", "nonsense", InvalidAccount, "nonsense"),
        ("actor", "staff:nobody", NotFound, "has nothing of actor staff:nobody by position 157"),
        ("actor", "nobody", InvalidInput, "actor 'nobody' is not like staff:7"),
        ("command", "no-such-key", NotFound, "no command with the key or id no-such-key"),
        ("command", "01a22e35-6167-73c7-8c56-aae146ea57b7", NotFound, "no command with the key"),
        ("shop", "x", InvalidInput, "there is no audit of a shop: of order, payment"),
    ],
)
def test_what_is_not_there_is_told(
    market: EventStore, kind: str, subject: str, error: type[Exception], why: str
) -> None:
    """Catches an empty audit, which reads as if nothing had ever happened."""
    with pytest.raises(error, match=re.escape(why)):
        list(Reading(market).audit(kind, subject))
    with pytest.raises(InvalidInput, match="position 999 is not in the log"):
        Reading(market).audit(kind if kind != "shop" else "order", subject, AsOf(position=999))


def test_a_command_that_had_nothing_to_do_is_told(book: Book) -> None:
    """Catches an accepted command without events that looks as if it had never been given."""
    book.execute(place("o1"), key="place")
    book.execute(place("o1"), key="again", actor=ANN)
    (entry,) = list(book.read.audit("command", "again"))
    assert isinstance(entry, AuditRefusal)
    assert (entry.command, entry.error, entry.streams) == ("PlaceOrder", "", {})
