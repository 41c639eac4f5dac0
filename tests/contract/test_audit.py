"""An audit, and the report of one, are the same whatever the engine."""

from datetime import timedelta

import msgspec
import pytest

from orderledger import Book
from orderledger.commands import model as m
from orderledger.commands.requests import Actor
from orderledger.ledger.as_of import AsOf
from orderledger.ledger.errors import Rejected
from orderledger.ledger.ports import EventStore
from orderledger.reading import Reading
from orderledger.replay.audit import AuditEntry, AuditRefusal
from orderledger.replay.audit_report import report
from tests.cli.seeded_book import seed
from tests.contract.engines import Engine
from tests.model.shop import item
from tests.seeding import START, memory_store, ticking

SUBJECTS = (
    ("order", "o1"),
    ("payment", "p1"),
    ("account", "assets:psp:adyen"),
    ("actor", "gateway:adyen"),
)


@pytest.mark.parametrize(("kind", "subject"), SUBJECTS)
def test_a_report_is_the_same_on_every_engine(engine: Engine, kind: str, subject: str) -> None:
    """Catches bytes that depend on the database, the hour or the order of a dict."""
    store, expected = engine.open(clock=ticking()), memory_store()
    for one in (store, expected):
        seed(one)
    made = [report(Reading(one).audit(kind, subject)) for one in (store, expected, store)]
    assert made[0] == made[1] == made[2]


def _refused(store: EventStore) -> list[AuditEntry]:
    with Book(store, clock=ticking()) as book:
        for order_id in ("o1", "o2"):
            place = m.PlaceOrder(
                order_id=order_id, buyer_ref="b", currency="USD", lines=(item("a", "10"),)
            )
            book.execute(place, key=f"place-{order_id}")
            for number in range(3):
                other = msgspec.structs.replace(place, buyer_ref=f"b{number}")
                with pytest.raises(Rejected):
                    book.execute(other, key=f"{order_id}-{number}", actor=Actor("staff", "ann"))
            store.archive_commands(START + timedelta(days=1))
        told = list(book.read.audit("order", "o2"))
        assert list(book.read.audit("order", "o2", AsOf())) == told
        assert len(list(book.read.audit("actor", "staff:ann"))) == 6
        by_id = list(book.read.audit("command", told[-1].command_id))
        assert by_id == list(book.read.audit("command", "o2-2")) == told[-1:]
        return told


def test_refusals_are_told_on_every_engine(engine: Engine) -> None:
    """Catches an engine that forgets who was refused, or where the refusal was archived."""
    told = _refused(engine.open(clock=ticking()))
    expected = _refused(memory_store())
    assert [type(one) for one in told] == [type(one) for one in expected]
    for one, other in zip(told, expected, strict=True):
        if isinstance(one, AuditRefusal) and isinstance(other, AuditRefusal):
            assert (one.key, one.message, one.context) == (other.key, other.message, other.context)
            assert one.recorded_at == other.recorded_at
            assert dict(one.streams) == dict(other.streams) == {"order-o2": 1}
