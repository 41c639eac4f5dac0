"""
Import a settlement file: read it whole, find the payments it may be about, record it in chunks.

Run it again after it was finished or killed: what is in the book stays, what is missing is added,
nothing is added twice. A file that cannot be read leaves nothing.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Final

import msgspec

from orderledger.book import Book
from orderledger.commands.decide_settlement_matches import KINDS
from orderledger.commands.requests import SYSTEM, Actor, Envelope, Source
from orderledger.commands.settlement_commands import (
    ImportSettlementFile,
    MatchLine,
    RecordSettlementLine,
    ResolveBreak,
)
from orderledger.ledger.bank_events import BankBreakRaised
from orderledger.ledger.errors import InvalidInput, OrderLedgerError, Rejected
from orderledger.ledger.limits import SETTLEMENT_CANDIDATES_MAX
from orderledger.ledger.recipes_settlement import CHARGEBACKS
from orderledger.ledger.settlement_events import (
    BreakAction,
    BreakKind,
    FeeLimit,
    SettlementBreakRaised,
    SettlementLine,
    StatedBalance,
)
from orderledger.ledger.settlements import SettlementState
from orderledger.projections.operation_references import NAME as REFERENCES
from orderledger.projections.operation_references import PaymentReferenceRow

from . import settlement_adyen, settlement_generic, settlement_paypal, settlement_stripe
from .settlement_file import ParsedFile, read_whole

CHUNK: Final = 500
"""Lines per transaction: a kill loses at most these, and the next run adds them."""
PARSERS: Final[Mapping[str, Callable[[str], ParsedFile]]] = {
    settlement_adyen.FORMAT: settlement_adyen.parse,
    settlement_generic.FORMAT: settlement_generic.parse,
    settlement_paypal.FORMAT: settlement_paypal.parse,
    settlement_stripe.FORMAT: settlement_stripe.parse,
}
_OF_PAYMENTS: Final = frozenset({*KINDS, *CHARGEBACKS})
"""Types of lines that are about a payment."""
Progress = Callable[[int, int], None]
"""Called with the lines done so far, and of how many."""


class ImportOptions(msgspec.Struct, frozen=True, kw_only=True):
    """
    What the file does not say.

    ``form`` is the format; ``provider`` is what payments call the provider (default: the format).
    ``batch`` is for a file that names none. ``balances`` go before what the file states.
    """

    form: str
    provider: str = ""
    batch: str = ""
    bank: str = "main"
    tolerance: int = 0
    fee_limit: FeeLimit | None = None
    balances: tuple[StatedBalance, ...] = ()
    actor: Actor = SYSTEM


class ReadFile(msgspec.Struct, frozen=True):
    """A file that was read: its hash, its lines, and the batch they are of."""

    sha256: str
    provider: str
    batch: str
    parsed: ParsedFile


class ImportSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What an import came to; ``new_lines`` were not in the book before it."""

    provider: str
    batch: str
    sha256: str
    status: str
    lines: int
    new_lines: int
    matched: int
    breaks: Mapping[str, int]


def read_file(source: str, options: ImportOptions) -> ReadFile:
    """
    Read a settlement file (``-``: standard input; gzip is recognised) without recording anything.

    Raises ImportFileError naming line and column, InvalidInput where nobody names the batch.
    """
    file_hash, text = read_whole(source)
    parsed = PARSERS[options.form](text)
    batch = options.batch or parsed.batch
    if not batch:
        raise InvalidInput(f"{source} names no batch: give one", format=options.form)
    own = {one.currency: one for one in parsed.balances}
    given = {one.currency: _over(own.get(one.currency), one) for one in options.balances}
    balances = tuple([one for _, one in sorted({**own, **given}.items())])
    parsed = msgspec.structs.replace(parsed, balances=balances)
    provider = options.provider or options.form
    return ReadFile(file_hash, provider, batch, parsed)


def _over(stated: StatedBalance | None, given: StatedBalance) -> StatedBalance:
    """Return a balance as given, with what the file states where nothing is given."""
    if stated is None:
        return given
    return StatedBalance(
        given.currency,
        stated.opening if given.opening is None else given.opening,
        stated.closing if given.closing is None else given.closing,
        stated.payout if given.payout is None else given.payout,
    )


def import_settlement(
    book: Book, source: str, options: ImportOptions, progress: Progress | None = None
) -> ImportSummary:
    """
    Import a settlement file into a book; return what it came to.

    Raises ImportFileError before anything is recorded, Rejected where the batch is known with
    another file, and any error of the book. Cost: one to four milliseconds a line with the
    look-ups of their references, more in a large batch, and 4 kB of memory; see
    ``bench_settlement_import``.
    """
    read = read_file(source, options)
    book.execute_envelope(
        Envelope(
            command=ImportSettlementFile(
                provider=read.provider,
                batch=read.batch,
                sha256=read.sha256,
                format=read.parsed.format,
                line_count=len(read.parsed.lines),
                bank=options.bank,
                tolerance=options.tolerance,
                fee_limit=options.fee_limit,
                balances=read.parsed.balances,
            ),
            actor=options.actor,
            source=Source.SETTLEMENT,
        )
    )
    known = book.settlement(read.provider, read.batch)
    missing = [line for line in read.parsed.lines if known.line(line.line_no) is None]
    if missing:
        book.read.models.catch_up(REFERENCES)
    commands = (
        RecordSettlementLine(
            provider=read.provider,
            batch=read.batch,
            line=line,
            candidates=candidates(book, read.provider, line),
            occurred_at=line.occurred_at,
        )
        for line in missing
    )
    envelopes = (
        Envelope(command=one, actor=options.actor, source=Source.SETTLEMENT) for one in commands
    )
    whole = len(read.parsed.lines)
    record_chunks(book, envelopes, (whole - len(missing), whole), progress)
    state = book.settlement(read.provider, read.batch)
    return summary_of(state, new_lines=len(missing))


def record_chunks(
    book: Book, envelopes: Iterable[Envelope], count: tuple[int, int], progress: Progress | None
) -> None:
    """
    Record lines of a file that was received, chunk by chunk; raises the first error.

    ``count`` is how many of its lines are done already, and how many it has.
    """
    done, whole = count
    rest = iter(envelopes)
    while chunk := list(islice(rest, CHUNK)):
        for result in book.execute_many(chunk):
            if isinstance(result, OrderLedgerError):
                raise result
        done += len(chunk)
        if progress is not None:
            progress(done, whole)


def candidates(book: Book, provider: str, line: SettlementLine) -> tuple[str, ...]:
    """
    Return the payments that a line may be about, by the read model of references.

    Those that know the line's own reference, or else those of the payment's or our own reference.
    """
    if line.type not in _OF_PAYMENTS:
        return ()
    own = _known(book, provider, line.modification_ref)
    if own:
        return own
    found = [*_known(book, provider, line.provider_ref), *_known(book, provider, line.merchant_ref)]
    return tuple(dict.fromkeys(found))[:SETTLEMENT_CANDIDATES_MAX]


def _known(book: Book, provider: str, reference: str) -> tuple[str, ...]:
    if not reference:
        return ()
    rows = book.read.models.select(PaymentReferenceRow, provider=provider, reference=reference)
    return tuple([row.payment_id for row in islice(rows, SETTLEMENT_CANDIDATES_MAX)])


def match_again(book: Book, provider: str, batch: str, actor: Actor) -> int:
    """
    Try the rules again on every open break that they could end; return how many they ended.

    For operations that were recorded after the file, and for missing ones that came since.
    """
    book.read.models.catch_up(REFERENCES)
    before = book.settlement(provider, batch)
    for raised in sorted(before.open_breaks(), key=lambda one: (one.line_no, one.break_id)):
        known = before.line(raised.line_no)
        command: MatchLine | ResolveBreak | None = None
        if known is not None and known.line.type in _OF_PAYMENTS and not known.parts:
            command = MatchLine(
                provider=provider,
                batch=batch,
                line_no=raised.line_no,
                by=actor.id,
                candidates=candidates(book, provider, known.line),
                occurred_at=known.line.occurred_at,
            )
        elif raised.kind is BreakKind.MISSING_IN_FILE:
            command = ResolveBreak(
                provider=provider,
                batch=batch,
                break_id=raised.break_id,
                action=BreakAction.MATCHED,
                by=actor.id,
                reason="settled since",
            )
        if command is not None:
            _try(book, Envelope(command=command, actor=actor, source=Source.SETTLEMENT))
    return before.open_count - book.settlement(provider, batch).open_count


def _try(book: Book, envelope: Envelope) -> None:
    """Execute a command that may find nothing to do; any other error is raised."""
    (result,) = book.execute_many([envelope])
    if isinstance(result, OrderLedgerError) and not isinstance(result, Rejected):
        raise result


def counted(breaks: Iterable[SettlementBreakRaised | BankBreakRaised]) -> dict[str, int]:
    """Return how many breaks there are of each kind."""
    return dict(sorted(Counter([one.kind.value for one in breaks]).items()))


def summary_of(state: SettlementState, *, new_lines: int) -> ImportSummary:
    """Return what a batch came to so far."""
    return ImportSummary(
        provider=state.provider,
        batch=state.batch,
        sha256=state.sha256,
        status=state.status.value,
        lines=state.lines.size,
        new_lines=new_lines,
        matched=sum([1 for _, one in state.lines.items() if one.parts]),
        breaks=counted(state.open_breaks()),
    )
