"""
Import a bank statement: read it whole, find what its lines may show, record them in chunks.

Run it again after it was finished or killed: nothing is added twice, nothing is lost.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from orderledger.book import Book
from orderledger.commands.bank_commands import ImportBankStatement, RecordBankLine
from orderledger.commands.decide_bank_payouts import SELLER_PAYOUT, SELLER_PAYOUT_RETURNED
from orderledger.commands.decide_bank_subjects import SETTLEMENT
from orderledger.commands.requests import SYSTEM, Actor, Envelope, Source
from orderledger.ledger.bank_events import BankLine, BankSubject
from orderledger.ledger.bank_statements import StatementState
from orderledger.ledger.limits import SETTLEMENT_CANDIDATES_MAX
from orderledger.ledger.payouts import TRANSIT
from orderledger.ledger.settlement_events import LineType
from orderledger.projections.payouts import PayoutRow
from orderledger.projections.settlements import SettlementLineRow, SettlementRow

from .bank_csv import ParsedStatement, parse
from .settlement_file import read_whole
from .settlement_import import Progress, counted, record_chunks

Finder = Callable[[BankLine], Iterable[BankSubject]]
"""Return further subjects that a line may show, of a kind that a host registered."""
_WORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")


class StatementOptions(msgspec.Struct, frozen=True, kw_only=True):
    """
    What the file does not say. ``opening`` and ``closing``, in minor units, go before what it says.
    """

    bank: str
    statement: str
    opening: int | None = None
    closing: int | None = None
    tolerance: int = 0
    actor: Actor = SYSTEM
    finders: tuple[Finder, ...] = ()


class StatementSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What an import came to; ``new_lines`` were not in the book before it."""

    bank: str
    statement: str
    sha256: str
    status: str
    lines: int
    new_lines: int
    matched: int
    breaks: Mapping[str, int]


def read_statement(source: str) -> tuple[str, ParsedStatement]:
    """Read a file (``-``: standard input); return its hash and content. Raises ImportFileError."""
    file_hash, text = read_whole(source)
    return file_hash, parse(text)


def import_statement(
    book: Book, source: str, options: StatementOptions, progress: Progress | None = None
) -> StatementSummary:
    """
    Import a bank statement into a book; return what it came to.

    Raises ImportFileError before anything is recorded, Rejected where the statement is known with
    another file, and any error of the book.
    """
    file_hash, parsed = read_statement(source)
    opening = parsed.opening if options.opening is None else options.opening
    closing = parsed.closing if options.closing is None else options.closing
    begin = ImportBankStatement(
        bank=options.bank,
        statement=options.statement,
        sha256=file_hash,
        currency=parsed.currency,
        line_count=len(parsed.lines),
        opening=opening or 0,
        closing=closing,
        tolerance=options.tolerance,
    )
    book.execute_envelope(Envelope(command=begin, actor=options.actor, source=Source.IMPORT))
    known = book.bank_statement(options.bank, options.statement)
    missing = [line for line in parsed.lines if known.line(line.line_no) is None]
    if missing:
        payouts = _Payouts(book, options.bank, parsed.currency)
        envelopes = (_envelope(line, payouts, options) for line in missing)
        whole = len(parsed.lines)
        record_chunks(book, envelopes, (whole - len(missing), whole), progress)
    state = book.bank_statement(options.bank, options.statement)
    return summary_of(state, new_lines=len(missing))


def _envelope(line: BankLine, payouts: "_Payouts", options: StatementOptions) -> Envelope:
    command = RecordBankLine(
        bank=options.bank,
        statement=options.statement,
        line=line,
        candidates=_candidates(line, payouts, options.finders),
        occurred_at=line.booked_at,
    )
    return Envelope(command=command, actor=options.actor, source=Source.IMPORT)


def _candidates(
    line: BankLine, payouts: "_Payouts", finders: Sequence[Finder]
) -> tuple[BankSubject, ...]:
    found = [*payouts.of(line), *(one for finder in finders for one in finder(line))]
    return tuple(dict.fromkeys(found))[:SETTLEMENT_CANDIDATES_MAX]


class _Payouts:
    """
    Payouts of providers to an account that no bank line has shown in full yet, and payouts to
    sellers from it.
    """

    def __init__(self, book: Book, bank: str, currency: str) -> None:
        models = book.read.models
        models.catch_up("settlements")
        models.catch_up("payouts")
        self._by_amount: dict[int, list[BankSubject]] = {}
        self._by_word: dict[str, list[BankSubject]] = {}
        banks = {(one.provider, one.batch): one.bank for one in models.select(SettlementRow)}
        for kind in (LineType.PAYOUT, LineType.PAYOUT_RETURNED):
            for row in models.select(SettlementLineRow, type=kind.value):
                if banks.get((row.provider, row.batch)) == bank:
                    self._add(row)
        for payout in models.select(PayoutRow):
            if (payout.bank, payout.currency) == (bank, currency):
                self._add_to_seller(payout)

    def _add(self, row: SettlementLineRow) -> None:
        left = -row.gross - row.arrived
        if not left:
            return
        settlement_id = f"{row.provider}/{row.batch}"
        subject = BankSubject(SETTLEMENT, settlement_id, row.line_no)
        self._by_amount.setdefault(left, []).append(subject)
        names = (row.reference, row.modification_reference, row.merchant_reference, settlement_id)
        for name in names:
            for word in _WORD.findall(name):
                self._by_word.setdefault(word, []).append(subject)

    def _add_to_seller(self, row: PayoutRow) -> None:
        sent = BankSubject(SELLER_PAYOUT, row.payout_id)
        back = BankSubject(SELLER_PAYOUT_RETURNED, row.payout_id)
        leaving = row.sent_unseen or (row.amount if row.status in TRANSIT else 0)
        for subject, amount in ((sent, -leaving), (back, row.back_unseen)):
            if amount:
                self._by_amount.setdefault(amount, []).append(subject)
        for name in (row.payout_id, row.bank_ref):
            for word in _WORD.findall(name):
                self._by_word.setdefault(word, []).extend((sent, back))

    def of(self, line: BankLine) -> list[BankSubject]:
        """Return the payouts that a line names, or that have its amount."""
        named = [
            one for word in _WORD.findall(line.reference) for one in self._by_word.get(word, ())
        ]
        return [*named, *self._by_amount.get(line.amount, ())]


def summary_of(state: StatementState, *, new_lines: int) -> StatementSummary:
    """Return what a statement came to so far."""
    return StatementSummary(
        bank=state.bank,
        statement=state.statement,
        sha256=state.sha256,
        status=state.status.value,
        lines=state.lines.size,
        new_lines=new_lines,
        matched=sum([1 for _, one in state.lines.items() if one.parts]),
        breaks=counted(state.open_breaks()),
    )
