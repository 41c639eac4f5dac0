"""
What of a dispute's reserve a ruling needs: for the refund it granted, and for the platform's fee.
"""

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from orderledger.ledger import accounts
from orderledger.ledger.escrow_events import ReservePart
from orderledger.ledger.freezes import Freeze, account_of
from orderledger.ledger.money import cumulative_part
from orderledger.ledger.payment_operations import FundingPart


def from_reserve(freeze: Freeze, currency: str, parts: list[FundingPart]) -> list[FundingPart]:
    """
    Return the parts of a refund with the seller's borne by the dispute's reserve, as far as it has
    the currency in which the seller is debited; a part that it has in part becomes two.
    """
    left = {code: one.minor for code, one in freeze.reserve.items()}
    seller = accounts.seller(freeze.slice_id)
    found: list[FundingPart] = []
    for part in parts:
        code, minor = part.debited(currency)
        within = min(minor, left.get(code, 0)) if part.account == seller else 0
        if within <= 0:
            found.append(part)
            continue
        left[code] -= within
        amount = cumulative_part(part.amount, minor, 0, within)
        found.append(_with(part, account_of(freeze), amount, within))
        if within < minor:
            found.append(_with(part, part.account, part.amount - amount, minor - within))
    return found


def _with(part: FundingPart, account: str, amount: int, minor: int) -> FundingPart:
    one = part.recovery
    if one is not None and one.currency:
        one = replace(one, amount=minor)
    return FundingPart(account, amount, part.slice_id, one)


def needed_by(
    freeze: Freeze, currency: str, parts: tuple[FundingPart, ...]
) -> dict[str, ReservePart]:
    """Return what the parts of a refund take of a reserve, by currency."""
    return by_currency([part for part in parts if part.account == account_of(freeze)], currency)


def by_currency(parts: Iterable[FundingPart], currency: str) -> dict[str, ReservePart]:
    """Sum up parts of the order's currency by what their accounts are debited for them."""
    found: dict[str, ReservePart] = {}
    for part in parts:
        code, minor = part.debited(currency)
        before = found.get(code) or ReservePart(code, 0, 0)
        found[code] = ReservePart(code, before.minor + minor, before.amount + part.amount)
    return found


def taken_of(reserve: Mapping[str, ReservePart], amount: int) -> tuple[ReservePart, ...]:
    """Return up to ``amount`` of the order's currency out of a reserve, each currency in turn."""
    found: list[ReservePart] = []
    for code, one in reserve.items():
        part = min(amount, one.amount)
        if part > 0:
            amount -= part
            found.append(ReservePart(code, cumulative_part(one.minor, one.amount, 0, part), part))
    return tuple(found)


def beyond(
    reserve: Mapping[str, ReservePart], needed: Mapping[str, ReservePart]
) -> tuple[ReservePart, ...]:
    """Return what a reserve has beyond what is needed of it."""
    found: list[ReservePart] = []
    for code, one in reserve.items():
        kept = needed.get(code) or ReservePart(code, 0, 0)
        rest = ReservePart(code, one.minor - kept.minor, one.amount - kept.amount)
        if rest.minor > 0:
            found.append(rest)
    return tuple(found)
