"""The same history has the same dossier on every engine, byte for byte."""

from datetime import datetime
from pathlib import Path

import pytest

from orderledger import Book
from orderledger.proving import DossierTerms
from orderledger.replay.dossier_page import page_of
from orderledger.replay.verify_dossier import verify
from tests import dossiers
from tests.contract.engines import Engine
from tests.seeding import START


@pytest.mark.parametrize(("kind", "entity_id"), [("dispute", "d1"), ("order", "o2")])
def test_a_dossier_is_the_same_on_every_engine(
    engine: Engine, tmp_path: Path, kind: str, entity_id: str
) -> None:
    """Catches a dossier that depends on where the book is kept."""
    shop = dossiers.market()
    terms = DossierTerms(key_file=dossiers.key_file(tmp_path))
    expected = shop.book.proving.dossier(kind, entity_id, terms)
    now: list[datetime] = [START]
    store = engine.open(clock=lambda: now[0])
    dossiers.copy(shop.store, store, now)
    with Book(store) as book:
        found = book.proving.dossier(kind, entity_id, terms)
        assert store.head() == shop.store.head(), "it was closed already: nothing is written"
    assert found.text == expected.text
    assert page_of(found.text) == page_of(expected.text)
    assert not dossiers.failures(found.text)
    assert verify(found.text)[2].text.startswith(f"all {found.events} events of ")
