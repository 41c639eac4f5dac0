"""
The chart of accounts: address grammar, normal sides and the accounts that must end at zero.

Accounts are open: any name within the grammar may be posted to. The chart adds what is known of
the accounts a marketplace needs, and builds their names in one place.
"""

import re
from enum import StrEnum
from functools import lru_cache
from typing import Final

import msgspec

from .errors import InvalidAccount

_SEGMENT: Final = r"[A-Za-z0-9][A-Za-z0-9._@/+-]*"
_ROOTS: Final = ("", "assets", "liabilities", "income", "expenses", "equity")
GRAMMAR: Final = re.compile(rf"(assets|liabilities|income|expenses|equity)(:{_SEGMENT})+")
"""Colon-separated segments below one of five roots; no space, so that a leg is one text line."""
MAX_LENGTH: Final = 200


class Side(StrEnum):
    """The side on which an account normally has its balance."""

    DEBIT = "debit"
    CREDIT = "credit"


class AccountClass(msgspec.Struct, frozen=True):
    """A pattern of the chart: its normal side and whether its instances must end at zero."""

    prefix: str
    side: Side
    must_be_zero: bool
    meaning: str


CHART: Final[tuple[AccountClass, ...]] = (
    AccountClass("assets:bank", Side.DEBIT, False, "own or safeguarded bank cash"),
    AccountClass("assets:psp", Side.DEBIT, False, "captured by the provider, not yet settled"),
    AccountClass("assets:psp_reserve", Side.DEBIT, False, "withheld by the provider as a reserve"),
    AccountClass("assets:disputes", Side.DEBIT, True, "pulled back by the provider, contested"),
    AccountClass("assets:receivables", Side.DEBIT, False, "the buyer got back more than was paid"),
    AccountClass("liabilities:escrow", Side.CREDIT, True, "customer funds held for the order"),
    AccountClass("liabilities:seller", Side.CREDIT, False, "owed to the seller; negative is debt"),
    AccountClass("liabilities:dispute_reserve", Side.CREDIT, True, "frozen for a dispute"),
    AccountClass("liabilities:rolling_reserve", Side.CREDIT, False, "percentage reserve"),
    AccountClass("liabilities:refunds", Side.CREDIT, True, "refund owed, not yet settled"),
    AccountClass("liabilities:payouts", Side.CREDIT, True, "payout initiated, not confirmed"),
    AccountClass("liabilities:tax", Side.CREDIT, False, "tax collected"),
    AccountClass("liabilities:shipping", Side.CREDIT, False, "shipping passed through"),
    AccountClass("liabilities:tips", Side.CREDIT, False, "tips passed through"),
    AccountClass("liabilities:store_credit", Side.CREDIT, False, "stored value of a buyer"),
    AccountClass("liabilities:loyalty", Side.CREDIT, False, "points of a buyer"),
    AccountClass("income:commission_refunded", Side.DEBIT, False, "contra: commission given back"),
    AccountClass("income", Side.CREDIT, False, "income"),
    AccountClass("expenses", Side.DEBIT, False, "expense"),
    AccountClass("equity", Side.CREDIT, False, "currency position and openings"),
    AccountClass("assets", Side.DEBIT, False, "asset of the host"),
    AccountClass("liabilities", Side.CREDIT, False, "liability of the host"),
)
"""Looked up by longest prefix; the last five serve accounts that a host adds."""

COMMISSION: Final = "income:commission"
COMMISSION_REFUNDED: Final = "income:commission_refunded"
BREAKAGE: Final = "income:breakage"
FX_GAIN: Final = "income:fx_gain"
GATEWAY_FEES: Final = "expenses:gateway_fees"
BANK_FEES: Final = "expenses:bank_fees"
SETTLEMENT_VARIANCE: Final = "expenses:settlement_variance"
DISPUTE_FEES: Final = "expenses:dispute_fees"
CHARGEBACK_LOSSES: Final = "expenses:chargeback_losses"
PROMO: Final = "expenses:promo"
GOODWILL: Final = "expenses:goodwill"
BAD_DEBT: Final = "expenses:bad_debt"
FX_LOSS: Final = "expenses:fx_loss"
FX_POSITION: Final = "equity:fx"
OPENING: Final = "equity:opening"
DISPUTE_RESERVE: Final = "liabilities:dispute_reserve:"
"""Beginning of the accounts of ``dispute_reserve``."""


def bank(name: str) -> str:
    return check(f"assets:bank:{name}")


def psp(provider: str) -> str:
    return check(f"assets:psp:{provider}")


def psp_reserve(provider: str) -> str:
    return check(f"assets:psp_reserve:{provider}")


def disputes(chargeback_id: str) -> str:
    return check(f"assets:disputes:{chargeback_id}")


def receivable(order_id: str) -> str:
    """What the buyer of an order got back beyond what was paid, by refunds and chargebacks."""
    return check(f"assets:receivables:{order_id}")


def escrow(order_id: str) -> str:
    return check(f"liabilities:escrow:{order_id}")


def refunds(order_id: str) -> str:
    return check(f"liabilities:refunds:{order_id}")


def seller(seller_id: str) -> str:
    return check(f"liabilities:seller:{seller_id}")


def dispute_reserve(freeze_id: str) -> str:
    return check(f"{DISPUTE_RESERVE}{freeze_id}")


def tax(jurisdiction: str) -> str:
    return check(f"liabilities:tax:{jurisdiction}")


def shipping(carrier: str) -> str:
    return check(f"liabilities:shipping:{carrier}")


def tips(seller_id: str) -> str:
    return check(f"liabilities:tips:{seller_id}")


def store_credit(buyer: str) -> str:
    return check(f"liabilities:store_credit:{buyer}")


def loyalty(buyer: str) -> str:
    return check(f"liabilities:loyalty:{buyer}")


# A leg's account is checked wherever it enters: command, recipe, entry. The names repeat.
@lru_cache(maxsize=8192)
def check(name: str) -> str:
    """Return the name if it is within the grammar; raises InvalidAccount otherwise."""
    try:
        is_name = len(name) <= MAX_LENGTH and GRAMMAR.fullmatch(name) is not None
    except TypeError:  # a number, None or bytes
        is_name = False
    if not is_name:
        raise InvalidAccount(
            f"account {name!r:.202} is not root:segment… with the roots assets, liabilities, "
            f"income, expenses, equity and at most {MAX_LENGTH} characters",
            account=name,
        )
    return name


def check_prefix(name: str) -> str:
    """Return the name if it is an account or a root alone, or empty; raises InvalidAccount."""
    return name if name in _ROOTS else check(name)


def classify(name: str) -> AccountClass:
    """Return the chart's row for an account: the one with the longest matching prefix."""
    matching = [row for row in CHART if name == row.prefix or name.startswith(f"{row.prefix}:")]
    if not matching:
        raise InvalidAccount(f"account {name!r} has no known root", account=name)
    return max(matching, key=lambda row: len(row.prefix))
