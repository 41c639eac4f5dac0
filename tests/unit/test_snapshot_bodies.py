"""States of every kind come back from their bytes as they were, and fingerprints tell the code."""

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from orderledger.ledger import events, folds
from orderledger.ledger.accounts_state import AccountState
from orderledger.ledger.codec import decode_event
from orderledger.ledger.folds import FOLDS, Fold, fold_of
from orderledger.ledger.ports import EventStore
from orderledger.ledger.stores.memory import MemoryStore
from orderledger.ledger.streams import kind_of
from orderledger.snapshots import bodies
from orderledger.snapshots.bodies import (
    BIG,
    PLAIN,
    NotTheSame,
    Unreadable,
    decode_state,
    encode_state,
)
from orderledger.snapshots.fingerprints import fold_fingerprint
from tests.golden_folds import found_now, golden_states, kept, plain
from tests.projections.books import day_in_memory
from tests.projections.market_book import MarketBook


def _there_and_back(state: Any) -> str:
    codec, body = encode_state(state)
    found = decode_state(codec, type(state), body)
    assert found == state
    # Equal is not enough: who iterates over a mapping must meet it in the same order.
    assert plain(found) == plain(state)
    assert _types(found) == _types(state)
    return codec


def _types(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return (type(value), [_types(getattr(value, name)) for name in value.__struct_fields__])
    if isinstance(value, Mapping):
        return [(_types(key), _types(one)) for key, one in value.items()]
    if isinstance(value, tuple):
        return (tuple, [_types(one) for one in value])
    return type(value)


def _states_along(store: EventStore) -> set[str]:
    states: dict[str, Any] = {}
    for row in store.read(0, limit=100_000):
        before = states.get(row.stream, fold_of(row.stream).initial)
        event = decode_event(row.topic, row.payload)
        states[row.stream] = fold_of(row.stream).apply(before, event)
        assert _there_and_back(states[row.stream]) == PLAIN
    return {kind_of(stream) for stream in states}


def test_every_state_of_rich_books_comes_back() -> None:
    """Catches a state that a snapshot would change, at any event of a marketplace's life."""
    market = MemoryStore()
    MarketBook(market)
    found = _states_along(market) | _states_along(day_in_memory().store)
    assert set(FOLDS) - found == {"account", "periods", "projection", "work"}


@pytest.mark.parametrize("kind", sorted(FOLDS))
def test_every_kind_comes_back_with_every_event(kind: str) -> None:
    """Catches a kind, or a field that only a rare event fills, that does not survive."""
    for state in (FOLDS[kind].initial, *golden_states(kind)):
        _there_and_back(state)


def test_amounts_beyond_64_bits_come_back() -> None:
    """Catches a sum of money that is cut off, or a state without snapshots because of one."""
    most = 10**24
    state = AccountState(
        account="a", balances={"posted": {"IDR": most, "JPY": -most, "USD": 2**63}, "held": {}}
    )
    assert _there_and_back(state) == BIG
    for kind in FOLDS:
        for held in golden_states(kind):
            beside = msgspec.defstruct("Beside", [("held", type(held)), ("much", int)], frozen=True)
            assert _there_and_back(beside(held, 2**70)) == BIG


def test_what_does_not_come_back_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a codec that loses something being trusted with a state."""
    lossy = bodies.decode_state
    monkeypatch.setattr(
        bodies,
        "decode_state",
        lambda codec, kind, body: msgspec.structs.replace(lossy(codec, kind, body), account="b"),
    )
    with pytest.raises(NotTheSame, match="AccountState is not the same"):
        encode_state(AccountState(account="a"))


@pytest.mark.parametrize("body", [b"", b"x", encode_state(AccountState())[1][:-3]])
def test_a_damaged_body_is_unreadable(body: bytes) -> None:
    """Catches damage that surfaces as an error of somebody's command."""
    for codec in (PLAIN, BIG):
        with pytest.raises(Unreadable):
            decode_state(codec, AccountState, body)
    with pytest.raises(Unreadable):
        decode_state(PLAIN, FOLDS["order"].initial.__class__, encode_state(("no", "order"))[1])


def test_folds_are_what_the_golden_file_says() -> None:
    """Catches a changed evolve function without a new ``Fold.version``; see golden_folds."""
    assert found_now() == kept()


def test_a_fingerprint_tells_every_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a snapshot of other code that is taken for one of this."""
    seen = {kind: fold_fingerprint(kind) for kind in FOLDS}
    assert len(set(seen.values())) == len(FOLDS)
    before = seen["account"]

    def changed(fold: Fold) -> bytes:
        with monkeypatch.context() as patch:
            patch.setattr(
                "orderledger.snapshots.fingerprints.FOLDS", {**folds.FOLDS, "account": fold}
            )
            return fold_fingerprint.__wrapped__("account")

    account = FOLDS["account"]
    wider = msgspec.defstruct(
        "AccountState", [("more", int, 0)], bases=(AccountState,), frozen=True, kw_only=True
    )
    other_default = msgspec.defstruct(
        "AccountState", [("account", str, "x")], bases=(AccountState,), frozen=True, kw_only=True
    )
    assert changed(account) == before
    fewer = dict(list(account.evolve.items())[1:])
    found = {
        "version": changed(Fold(account.initial, account.evolve, version=2)),
        "field": changed(Fold(wider(), account.evolve)),
        "default": changed(Fold(other_default(), account.evolve)),
        "topics": changed(Fold(account.initial, fewer)),
    }
    with monkeypatch.context() as patch:
        topic = events.topic_of(next(iter(account.evolve)))
        lifted = {**events._upcasters, "account.older.v1": (topic, lambda raw: raw)}
        patch.setattr(events, "_upcasters", lifted)
        found["upcaster"] = changed(account)
    assert before not in found.values()
    assert len(set(found.values())) == len(found)
