"""The trial balance of a closing: canonical lines, hash, totals by class, and its balance."""

import hashlib
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderledger.commands.decide_periods import close
from orderledger.commands.period_commands import ClosePeriod
from orderledger.ledger.accounts import CHART, classify
from orderledger.ledger.errors import IntegrityViolation
from orderledger.ledger.journal import Layer, Posting
from orderledger.ledger.period_events import ClassTotal
from orderledger.ledger.periods import INITIAL
from orderledger.ledger.ports import LedgerCut
from orderledger.ledger.trial_balance import (
    AccountKey,
    add,
    canonical_lines,
    check_balanced,
    class_totals,
    trial_balance_hash,
)

names = st.sampled_from(
    [f"{row.prefix}{tail}" for row in CHART for tail in (":x", ":x:y", ":x-y", ":x.y:z", ":0")]
)
sums = st.dictionaries(
    st.tuples(names, st.sampled_from(["EUR", "JPY"]), st.sampled_from(["held", "posted"])),
    st.integers(-(10**30), 10**30).filter(bool),
    max_size=30,
)


@given(sums)
def test_lines_stand_in_the_order_of_their_bytes(found: dict[AccountKey, int]) -> None:
    """Catches an order that `LC_ALL=C sort` does not give, so that an auditor gets another hash."""
    lines = list(canonical_lines(found))
    assert lines == sorted(lines, key=str.encode)
    assert len(lines) == len(found)
    digest = hashlib.sha256("".join(lines).encode()).hexdigest()
    assert trial_balance_hash(dict(reversed(found.items()))) == digest


@given(sums)
def test_totals_are_those_of_the_accounts_of_a_class(found: dict[AccountKey, int]) -> None:
    """Catches an account that counts for another class, or a side that is netted."""
    totals = class_totals(found)
    keys = [(one.account_class, one.currency, one.layer.value) for one in totals]
    assert keys == sorted(set(keys))
    for one in totals:
        own = [
            minor
            for (account, currency, layer), minor in found.items()
            if (classify(account).prefix, currency, layer)
            == (one.account_class, one.currency, one.layer)
        ]
        assert one.debit == sum(minor for minor in own if minor > 0)
        assert one.credit == -sum(minor for minor in own if minor < 0)
        assert one.account_count == len(own)
    assert sum(one.account_count for one in totals) == len(found)


def test_what_comes_to_zero_is_left_out() -> None:
    """Catches a line of an account without a balance."""
    found: dict[AccountKey, int] = {}
    add(found, [Posting("assets:bank:x", "EUR", 5), Posting("equity:x", "EUR", -5)])
    add(
        found, [Posting("assets:bank:x", "EUR", -5), Posting("assets:bank:x", "EUR", 7, Layer.HELD)]
    )
    assert found == {("equity:x", "EUR", "posted"): -5, ("assets:bank:x", "EUR", "held"): 7}


def test_sums_that_do_not_balance_are_not_closed() -> None:
    """Catches books that are closed over an entry that was changed."""
    balanced = (
        ClassTotal("assets:bank", "EUR", Layer.POSTED, 5, 0, 1),
        ClassTotal("equity", "EUR", Layer.POSTED, 0, 5, 1),
        ClassTotal("assets:bank", "EUR", Layer.HELD, 2, 2, 2),
    )
    check_balanced(balanced)
    for wrong in (
        ClassTotal("income", "EUR", Layer.POSTED, 0, 1, 1),
        ClassTotal("income", "JPY", Layer.POSTED, 1, 0, 1),
        # What is missing in one layer does not make up for the other.
        ClassTotal("income", "EUR", Layer.HELD, 0, 1, 1),
    ):
        with pytest.raises(IntegrityViolation) as caught:
            check_balanced((*balanced, wrong))
        assert caught.value.facts["currency"] == wrong.currency
        assert caught.value.facts["layer"] == wrong.layer.value


def test_the_decider_refuses_an_unbalanced_book() -> None:
    """Catches a check that nobody asks."""
    end = datetime(2026, 1, 1, tzinfo=UTC)
    cut = LedgerCut(1, {("assets:bank:x", "EUR", "posted"): 1})
    with pytest.raises(IntegrityViolation):
        close(ClosePeriod(period="2025", end=end), INITIAL, cut, end)
