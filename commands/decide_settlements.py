"""
Decisions on the file and the lines of a settlement batch, and on closing it.
"""

from datetime import datetime
from typing import Final

from orderledger.ledger import accounts
from orderledger.ledger.account_events import JournalKind
from orderledger.ledger.anomalies import AnomalyKind
from orderledger.ledger.currencies import exponent
from orderledger.ledger.errors import InvalidCommand, NotFound, Reason, Rejected
from orderledger.ledger.limits import (
    SETTLEMENT_CANDIDATES_MAX,
    SETTLEMENT_CURRENCIES_MAX,
    SETTLEMENT_FEES_MAX,
    SETTLEMENT_LINES_MAX,
    TEXT_LENGTH_MAX,
    check_count,
    check_rate_digits,
    check_total,
)
from orderledger.ledger.money import Money
from orderledger.ledger.recipes_settlement import CHARGEBACKS, NO_FEES, line_recorded
from orderledger.ledger.settlement_events import (
    BreakKind,
    LineType,
    SettlementBatchClosed,
    SettlementFileReceived,
    SettlementLine,
    SettlementLineRecorded,
    StatedBalance,
)
from orderledger.ledger.settlements import SettlementState, SettlementStatus, fingerprint

from .decide_settlement_chargebacks import settle_chargeback
from .decide_settlement_lines import Difference, Settling
from .decide_settlement_matches import KINDS, amount_of, match
from .decision import Changes, States, decides
from .dispute_guards import check_hash
from .reconciliation_guards import check_line_no, check_person, check_same_file
from .settlement_commands import (
    CloseBatch,
    ImportSettlementFile,
    OfSettlement,
    RecordSettlementLine,
)

_BASIS: Final = 10_000


@decides(ImportSettlementFile)
def import_file(command: ImportSettlementFile, states: States, now: datetime) -> Changes:
    """Begin a batch; the same file again changes nothing, another one for it is refused."""
    _check_file(command)
    state = states.settlement(command.provider, command.batch)
    if state.exists:
        known, what = state.settlement_id, f"batch {state.settlement_id}"
        check_same_file(what, state.sha256, command.sha256, settlement=known)
        return ()
    settling = Settling(states, state)
    by_totals = states.journal(f"{command.provider}/{command.batch}")
    if by_totals.exists and by_totals.kind is JournalKind.SETTLEMENT:
        raise Rejected(
            Reason.ALREADY_EXISTS,
            f"settlement {command.provider}/{command.batch} was recorded by its totals; reverse "
            "that entry before its lines post the same money",
            settlement=f"{command.provider}/{command.batch}",
        )
    settling.add(
        SettlementFileReceived(
            provider=command.provider,
            batch=command.batch,
            sha256=command.sha256,
            format=command.format,
            line_count=command.line_count,
            bank=command.bank,
            tolerance=command.tolerance,
            fee_limit=command.fee_limit,
            balances=command.balances,
        )
    )
    return settling.complete()


def existing_settlement(states: States, command: OfSettlement) -> SettlementState:
    """Return the batch that a command is about; raises NotFound."""
    state = states.settlement(command.provider, command.batch)
    if not state.exists or state.provider != command.provider:
        raise NotFound(
            f"there is no settlement {command.provider}/{command.batch}",
            provider=command.provider,
            batch=command.batch,
        )
    return state


@decides(RecordSettlementLine)
def record_line(command: RecordSettlementLine, states: States, now: datetime) -> Changes:
    """Record a line with what it posts and what it settles; a repeat changes nothing."""
    check_count("candidates", len(command.candidates), SETTLEMENT_CANDIDATES_MAX)
    _check_line(command.line)
    state = existing_settlement(states, command)
    line = command.line
    check_line_no(f"settlement {state.settlement_id}", line.line_no, state.line_count)
    settling = Settling(states, state)
    known = state.line(line.line_no)
    if known is not None:
        if known.line != line:
            detail = f"it was recorded as {known.line.raw_kind} {known.line.net}, now {line.net}"
            settling.anomaly(AnomalyKind.SETTLEMENT_LINE_DIFFERS, str(line.line_no), detail=detail)
        return settling.complete()
    first = state.fingerprints.get(fingerprint(line))
    if first is not None:
        settling.add(SettlementLineRecorded(line=line))
        said = Difference(Money(line.net, line.currency), f"it repeats line {first}")
        settling.raise_break(BreakKind.DUPLICATE, line, said)
        return settling.complete()
    posted = line_recorded(line, state.provider, state.bank)
    settling.add(SettlementLineRecorded(line=line), posted)
    _check_fee(settling, line)
    _settle(settling, command, now)
    return settling.complete()


def _settle(settling: Settling, command: RecordSettlementLine, now: datetime) -> None:
    """Match a line that is about an operation, or raise the break that it is."""
    line = command.line
    payments = [settling.states.payment(one) for one in dict.fromkeys(command.candidates)]
    if settle_chargeback(settling, line, payments, (command, now)):
        return
    is_chargeback = line.type in CHARGEBACKS
    if is_chargeback or line.type is LineType.ADJUSTMENT:
        kind = BreakKind.UNKNOWN_REFERENCE if is_chargeback else BreakKind.UNBOOKED_ADJUSTMENT
        detail = f"{line.raw_kind} of {line.net} {line.currency}"
        settling.raise_break(kind, line, Difference(Money(line.net, line.currency), detail))
        return
    if line.type not in KINDS:
        return
    amount = Money(line.processed, line.currency)
    if amount_of(line) <= 0:
        if line.gross or line.processed:
            detail = f"{line.raw_kind} has the gross {line.gross} {line.gross_currency}"
            settling.raise_break(BreakKind.UNBOOKED_ADJUSTMENT, line, Difference(amount, detail))
        return
    found = match(line, payments)
    if found.found:
        settling.settle(line, found, settling.state.tolerance)
        return
    detail = f"no operation is known by {line.modification_ref or line.provider_ref or '(none)'}"
    if line.merchant_ref:
        detail += f" or fits {line.merchant_ref}"
    settling.raise_break(BreakKind.UNKNOWN_REFERENCE, line, Difference(amount, detail))


def _check_fee(settling: Settling, line: SettlementLine) -> None:
    """A fee beyond the limit, or totals that do not add up, were posted; a person looks at it."""
    if line.type in NO_FEES:
        return
    if line.residue:
        detail = f"gross − fees − net is {line.residue}, not 0"
        account, amount = accounts.SETTLEMENT_VARIANCE, line.residue
    else:
        limit = settling.state.fee_limit
        if limit is None or line.type not in KINDS:
            return
        most = abs(line.processed) * limit.basis_points // _BASIS + limit.fixed
        if line.fee <= most:
            return
        detail = f"the fee {line.fee} is above {most}"
        account, amount = accounts.GATEWAY_FEES, line.fee - most
    said = Difference(Money(amount, line.currency), detail, account)
    settling.raise_break(BreakKind.FEE_UNEXPECTED, line, said)


@decides(CloseBatch)
def close_batch(command: CloseBatch, states: States, now: datetime) -> Changes:
    """Sign off a batch; raises WRONG_STATE while lines are missing or breaks are open."""
    check_person(command.by)
    state = existing_settlement(states, command)
    if state.status is SettlementStatus.CLOSED:
        return ()
    if state.status is not SettlementStatus.BALANCED:
        raise Rejected(
            Reason.WRONG_STATE,
            f"settlement {state.settlement_id} is {state.status.value}: {state.lines.size} of "
            f"{state.line_count} lines are recorded, {state.open_count} breaks are open",
            settlement=state.settlement_id,
            status=state.status.value,
            open_breaks=state.open_count,
        )
    settling = Settling(states, state)
    settling.add(SettlementBatchClosed(by=command.by))
    return settling.complete()


def _check_file(command: ImportSettlementFile) -> None:
    accounts.psp(command.provider)
    accounts.bank(command.bank)
    if "/" in command.provider:
        raise InvalidCommand(
            f"provider {command.provider} has a slash, which parts it from the batch",
            provider=command.provider,
        )
    check_hash("sha256", command.sha256)
    check_count("characters of a format", len(command.format), TEXT_LENGTH_MAX)
    check_count("lines of a settlement", command.line_count, SETTLEMENT_LINES_MAX)
    check_count("balances", len(command.balances), SETTLEMENT_CURRENCIES_MAX)
    limits = (
        ()
        if command.fee_limit is None
        else (
            command.fee_limit.basis_points,
            command.fee_limit.fixed,
        )
    )
    for name, value in (
        ("line_count", command.line_count),
        ("tolerance", command.tolerance),
        *[("fee_limit", one) for one in limits],
    ):
        if value < 0:
            raise InvalidCommand(f"{name} is {value}; it is never negative", field=name)
    currencies = [one.currency for one in command.balances]
    if len(set(currencies)) != len(currencies):
        raise InvalidCommand("a currency has two balances", currencies=currencies)
    for one in command.balances:
        _check_balance(one)


def _check_balance(balance: StatedBalance) -> None:
    exponent(balance.currency)
    for amount in (balance.opening, balance.closing, balance.payout):
        check_total("an amount", abs(amount or 0))


def _check_line(line: SettlementLine) -> None:
    exponent(line.currency)
    exponent(line.gross_currency)
    check_count("fees of a line", len(line.fees), SETTLEMENT_FEES_MAX)
    for amount in (line.gross, line.net, *[one.amount for one in line.fees]):
        check_total("an amount", abs(amount))
    if line.fx_rate is not None:
        if not line.fx_rate.is_finite():
            raise InvalidCommand(f"line {line.line_no} has no finite rate", field="fx_rate")
        check_rate_digits("the rate of a settlement line", line.fx_rate)
    texts = (
        line.raw_kind,
        line.provider_ref,
        line.modification_ref,
        line.merchant_ref,
        line.external_id,
        *[one.name for one in line.fees],
    )
    check_count("characters of a text", max([len(text) for text in texts]), TEXT_LENGTH_MAX)
