"""Streams that are closed for a dossier: what is recorded, what it says, what is refused."""

from hashlib import sha256
from typing import Any

import pytest

from orderledger.commands.model import AttestStreams
from orderledger.ledger.attestation_events import StreamAttested, state_text
from orderledger.ledger.dispute_parties import Party
from orderledger.ledger.errors import InvalidCommand, LimitExceeded, Reason, Rejected
from orderledger.ledger.folds import FOLDS
from tests.dispute_shop import DisputeShop

OF = ("order-o1", "payment-p1")


def attest(**fields: Any) -> AttestStreams:
    given: dict[str, Any] = {"subject": "order-o1", "of": OF, "reason": "asked for", **fields}
    return AttestStreams(**given)


def test_every_stream_gets_its_own_event_in_one_append() -> None:
    """Catches a stream whose end is not pinned, or pinned at another instant than the others."""
    shop = DisputeShop()
    before = {stream: shop.book.read.history(stream) for stream in OF}
    versions = {stream: len(list(rows)) for stream, rows in before.items()}
    order = shop.book.order("o1")
    receipt = shop.run(attest())
    assert receipt.streams == {stream: version + 1 for stream, version in versions.items()}
    assert receipt.positions is not None
    first, second = receipt.positions
    assert second == first + 1
    *_, last = shop.book.read.history("order-o1")
    expected = sha256(state_text(order).encode()).hexdigest()
    assert last.event == StreamAttested(
        subject="order-o1", streams=OF, state=expected, reason="asked for"
    )
    assert shop.book.order("o1") == order, "it changes no state"


def test_it_closes_nothing_for_commands() -> None:
    """Catches an attestation that would stop the order, or that can be made only once."""
    shop = DisputeShop()
    shop.run(attest())
    shop.refund("r1", 100)
    shop.run(attest())
    topics = [one.topic for one in shop.book.read.history("order-o1")]
    assert topics.count("stream.attested.v1") == 2
    assert topics[-1] == "stream.attested.v1"


def test_every_kind_of_stream_may_have_it() -> None:
    """Catches a kind that a dossier could name and that its event would make unreadable."""
    event = StreamAttested(subject="x-1", streams=("x-1",), state="", reason="r")
    for fold in FOLDS.values():
        assert fold.apply(fold.initial, event) is fold.initial


def test_the_text_of_a_state_depends_on_nothing_but_the_state() -> None:
    """Catches a text that depends on the order in which a mapping or a set was made."""
    one = {("b", 1): frozenset({"y", "x"}), ("a", 2): (Party.BUYER, None)}
    other = dict(reversed(list(one.items())))
    assert state_text(one) == state_text(other)
    assert state_text(one) == '{"[\\"a\\",2]":["buyer",null],"[\\"b\\",1]":["x","y"]}'


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"reason": " "}, InvalidCommand),
        ({"of": ("order-o1", "order-o1")}, InvalidCommand),
        ({"of": ("order-o1", "nothing")}, InvalidCommand),
        ({"of": ("order-o1", "wrong-1")}, InvalidCommand),
        ({"of": ("order-o1", "order-")}, InvalidCommand),
        ({"subject": "order-o2"}, InvalidCommand),
        ({"reason": "x" * 501}, LimitExceeded),
        ({"of": tuple(f"order-o{one}" for one in range(1, 1_002))}, LimitExceeded),
    ],
)
def test_what_is_malformed_is_refused(fields: dict[str, Any], error: type[Exception]) -> None:
    """Catches an attestation that says nothing, or of something that is no stream."""
    shop = DisputeShop()
    head = shop.store.head()
    with pytest.raises(error):
        shop.run(attest(**fields))
    assert shop.store.head() == head


def test_a_stream_without_events_is_refused() -> None:
    """Catches a stream that begins with its own end."""
    shop = DisputeShop()
    with pytest.raises(Rejected, match="payment-p9 has no events") as refused:
        shop.run(attest(of=("order-o1", "payment-p9")))
    assert refused.value.reason is Reason.NOT_FOUND
