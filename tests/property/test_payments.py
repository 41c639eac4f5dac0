"""Laws of payments: reports in any order and number give the same money."""

from collections.abc import Sequence
from typing import Any

import msgspec
from hypothesis import given, note
from hypothesis import strategies as st

from orderledger.commands.decide_payment_guards import Request, requested
from orderledger.commands.escrow_follow import follow_payment
from orderledger.commands.payment_commands import (
    Authorise,
    InitiatePayment,
    QueryOperation,
    RecordObservation,
    RecordSucceeded,
    RecordUnknown,
    ResolveOperation,
)
from orderledger.ledger import streams
from orderledger.ledger.anomalies import AnomalyKind, AnomalyRaised
from orderledger.ledger.codec import decode_event, encode_event
from orderledger.ledger.inbox_events import Observation
from orderledger.ledger.payment_events import Capabilities, CaptureMode
from orderledger.ledger.payment_operations import OperationKind, Outcome
from orderledger.ledger.payments import EVOLVE
from orderledger.ledger.recipes_payment import between
from tests.payments_book import Book

AUTHORISED = 10_000
CAPABLE = Capabilities(multicapture=True, captures_max=50, credit=True)
REQUESTS = {
    "a1": (OperationKind.AUTHORISE, AUTHORISED, ""),
    "c1": (OperationKind.CAPTURE, 3_000, "a1"),
    "c2": (OperationKind.CAPTURE, 4_000, "a1"),
    "v1": (OperationKind.VOID, 1_000, "a1"),
    "r1": (OperationKind.REFUND, 2_000, ""),
    "r2": (OperationKind.REFUND, 500, ""),
}

AMOUNTS = (
    "authorised",
    "authorised_adjustment",
    "voided",
    "authorisation_expired",
    "captured",
    "capture_in_flight",
    "void_in_flight",
    "refunded",
    "refund_in_flight",
    "held",
    "capturable",
    "refundable",
    "exposure",
    "lifecycle",
)


def _initiated() -> InitiatePayment:
    return InitiatePayment(
        payment_id="p1",
        order_id="o1",
        provider="adyen",
        method="card",
        amount=AUTHORISED,
        currency="EUR",
        quote_id="q1",
        capture_mode=CaptureMode.MULTI,
        capabilities=CAPABLE,
    )


def _requested() -> Book:
    """A payment with every operation requested and nothing reported."""
    book = Book()
    book.place(AUTHORISED)
    book.run(_initiated())
    for op_id, (kind, amount, parent) in REQUESTS.items():
        request = Request(
            op_id=op_id,
            kind=kind,
            currency="EUR",
            amount=amount,
            refund_id=f"g-{op_id}" if kind is OperationKind.REFUND else "",
        )
        event = requested(request, amount, parent)
        before = book.payment()
        entry = between(before, EVOLVE[type(event)](before, event), op_id)
        book.given(streams.payment("p1"), event, entry)
        for change in follow_payment(book.order(), "p1", book.payment()):
            book.given(change.stream, change.event, change.entry)
    # As the decider would say of refunds that are under way before anything was captured.
    book.given(streams.payment("p1"), AnomalyRaised(kind=AnomalyKind.EXPOSURE, refs=("p1",)))
    return book


def _report(outcome: Outcome, op_id: str, **fields: Any) -> Observation:
    return Observation(
        payment_id="p1", outcome=outcome, op_id=op_id, provider_ref=f"R-{op_id}", **fields
    )


@st.composite
def _chains(draw: st.DrawFn) -> list[list[Observation]]:
    """Per operation what the provider reports of it, in its own order."""
    chains = []
    for op_id, (_, amount, _) in REQUESTS.items():
        chain: list[Observation] = []
        if draw(st.booleans()):
            chain.append(_report(Outcome.PENDING, op_id))
        end = draw(st.sampled_from(["none", "success", "decline", "late", "reversed", "again"]))
        if end in ("decline", "late"):
            chain.append(_report(Outcome.DECLINED, op_id))
        if end in ("success", "late", "reversed", "again"):
            settled = draw(st.sampled_from([amount, amount, amount - 7, amount + 7]))
            chain.append(_report(Outcome.SUCCEEDED, op_id, amount=settled))
        if end in ("reversed", "again"):
            chain.append(_report(Outcome.REVERSED, op_id))
        if end == "again":
            chain.append(_report(Outcome.SUCCEEDED, op_id, amount=amount, attempt=2))
        chains.append(chain)
    for number in range(draw(st.integers(0, 3))):
        chains.append([draw(_unasked(number))])
    if draw(st.booleans()):
        chains.append([Observation(payment_id="p1", outcome=Outcome.EXPIRED)])
    return chains


@st.composite
def _unasked(draw: st.DrawFn, number: int) -> Observation:
    """A report that names no operation, of one that was requested or of one that was not."""
    kind = draw(st.sampled_from([OperationKind.CAPTURE, OperationKind.REFUND, OperationKind.VOID]))
    twin = draw(st.sampled_from([None, *[k for k, v in REQUESTS.items() if v[0] is kind]]))
    return Observation(
        payment_id="p1",
        outcome=Outcome.SUCCEEDED,
        kind=kind.value,
        provider_ref=f"R-{twin}" if twin else f"X-{number}",
        amount=REQUESTS[twin][1] if twin else draw(st.integers(1, 3_000)),
        currency="EUR",
    )


def _interleaved(draw: st.DrawFn, chains: Sequence[Sequence[Observation]]) -> list[Observation]:
    left = [list(chain) for chain in chains if chain]
    result = []
    while left:
        chain = draw(st.sampled_from(left))
        result.append(chain.pop(0))
        left = [one for one in left if one]
    return result


def _outcome(reports: Sequence[Observation]) -> tuple[object, ...]:
    book = _requested()
    for report in reports:
        note(f"{report.outcome} {report.op_id} {report.kind} {report.provider_ref} {report.amount}")
        book.run(RecordObservation(observation=report))
        _check(book)
    note("--")
    payment = book.payment()
    amounts = {name: getattr(payment, name) for name in AMOUNTS}
    return (amounts, book.net(), book.order().escrow_held)


def _check(book: Book) -> None:
    payment = book.payment()
    assert payment.capturable >= 0
    assert payment.refundable >= 0
    assert payment.held >= 0
    assert book.held() == payment.held
    sums: dict[object, int] = {}
    for (layer, _, currency), minor in book.balances.items():
        sums[(layer, currency)] = sums.get((layer, currency), 0) + minor
    assert not any(sums.values())
    escrow = -book.posted().get("liabilities:escrow:o1", 0)
    assert escrow == book.order().escrow_held


@st.composite
def _two_orders(draw: st.DrawFn) -> tuple[list[Observation], list[Observation]]:
    chains = draw(_chains())
    return _interleaved(draw, chains), _interleaved(draw, chains)


@given(_two_orders())
def test_invariant_34_any_order_of_reports_ends_in_the_same_amounts(
    both: tuple[list[Observation], list[Observation]],
) -> None:
    """Catches an amount or a balance that depends on which report came first."""
    assert _outcome(both[0]) == _outcome(both[1])


@st.composite
def _contradicting(draw: st.DrawFn) -> tuple[list[Observation], list[Observation]]:
    """
    Successes, failures and reversals of each operation, in two orders that respect nothing.

    Every report has a reference; a reversal has that of a success, if there is one.
    """
    reports: list[Observation] = []
    for op_id, (_, amount, _) in REQUESTS.items():
        of_one: list[Observation] = []
        for _ in range(draw(st.integers(0, 4))):
            outcome = draw(st.sampled_from([*_DECIDING, Outcome.PENDING]))
            of_one.append(
                Observation(
                    payment_id="p1",
                    outcome=outcome,
                    op_id=op_id,
                    provider_ref=draw(st.sampled_from([f"R-{op_id}", f"Q-{op_id}"])),
                    sequence=draw(st.sampled_from([-1, -1, 1, 2, 3])),
                    attempt=draw(st.sampled_from([1, 1, 1, 2])),
                    amount=draw(st.sampled_from([amount, amount, amount - 7])),
                )
            )
        known = {one.provider_ref for one in of_one if one.outcome is Outcome.SUCCEEDED}
        reports.extend(
            [
                one
                for one in of_one
                if one.outcome is not Outcome.REVERSED or not known or one.provider_ref in known
            ]
        )
    return draw(st.permutations(reports)), draw(st.permutations(reports))


_DECIDING = [Outcome.SUCCEEDED, Outcome.SUCCEEDED, Outcome.DECLINED, Outcome.ABORTED]
_DECIDING += [Outcome.REVERSED]


@given(_contradicting())
def test_contradicting_reports_are_not_decided_by_arrival(
    both: tuple[list[Observation], list[Observation]],
) -> None:
    """Catches a success or a failure that holds because it arrived last."""
    assert _outcome(both[0]) == _outcome(both[1])


@st.composite
def _repeated(draw: st.DrawFn) -> tuple[list[Observation], list[Observation]]:
    once = _interleaved(draw, draw(_chains()))
    several = list(once)
    for report in once:
        for _ in range(draw(st.integers(0, 2))):
            first = several.index(report)
            several.insert(draw(st.integers(first + 1, len(several))), report)
    return once, several


@given(_repeated())
def test_invariant_33_a_repeated_report_changes_nothing(
    both: tuple[list[Observation], list[Observation]],
) -> None:
    """Catches money that moves twice because a webhook was delivered twice."""
    assert _outcome(both[0]) == _outcome(both[1])


@given(
    st.sampled_from([Outcome.SUCCEEDED, Outcome.DECLINED, Outcome.ABORTED]),
    st.sampled_from(sorted(REQUESTS)),
)
def test_invariant_7_a_manual_resolution_is_the_observation_with_more_history(
    outcome: Outcome, op_id: str
) -> None:
    """Catches a resolution by hand that moves other amounts than the provider's own report."""
    by_hand, seen = _requested(), _requested()
    for book in (by_hand, seen):
        book.run(RecordUnknown(payment_id="p1", op_id=op_id, cause="timeout"))
    by_hand.run(
        QueryOperation(payment_id="p1", op_id=op_id, result="no answer"),
        ResolveOperation(
            payment_id="p1",
            op_id=op_id,
            outcome=outcome,
            actor="ann",
            approver="bob",
            reason="the bank statement says so",
        ),
    )
    seen.run(
        RecordObservation(observation=Observation(payment_id="p1", outcome=outcome, op_id=op_id))
    )
    assert by_hand.net() == seen.net()
    for name in AMOUNTS:
        assert getattr(by_hand.payment(), name) == getattr(seen.payment(), name)


@given(_chains().flatmap(lambda chains: st.permutations([c for c in chains if c])))
def test_invariant_16_events_of_payments_survive_json(chains: list[list[Observation]]) -> None:
    """Catches an amount or a nested struct that does not come back as it was written."""
    book = _requested()
    for chain in chains:
        for report in chain:
            book.run(RecordObservation(observation=report))
    for _, event, _ in book.events:
        topic, payload = encode_event(event)
        assert decode_event(topic, payload) == event


@given(st.lists(st.tuples(st.integers(1, 4_000), st.integers(-1, 3)), min_size=1, max_size=5))
def test_conflicting_reports_count_the_same_in_any_order(reports: list[tuple[int, int]]) -> None:
    """Catches a contradiction that is decided by whichever report came last."""
    results = []
    for order in (reports, reports[::-1]):
        book = _requested()
        for amount, sequence in order:
            report = _report(Outcome.SUCCEEDED, "c1", amount=amount, sequence=sequence)
            book.run(RecordObservation(observation=report))
        results.append((book.payment().captured, book.net()))
    assert results[0] == results[1]


@given(st.lists(st.integers(1, 3_000), min_size=1, max_size=8))
def test_invariant_2_refunds_beyond_the_capture_are_one_anomaly(amounts: list[int]) -> None:
    """Catches an over-refund that is clamped away unseen, or reported over and over."""
    book = Book()
    book.place(AUTHORISED)
    book.run(
        _initiated(),
        Authorise(payment_id="p1", op_id="a1", amount=AUTHORISED, currency="EUR"),
        RecordSucceeded(payment_id="p1", op_id="a1"),
    )
    capture = Observation(
        payment_id="p1", outcome=Outcome.SUCCEEDED, kind="capture", provider_ref="C", amount=4_000
    )
    book.run(RecordObservation(observation=capture))
    for number, amount in enumerate(amounts):
        refund = msgspec.structs.replace(
            capture, kind="refund", provider_ref=f"F{number}", amount=amount
        )
        book.run(RecordObservation(observation=refund))
    payment = book.payment()
    assert payment.exposure == max(0, sum(amounts) - 4_000)
    raised = [e for _, e, _ in book.events if isinstance(e, AnomalyRaised) and e.kind == "Exposure"]
    assert len(raised) == (1 if payment.exposure else 0)
