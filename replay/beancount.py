"""
The dialect of beancount: what ``bean-check`` reads. Tried with beancount 3.

Source: the Beancount Language Syntax; ``beancount/parser/lexer.l`` and ``parser/options.py``.
"""

from collections.abc import Iterator, Sequence
from datetime import date, timedelta

from orderledger.ledger.currencies import exponent
from orderledger.ledger.errors import InvalidInput
from orderledger.ledger.journal import Posting
from orderledger.ledger.money import format_minor
from orderledger.ledger.read_ports import AccountSum

from .beancount_names import beancount_account
from .plain_text import Cover, Transaction, said


class Beancount:
    """Writes beancount: sums are exact, for its tolerances are turned off."""

    def head(self, cover: Cover) -> str:
        """Return options and what the text is of."""
        return "".join(
            [
                *(f"; {line}\n" for line in cover_lines(cover)),
                f'option "title" {_quoted(f"orderledger book {cover.book}")}\n',
                # Beancount would forgive half of the last digit in an entry.
                'option "tolerance_multiplier" "0"\n\n',
            ]
        )

    def account(self, name: str, currencies: Sequence[str], since: date) -> str:
        """Return the directive that opens an account; its own name is kept beside it."""
        opened = f"{since.isoformat()} open {beancount_account(name)} {','.join(currencies)}\n"
        return f"{opened}  account: {_quoted(name)}\n"

    def commodity(self, currency: str, since: date) -> str:
        """Return the directive of a commodity, with its decimals."""
        return f"{since.isoformat()} commodity {currency}\n  exponent: {exponent(currency)}\n"

    def transaction(self, one: Transaction) -> str:
        """Return an entry; one that only holds is a comment."""
        if not one.posted:
            return "".join(f"; {line}\n" for line in held_lines(one))
        return "".join(
            [
                f"\n{one.on.isoformat()} * {_quoted(one.words)}\n",
                *(f"  {name}: {_value(name, value)}\n" for name, value in one.facts),
                *(f"  ; {line}\n" for line in leg_lines(one.held)),
                *(self.leg(leg) for leg in one.posted),
            ]
        )

    def opening(self, on: date) -> str:
        """Return the head of the entry that carries balances over."""
        return f'\n{on.isoformat()} * "Balances carried over"\n'

    def leg(self, leg: Posting) -> str:
        """Return one leg of an entry."""
        amount = format_minor(leg.minor, leg.currency)
        return f"  {beancount_account(leg.account)}  {amount} {leg.currency}\n"

    def assertion(self, account: str, sums: Sequence[AccountSum], last: date) -> str:
        """Return the balances at the beginning of the day after the last entry."""
        if last == date.max:
            raise InvalidInput(
                "an entry is effective on 9999-12-31, after which beancount knows no day to "
                "assert balances at: end the export before it, with --effective-to"
            )
        following, name = (last + timedelta(days=1)).isoformat(), beancount_account(account)
        return "".join(
            # "~ 0": by itself an assertion forgives a whole unit of the last digit.
            f"{following} balance {name}  {format_minor(one.minor, one.currency)} ~ 0 "
            f"{one.currency}\n"
            for one in sums
        )


def cover_lines(cover: Cover) -> Iterator[str]:
    """Yield what a text is of, for its first comment."""
    yield f"Journal of the orderledger book {cover.book}, positions 1 to {cover.position}"
    if cover.recorded_at is not None:
        yield f"recorded to {said(cover.recorded_at)}"
    if cover.start is not None:
        yield f"effective from {said(cover.start)}"
    if cover.effective_to is not None:
        yield f"effective to {said(cover.effective_to)}"


def leg_lines(legs: Sequence[Posting]) -> Iterator[str]:
    """Yield a line per leg that is held: told, not posted."""
    for leg in legs:
        yield f"held: {leg.account} {format_minor(leg.minor, leg.currency)} {leg.currency}"


def held_lines(one: Transaction) -> Iterator[str]:
    """Yield the comment that stands for an entry which posts nothing."""
    facts = dict(one.facts)
    yield (
        f"{one.on.isoformat()} {facts['topic']} {facts['stream']} holds, position "
        + (facts["position"])
    )
    yield from leg_lines(one.held)


def _value(name: str, value: str) -> str:
    return value if name in {"position", "version"} else _quoted(value)


def _quoted(text: str) -> str:
    """Write a string in quotes; no text of a user can end it or begin a directive."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(" " if not one.isprintable() else one for one in escaped) + '"'
