"""
A crash between a provider's answer and its record (hard case 6), and outcomes that nobody knows.

The book is on SQLite; the process that dies is a real one, ended with SIGKILL.
"""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from orderledger.commands import model as m
from orderledger.commands.decision import Command
from orderledger.ledger import accounts
from orderledger.ledger.payment_operations import OperationStatus, Outcome
from orderledger.ledger.payments import PaymentState
from orderledger.ledger.stores.sqlite import SqliteStore
from orderledger.replay.verify import verify
from tests.model.shop import Shop, anomalies_of, item

AMOUNT: Final = 10_000


def _authorised(shop: Shop) -> None:
    shop.place(item("a", "100"))
    shop.initiate(AMOUNT)
    shop.run(m.Authorise(payment_id="p1", op_id="auth", amount=AMOUNT, currency="USD"))
    shop.succeed("auth")


def _granted(shop: Shop) -> None:
    _authorised(shop)
    shop.run(m.Capture(payment_id="p1", op_id="cap", amount=AMOUNT, currency="USD"))
    shop.succeed("cap")
    shop.grant("r1", 6_000)
    shop.allocate("r1")


def _capture(op_id: str = "op", key: str = "") -> m.Capture:
    return m.Capture(
        payment_id="p1", op_id=op_id, amount=AMOUNT, currency="USD", idempotency_key=key
    )


def _refund(op_id: str = "op", key: str = "") -> m.RequestRefund:
    return m.RequestRefund(
        payment_id="p1",
        op_id=op_id,
        amount=6_000,
        currency="USD",
        refund_id="r1",
        idempotency_key=key,
    )


def _capture_reserved(state: PaymentState) -> bool:
    return state.capture_in_flight == AMOUNT and state.capturable == 0


def _refund_reserved(state: PaymentState) -> bool:
    return state.refund_in_flight == 6_000 and state.refundable == AMOUNT - 6_000


class Case:
    """A kind of operation: what is there before, how it is asked for, and what it reserves."""

    def __init__(
        self,
        prepare: Callable[[Shop], None],
        request: Callable[..., Command],
        is_reserved: Callable[[PaymentState], bool],
    ) -> None:
        self.prepare: Final = prepare
        self.request: Final = request
        self.is_reserved: Final = is_reserved


CASES: Final = {
    "capture": Case(_authorised, _capture, _capture_reserved),
    "refund": Case(_granted, _refund, _refund_reserved),
}


@pytest.fixture(params=sorted(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    """Give each kind of operation."""
    return CASES[str(request.param)]


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Give the path of a database that does not exist yet."""
    return str(tmp_path / "shop.db")


def _open(path: str) -> Shop:
    return Shop(SqliteStore(path, "main"))


@pytest.fixture
def crashed(path: str, case: Case) -> Iterator[Shop]:
    """Give the book of a process that requested the operation and died before its outcome."""
    child = os.fork()
    if child == 0:
        try:
            shop = _open(path)
            case.prepare(shop)
            shop.run(case.request(), "intent")
            os.kill(os.getpid(), signal.SIGKILL)
        finally:
            os._exit(70)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    shop = _open(path)
    yield shop
    assert list(verify(shop.store)) == []
    shop.book.close()


def _unknown(shop: Shop) -> None:
    shop.run(m.RecordUnknown(payment_id="p1", op_id="op", cause="found at restart"))


def _resolve(outcome: Outcome, **fields: Any) -> m.ResolveOperation:
    given: dict[str, Any] = {"actor": "ann", "approver": "bob", "reason": "asked", **fields}
    return m.ResolveOperation(payment_id="p1", op_id="op", outcome=outcome, **given)


def test_intent_survives_the_crash_and_stays_reserved(crashed: Shop, case: Case) -> None:
    """Catches a request lost with the process, whose money could then be asked for twice."""
    assert crashed.payment().operations["op"].status is OperationStatus.REQUESTED
    assert case.is_reserved(crashed.payment())
    assert crashed.run(case.request(), "intent").replayed


def test_nothing_else_takes_what_an_unknown_outcome_reserves(crashed: Shop, case: Case) -> None:
    """Catches an amount in flight that is given away before its outcome is known."""
    for step in (_nothing, _pending, _unknown, _queried):
        step(crashed)
        assert case.is_reserved(crashed.payment())
        assert crashed.refusal(case.request("other"))
        assert crashed.refusal(case.request("other", "op"))
        assert crashed.refusal(m.FinishCancellation(order_id="o1", refund_id="x"))
        assert crashed.refusal(case.request()) == ""


def _nothing(shop: Shop) -> None:
    """Begin with the operation as the crash left it."""


def _pending(shop: Shop) -> None:
    shop.run(m.RecordPending(payment_id="p1", op_id="op"))


def _queried(shop: Shop) -> None:
    for _ in range(8):
        shop.run(m.QueryOperation(payment_id="p1", op_id="op", result="no answer"))
    assert "ManualResolutionNeeded" in anomalies_of(shop.store)


@pytest.mark.parametrize(
    "fields", [{"approver": "ann"}, {"approver": ""}, {"actor": ""}], ids=["same", "none", "nobody"]
)
def test_one_person_cannot_resolve(crashed: Shop, case: Case, fields: dict[str, str]) -> None:
    """Catches an outcome that one person decided."""
    _unknown(crashed)
    assert crashed.refusal(_resolve(Outcome.DECLINED, **fields)) == "four_eyes_required"
    assert case.is_reserved(crashed.payment())


def test_known_outcome_is_not_resolved_by_hand(crashed: Shop, case: Case) -> None:
    """Catches a manual decision over what the provider may still say."""
    assert crashed.refusal(_resolve(Outcome.DECLINED)) == "wrong_state"
    assert case.is_reserved(crashed.payment())


@pytest.mark.parametrize("outcome", [Outcome.SUCCEEDED, Outcome.DECLINED, Outcome.ABORTED])
def test_resolving_equals_having_observed(
    crashed: Shop, case: Case, tmp_path: Path, outcome: Outcome
) -> None:
    """Catches a manual outcome with other amounts than the same one reported (invariant 7)."""
    _unknown(crashed)
    crashed.run(_resolve(outcome))
    direct = _open(str(tmp_path / "direct.db"))
    case.prepare(direct)
    direct.run(case.request())
    reported = {
        Outcome.SUCCEEDED: m.RecordSucceeded,
        Outcome.DECLINED: m.RecordDeclined,
        Outcome.ABORTED: m.RecordAborted,
    }[outcome]
    direct.run(reported(payment_id="p1", op_id="op"))
    assert _amounts(crashed) == _amounts(direct)
    direct.book.close()


def _amounts(shop: Shop) -> dict[str, int]:
    state = shop.payment()
    named = ("psp", "escrow", "refunds")
    found = (accounts.psp("psp"), accounts.escrow("o1"), accounts.refunds("o1"))
    balances = {name: shop.balance(account) for name, account in zip(named, found, strict=True)}
    return {
        **balances,
        "captured": state.captured,
        "capturable": state.capturable,
        "refunded": state.refunded,
        "refundable": state.refundable,
        "outstanding": shop.order().refund_outstanding,
    }


@pytest.mark.parametrize("outcome", [Outcome.DECLINED, Outcome.ABORTED])
def test_late_success_after_a_resolution_counts(
    crashed: Shop, case: Case, outcome: Outcome
) -> None:
    """Catches money that moved and is ignored because a person had decided otherwise."""
    _unknown(crashed)
    crashed.run(_resolve(outcome))
    assert not case.is_reserved(crashed.payment())
    crashed.succeed("op")
    crashed.succeed("op")
    assert crashed.payment().operations["op"].done == crashed.payment().operations["op"].amount
    assert anomalies_of(crashed.store).count("LateSuccess") == 1
    assert crashed.order().escrow_held == crashed.escrow()


def test_success_reported_after_the_same_resolution_is_no_news(crashed: Shop, case: Case) -> None:
    """Catches an outcome counted twice: once by hand, once by the provider."""
    _unknown(crashed)
    crashed.run(_resolve(Outcome.SUCCEEDED, provider_ref="ref-op"))
    before = _amounts(crashed)
    crashed.succeed("op")
    assert crashed.run(_resolve(Outcome.SUCCEEDED)).streams == {}
    assert _amounts(crashed) == before
