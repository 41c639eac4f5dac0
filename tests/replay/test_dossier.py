"""How a dossier is made: what is closed, signed and withheld for it, and what is refused."""

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from orderledger.commands import model as m
from orderledger.commands.attestation_commands import AttestStreams
from orderledger.commands.requests import Envelope, Receipt
from orderledger.ledger.attestation_events import StreamAttested
from orderledger.ledger.checkpoints import Checkpoint, SignedCheckpoint
from orderledger.ledger.errors import (
    IntegrityViolation,
    InvalidInput,
    LogForked,
    NotFound,
    Unavailable,
)
from orderledger.proving import DossierTerms, Proving
from orderledger.replay import dossier
from orderledger.replay.checkpoints import checkpoint_of
from orderledger.replay.dossier_page import page_of
from orderledger.replay.verify_dossier import parse, verify
from tests.dispute_book import HOUR, file, rules
from tests.dispute_shop import DisputeShop
from tests.dossiers import AUDITOR, KEY, failures, key_file, market
from tests.model.shop import NOW
from tests.projections.market_book import MarketBook

HOSTILE = "</script><script>alert('1')</script><img src=x onerror=alert(2)>\u2028&amp;<!--"


@pytest.fixture(scope="module")
def shop() -> MarketBook:
    return market()


def signed(shop: DisputeShop, size: int | None = None) -> SignedCheckpoint:
    one = checkpoint_of(shop.store, size)
    return SignedCheckpoint(one, ()).with_signature(KEY.sign(one))


def test_it_closes_every_stream_of_the_order_once(tmp_path: Path) -> None:
    """Catches an export that writes again where nothing happened, or not where something did."""
    shop = DisputeShop()
    terms = DossierTerms(key_file=key_file(tmp_path), reason="asked for by ann")
    first = shop.book.proving.dossier("order", "o1", terms)
    head = shop.store.head()
    assert shop.book.proving.dossier("order", "o1", terms) == first
    assert shop.store.head() == head
    *_, last = shop.book.read.history("order-o1")
    assert isinstance(last.event, StreamAttested)
    assert last.event.reason == "asked for by ann"
    shop.refund("r1", 100)
    second = shop.book.proving.dossier("order", "o1", terms)
    assert second.events > first.events
    assert not failures(second.text)


def test_a_dispute_has_its_order_and_all_that_is_of_it(shop: MarketBook) -> None:
    """Catches a dossier of a dispute without the money that it is about."""
    made = shop.book.proving.dossier("dispute", "d1")
    streams = [one["stream"] for one in parse(made.text)["streams"]]
    assert streams == ["order-o1", "payment-p1", "dispute-d1"]
    other = shop.book.proving.dossier("order", "o1")
    assert [one["stream"] for one in parse(other.text)["streams"]] == streams
    assert (made.subject, other.subject) == ("dispute-d1", "order-o1")


def test_who_publishes_first_and_exports_again_writes_nothing_more(tmp_path: Path) -> None:
    """Catches a way to a cosigned dossier on which each export makes the last too old."""
    shop = market()
    vault, key = str(tmp_path / "vault"), key_file(tmp_path)
    shop.book.proving.publish(key, [vault])
    before = shop.store.head().size
    with pytest.raises(InvalidInput, match=f"the newest checkpoint is of {before} events, the "):
        shop.book.proving.dossier("dispute", "d1", DossierTerms(targets=(vault,)))
    shop.book.proving.publish(key, [vault])
    made = shop.book.proving.dossier("dispute", "d1", DossierTerms(targets=(vault,)))
    assert shop.store.head().size == made.position == made.checkpoint.checkpoint.size
    assert not failures(made.text)


def test_signatures_of_several_targets_come_together(shop: MarketBook) -> None:
    """Catches a cosignature that is lost because another target has the same checkpoint."""
    shop.book.proving.dossier("dispute", "d1")
    subject = dossier.subject_of(shop.store, "dispute", "d1")
    ends = dossier.closed(shop.store, subject)
    assert ends is not None
    head = checkpoint_of(shop.store)
    bare = SignedCheckpoint(head, ())
    held = [bare.with_signature(KEY.sign(head)), bare.with_signature(AUDITOR.cosign(head, NOW))]
    text = dossier.make(shop.store, subject, ends, held).text
    found = verify(text, [KEY.verifier.text, AUDITOR.cosigner.text])
    (said,) = [one.text for one in found if one.check == "signatures"]
    assert said.endswith(
        "is signed by ledger.shop.example, auditor.example (saw it 2026-01-05 12:00:00+00:00)"
    )


def test_an_order_that_moves_meanwhile_is_closed_again() -> None:
    """Catches a payment that was linked between the look and the closing, and is left out."""
    shop = DisputeShop()
    moves = iter(["p7", "p8"])

    def execute(envelope: Envelope) -> Receipt:
        payment_id = next(moves, None)
        if payment_id is not None:
            shop.run(m.InitiatePayment(**payment(payment_id)))
        return shop.book.execute_envelope(envelope)

    made = Proving(shop.store, execute).dossier("order", "o1")
    streams = {one["stream"] for one in parse(made.text)["streams"]}
    assert streams == {"order-o1", "payment-p1", "payment-p7", "payment-p8"}
    shop = DisputeShop()
    counted = (f"q{number}" for number in range(100))

    def always(envelope: Envelope) -> Receipt:
        shop.run(m.InitiatePayment(**payment(next(counted))))
        return shop.book.execute_envelope(envelope)

    with pytest.raises(Unavailable, match="order o1 moved at each of 20 attempts"):
        Proving(shop.store, always).dossier("order", "o1")


def payment(payment_id: str) -> dict[str, Any]:
    return {
        "payment_id": payment_id,
        "order_id": "o1",
        "provider": "psp",
        "method": "card",
        "amount": 1,
        "currency": "USD",
        "is_over_tender": True,
    }


def test_a_stream_that_is_left_out_by_its_operator_is_no_dossier() -> None:
    """Catches an operator who closes all streams but the one that would not look good."""
    shop = DisputeShop()
    shop.run(AttestStreams(subject="order-o1", of=("order-o1",), reason="r"))
    subject = dossier.Subject("order-o1", ("order-o1",), 0)
    ends = dossier.closed(shop.store, subject)
    assert ends is not None
    with pytest.raises(IntegrityViolation, match="names payment-p1, which is not here"):
        dossier.make(shop.store, subject, ends, ())


@pytest.mark.parametrize(
    ("kind", "entity_id", "error", "text"),
    [
        ("order", "o9", NotFound, "book main has no order o9"),
        ("dispute", "d9", NotFound, "book main has no dispute d9"),
        ("payment", "p1", InvalidInput, "of an `order` or a `dispute`, not of 'payment'"),
    ],
)
def test_what_is_not_there_has_no_dossier(
    shop: MarketBook, kind: str, entity_id: str, error: type[Exception], text: str
) -> None:
    """Catches an empty dossier of nothing."""
    head = shop.store.head()
    with pytest.raises(error, match=text):
        shop.book.proving.dossier(kind, entity_id)
    assert shop.store.head() == head


@pytest.mark.parametrize(
    ("withhold", "text"),
    [
        ("order.address_set.v1", "nothing of the dossier is 'order.address_set.v1'"),
        ("order-o1:99", "nothing of the dossier is 'order-o1:99'"),
        ("stream.attested.v1", "cannot be withheld"),
        ("order-o1:3", "cannot be withheld: by it the dossier shows that nothing is left out"),
    ],
)
def test_what_cannot_be_withheld_is_refused(shop: MarketBook, withhold: str, text: str) -> None:
    """Catches a name that was mistyped: the dossier would show what it was to hide."""
    with pytest.raises(InvalidInput, match=text):
        shop.book.proving.dossier("dispute", "d1", DossierTerms(withhold=(withhold,)))


def test_checkpoints_of_another_log_are_refused(shop: MarketBook) -> None:
    """Catches a dossier that is made although the log is not the one that was signed."""
    shop.book.proving.dossier("dispute", "d1")
    subject = dossier.subject_of(shop.store, "dispute", "d1")
    ends = dossier.closed(shop.store, subject)
    assert ends is not None
    ours = checkpoint_of(shop.store)
    cases: list[tuple[Checkpoint, type[Exception], str]] = [
        (checkpoint_of(market("branch").store), InvalidInput, "a checkpoint is of orderledger/bra"),
        (Checkpoint(ours.origin, 20, ours.root), LogForked, "history was rewritten"),
        (Checkpoint(ours.origin, ours.size + 1, ours.root), LogForked, "it lost its end"),
    ]
    for one, error, text in cases:
        with pytest.raises(error, match=text):
            dossier.make(shop.store, subject, ends, [signed(shop), SignedCheckpoint(one, ())])


# -- the page ----------------------------------------------------------------------------------


class _Seen(HTMLParser):
    """Collects the tags of a page, their attributes, and what stands between them."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.update([name for name, _ in attrs])

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_a_page_shows_the_case_and_holds_the_dossier(shop: MarketBook) -> None:
    """Catches a page that lacks what an arbitrator looks for, or reaches for what is elsewhere."""
    made = shop.book.proving.dossier("dispute", "d1")
    page = page_of(made.text)
    assert page_of(page) == page, "made again from the data in it"
    assert parse(page) == parse(made.text)
    seen = _Seen()
    seen.feed(page)
    assert seen.attributes <= {*("lang", "charset", "name", "content", "http-equiv"), *_OWN}
    assert not {"link", "img", "iframe", "a"} & set(seen.tags)
    shown = " ".join(seen.texts)
    for text in (
        "Dossier of dispute d1",
        "not as described",
        "buyer 6.00 USD; seller 4.00 USD",
        "the photo shows it",
        "policy 4.2",
        "liabilities:seller:s1",
        "-4.00 USD",
        "happened in the world",
        "Happened",
        "Recorded",
        "evidence struck",
        "python verify_dossier.py",
    ):
        assert text in shown, text


_OWN = ("class", "colspan", "type", "id")


def test_a_hostile_text_stays_a_text() -> None:
    """Catches a name that runs in the reader's browser, or ends the data before their end."""
    shop = DisputeShop()
    shop.run(
        file(placed_at=NOW - HOUR, delivered_at=None, rule_book=rules(), reason=HOSTILE),
    )
    page = page_of(shop.book.proving.dossier("dispute", "d1").text)
    seen = _Seen()
    seen.feed(page)
    assert seen.tags.count("script") == 1
    assert page.count("<script") == page.count("</script") == 1
    assert "img" not in seen.tags
    assert "onerror" not in seen.attributes
    assert HOSTILE in "".join(seen.texts)
    assert not [one for one in verify(page) if one.status == "FAILED"]


def test_a_page_shows_nothing_that_is_withheld(shop: MarketBook) -> None:
    """Catches a page that is made of more than the dossier that it holds."""
    terms = DossierTerms(withhold=("dispute-d1:1", "dispute.ruling_issued.v1"))
    page = page_of(shop.book.proving.dossier("dispute", "d1", terms).text)
    assert "not as described" not in page
    assert "the photo shows it" not in page
    assert "<h2>Withheld</h2>" in page
    assert page.count("withheld; SHA-256") == 2
