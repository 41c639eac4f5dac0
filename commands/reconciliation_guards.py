"""
Checks that the settlement of a provider and the statement of a bank share: a file that is recorded
line by line, and breaks that people end.
"""

from typing import Final

from orderledger.ledger import accounts
from orderledger.ledger.bank_events import BankBreakResolved
from orderledger.ledger.errors import InvalidAccount, InvalidCommand, Reason, Rejected
from orderledger.ledger.limits import TEXT_LENGTH_MAX, check_count
from orderledger.ledger.settlement_events import SettlementBreakResolved

from .bank_commands import ResolveBankBreak
from .decision import Changes
from .settlement_commands import ResolveBreak

_OF_ORDERS: Final = "liabilities:escrow:"


def check_person(by: str, reason: str | None = None) -> None:
    """Raise InvalidCommand unless somebody is named, with a reason where one is due."""
    if not by.strip() or (reason is not None and not reason.strip()):
        raise InvalidCommand("name who decides, and why", by=by, reason=reason)
    check_count("characters", max(len(by), len(reason or "")), TEXT_LENGTH_MAX)


def check_same_file(what: str, known: str, given: str, **facts: object) -> None:
    """Raise Rejected (ALREADY_EXISTS) if what is there already came from another file."""
    if known != given:
        raise Rejected(
            Reason.ALREADY_EXISTS,
            f"{what} was imported from the file {known}, this one is {given}: compare the two; a "
            "corrected file needs an id of its own",
            **facts,
            known_sha256=known,
            sha256=given,
        )


def check_line_no(what: str, line_no: int, line_count: int) -> None:
    """Raise InvalidCommand for a line that the file does not have."""
    if not 1 <= line_no <= line_count:
        raise InvalidCommand(
            f"line {line_no} is not one of the {line_count} lines of {what}",
            line=line_no,
            line_count=line_count,
        )


def ended_again(
    command: ResolveBreak | ResolveBankBreak, known: SettlementBreakResolved | BankBreakResolved
) -> Changes:
    """Return no changes where a break ended as the command wants; else raise Rejected."""
    if (known.action, known.account) == (command.action, command.account):
        return ()
    raise Rejected(
        Reason.OPERATION_ALREADY_USED,
        f"break {command.break_id} was {known.action.value} by {known.by}: {known.reason}",
        break_id=command.break_id,
        action=known.action.value,
    )


def check_booked_account(account: str, *, is_needed: bool) -> None:
    """Raise InvalidInput unless an account is named exactly where something is booked to it."""
    if is_needed != bool(account):
        raise InvalidCommand(
            "name the account to book to" if is_needed else "nothing is booked: name no account",
            field="account",
        )
    if not account:
        return
    accounts.check(account)
    if account.startswith(_OF_ORDERS):
        raise InvalidAccount(
            f"account {account} follows the slices of its order: use its own commands",
            account=account,
        )
