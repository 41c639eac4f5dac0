"""
Postings and entries. An entry cannot exist unbalanced.

A posting is one signed leg, debit positive. On disk an entry is plain text, one leg a line
(``posted assets:psp:adyen GBP 12325``), the same bytes on every engine: an auditor reads it in
psql, and the database's own CHECK sums it.
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Final

import msgspec

from .accounts import check
from .errors import CorruptEvent, InvalidMoney, LimitExceeded, UnbalancedEntry

MAX_LEGS: Final = 4_000
MAX_DIGITS: Final = 30
"""Digits of one leg. SQLite's guard sums in two 64-bit limbs, which this keeps within range."""


_LIMIT: Final = 10**MAX_DIGITS


class Layer(StrEnum):
    """Posted money, or a hold on it: a hold reduces what is available, never what is posted."""

    POSTED = "posted"
    HELD = "held"


class Posting(msgspec.Struct, frozen=True, gc=False):
    """One leg: ``minor`` is signed, debit positive, in minor units of ``currency``."""

    account: str
    currency: str
    minor: int
    layer: Layer = Layer.POSTED


class Entry(msgspec.Struct, frozen=True, gc=False):
    """
    Legs that sum to zero per layer and currency, ordered by layer and currency.

    Build it with ``entry``; raises UnbalancedEntry with the currency and the residue.
    """

    postings: tuple[Posting, ...] = ()

    def __post_init__(self) -> None:
        if not self.postings:
            return
        if len(self.postings) > MAX_LEGS:
            raise LimitExceeded(
                f"an entry has {len(self.postings)} legs, the limit is {MAX_LEGS}",
                legs=len(self.postings),
                limit=MAX_LEGS,
            )
        sums: dict[tuple[Layer, str], int] = {}
        for posting in self.postings:
            minor = posting.minor
            if type(minor) is not int or not -_LIMIT < minor < _LIMIT:
                raise _out_of_range(posting)
            key = (posting.layer, posting.currency)
            sums[key] = sums.get(key, 0) + minor
        for (layer, currency), residue in sums.items():
            if residue:
                raise UnbalancedEntry(
                    f"the {layer} legs in {currency} sum to {residue} minor units, not to zero",
                    layer=layer.value,
                    currency=currency,
                    residue=residue,
                )

    def __bool__(self) -> bool:
        return bool(self.postings)

    def reversed(self) -> "Entry":
        """Return the entry with every leg negated."""
        return Entry(
            tuple(
                Posting(leg.account, leg.currency, -leg.minor, leg.layer) for leg in self.postings
            )
        )


EMPTY: Final = Entry()


def _out_of_range(posting: Posting) -> InvalidMoney:
    return InvalidMoney(
        f"leg {posting.account} has the amount {posting.minor!r}, which is no integer of at "
        f"most {MAX_DIGITS} digits",
        account=posting.account,
        amount=repr(posting.minor),
    )


def debit(account: str, currency: str, minor: int, layer: Layer = Layer.POSTED) -> Posting:
    return Posting(check(account), currency, minor, layer)


def credit(account: str, currency: str, minor: int, layer: Layer = Layer.POSTED) -> Posting:
    return Posting(check(account), currency, -minor, layer)


def entry(*legs: Posting) -> Entry:
    """
    Build an entry from legs: zero legs are dropped, the others ordered by layer and currency.

    The order within a currency is the order given. At least two legs remain, or none.
    Raises UnbalancedEntry.
    """
    kept = [leg for leg in legs if leg.minor]
    kept.sort(key=_group)
    return Entry(tuple(kept)) if kept else EMPTY


def merge(entries: Iterable[Entry]) -> Entry:
    """Join the legs of several entries into one."""
    return entry(*(leg for one in entries for leg in one.postings))


def _group(leg: Posting) -> tuple[bool, str]:
    return (leg.layer is Layer.HELD, leg.currency)


def encode_entry(value: Entry) -> str:
    """Write an entry as text, one leg a line; the empty entry is the empty string."""
    # Not layer.value: that is a Python-level descriptor, slower than the rest of the line.
    return "\n".join(
        [f"{leg.layer} {leg.account} {leg.currency} {leg.minor}" for leg in value.postings]
    )


_LAYERS: Final = {layer.value: layer for layer in Layer}


def decode_entry(text: str) -> Entry:
    """Read what ``encode_entry`` wrote; raises CorruptEvent or UnbalancedEntry."""
    if not text:
        return EMPTY
    try:
        return Entry(tuple([_decode_leg(line) for line in text.split("\n")]))
    except (ValueError, KeyError) as error:
        raise CorruptEvent(f"postings {text!r} cannot be read", postings=text) from error


def _decode_leg(line: str) -> Posting:
    layer, account, currency, minor = line.split(" ")
    return Posting(account, currency, int(minor), _LAYERS[layer])


def net_by_account(postings: Sequence[Posting]) -> dict[tuple[Layer, str, str], int]:
    """Return the net effect per (layer, account, currency)."""
    net: dict[tuple[Layer, str, str], int] = {}
    for leg in postings:
        key = (leg.layer, leg.account, leg.currency)
        net[key] = net.get(key, 0) + leg.minor
    return net


def netted(postings: Sequence[Posting]) -> list[Posting]:
    """Join the legs of each account; what stayed the same falls out."""
    return [
        Posting(account, currency, minor, layer)
        for (layer, account, currency), minor in net_by_account(postings).items()
        if minor
    ]
