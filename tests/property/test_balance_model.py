"""The balance model equals a fold of every event, whatever the events, the clocks and the
batches."""

import tempfile
from datetime import datetime, timedelta
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from orderledger.ledger.accounts import Side
from orderledger.ledger.journal import Layer, decode_entry, entry
from orderledger.ledger.journal import Posting as Leg
from orderledger.ledger.ports import EventStore
from orderledger.projections.balances import JournalFilter, StatementRequest
from tests.seeding import START, Fact, Seeder, balances_of, memory_store, posted, sqlite_store

ACCOUNTS = ("assets:bank:a", "assets:bank:a:sub", "assets:bank:a-b", "income:x", "equity:opening")
CURRENCIES = ("USD", "JPY", "KWD")

amounts = st.one_of(
    st.integers(-(10**6), 10**6),
    st.integers(-(10**28), 10**28),
    st.sampled_from([10**10, -(10**10), 10**20, 10**10 - 1, -(10**20) + 1, 2**63, -(2**63)]),
).filter(bool)
instants = st.integers(-5, 5).map(lambda hours: START + timedelta(hours=hours))


@st.composite
def facts(draw: st.DrawFn) -> list[Fact]:
    """Draw events with entries of one or two currencies on few accounts."""
    made = []
    for number in range(draw(st.integers(0, 12))):
        legs: list[Leg] = []
        for currency in draw(st.sets(st.sampled_from(CURRENCIES), min_size=1, max_size=2)):
            layer = draw(st.sampled_from(list(Layer)))
            moved = draw(st.lists(amounts, min_size=1, max_size=3))
            legs += [Leg(draw(st.sampled_from(ACCOUNTS)), currency, one, layer) for one in moved]
            legs.append(Leg(draw(st.sampled_from(ACCOUNTS)), currency, -sum(moved), layer))
        made.append(posted(entry(*legs), draw(instants), entry_id=f"e{number}"))
    return made


def _folded(
    store: EventStore, effective_to: datetime | None, recorded_to: datetime | None, layer: Layer
) -> dict[tuple[str, str], int]:
    """Sum the postings of all events by hand."""
    sums: dict[tuple[str, str], int] = {}
    for event in store.read(0, limit=1000):
        assert event.recorded_at is not None
        if effective_to is not None and event.occurred_at > effective_to:
            continue
        if recorded_to is not None and event.recorded_at > recorded_to:
            continue
        for leg in decode_entry(event.postings).postings:
            if leg.layer is layer:
                key = (leg.account, leg.currency)
                sums[key] = sums.get(key, 0) + leg.minor
    return sums


def _check(store: EventStore, made: list[Fact], ask: st.DataObject) -> None:
    seeder = Seeder(store)
    balances = balances_of(store)
    for fact in made:
        seeder.append(fact)
        if ask.draw(st.booleans()):
            balances.catch_up(batch_events=ask.draw(st.integers(1, 3)))
    effective_to = ask.draw(st.none() | instants)
    recorded_to = ask.draw(
        st.none() | st.integers(-1, 13).map(lambda s: START + timedelta(seconds=s))
    )
    layer = ask.draw(st.sampled_from(list(Layer)))
    expected = _folded(store, effective_to, recorded_to, layer)
    below = balances.balances_below(
        "assets:bank:a", effective_to=effective_to, recorded_to=recorded_to, layer=layer
    )
    assert {(one.account, one.currency): one.minor for one in below} == {
        key: minor
        for key, minor in expected.items()
        if key[0] in ("assets:bank:a", "assets:bank:a:sub")
    }
    for account in ACCOUNTS:
        assert balances.balance(
            account, effective_to=effective_to, recorded_to=recorded_to, layer=layer
        ) == {key[1]: minor for key, minor in expected.items() if key[0] == account}
    trial = balances.trial_balance(effective_to=effective_to, recorded_to=recorded_to, layer=layer)
    assert trial.is_balanced
    assert {(row.account, row.currency): row.debit - row.credit for row in trial.rows} == {
        key: minor for key, minor in expected.items() if minor
    }
    everything = [event.postings for event in store.read(0, limit=1000) if event.postings]
    assert [
        "\n".join(f"{leg.layer} {leg.account} {leg.currency} {leg.minor}" for leg in one.lines)
        for one in balances.journal(JournalFilter())
    ] == everything
    statement = balances.statement(
        StatementRequest(
            account=ACCOUNTS[0],
            currency="USD",
            start=START - timedelta(hours=2),
            end=START + timedelta(hours=3),
            recorded_to=recorded_to,
            layer=layer,
        )
    )
    assert statement.opening + sum(line.minor for line in statement.lines) == statement.closing
    just_before_end = START + timedelta(hours=3) - timedelta(microseconds=1)
    assert statement.closing == _folded(store, just_before_end, recorded_to, layer).get(
        (ACCOUNTS[0], "USD"), 0
    )
    assert all(one.side in (Side.DEBIT, Side.CREDIT) for one in balances.accounts())


@given(made=facts(), ask=st.data())
def test_the_model_in_memory_equals_a_fold(made: list[Fact], ask: st.DataObject) -> None:
    """Catches a balance, on any pair of clocks, that is not the sum of the events' postings."""
    _check(memory_store(), made, ask)


@given(made=facts(), ask=st.data())
def test_the_model_in_sqlite_equals_a_fold(made: list[Fact], ask: st.DataObject) -> None:
    """Catches limbs, text comparison or paging in SQL that lose a minor unit."""
    with tempfile.TemporaryDirectory() as directory:
        store = sqlite_store(Path(directory) / "book.db")
        _check(store, made, ask)
        store.close()
