"""
Lines of chargebacks: what the chargeback's own events have posted, its line does not post again.

A line shows the chargeback that it names by id or reference, or the only one of the payment that it
names, or of several the only one that has its amount left to show; as far as the chargeback has
moved that much. What a line has taken and nobody reported, the line reports itself, with its fee,
as a notification would. A fee of its own that no report of the chargeback had is posted with the
line (recipe 14).
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from orderledger.ledger import accounts
from orderledger.ledger.chargeback_events import ChargebackReport
from orderledger.ledger.chargeback_stages import TRANSITIONS, ChargebackFact, ChargebackStage
from orderledger.ledger.chargebacks import Chargeback
from orderledger.ledger.journal import Entry, entry, merge
from orderledger.ledger.payments import PaymentState
from orderledger.ledger.recipes_settlement import CHARGEBACKS, fee_legs, line_converted
from orderledger.ledger.settlement_events import (
    LineType,
    MatchedPart,
    SettlementLine,
    SettlementLineMatched,
)

from .chargeback_disputes import Moment
from .decide_chargebacks import observe_chargeback
from .decide_settlement_lines import Settling
from .decide_settlement_matches import BY_AMOUNT, BY_REFERENCE, is_named
from .order_guards import is_id

_BACK: Final = LineType.CHARGEBACK_REVERSED


class Shown(msgspec.Struct, frozen=True, gc=False):
    """A chargeback that a line may show, and the rule that found it."""

    payment: PaymentState
    chargeback_id: str
    one: Chargeback
    rule: str

    @property
    def moved_key(self) -> str:
        """Under which a payment keeps what settlements have shown of what it moved."""
        return f"chargeback {self.chargeback_id}"

    @property
    def fee_key(self) -> str:
        return f"chargeback_fee {self.chargeback_id}"

    def left(self, *, is_back: bool) -> int:
        """Return how much it took, or gave back, that no line has shown."""
        flow = self.one.flow
        moved = flow.reversed + flow.gained if is_back else flow.out + flow.reversed
        return moved - self.payment.reconciled_amount(self.moved_key, is_reversal=is_back)

    def fee_left(self, currency: str, *, is_back: bool) -> int:
        """Return the fees, charged or returned, that it has posted and no line has shown."""
        moved = self.one.fees_returned if is_back else self.one.fees_charged
        posted = sum([amount for code, amount in moved.values() if code == currency])
        shown = self.payment.reconciled_amount(self.fee_key, is_reversal=is_back)
        return max(0, posted - shown)


def settle_chargeback(
    settling: Settling,
    line: SettlementLine,
    payments: Sequence[PaymentState],
    moment: Moment,
    by: str = "",
) -> bool:
    """
    Let a line show a chargeback that moved its amount; returns whether one was found.

    ``moment`` is the command of the line and when it is decided.
    """
    if line.type not in CHARGEBACKS:
        return False
    known = [one for one in payments if one.exists]
    report = _unreported(line, known)
    if report is not None:
        name = f"{settling.state.settlement_id}/{line.line_no}"
        changes = observe_chargeback(report, settling.states, moment, name)
        known = [settling.take_in(one, changes) for one in known]
    found = _find(line, known)
    amount, fee = _amounts(line)
    is_back = line.type is _BACK
    if found is None or amount < 0 or amount > found.left(is_back=is_back):
        return False
    payment_id = found.payment.payment_id
    if fee:
        part = MatchedPart(payment_id, found.fee_key, abs(fee))
        settling.reconcile(part, line.line_no, is_reversal=fee < 0)
    moved = MatchedPart(payment_id, found.moved_key, amount)
    event = SettlementLineMatched(
        line_no=line.line_no,
        parts=(moved if amount else MatchedPart(payment_id, found.fee_key, abs(fee)),),
        rule=found.rule,
        variance=-line.residue,
        by=by,
    )
    if amount:
        settling.reconcile(moved, line.line_no, is_reversal=is_back)
    settling.add(event, _posted(settling.state.provider, line, found, fee))
    return True


def _unreported(line: SettlementLine, payments: Sequence[PaymentState]) -> ChargebackReport | None:
    """
    Return the report of what a line has taken, if nobody reported it; None where that is not plain.

    A stage of a known chargeback that comes next; or a chargeback under the line's own reference,
    if all that is known of the payment's others was shown by other lines.
    """
    stage, amount = _STAGES.get(line.type), _amounts(line)[0]
    if stage is None or amount <= 0:
        return None
    found = _find(line, payments)
    is_first = stage is ChargebackStage.CHARGEBACK
    if found is not None and (found.rule == BY_REFERENCE or not is_first):
        may_open = (stage, ChargebackFact.OPENED) in TRANSITIONS[found.one.node]
        is_new = found.left(is_back=False) == 0 and may_open
        return _opening(line, found.payment, found.chargeback_id) if is_new else None
    named = [one for one in payments if one.currency == line.gross_currency and is_named(line, one)]
    if len(named) != 1 or not is_first:
        return None
    payment, reference = named[0], line.modification_ref
    is_payments = any(key.partition(" ")[2] == reference for key in payment.by_reference)
    waiting = [
        key
        for key, one in payment.chargebacks.items()
        if Shown(payment, key, one, BY_AMOUNT).left(is_back=False) > 0
    ]
    if is_payments or waiting or not is_id(reference):
        return None
    return _opening(line, payment, reference)


_STAGES: Final = {
    LineType.CHARGEBACK: ChargebackStage.CHARGEBACK,
    LineType.SECOND_CHARGEBACK: ChargebackStage.SECOND_CHARGEBACK,
}


def _opening(line: SettlementLine, payment: PaymentState, chargeback_id: str) -> ChargebackReport:
    return ChargebackReport(
        payment_id=payment.payment_id,
        chargeback_id=chargeback_id,
        fact=ChargebackFact.OPENED,
        stage=_STAGES[line.type],
        amount=_amounts(line)[0],
        currency=line.gross_currency,
        fee=max(0, line.fee),
        fee_currency=line.currency,
    )


def _amounts(line: SettlementLine) -> tuple[int, int]:
    """Return what was taken or given back, positive, and the fee, negative where it came back."""
    if line.type is LineType.CHARGEBACK_FEE:
        return 0, line.fee - line.gross
    return (line.gross if line.type is _BACK else -line.gross), line.fee


def _posted(provider: str, line: SettlementLine, found: Shown, fee: int) -> Entry:
    """Post the fee that the chargeback had not, what is unexplained, and a change of currency."""
    known = found.fee_left(line.currency, is_back=fee < 0)
    beyond = fee - known if fee > 0 else fee + known
    if abs(fee) <= known:
        beyond = 0
    charged = entry(*fee_legs(line, provider, accounts.DISPUTE_FEES, beyond))
    return merge((charged, line_converted(line, provider)))


def _find(line: SettlementLine, payments: Sequence[PaymentState]) -> Shown | None:
    references = {line.modification_ref, line.provider_ref} - {""}
    every = [
        (payment, name, one)
        for payment in payments
        if payment.currency == line.gross_currency
        for name, one in payment.chargebacks.items()
    ]
    named = [
        found
        for found in every
        if references & {found[1], found[2].provider_ref, *found[2].aliases}
    ]
    if len(named) == 1:
        return Shown(*named[0], BY_REFERENCE)
    of_payment = [Shown(*found, BY_AMOUNT) for found in every if is_named(line, found[0])]
    if len(of_payment) > 1:
        amount, is_back = _amounts(line)[0], line.type is _BACK
        of_payment = [one for one in of_payment if amount and one.left(is_back=is_back) == amount]
    return of_payment[0] if not named and len(of_payment) == 1 else None
