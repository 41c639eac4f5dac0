"""
What an order is made of: lines, charges, totals, typed change actions and the parts of a release.

These values stand inside events. Amounts are integers in minor units of the order's currency.
"""

from decimal import Decimal
from enum import StrEnum
from typing import Final

import msgspec

from .chargeback_stages import Liability
from .instants import Instant


class Funder(StrEnum):
    """Who bears a discount: the seller earns less, or the platform pays it into escrow."""

    SELLER = "seller"
    PLATFORM = "platform"


class Discount(msgspec.Struct, frozen=True, omit_defaults=True):
    """A discount on a line, or before allocation on the whole order; ``amount`` > 0."""

    source_id: str
    amount: int
    funded_by: Funder = Funder.SELLER


class Tax(msgspec.Struct, frozen=True, omit_defaults=True):
    """A tax amount on a line or charge, ``included`` in its price or on top of it."""

    jurisdiction: str
    amount: int
    included: bool = False


class OrderLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """
    A priced line. ``unit_price`` is in major units and may be finer than a minor unit.

    amount = quantity × unit_price, rounded once; net = amount − discounts − included tax; the
    buyer is charged net + all tax.
    """

    line_id: str
    sku: str
    seller: str
    quantity: int
    unit_price: Decimal
    amount: int
    net: int
    discounts: tuple[Discount, ...] = ()
    tax: tuple[Tax, ...] = ()

    @property
    def discount(self) -> int:
        """Σ discounts."""
        return sum([one.amount for one in self.discounts])

    @property
    def platform_discount(self) -> int:
        """Σ discounts that the platform funds."""
        return sum([one.amount for one in self.discounts if one.funded_by is Funder.PLATFORM])

    @property
    def tax_total(self) -> int:
        """Σ tax, included or not."""
        return sum([one.amount for one in self.tax])

    @property
    def charged(self) -> int:
        """What the buyer is charged for the line: net + all tax."""
        return self.net + self.tax_total


class ShippingCharge(msgspec.Struct, frozen=True, omit_defaults=True):
    """
    Shipping paid by the buyer. ``carrier`` set: passed through to it, otherwise to the seller.

    ``amount`` includes included tax; the buyer is charged amount + tax on top.
    """

    shipping_id: str
    seller: str
    amount: int
    carrier: str = ""
    tax: tuple[Tax, ...] = ()

    @property
    def charged(self) -> int:
        """What the buyer is charged: amount + tax on top."""
        return self.amount + sum([one.amount for one in self.tax if not one.included])


class Surcharge(msgspec.Struct, frozen=True, omit_defaults=True):
    """A fee for the buyer that the seller earns (gift wrap, cash on delivery)."""

    surcharge_id: str
    seller: str
    amount: int


class Tip(msgspec.Struct, frozen=True, omit_defaults=True):
    """A tip, passed through to the seller without commission."""

    seller: str
    amount: int


class Totals(msgspec.Struct, frozen=True, omit_defaults=True):
    """
    grand = items − discount + tax + shipping + surcharge + tip, exactly.

    ``tax`` is the tax on top of prices; ``tax_included`` is already inside items and shipping.
    """

    items: int
    discount: int
    tax: int
    shipping: int
    surcharge: int
    tip: int
    grand: int
    tax_included: int = 0


class LineInput(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A line as a command gives it: amount and net are computed from it."""

    line_id: str
    sku: str
    seller: str
    quantity: int
    unit_price: Decimal
    discounts: tuple[Discount, ...] = ()
    tax: tuple[Tax, ...] = ()


class StockReservation(msgspec.Struct, frozen=True, omit_defaults=True):
    """Units of a line set aside in stock, until an instant or for good."""

    reservation_id: str
    line_id: str
    quantity: int
    until: Instant | None = None


class ItemAdd(msgspec.Struct, frozen=True, tag="ITEM_ADD", tag_field="type"):
    line: LineInput


class ItemRemove(msgspec.Struct, frozen=True, tag="ITEM_REMOVE", tag_field="type"):
    line_id: str


class ItemUpdate(msgspec.Struct, frozen=True, tag="ITEM_UPDATE", tag_field="type"):
    """
    New live quantity, price, discounts or tax of a line; None keeps the price, and scales
    discounts and tax with the quantity.
    """

    line_id: str
    quantity: int
    unit_price: Decimal | None = None
    discounts: tuple[Discount, ...] | None = None
    tax: tuple[Tax, ...] | None = None


class ShippingAdd(msgspec.Struct, frozen=True, tag="SHIPPING_ADD", tag_field="type"):
    shipping: ShippingCharge


class ShippingRemove(msgspec.Struct, frozen=True, tag="SHIPPING_REMOVE", tag_field="type"):
    shipping_id: str


class WriteOff(msgspec.Struct, frozen=True, tag="WRITE_OFF", tag_field="type"):
    """Units that will never be delivered or restocked; the price does not change."""

    line_id: str
    quantity: int


class Reinstate(msgspec.Struct, frozen=True, tag="REINSTATE", tag_field="type"):
    """Units written off before are there after all."""

    line_id: str
    quantity: int


class AdjustmentAdd(msgspec.Struct, frozen=True, tag="ADJUSTMENT_ADD", tag_field="type"):
    """A discount on one line, or without ``line_id`` on all lines by their amounts."""

    discount: Discount
    line_id: str = ""


class AdjustmentRemove(msgspec.Struct, frozen=True, tag="ADJUSTMENT_REMOVE", tag_field="type"):
    """Takes away every discount of this source."""

    source_id: str


class SurchargeAdd(msgspec.Struct, frozen=True, tag="SURCHARGE_ADD", tag_field="type"):
    surcharge: Surcharge


ChangeAction = (
    ItemAdd
    | ItemRemove
    | ItemUpdate
    | ShippingAdd
    | ShippingRemove
    | WriteOff
    | Reinstate
    | AdjustmentAdd
    | AdjustmentRemove
    | SurchargeAdd
)


class Beneficiary(StrEnum):
    """Which account a part of a release goes to; items go to the seller less commission."""

    SELLER_SHIPPING = "seller_shipping"
    CARRIER = "carrier"
    TAX = "tax"
    TIP = "tip"


class ReleasePart(msgspec.Struct, frozen=True, omit_defaults=True):
    """A part of a release beside the items; ``target`` is the seller, carrier or jurisdiction."""

    beneficiary: Beneficiary
    target: str
    amount: int


class Commission(msgspec.Struct, frozen=True, omit_defaults=True):
    """
    amount = rate × base, rounded once half-even, in the slice's currency.

    ``tax`` = tax_rate × amount is owed by the seller on top of it to ``tax_jurisdiction``.
    """

    rate: Decimal
    rate_version: str
    base: int
    amount: int
    tax: int = 0
    tax_rate: Decimal = Decimal(0)
    tax_jurisdiction: str = ""


class Conversion(msgspec.Struct, frozen=True, omit_defaults=True):
    """
    The seller is owed another currency than the buyer paid.

    ``amount`` (minor units of ``currency``) = source_amount × rate scaled by both exponents,
    rounded once; it contains ``commission`` and ``commission_tax``, all in ``currency``.
    """

    currency: str
    rate: Decimal
    source_amount: int
    amount: int
    commission: int
    commission_tax: int = 0


WAIT_HOURS_MAX: Final = 24 * 366
"""The longest wait that an order's terms may set: a year."""


class OrderTerms(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """
    What was agreed for an order when it was placed: how long timers wait, who bears what is lost.

    In hours: from the delivery of all of a seller's lines to the release of its slice, from the
    last movement to the completion, and from the delivery of a consignment, or from its dispatch
    where no delivery is reported, to its confirmation by silence. ``chargeback_liability`` holds
    unless a report or a person says otherwise. Sources of the defaults: Upwork's automatic release
    after 14 days; Directive 2011/83/EU, article 9, of 14 days to withdraw.
    """

    release_hours: int = 14 * 24
    completion_hours: int = 14 * 24
    confirm_delivered_hours: int = 7 * 24
    confirm_dispatched_hours: int = 30 * 24
    chargeback_liability: Liability = Liability.SELLER

    @property
    def waits(self) -> dict[str, int]:
        """Every wait by its name, in hours."""
        return {
            "release_hours": self.release_hours,
            "completion_hours": self.completion_hours,
            "confirm_delivered_hours": self.confirm_delivered_hours,
            "confirm_dispatched_hours": self.confirm_dispatched_hours,
        }


DEFAULT_TERMS: Final = OrderTerms()
"""Those of an order whose event names none; stored history means them, so they never change."""
