"""
Chargebacks: where each stands, what it took, and who bears it.

SQL views: ``chargebacks``, ``chargeback_fees``.
"""

from datetime import datetime
from typing import Final, cast

from orderledger.ledger import streams
from orderledger.ledger.chargeback_events import ChargebackReported, OfChargeback
from orderledger.ledger.chargebacks import Chargeback
from orderledger.ledger.folds import folded
from orderledger.ledger.model_ports import Key, Row, Table
from orderledger.ledger.payments import PaymentState

from .models import ReadModel, Recorded, Rows
from .tables import Amount, TableRow, table


@table(
    "chargebacks",
    key_count=2,
    indexes=(("status", "evidence_due_by"), ("order_id",), ("provider", "status")),
)
class ChargebackRow(TableRow, frozen=True):
    """
    One row per chargeback, amounts in minor units of ``currency``; see ``Chargeback``.

    ``amount`` is or was contested at its stage; ``contested`` may come back, ``lost`` does not,
    ``reversed`` came back. ``fee`` is charged less returned, as far as it is in that currency.
    ``evidence_due_by`` is the end of the stage's defence; ``opened_at`` and ``last_at`` are when
    something was first and last reported of it, in the world.
    """

    payment_id: str
    chargeback_id: str
    order_id: str
    provider: str
    provider_ref: str
    reason_code: str
    stage: str
    status: str
    liability: str
    currency: str
    amount: Amount
    contested: Amount
    lost: Amount
    reversed: Amount
    fee: Amount
    is_answered: bool
    evidence_due_by: datetime | None
    opened_at: datetime
    last_at: datetime


CHARGEBACKS: Final = ChargebackRow.table


@table("chargeback_fees", key_count=3)
class ChargebackFeeRow(TableRow, frozen=True):
    """Fees of a chargeback, charged less returned, in minor units of ``currency``."""

    payment_id: str
    chargeback_id: str
    currency: str
    amount: Amount


FEES: Final = ChargebackFeeRow.table


@table("chargeback_times", key_count=2)
class ChargebackTimesRow(TableRow, frozen=True):
    """Working rows: instants that a folded chargeback does not keep."""

    payment_id: str
    chargeback_id: str
    opened_at: datetime
    last_at: datetime


_TIMES: Final = ChargebackTimesRow.table


class Chargebacks(ReadModel):
    """The read model ``chargebacks``."""

    name = "chargebacks"
    version = 1
    tables = (CHARGEBACKS, FEES, _TIMES)
    topics = frozenset(
        [name for name, struct in folded().items() if issubclass(struct, OfChargeback)]
    )
    folds = frozenset({"payment"})

    def project(self, recorded: Recorded, rows: Rows) -> None:
        """Touch the chargeback that an event of a payment is about."""
        event, payment_id = recorded.event, recorded.entity_id
        assert isinstance(event, OfChargeback), "its topics are those of chargebacks"
        key = (payment_id, event.chargeback_id)
        at = recorded.occurred_at
        before = rows.get(_TIMES, key)
        if before is None:
            rows.put(_TIMES, (*key, at, at))
        elif isinstance(event, ChargebackReported):
            rows.put(_TIMES, (*key, before[2], at))
        rows.touch(CHARGEBACKS, key)
        one = _state(payment_id, rows).chargebacks.get(event.chargeback_id)
        moved = [*one.fees_charged.values(), *one.fees_returned.values()] if one else []
        for currency, _ in moved:
            rows.touch(FEES, (*key, currency))

    def derive(self, table: Table, key: Key, rows: Rows) -> Row | None:
        """Return the row of a chargeback, or of its fees in one currency."""
        payment = _state(str(key[0]), rows)
        one = payment.chargebacks.get(str(key[1]))
        if one is None:
            return None
        if table is FEES:
            return (*key, one.fees.get(str(key[2]), 0))
        return _row(payment, one, key, rows)


def _state(payment_id: str, rows: Rows) -> PaymentState:
    return cast(PaymentState, rows.state(streams.payment(payment_id)))


def _row(payment: PaymentState, one: Chargeback, key: Key, rows: Rows) -> Row | None:
    times = rows.get(_TIMES, key)
    if times is None:
        return None
    stage, status = one.node
    flow = one.flow
    return (
        *key,
        payment.order_id,
        payment.provider,
        one.provider_ref,
        one.reason_code,
        stage.value,
        status.value,
        one.liability.value,
        payment.currency,
        flow.amount,
        flow.contested,
        flow.lost,
        flow.reversed,
        one.fees.get(payment.currency, 0),
        stage in one.documents,
        one.evidence_due_by,
        times[2],
        times[3],
    )
