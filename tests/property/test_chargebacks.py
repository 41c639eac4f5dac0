"""Laws of chargebacks: reports in any order and number give the same money on every account."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from orderledger.commands.chargeback_commands import RecordChargeback
from orderledger.commands.decision import Command
from orderledger.commands.payment_commands import (
    RecordAborted,
    RecordDeclined,
    RecordProviderOperation,
    RecordReversed,
    RecordSucceeded,
)
from orderledger.ledger import accounts
from orderledger.ledger.chargeback_stages import (
    START,
    STATUS_OF,
    TRANSITIONS,
    ChargebackFact,
    ChargebackStage,
    Node,
    ReportedFact,
    standing,
)
from orderledger.ledger.chargebacks import flow_of
from orderledger.ledger.orders import OrderState
from orderledger.ledger.payment_operations import OperationKind
from tests.chargebacks_book import ChargebackBook, opened, report

CHARGE = 10_000
AMOUNTS = st.sampled_from([CHARGE, 4_000, 2_500, 10_700, 1])
OUTCOMES = ("won", "lost", "accepted", "cancelled", "defence_ended")
STAGES = ("chargeback", "second_chargeback", "pre_arbitration", "arbitration")


@st.composite
def _cases(draw: st.DrawFn, chargeback_id: str) -> list[RecordChargeback]:
    """What a provider reports of one case, in its own order, now and then contradicting itself."""
    found: list[RecordChargeback] = []
    if draw(st.booleans()):
        found.append(opened(draw(AMOUNTS), "inquiry", chargeback_id=chargeback_id))
    amount = draw(AMOUNTS)
    for stage in STAGES[: draw(st.integers(1, 4))]:
        if draw(st.integers(0, 9)):
            fields: dict[str, Any] = {"amount": amount, "fee": draw(st.sampled_from([0, 1_500]))}
            found.append(report("opened", stage, chargeback_id=chargeback_id, **fields))
        for outcome in draw(st.lists(st.sampled_from(OUTCOMES), max_size=2)):
            part = {"amount": 1_000} if outcome == "won" and draw(st.booleans()) else {}
            found.append(report(outcome, stage, chargeback_id=chargeback_id, **part))
    return found


@st.composite
def _operations(draw: st.DrawFn) -> list[list[Command]]:
    """What the provider reports of two refunds in flight and one that nobody asked for."""
    chains: list[list[Command]] = []
    for op_id in ("refund-r1-p1", "refund-r2-p1"):
        end = draw(st.sampled_from(["none", "success", "decline", "abort", "reversed"]))
        chain: list[Command] = []
        if end in ("success", "reversed"):
            chain.append(RecordSucceeded(payment_id="p1", op_id=op_id, provider_ref=op_id))
        if end == "decline":
            chain.append(RecordDeclined(payment_id="p1", op_id=op_id))
        if end == "abort":
            chain.append(RecordAborted(payment_id="p1", op_id=op_id))
        if end == "reversed":
            chain.append(RecordReversed(payment_id="p1", op_id=op_id, provider_ref=op_id))
        chains.append(chain)
    if draw(st.booleans()):
        unasked = RecordProviderOperation(
            payment_id="p1",
            kind=OperationKind.REFUND,
            provider_ref="X",
            amount=draw(st.sampled_from([500, 9_000])),
            currency="USD",
        )
        chains.append([unasked])
    return chains


def _interleaved(draw: Callable[..., Any], chains: Sequence[Sequence[Any]]) -> list[Any]:
    """Mix chains, keeping the order within each; some reports come twice."""
    queues = [list(chain) for chain in chains if chain]
    order: list[Any] = []
    while queues:
        queue = queues[draw(st.integers(0, len(queues) - 1))]
        order.append(queue.pop(0))
        if draw(st.integers(0, 5)) == 0:
            order.append(draw(st.sampled_from(order)))
        queues = [one for one in queues if one]
    return order


class _AnyBook(ChargebackBook):
    """A book in which a refund that nobody asked for may overdraw a slice, as a report can."""

    def check_escrow(self, stream: str, state: OrderState) -> None:
        """Assert invariant 19 alone."""
        assert state.escrow_held == self.escrow(stream.removeprefix("order-"), state.currency)


def _sold(*, released: int) -> ChargebackBook:
    book = _AnyBook()
    book.sold_lines("a 1 x 60.00 of s1", "b 1 x 40.00 of s2")
    if released:
        book.release("s1", **({} if released == 2 else {"amount": 2_500}))
    for refund_id, amount in (("r1", 1_500), ("r2", 700)):
        book.granted(refund_id, amount)
        book.refund("p1", refund_id, amount)
    return book


PAYMENT = (
    *("captured", "refunded", "refund_in_flight", "chargeback_open", "chargeback_lost"),
    *("chargeback_reversed", "refundable", "exposure", "chargeback_axis", "lifecycle"),
)


def _amounts(book: ChargebackBook) -> dict[str, Any]:
    payment = book.payment()
    found = {name: getattr(payment, name) for name in PAYMENT}
    found["cases"] = {key: (one.node, one.flow) for key, one in payment.chargebacks.items()}
    return found


@settings(max_examples=30)
@given(st.data())
def test_any_order_gives_the_same_money(data: st.DataObject) -> None:
    """
    Catches amounts that depend on which report came first (invariants 33 and 34).

    Each chargeback and each operation in its own order, some reports twice. The provider, the
    disputes, the fees, what is owed to the buyer and what the buyer owes are the same on each
    account; who of the others bears a loss follows from what was known when it was decided.
    """
    chains: list[list[Any]] = [
        data.draw(_cases("cb1")),
        data.draw(_cases("cb2")),
        *data.draw(_operations()),
    ]
    released = data.draw(st.integers(0, 2))
    books = []
    for _ in range(2):
        book = _sold(released=released)
        for command in _interleaved(data.draw, chains):
            note(str(command))
            book.run(command)
        books.append(book)
    one, other = books
    assert _amounts(one) == _amounts(other)
    assert _certain(one) == _certain(other)


def _certain(book: ChargebackBook) -> dict[str, int]:
    """Return the balances that do not depend on who bears a loss, and those who bear it as one."""
    found: dict[str, int] = {}
    for account, minor in book.posted().items():
        name = "borne"
        if account.startswith(("assets:", "expenses:dispute_fees")):
            name = account
        found[name] = found.get(name, 0) + minor
    return {name: minor for name, minor in found.items() if minor}


@st.composite
def _facts(draw: st.DrawFn) -> ReportedFact:
    fact = draw(st.sampled_from(list(STATUS_OF[ChargebackStage.CHARGEBACK])))
    return ReportedFact(
        draw(st.sampled_from(list(ChargebackStage)[1:])),
        fact,
        draw(st.sampled_from([0, 0, 500, 900])),
        draw(st.sampled_from([-1, -1, 1, 2])),
        is_concluded=fact is ChargebackFact.DEFENCE_ENDED and draw(st.booleans()),
    )


REPORTS = st.lists(_facts(), max_size=7)


@given(REPORTS, st.randoms())
def test_where_it_stands_is_a_function_of_the_set(reports: list[ReportedFact], source: Any) -> None:
    """Catches a status or an amount that depends on the order of arrival or on repeats."""
    mixed = [*reports, *reports[:2]]
    source.shuffle(mixed)
    assert standing(mixed) == standing(reports)
    flow = flow_of(reports)
    assert flow_of(mixed) == flow
    assert min(flow.contested, flow.lost, flow.reversed, flow.gained, flow.amount) >= 0


def _walks() -> list[tuple[Node, list[ReportedFact]]]:
    """Return every regular way of at most five reports, with where the table says it ends."""
    found: list[tuple[Node, list[ReportedFact]]] = []
    open_walks: list[tuple[Node, list[ReportedFact]]] = [(START, [])]
    for _ in range(5):
        open_walks = [
            (after, [*walk, ReportedFact(stage, fact)])
            for node, walk in open_walks
            for (stage, fact), after in TRANSITIONS[node].items()
        ]
        found.extend(open_walks)
    return found


def test_the_table_and_the_reports_agree() -> None:
    """Catches a table of transitions that says another status than the reports together."""
    walks = _walks()
    assert len(walks) > 500
    for node, walk in walks:
        found = standing(walk)
        assert found is not None
        assert (found.stage, found.status) == node


@pytest.mark.parametrize("stage", list(ChargebackStage))
def test_every_fact_has_a_meaning_or_none(stage: ChargebackStage) -> None:
    """Catches a fact that was forgotten at a stage: only an inquiry cannot be lost."""
    without = {ChargebackFact.FEE_CHARGED, ChargebackFact.FEE_RETURNED}
    if stage is ChargebackStage.INQUIRY:
        without.add(ChargebackFact.LOST)
    assert set(STATUS_OF[stage]) == set(ChargebackFact) - without


def test_every_path_ends_with_nothing_open() -> None:
    """Catches money left in an account that must be zero once the chargeback is over."""
    for released in (0, 1, 2):
        for outcome in OUTCOMES:
            book = ChargebackBook()
            book.sold_lines("a 1 x 60.00 of s1", "b 1 x 40.00 of s2")
            if released:
                book.release("s1", **({} if released == 2 else {"amount": 2_500}))
            book.refunded("r1", 1_500)
            book.run(opened(10_700))
            book.run(report(outcome))
            book.run(opened(10_700, "second_chargeback"))
            book.run(report("lost", "second_chargeback"))
            assert book.open_accounts() == {}, (released, outcome)
            assert book.balance(accounts.receivable("o1")) == 2_200
