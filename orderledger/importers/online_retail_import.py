"""
Import the Online Retail file: read, plan, execute in batches; know what is known already.

Run it again after it was finished, refused a line or was killed: what is in the book stays, what
is missing is added, nothing is added twice.
"""

import gc
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import msgspec

from orderledger.book import Book
from orderledger.commands.idempotency import fingerprint
from orderledger.commands.requests import Envelope
from orderledger.ledger.codec import key_hash
from orderledger.ledger.errors import OrderLedgerError

from .file_error import ImportFileError
from .online_retail_invoices import Invoice, gather
from .online_retail_lots import Lots
from .online_retail_plan import SalePlanner, envelopes
from .online_retail_refunds import RefundPlanner
from .online_retail_rows import Row, open_source, read_rows
from .online_retail_summary import Summary, Tally

CACHE_STREAMS: Final = 4_000
"""Folded streams to keep in memory: an invoice is done with one batch, a return comes later."""
BATCH: Final = 1_000
"""Commands per transaction, as many as the executor puts into one at most."""
COLLECTOR_THRESHOLDS: Final = (100_000, 10, 100)
"""New containers per young collection, young ones per middle one, middle ones per full one."""
PROGRESS_ROWS: Final = 5_000


class Plan(msgspec.Struct, frozen=True):
    """The commands of one invoice, in order, under keys made of its number. Never empty."""

    document: str
    envelopes: list[Envelope]


Progress = Callable[[int, int], None]
"""Called with the lines and invoices done so far."""


def import_file(book: Book, source: str, progress: Progress | None = None) -> Summary:
    """
    Import a file (``-``: standard input; gzip is recognised) into a book; return the account of it.

    Appends in transactions of up to 1,000 commands, in file order. Memory is bounded but for what
    matching cancellations needs: about 60 bytes a line. Raises ImportFileError at the first
    malformed line, when the invoices complete before it are in the book; any error of the book
    (IdempotencyConflict where the book has another content for an invoice of the same number).
    """
    started = time.monotonic()
    tally = Tally(source)
    execution = _Execution(book, tally.summary)
    with open_source(source) as stream, _collector_relaxed():
        rows = _counted(read_rows(stream), tally, progress)
        try:
            for plan in plan_invoices(rows, tally):
                execution.add(plan)
        except ImportFileError:
            # What was complete before the bad line is kept.
            execution.flush()
            raise
        execution.flush()
    tally.summary.seconds = round(time.monotonic() - started, 3)
    return tally.finish()


@contextmanager
def _collector_relaxed() -> Generator[None, None, None]:
    """
    Let the garbage collector run once per some batches: on this many immutable values its usual
    pace takes a quarter of the time.
    """
    before = gc.get_threshold()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def check(source: str, progress: Progress | None = None) -> Summary:
    """Read and plan a file as ``import_file`` does, without a book; raises ImportFileError."""
    started = time.monotonic()
    tally = Tally(source)
    tally.summary.is_check = True
    with open_source(source) as stream:
        rows = _counted(read_rows(stream), tally, progress)
        for plan in plan_invoices(rows, tally):
            tally.summary.commands += len(plan.envelopes)
    tally.summary.seconds = round(time.monotonic() - started, 3)
    return tally.finish()


def plan_invoices(rows: Iterable[Row], tally: Tally) -> Iterator[Plan]:
    """Yield the commands of every invoice, in file order, accounting for each row in ``tally``."""
    lots = Lots()
    refundable: dict[str, int] = {}
    sales = SalePlanner(lots, tally, refundable)
    refunds = RefundPlanner(lots, tally, refundable)
    for invoice in gather(rows):
        _count(invoice, tally.summary)
        kind = invoice.number[0]
        if kind == "C":
            tally.summary.cancellations += 1
            steps = refunds.cancellation(invoice)
        elif kind == "A":
            steps = sales.bad_debt(invoice)
        else:
            steps = sales.sale(invoice)
        planned = envelopes(invoice.document, steps)
        if planned:
            yield Plan(invoice.document, planned)


def _count(invoice: Invoice, summary: Summary) -> None:
    if invoice.document == invoice.number:
        summary.invoices += 1
    else:
        summary.interrupted_invoices += 1
    if invoice.first.at != invoice.last.at:
        summary.invoices_with_several_times += 1
    if not sum([row.exact_total for row in invoice.rows]):
        summary.zero_total_invoices += 1


def _counted(rows: Iterator[Row], tally: Tally, progress: Progress | None) -> Iterator[Row]:
    if progress is None:
        return rows
    return _reported(rows, tally, progress)


def _reported(rows: Iterator[Row], tally: Tally, progress: Progress) -> Iterator[Row]:
    for count, row in enumerate(rows, 1):
        if count % PROGRESS_ROWS == 0:
            progress(count, tally.summary.invoices)
        yield row


class _Execution:
    """Collects plans into batches and executes what the book does not know yet."""

    def __init__(self, book: Book, summary: Summary) -> None:
        self._book: Final = book
        self._summary: Final = summary
        self._waiting: list[Plan] = []
        self._size = 0
        # Nothing is known in an empty book; elsewhere one look-up saves deciding a whole batch.
        self._looks_up = book.store.head().size > 0

    def add(self, plan: Plan) -> None:
        if self._size + len(plan.envelopes) > BATCH:
            self.flush()
        self._waiting.append(plan)
        self._size += len(plan.envelopes)

    def flush(self) -> None:
        """Execute what waits; raises the first error of a command, those before it being kept."""
        waiting, self._waiting, self._size = self._waiting, [], 0
        if self._looks_up:
            waiting = self._without_known(waiting)
        commands = [envelope for plan in waiting for envelope in plan.envelopes]
        if not commands:
            return
        self._summary.commands += len(commands)
        for result in self._book.execute_many(commands):
            if isinstance(result, OrderLedgerError):
                raise result
            if result.replayed:
                self._summary.commands_known += 1
            else:
                self._summary.events += len(result.event_ids)

    def _without_known(self, plans: Sequence[Plan]) -> list[Plan]:
        """
        Return the plans that are not wholly in the book.

        The content of an invoice's first command is compared, so that another content under a
        known number is not passed over: the executor raises IdempotencyConflict for it.
        """
        if not plans:
            return []
        book = self._book.store.book
        hashes = [[key_hash(book, one.key or "") for one in plan.envelopes] for plan in plans]
        known = self._book.store.commands([one for of_plan in hashes for one in of_plan])
        if not known:
            # Past the end of what an earlier run did; anything else is still recognised by key.
            self._looks_up = False
        unknown: list[Plan] = []
        for plan, of_plan in zip(plans, hashes, strict=True):
            stored = [known[one] for one in of_plan if one in known]
            # A refusal is not passed over either: it ended the earlier run and ends this one.
            is_done = len(stored) == len(of_plan) and not any(one.refused for one in stored)
            if is_done and stored[0].fingerprint == fingerprint(plan.envelopes[0].command):
                self._summary.commands += len(of_plan)
                self._summary.commands_known += len(of_plan)
            else:
                unknown.append(plan)
        return unknown
