"""Constraints of accounts: net effects as a table, and the events behind them."""

from typing import Any

import pytest

from orderledger.commands.account_commands import (
    CloseAccount,
    ConstrainAccount,
    FreezeAccount,
    LiftConstraint,
)
from orderledger.commands.decide_accounts import constrain
from orderledger.ledger.account_events import AccountMoved, ConstraintKind, Direction
from orderledger.ledger.accounts_state import (
    EVOLVE,
    INITIAL,
    AccountState,
    Constraint,
    check_net_effect,
)
from orderledger.ledger.anomalies import AnomalyRaised, AnomalyResolved
from orderledger.ledger.errors import IntegrityViolation, Rejected
from orderledger.ledger.journal import Layer, credit, debit, entry
from tests.decided_book import DecidedBook

WALLET = "liabilities:store_credit:b1"
BANK = "assets:bank:main"

# account, constraint, balance before (debit positive), change, reason of the refusal
TABLE = """
liabilities:store_credit:b1  no_debit_balance   -      -500   500  ok
liabilities:store_credit:b1  no_debit_balance   -      -500   501  insufficient_funds
liabilities:store_credit:b1  no_debit_balance   -       100   -50  ok
liabilities:store_credit:b1  no_debit_balance   -       100     1  insufficient_funds
liabilities:store_credit:b1  no_credit_balance  -         0    -1  account_limit
assets:bank:main             no_credit_balance  -       500  -501  insufficient_funds
assets:bank:main             no_debit_balance   -         0     1  account_limit
assets:bank:main             floor            100       500  -400  ok
assets:bank:main             floor            100       500  -401  insufficient_funds
assets:bank:main             floor            100        50    10  ok
assets:bank:main             floor           -200         0  -200  ok
assets:bank:main             floor           -200         0  -201  insufficient_funds
liabilities:store_credit:b1  floor            100      -500   400  ok
liabilities:store_credit:b1  floor            100      -500   401  insufficient_funds
liabilities:store_credit:b1  ceiling          900      -500  -400  ok
liabilities:store_credit:b1  ceiling          900      -500  -401  account_limit
assets:bank:main             frozen             -         0     1  account_frozen
assets:bank:main             closed             -         0     1  account_closed
assets:bank:main             closed             -         0     0  ok
"""


@pytest.mark.parametrize("row", [line.split() for line in TABLE.strip().splitlines()])
def test_net_effect(row: list[str]) -> None:
    """A limit that is off by one minor unit, on the wrong side, or that blocks its own healing."""
    account, kind, limit, before, change, want = row
    bound = None if limit == "-" else int(limit)
    currency = None if limit == "-" else "USD"
    state = AccountState(
        account=account,
        constraints=(Constraint(ConstraintKind(kind), currency, bound),),
        balances={"posted": {"USD": int(before)}},
    )
    try:
        check_net_effect(state, {(Layer.POSTED, "USD"): int(change)})
        found = "ok"
    except Rejected as refusal:
        found = refusal.reason.value
    assert found == want


def test_other_currencies_and_holds_are_not_bound() -> None:
    """A limit in one currency that blocks another, or a hold taken for posted money."""
    floor = Constraint(ConstraintKind.FLOOR, "USD", 0)
    state = AccountState(account=BANK, constraints=(floor,))
    check_net_effect(state, {(Layer.POSTED, "EUR"): -5, (Layer.HELD, "USD"): -5})
    frozen = AccountState(account=BANK, constraints=(Constraint(ConstraintKind.FROZEN),))
    with pytest.raises(Rejected, match="frozen"):
        check_net_effect(frozen, {(Layer.HELD, "USD"): -5})


def test_the_first_of_several_reasons() -> None:
    """Which reason a caller sees must not depend on the order in which limits were set."""
    kinds = (ConstraintKind.CEILING, ConstraintKind.FLOOR, ConstraintKind.FROZEN)
    limits = tuple(
        Constraint(kind, None if kind is ConstraintKind.FROZEN else "USD", 0) for kind in kinds
    )
    closed = (*limits, Constraint(ConstraintKind.CLOSED))
    net = {(Layer.POSTED, "USD"): -5, (Layer.POSTED, "EUR"): 5}
    found = []
    for constraints in (limits[:1], limits[:2], limits, closed):
        try:
            check_net_effect(AccountState(account=BANK, constraints=constraints), net)
            found.append("ok")
        except Rejected as refusal:
            found.append(refusal.reason.value)
    assert found == ["ok", "insufficient_funds", "account_frozen", "account_closed"]


@pytest.mark.parametrize(
    ("minor", "amount", "direction"), [(5, 5, Direction.DEBIT), (-7, 7, Direction.CREDIT)]
)
def test_movements_state_their_side(minor: int, amount: int, direction: Direction) -> None:
    """A negative amount in an event."""
    moved = AccountMoved.of(BANK, Layer.POSTED, "USD", minor, "payment-p1")
    assert (moved.amount, moved.direction) == (amount, direction)
    assert EVOLVE[AccountMoved](INITIAL, moved).balance("USD") == minor


@pytest.fixture
def book() -> DecidedBook:
    one = DecidedBook()
    one.post(entry(debit(BANK, "USD", 700), credit(WALLET, "USD", 700)))
    return one


def limit(kind: str, account: str = WALLET, **fields: Any) -> ConstrainAccount:
    return ConstrainAccount(account=account, kind=ConstraintKind(kind), **fields)


def test_a_constraint_opens_with_the_balance(book: DecidedBook) -> None:
    """A constrained account that starts at zero although money was posted before."""
    book.constrain(limit("no_debit_balance"))
    state = book.states[f"account-{WALLET}"]
    assert state.balance("USD") == -700
    assert book.constrain(limit("no_debit_balance")) == ()
    changes = book.constrain(limit("ceiling", currency="USD", limit=1000))
    assert getattr(changes[0].event, "opening", None) == ()
    assert book.states[f"account-{WALLET}"].balance("USD") == -700


@pytest.mark.parametrize(
    ("command", "want"),
    [
        (limit("frozen"), "InvalidCommand"),
        (limit("floor", currency="USD"), "InvalidCommand"),
        (limit("floor", limit=5), "InvalidCommand"),
        (limit("no_debit_balance", limit=5), "InvalidCommand"),
        (limit("floor", currency="usd", limit=5), "UnknownCurrency"),
        (limit("floor", account="wallet", currency="USD", limit=5), "InvalidAccount"),
        (limit("floor", currency="USD", limit=701), "insufficient_funds"),
        (limit("ceiling", currency="USD", limit=699), "account_limit"),
        (limit("no_credit_balance"), "account_limit"),
        (limit("no_debit_balance", account=BANK), "account_limit"),
        (CloseAccount(account=BANK, reason="merged"), "account_limit"),
        (limit("floor", currency="EUR", limit=0), ""),
        (FreezeAccount(account=BANK, reason="court order"), ""),
        (CloseAccount(account="assets:bank:empty", reason="merged"), ""),
    ],
)
def test_constraints_that_are_refused(book: DecidedBook, command: Any, want: str) -> None:
    """A constraint that the balance already breaks, or that nobody can evaluate."""
    try:
        book.constrain(command)
        found = ""
    except Exception as error:  # noqa: BLE001  # the table names the class
        found = str(getattr(error, "reason", type(error).__name__))
    assert found == want


def test_lifting(book: DecidedBook) -> None:
    """A freeze that cannot end, or a closed account that opens again."""
    lift = LiftConstraint(account=BANK, kind=ConstraintKind.FROZEN)
    assert book.refusal(lift) == "NotFound"
    book.constrain(FreezeAccount(account=BANK, reason="court order"))
    assert book.states[f"account-{BANK}"].is_frozen
    book.run(lift)
    assert not book.states[f"account-{BANK}"].is_frozen
    assert book.run(lift) == ()
    reopen = LiftConstraint(account=BANK, kind=ConstraintKind.CLOSED)
    assert book.refusal(reopen) == "account_closed"


def test_a_stream_that_disagrees_with_the_postings(book: DecidedBook) -> None:
    """A movement that the account's own stream missed, and that nobody notices."""
    book.constrain(limit("no_debit_balance"))
    state = book.states[f"account-{WALLET}"]
    with pytest.raises(IntegrityViolation, match="700"):
        constrain(FreezeAccount(account=WALLET, reason="x"), state, {})


@pytest.mark.parametrize("stream", ["journal-e1", "storedvalue-v1", f"account-{BANK}"])
def test_an_anomaly_folds_in_every_stream_that_posts(book: DecidedBook, stream: str) -> None:
    """A report that breaches a constraint and whose anomaly its own stream cannot take."""
    raised = AnomalyRaised(kind="AccountConstraintBreached", refs=(BANK,))
    book.given(stream, raised)
    assert book.states[stream].anomalies == (raised.key,)
    book.given(stream, AnomalyResolved(anomaly_id=raised.key, by="ops", resolution="topped up"))
    assert book.states[stream].anomalies == ()
