"""Invariant 17 and the laws of reversal, over any entries."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderledger.commands.account_commands import PostEntry, PostingInput, ReverseEntry
from orderledger.ledger.account_events import JournalLeg
from orderledger.ledger.balances import BalanceRow, balance
from orderledger.ledger.errors import Rejected, UnbalancedEntry
from orderledger.ledger.journal import (
    Entry,
    Layer,
    Posting,
    decode_entry,
    encode_entry,
    entry,
    merge,
)
from tests.decided_book import DecidedBook

ACCOUNTS = ("assets:bank:main", "liabilities:seller:s1", "expenses:rent", "income:commission")
minors = st.integers(-(10**24), 10**24).filter(bool)


@st.composite
def balanced(draw: st.DrawFn) -> Entry:
    """Any entry: legs in one to three currencies, each closed by one leg more."""
    legs: list[Posting] = []
    for currency in draw(st.lists(st.sampled_from(["USD", "JPY", "KWD"]), min_size=1, unique=True)):
        layer = draw(st.sampled_from(Layer))
        amounts = draw(st.lists(minors, min_size=1, max_size=4))
        legs += [
            Posting(draw(st.sampled_from(ACCOUNTS)), currency, minor, layer) for minor in amounts
        ]
        if sum(amounts):
            legs.append(Posting("equity:opening", currency, -sum(amounts), layer))
    return entry(*legs) if len(legs) > 1 else entry()


def inputs(posted: Entry) -> tuple[PostingInput, ...]:
    return tuple(
        PostingInput(leg.account, leg.currency, leg.minor, leg.layer) for leg in posted.postings
    )


@given(balanced())
def test_an_entry_survives_storage(posted: Entry) -> None:
    """An amount of 10^24, a layer or an order of legs that text on disk does not keep."""
    assert decode_entry(encode_entry(posted)) == posted
    assert posted.reversed().reversed() == posted
    assert not any(_sums(merge((posted, posted.reversed()))).values())


@given(balanced(), st.integers(0, 20), minors)
def test_an_entry_cannot_be_unbalanced(posted: Entry, index: int, extra: int) -> None:
    """A leg changed by any amount that passes unseen."""
    if not posted.postings:
        return
    legs = list(posted.postings)
    leg = legs[index % len(legs)]
    legs[index % len(legs)] = Posting(leg.account, leg.currency, leg.minor + extra, leg.layer)
    with pytest.raises(UnbalancedEntry):
        Entry(tuple(legs))


@given(
    balanced().filter(lambda posted: len(posted.postings) > 1),
    st.lists(st.tuples(st.integers(1, 7), st.integers(1, 7)), max_size=6),
)
def test_reversals_never_exceed_the_entry(posted: Entry, shares: list[tuple[int, int]]) -> None:
    """Partial reversals that sum to more than the entry on a leg, or leave it unbalanced."""
    book = DecidedBook()
    book.run(PostEntry(entry_id="e1", description="any", postings=inputs(posted)))
    for number, (one, other) in enumerate(shares):
        undo = ReverseEntry(
            entry_id="e1",
            reversal_id=f"v{number}",
            reason="part",
            numerator=min(one, other),
            denominator=max(one, other),
        )
        try:
            book.run(undo)
        except Rejected:
            continue
        assert book.run(undo) == ()
        state = book.states["journal-e1"]
        assert all(left >= 0 for left in state.remaining)
        assert all(0 <= done <= leg.amount for done, leg in _done(book))
    rest = ReverseEntry(entry_id="e1", reversal_id="rest", reason="rest")
    if any(book.states["journal-e1"].remaining):
        book.run(rest)
    assert not any(sum(book.net(account).values()) for account in (*ACCOUNTS, "equity:opening"))


def _done(book: DecidedBook) -> list[tuple[int, JournalLeg]]:
    state = book.states["journal-e1"]
    return list(zip(state.reversed_amounts, state.legs, strict=True))


def _sums(posted: Entry) -> dict[str, int]:
    sums: dict[str, int] = {}
    for leg in posted.postings:
        key = f"{leg.layer} {leg.account} {leg.currency}"
        sums[key] = sums.get(key, 0) + leg.minor
    return sums


START = datetime(2026, 1, 1, tzinfo=UTC)
rows = st.lists(st.tuples(st.integers(0, 9), st.integers(-100, 100)), max_size=12)


@given(rows, rows, st.integers(0, 9), st.integers(0, 12))
def test_what_is_recorded_later_changes_no_earlier_answer(
    first: list[tuple[int, int]], later: list[tuple[int, int]], day: int, known: int
) -> None:
    """A back-dated entry that changes a statement which was already given (invariant 37)."""
    both = [
        BalanceRow(
            ACCOUNTS[0],
            "USD",
            minor,
            START + timedelta(days=effective),
            START + timedelta(seconds=number),
        )
        for number, (effective, minor) in enumerate([*first, *later])
    ]
    recorded_to = START + timedelta(seconds=min(known, len(first)) - 1)
    effective_to = START + timedelta(days=day)
    asked_then = balance(both[: len(first)], ACCOUNTS[0], effective_to, recorded_to)
    assert balance(both, ACCOUNTS[0], effective_to, recorded_to) == asked_then
