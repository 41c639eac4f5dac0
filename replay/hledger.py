"""
The dialect of hledger: what ``hledger check --strict`` reads. Tried with hledger 1.25.

Names of accounts stay as they are: its grammar has all of ours. Source: the hledger manual,
"Journal format".
"""

from collections.abc import Sequence
from datetime import date

from orderledger.ledger.currencies import exponent
from orderledger.ledger.journal import Posting
from orderledger.ledger.money import format_minor
from orderledger.ledger.read_ports import AccountSum

from .beancount import cover_lines, held_lines, leg_lines
from .plain_text import Cover, Transaction


class Hledger:
    """Writes a journal of hledger; what is stored around an entry are its tags."""

    def head(self, cover: Cover) -> str:
        """Return what the text is of, and the decimal mark."""
        return "".join([*(f"; {line}\n" for line in cover_lines(cover)), "decimal-mark .\n\n"])

    def account(self, name: str, currencies: Sequence[str], since: date) -> str:
        """Return the directive that declares an account, with its first use."""
        return f"account {name}\n    ; opened: {since.isoformat()}\n"

    def commodity(self, currency: str, since: date) -> str:
        """Return the directive that declares a commodity with its decimals."""
        return f"commodity 1000.{'0' * exponent(currency)} {currency}\n"

    def transaction(self, one: Transaction) -> str:
        """Return an entry; one that only holds is a comment."""
        if not one.posted:
            return "".join(f"; {line}\n" for line in held_lines(one))
        return "".join(
            [
                f"\n{one.on.isoformat()} * {_one_line(one.words)}\n",
                *(f"    ; {name}: {_one_line(value)}\n" for name, value in one.facts),
                *(f"    ; {line}\n" for line in leg_lines(one.held)),
                *(self.leg(leg) for leg in one.posted),
            ]
        )

    def opening(self, on: date) -> str:
        """Return the head of the entry that carries balances over."""
        return f"\n{on.isoformat()} * Balances carried over\n"

    def leg(self, leg: Posting) -> str:
        """Return one leg of an entry."""
        return f"    {leg.account}  {format_minor(leg.minor, leg.currency)} {leg.currency}\n"

    def assertion(self, account: str, sums: Sequence[AccountSum], last: date) -> str:
        """Return the balances at the end of the last entry's day."""
        return f"{last.isoformat()} * Balances\n" + "".join(
            f"    {account}  0 {one.currency} = {format_minor(one.minor, one.currency)} "
            f"{one.currency}\n"
            for one in sums
        )


def _one_line(text: str) -> str:
    """Write words that can neither begin a comment or a tag nor go on in another line."""
    plain = "".join(" " if not one.isprintable() else one for one in text)
    return plain.replace(";", ",").strip()
