"""
Checks that the deciders of orders share: malformed input first, then existence, then state.
"""

from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal
from typing import Final

from orderledger.ledger import limits, streams
from orderledger.ledger.anomalies import AnomalyKind
from orderledger.ledger.errors import InvalidCommand, InvalidMoney, NotFound, Reason, Rejected
from orderledger.ledger.events import Event
from orderledger.ledger.journal import EMPTY, Entry
from orderledger.ledger.order_content import Discount, LineInput, ShippingCharge, Tax
from orderledger.ledger.orders import EVOLVE, TRANSITIONS, Lifecycle, OrderState

from .decision import Change, States

_ID: Final = streams.ID_GRAMMAR

FOREIGN_REFUND: Final = AnomalyKind.REFUND_IN_ANOTHER_CURRENCY
"""Kind of the anomaly of a grant that an order cannot count, by refund and currency."""


def check_id(what: str, value: str) -> None:
    """Raise InvalidCommand if an id is outside the grammar of ids."""
    if _ID.fullmatch(value) is None:
        raise InvalidCommand(
            f"{what} {value!r} must be 1 to 120 of A-Z a-z 0-9 . _ @ / + : - and start with a "
            "letter or digit",
            field=what,
            value=value,
        )


def is_id(value: str) -> bool:
    """Tell whether a text can be an id."""
    return _ID.fullmatch(value) is not None


def check_text(what: str, value: str) -> None:
    """Raise LimitExceeded if a free text is too long."""
    limits.check_count(f"characters of {what}", len(value), limits.TEXT_LENGTH_MAX)


def check_open_anomaly(
    anomalies: Collection[str], anomaly_id: str, subject: str, **facts: str
) -> None:
    """Raise NOT_FOUND unless the anomaly is open with ``subject``; ``facts`` are its ids."""
    if anomaly_id not in anomalies:
        raise Rejected(
            Reason.NOT_FOUND,
            f"{subject} has no open anomaly {anomaly_id}",
            **facts,
            anomaly_id=anomaly_id,
        )


def check_amount(what: str, value: int, *, minimum: int = 1) -> None:
    """Raise InvalidMoney for no integer, InvalidCommand below the minimum or above the limit."""
    if type(value) is not int:
        raise InvalidMoney(
            f"{what} {value!r} is a {type(value).__name__}; money is an integer number of minor "
            "units",
            field=what,
            amount=repr(value),
        )
    if not minimum <= value <= limits.AMOUNT_MINOR_MAX:
        raise InvalidCommand(
            f"{what} is {value} minor units, it must be at least {minimum} and at most "
            f"{limits.AMOUNT_MINOR_MAX}",
            field=what,
            amount=value,
        )


def check_quantity(what: str, value: int) -> None:
    """Raise InvalidCommand if a quantity is no integer from 1 to the limit."""
    if type(value) is not int or not 1 <= value <= limits.QUANTITY_MAX:
        raise InvalidCommand(
            f"{what} is {value!r}; it must be an integer from 1 to {limits.QUANTITY_MAX}",
            field=what,
            value=repr(value),
        )


def check_rate(what: str, rate: Decimal, *, maximum: int = 1) -> None:
    """Raise InvalidCommand if a rate is no decimal from 0 to ``maximum``, LimitExceeded by size."""
    check_decimal(what, rate)
    if not 0 <= rate <= maximum:
        raise InvalidCommand(
            f"{what} {rate!r} must be a decimal from 0 to {maximum}", field=what, value=repr(rate)
        )


def check_price_of_currency(what: str, rate: Decimal) -> None:
    """Raise InvalidCommand if the rate of an exchange is not positive, LimitExceeded by size."""
    check_decimal(what, rate)
    if rate <= 0:
        raise InvalidCommand(f"{what} {rate!r} must be positive", field=what, value=repr(rate))


def check_decimal(what: str, value: Decimal) -> None:
    """Raise InvalidCommand if a value is no finite decimal, LimitExceeded by its digits."""
    if type(value) is not Decimal or not value.is_finite():
        raise InvalidCommand(
            f"{what} {value!r} must be a decimal number", field=what, value=repr(value)
        )
    limits.check_rate_digits(what, value)


def check_unique(what: str, ids: Sequence[str]) -> None:
    """Raise InvalidCommand if an id occurs twice."""
    if len(ids) > 1 and len(set(ids)) != len(ids):
        twice = sorted({one for one in ids if ids.count(one) > 1})
        raise InvalidCommand(f"{what} {', '.join(twice)} given twice", field=what, ids=twice)


def check_line(line: LineInput) -> None:
    """Raise InvalidInput if a line of a command is malformed in itself."""
    check_id("line_id", line.line_id)
    check_id("seller", line.seller)
    check_quantity(f"quantity of line {line.line_id}", line.quantity)
    check_unit_price(line.line_id, line.unit_price)
    if line.discounts:
        check_discounts(line.discounts)
    if line.tax:
        check_taxes(line.tax)


def check_unit_price(line_id: str, price: Decimal) -> None:
    """Raise if a unit price is no exact, non-negative decimal within the limits."""
    if type(price) is not Decimal or not price.is_finite() or price < 0:
        raise InvalidMoney(
            f"unit price {price!r} of line {line_id} must be a decimal of zero or more",
            line_id=line_id,
            unit_price=repr(price),
        )
    limits.check_decimal(
        f"unit price of line {line_id}",
        price,
        decimals=limits.UNIT_PRICE_DECIMALS_MAX,
        digits=limits.AMOUNT_DIGITS_MAX,
    )
    if price > limits.AMOUNT_MINOR_MAX:
        raise InvalidCommand(
            f"unit price {price} of line {line_id} is above {limits.AMOUNT_MINOR_MAX}",
            line_id=line_id,
            unit_price=str(price),
        )


def check_discounts(discounts: Sequence[Discount]) -> None:
    """Raise if a discount is malformed."""
    limits.check_count("discounts", len(discounts), limits.LINE_PARTS_MAX)
    for discount in discounts:
        check_id("discount source_id", discount.source_id)
        check_amount(f"discount {discount.source_id}", discount.amount)


def check_taxes(taxes: Sequence[Tax]) -> None:
    """Raise if a tax is malformed."""
    limits.check_count("taxes", len(taxes), limits.LINE_PARTS_MAX)
    for tax in taxes:
        check_id("tax jurisdiction", tax.jurisdiction)
        check_amount(f"tax of {tax.jurisdiction}", tax.amount, minimum=0)


def check_shipping(charge: ShippingCharge) -> None:
    """Raise if a shipping charge is malformed."""
    check_id("shipping_id", charge.shipping_id)
    check_id("seller", charge.seller)
    if charge.carrier:
        check_id("carrier", charge.carrier)
    check_amount(f"shipping {charge.shipping_id}", charge.amount, minimum=0)
    if charge.tax:
        check_taxes(charge.tax)
        included = sum([tax.amount for tax in charge.tax if tax.included])
        if included > charge.amount:
            raise InvalidCommand(
                f"shipping {charge.shipping_id} of {charge.amount} includes {included} of tax",
                shipping_id=charge.shipping_id,
                amount=charge.amount,
                included=included,
            )


def existing(states: States, order_id: str) -> OrderState:
    """Return the order; raises NotFound if nothing is known of it."""
    order = states.order(order_id)
    if not order.exists:
        raise NotFound(f"there is no order {order_id}", order_id=order_id)
    return order


def require(order: OrderState, action: str, allowed: Iterable[Lifecycle]) -> None:
    """Raise Rejected(WRONG_STATE) unless the order is in one of these lifecycles."""
    if order.lifecycle not in allowed:
        raise Rejected(
            Reason.WRONG_STATE,
            f"order {order.order_id} is {order.lifecycle}; to {action} it must be "
            f"{' or '.join(sorted(allowed))}",
            order_id=order.order_id,
            lifecycle=order.lifecycle.value,
        )


def require_for(order: OrderState, action: str, event: type[Event]) -> None:
    """Raise Rejected(WRONG_STATE) unless the table of transitions has the event here."""
    require(order, action, TRANSITIONS[event][0])


def require_no_hold(order: OrderState) -> None:
    """Raise Rejected(ON_HOLD) if a hold is in force."""
    if order.holds:
        raise Rejected(
            Reason.ON_HOLD,
            f"order {order.order_id} is held by {', '.join(order.holds)}; release that first",
            order_id=order.order_id,
            holds=list(order.holds),
        )


def unknown_line(order: OrderState, line_id: str) -> Rejected:
    """Return the refusal for a line that the order does not have."""
    return Rejected(
        Reason.NOT_FOUND,
        f"order {order.order_id} has no line {line_id}",
        order_id=order.order_id,
        line_id=line_id,
    )


def too_many(order: OrderState, line_id: str, wanted: int, left: int, what: str) -> Rejected:
    """Return the refusal of a quantity above what is left."""
    return Rejected(
        Reason.QUANTITY_EXCEEDS_AVAILABLE,
        f"line {line_id} of order {order.order_id} has {left} units that can be {what}, "
        f"not {wanted}",
        order_id=order.order_id,
        line_id=line_id,
        quantity=wanted,
        available=left,
    )


def change(order_id: str, event: Event, entry: Entry = EMPTY) -> Change:
    """Return the change that appends an event to an order's stream."""
    return Change(streams.order(order_id), event, entry)


def after(order: OrderState, *events: Event) -> OrderState:
    """Return the order as it will be after events, for decisions that build on them."""
    for event in events:
        order = EVOLVE[type(event)](order, event)
    return order
