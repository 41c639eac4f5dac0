"""
The trial balance of a closing: signed sums per account, their canonical lines, hash and totals.

The hash is over one line per account, currency and layer whose balance is not zero:
``assets:bank:main EUR posted 12500`` (minor units, debit positive), each ended by a line feed, in
the order of their bytes. No word has a space, and none of their characters sorts before it, so that
``LC_ALL=C sort | sha256sum`` gives the same. The hash of no lines is that of the empty text.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from hashlib import sha256
from typing import Final

from .accounts import CHART, classify
from .errors import IntegrityViolation
from .journal import Layer, Posting
from .period_events import ClassTotal

AccountKey = tuple[str, str, str]
"""Account, currency, layer."""
Sums = Mapping[AccountKey, int]
"""Signed minor units, debit positive, per account, currency and layer; zero ones are left out."""
_SEGMENTS: Final = max(row.prefix.count(":") for row in CHART) + 1
"""Segments of an account's name that decide its class."""


def add(sums: dict[AccountKey, int], legs: Iterable[Posting]) -> None:
    """Add the legs of an entry to sums; a sum that becomes zero is taken out."""
    for leg in legs:
        add_minor(sums, (leg.account, leg.currency, str(leg.layer)), leg.minor)


def add_minor(sums: dict[AccountKey, int], key: AccountKey, minor: int) -> None:
    """Add minor units to one sum; a sum that becomes zero is taken out."""
    total = sums.get(key, 0) + minor
    if total:
        sums[key] = total
    else:
        sums.pop(key, None)


def canonical_lines(sums: Sums) -> Iterator[str]:
    """Yield the lines that are hashed, in order, each with its line feed."""
    for account, currency, layer in sorted(sums):
        yield f"{account} {currency} {layer} {sums[(account, currency, layer)]}\n"


def trial_balance_hash(sums: Sums) -> str:
    """Return SHA-256 over the canonical lines, in hex."""
    digest = sha256()
    for line in canonical_lines(sums):
        digest.update(line.encode())
    return digest.hexdigest()


def class_totals(sums: Sums) -> tuple[ClassTotal, ...]:
    """Return debit, credit and number of accounts per (class, currency, layer), in that order."""
    found: dict[tuple[str, str, str], tuple[int, int, int]] = {}
    for (account, currency, layer), minor in sums.items():
        head = ":".join(account.split(":", _SEGMENTS)[:_SEGMENTS])
        key = (_class_of(head), currency, layer)
        debit, credit, count = found.get(key, (0, 0, 0))
        found[key] = (debit + max(minor, 0), credit + max(-minor, 0), count + 1)
    return tuple(
        [
            ClassTotal(account_class, currency, Layer(layer), debit, credit, count)
            for (account_class, currency, layer), (debit, credit, count) in sorted(found.items())
        ]
    )


# Asked for every account while nobody can append: most differ only behind what decides.
@lru_cache(maxsize=1024)
def _class_of(head: str) -> str:
    return classify(head).prefix


def check_balanced(totals: Iterable[ClassTotal]) -> None:
    """
    Raise IntegrityViolation unless debit equals credit in every currency and layer.

    Every entry balances when it is made: where their sum does not, a stored one was changed.
    """
    sums: dict[tuple[str, str], tuple[int, int]] = {}
    for one in totals:
        debit, credit = sums.get((one.currency, one.layer.value), (0, 0))
        sums[(one.currency, one.layer.value)] = (debit + one.debit, credit + one.credit)
    for (currency, layer), (debit, credit) in sorted(sums.items()):
        if debit != credit:
            raise IntegrityViolation(
                f"the {layer} trial balance in {currency} has {debit} minor units of debit and "
                f"{credit} of credit; run `orderledger verify`",
                currency=currency,
                layer=layer,
                debit=debit,
                credit=credit,
            )
