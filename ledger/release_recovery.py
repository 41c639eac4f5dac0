"""
What refunds take back of the releases of one slice, each release at its own rates.

A refund belongs to the tender that it goes back to. It takes first from the releases which that
tender paid for, each up to what it paid, then from the others; the oldest release comes first both
times. Within a release the commission and its tax come back with the items by cumulative rounding,
and an amount that was credited in another currency comes back at the release's rate, cumulatively
too. So a series of refunds never takes more of an account than the release gave it, and takes all
of it when all of the release comes back.

Source: recipes 9, 11 and 28; "Commission is reversed on a refund at the rate of the capture it
belongs to, never more than was taken. Refund of foreign currency uses the original rate."
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Final

import msgspec

from . import accounts
from .currencies import exponent
from .escrow_shares import PartKey
from .money import cumulative_part
from .order_content import Beneficiary
from .order_events import FundsReleased
from .orders import OrderState
from .payment_operations import Component, FundingPart, Recovery

ACCOUNT_OF: Final = {
    Beneficiary.SELLER_SHIPPING.value: accounts.seller,
    Beneficiary.CARRIER.value: accounts.shipping,
    Beneficiary.TAX.value: accounts.tax,
    Beneficiary.TIP.value: accounts.tips,
}
_OF_ITEMS: Final = (Component.ITEMS, Component.COMMISSION, Component.COMMISSION_TAX)


def items_of(slice_id: str) -> PartKey:
    """Return the key of a slice's items: the seller's part, the commission and its tax together."""
    return (Component.ITEMS.value, slice_id)


class Pot(msgspec.Struct):
    """
    What one account got of one release, in the order's currency and as it was credited, and what
    it gave back of both.

    Only the seller's can be below zero: the commission and its tax were more than the items.
    """

    key: PartKey
    account: str
    component: Component
    had: int
    credited: int
    given: int = 0
    debited: int = 0

    @property
    def left(self) -> int:
        """What it can still give back, in the order's currency."""
        return _left(self.had, self.given)

    @property
    def credit_left(self) -> int:
        """What it can still give back of what it was credited."""
        return _left(self.credited, self.debited)

    def debit_for(self, amount: int) -> int:
        """Return what it is debited when ``amount`` more comes back, by cumulative rounding."""
        if not self.had:
            return 0
        reached = round(Fraction(self.credited * (self.given + amount), self.had))
        return _clamped(reached - self.debited, self.credit_left)


def _left(had: int, given: int) -> int:
    return max(0, had - given) if had >= 0 else min(0, had - given)


def _clamped(amount: int, bound: int) -> int:
    """Return the amount moved to between zero and a bound of either sign."""
    return max(min(0, bound), min(max(0, bound), amount))


class ReleaseLeft:
    """What one release can still give back; changes as a refund takes from it."""

    def __init__(self, event: FundsReleased, by_tender: int) -> None:
        """``by_tender`` is what the refund's tender paid for it and did not get back."""
        self.event: Final = event
        self.by_tender = by_tender
        self.pots: Final = _pots(event)

    @property
    def items(self) -> list[Pot]:
        return [pot for pot in self.pots if pot.component in _OF_ITEMS]

    def of(self, key: PartKey) -> list[Pot]:
        """Return the pots of a key; of the items all three."""
        return [pot for pot in self.pots if pot.key == key]

    def take(self, key: PartKey, amount: int) -> list[FundingPart]:
        """Take an amount of a key, at most what its pots have left."""
        pots = self.of(key)
        if len(pots) == 1:
            return self._given(pots, [amount], [self._debit(pots[0], amount)])
        return self._given(pots, *self._of_items(pots, amount))

    def take_of(self, pot: Pot, amount: int) -> list[FundingPart]:
        """Take an amount of one account alone, at most what it has left."""
        return self._given([pot], [amount], [self._debit(pot, amount)])

    def _debit(self, pot: Pot, amount: int) -> int:
        return pot.debit_for(amount) if self.event.conversion is not None else amount

    def _of_items(self, pots: Sequence[Pot], amount: int) -> tuple[list[int], list[int]]:
        """
        Divide an amount of the items: commission and its tax reach their part of the items that
        came back, the seller gives the rest; once in the order's currency, once as credited.
        """
        seller, *others = pots
        whole = self.event.items
        reached = sum([pot.given for pot in pots]) + amount
        wanted = [round(Fraction(pot.had * reached, whole)) - pot.given for pot in others]
        taken = _within(amount, wanted, [pot.left for pot in pots])
        if self.event.conversion is None:
            return taken, taken
        credited, debited = sum([p.credited for p in pots]), sum([p.debited for p in pots])
        moved = round(Fraction(credited * reached, whole)) - debited
        moved = _clamped(moved, sum([pot.credit_left for pot in pots]))
        wanted = [pot.debit_for(part) for pot, part in zip(others, taken[1:], strict=True)]
        return taken, _within(moved, wanted, [pot.credit_left for pot in (seller, *others)])

    def _given(
        self, pots: Sequence[Pot], amounts: Sequence[int], debits: Sequence[int]
    ) -> list[FundingPart]:
        parts: list[FundingPart] = []
        for pot, amount, minor in zip(pots, amounts, debits, strict=True):
            if not (amount or minor):
                continue
            pot.given += amount
            pot.debited += minor
            recovery = Recovery(pot.component, self.event.release_id)
            if self._is_converted(pot):
                recovery = _converted(recovery, self.event, minor)
            parts.append(FundingPart(pot.account, amount, self.event.slice_id, recovery))
        self.by_tender -= sum(amounts)
        return parts

    def _is_converted(self, pot: Pot) -> bool:
        is_the_sellers = pot.component in (*_OF_ITEMS, Component.SELLER_SHIPPING)
        return is_the_sellers and self.event.conversion is not None


def _converted(recovery: Recovery, event: FundsReleased, minor: int) -> Recovery:
    terms = event.conversion
    if terms is None:
        return recovery
    return msgspec.structs.replace(recovery, amount=minor, currency=terms.currency, rate=terms.rate)


def _within(total: int, wanted: Sequence[int], left: Sequence[int]) -> list[int]:
    """
    Divide a total among accounts: ``wanted`` by all but the first, which takes the rest, as far as
    each has something left; what one lacks the next ones bear.
    """
    others = [_clamped(one, bound) for one, bound in zip(wanted, left[1:], strict=True)]
    first = _clamped(total - sum(others), left[0])
    over = total - first - sum(others)
    for index, bound in enumerate(left[1:]):
        moved = _clamped(others[index] + over, bound) - others[index]
        others[index] += moved
        over -= moved
    return [first + over, *others]


def _pots(event: FundsReleased) -> list[Pot]:
    """Return what each account got of a release; the items' pots come first, the seller's first."""
    key, seller = items_of(event.slice_id), accounts.seller(event.slice_id)
    commission, terms = event.commission, event.conversion
    got = [event.items - commission.amount - commission.tax, commission.amount, commission.tax]
    credited = got
    freight = 0
    if terms is not None:
        whole = terms.source_amount
        freight = cumulative_part(terms.amount, whole, event.items, whole) if whole else 0
        net = terms.amount - freight - terms.commission - terms.commission_tax
        credited = [net, terms.commission, terms.commission_tax]
    tax = accounts.tax(commission.tax_jurisdiction) if commission.tax else ""
    names = (seller, accounts.COMMISSION_REFUNDED, tax)
    pots = [
        Pot(key, name, component, minor, paid)
        for name, component, minor, paid in zip(names, _OF_ITEMS, got, credited, strict=True)
        if minor or paid or component is Component.ITEMS
    ]
    for part in event.parts:
        kind = part.beneficiary.value
        is_sellers = terms is not None and kind == Component.SELLER_SHIPPING.value
        paid = freight if is_sellers else part.amount
        account = ACCOUNT_OF[kind](part.target)
        pots.append(Pot((kind, part.target), account, Component(kind), part.amount, paid))
    return pots


class Releases:
    """The releases of one slice, the oldest first, less what refunds took of them."""

    def __init__(self, order: OrderState, slice_id: str, tender_id: str = "") -> None:
        one = order.slice_of(slice_id)
        self.slice_id: Final = slice_id
        self.tender_id: Final = tender_id
        self.ones: Final = [
            ReleaseLeft(event, _paid_by(tender_id, one.funded.get(event.release_id, {})))
            for event in order.releases.values()
            if event.slice_id == slice_id
        ]
        self._subtract(order)

    def _subtract(self, order: OrderState) -> None:
        """Subtract what was given back: where the release is named, then what names none."""
        by_id = {one.event.release_id: one for one in self.ones}
        unnamed: dict[str, int] = {}
        for (tender_id, _), parts in order.recovered.items():
            for part in parts:
                if part.slice_id != self.slice_id:
                    continue
                if part.recovery is None:
                    unnamed[part.account] = unnamed.get(part.account, 0) + part.amount
                    continue
                release = by_id.get(part.recovery.release_id)
                if release is not None:
                    _subtract(release, part, is_own=tender_id == self.tender_id)
        for account, amount in unnamed.items():
            left = amount
            for release, pot in self.of_account(account):
                taken = min(left, max(0, pot.left))
                if taken:
                    release.take_of(pot, taken)
                    left -= taken

    def left(self) -> dict[PartKey, int]:
        """Return what can still be taken back, by component and target."""
        found: dict[PartKey, int] = {}
        for release in self.ones:
            for pot in release.pots:
                found[pot.key] = found.get(pot.key, 0) + pot.left
        return {key: amount for key, amount in found.items() if amount > 0}

    def of_account(self, account: str) -> list[tuple[ReleaseLeft, Pot]]:
        """Return an account's pots, the oldest release first."""
        return [
            (release, pot)
            for release in self.ones
            for pot in release.pots
            if pot.account == account
        ]

    def left_of(self, account: str) -> int:
        """Return what an account can still give back."""
        return sum([max(0, pot.left) for _, pot in self.of_account(account)])

    def take(self, key: PartKey, amount: int) -> list[FundingPart]:
        """Take back an amount of a component, at most what ``left`` says of it."""
        parts: list[FundingPart] = []
        for is_own in (True, False):
            for release in self.ones:
                room = sum([pot.left for pot in release.of(key)])
                if is_own:
                    room = min(room, release.by_tender)
                part = min(amount, room)
                if part > 0:
                    parts.extend(release.take(key, part))
                    amount -= part
        return parts

    def take_of(
        self, account: str, amount: int, components: Sequence[Component]
    ) -> list[FundingPart]:
        """Take back an amount of what one account got by some components, as far as it can."""
        parts: list[FundingPart] = []
        for is_own in (True, False):
            for release, pot in self.of_account(account):
                room = pot.left if pot.component in components else 0
                if is_own:
                    room = min(room, release.by_tender)
                part = min(amount, room)
                if part > 0:
                    parts.extend(release.take_of(pot, part))
                    amount -= part
        return parts

    def debt(self, amount: int, currency: str) -> FundingPart:
        """
        Return what the seller comes to owe beyond every release, at the last one's rate; in the
        order's currency if there is none.
        """
        recovery = Recovery(Component.DEBT)
        event = self.ones[-1].event if self.ones else None
        if event is not None and event.conversion is not None:
            terms = event.conversion
            rate = rate_between(terms.rate, currency, terms.currency)
            recovery = _converted(recovery, event, round(rate * amount))
        return FundingPart(accounts.seller(self.slice_id), amount, self.slice_id, recovery)


def _paid_by(tender_id: str, funded: Mapping[str, int]) -> int:
    """Return what a tender paid for a release; the key of the coupons names no tender."""
    return funded.get(tender_id, 0) if tender_id else 0


def _subtract(release: ReleaseLeft, part: FundingPart, *, is_own: bool) -> None:
    one = part.recovery
    account = part.account
    if account.startswith(accounts.DISPUTE_RESERVE):
        # A dispute's reserve gives back what the seller got.
        account = accounts.seller(part.slice_id)
    for pot in release.pots:
        if one is not None and pot.component is one.component and pot.account == account:
            pot.given += part.amount
            pot.debited += one.amount if one.currency else part.amount
            if is_own:
                release.by_tender -= part.amount
            return


def rate_between(rate: Decimal, source: str, target: str) -> Fraction:
    """Return how many minor units of ``target`` a minor unit of ``source`` is at a rate."""
    return Fraction(rate) * Fraction(10) ** (exponent(target) - exponent(source))
