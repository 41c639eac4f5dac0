"""
What must hold at the end of the marketplace month, and the exports that others' programs check.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from orderledger.book import Book
from orderledger.cli_export import write_whole
from orderledger.ledger.bank_statements import StatementStatus
from orderledger.ledger.errors import OrderLedgerError
from orderledger.ledger.settlements import SettlementStatus
from orderledger.projections.operation_references import OperationSettlementRow
from orderledger.reading import Reading
from orderledger.replay.beancount import Beancount
from orderledger.replay.building import Slots
from orderledger.replay.hledger import Hledger
from orderledger.replay.plain_text import Dialect
from orderledger.replay.rebuild import rebuild_all

from .demo_market_machinery import work_done
from .demo_market_settlement import BATCHES, STATEMENT
from .demo_market_world import BANK, CURRENCY, Market
from .demo_run import Check

UNDER_WAY: Final = "under-way-0"
"""The only story whose order is not over when the month ends."""
_PATIENCE_S: Final = 120


class _Program(msgspec.Struct, frozen=True):
    """A program that checks an export: how its files are written, named and given to it."""

    dialect: Callable[[], Dialect]
    suffix: str
    arguments: tuple[str, ...]
    before: tuple[str, ...] = ()


_PROGRAMS: Final[Mapping[str, _Program]] = {
    "beancount": _Program(Beancount, "beancount", ("bean-check", "--no-cache")),
    "hledger": _Program(Hledger, "journal", ("hledger", "check", "--strict", "--file")),
}


class Export(msgspec.Struct, frozen=True, kw_only=True):
    """
    A file for another program. ``checked_by`` is that program, empty where it is not installed;
    ``complaint`` is what it has against the file.
    """

    name: str
    file: str
    transactions: int
    checked_by: str
    complaint: str


def exported(book: Book, directory: Path, name: str) -> Export:
    """Write the journal for a program, and let it check the file if it is installed."""
    program = _PROGRAMS[name]
    path = directory / f"{book.name}.{program.suffix}"
    made = book.read.export(program.dialect())
    write_whole(path, made.chunks())
    found = _installed(program.arguments[0])
    complaint = "" if found is None else _complaint([found, *program.arguments[1:], str(path)])
    return Export(
        name=name,
        file=str(path),
        transactions=made.transactions,
        checked_by="" if found is None else " ".join(program.arguments[:3]).removesuffix(" --file"),
        complaint=complaint,
    )


def _installed(program: str) -> str | None:
    """Find a program on the PATH, or beside the interpreter where the environment is not active."""
    own = str(Path(sys.executable).parent)
    return shutil.which(program, path=os.pathsep.join([own, os.environ.get("PATH", "")]))


def _complaint(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_PATIENCE_S)
    if done.returncode == 0:
        return ""
    return (done.stdout + done.stderr).strip()[:500] or f"status {done.returncode}"


def check(market: Market, exports: Sequence[Export]) -> list[Check]:
    """Prove that the book is sound and that every subject that is closed is settled."""
    read = market.book.read
    balance = read.trial_balance()
    currencies = ", ".join([total.currency for total in balance.totals])
    findings = [finding.text for finding in read.verify()]
    left = _not_cleared(market)
    return [
        Check("the trial balance is zero in every currency", balance.is_balanced, currencies),
        Check("verification finds nothing", not findings, "; ".join(findings[:3])),
        Check("every account of a closed subject is zero", not left, ", ".join(left[:3])),
        _rebuilt(read),
        _settled(market),
        _owed_by_providers(read),
        _no_work_left(market),
        *[_accepted(one) for one in exports],
        Check(
            "every command did as told",
            not market.surprises,
            "; ".join(market.surprises[:3]),
        ),
    ]


def _not_cleared(market: Market) -> list[str]:
    """Return the accounts that must be zero and are not, but for the order still under way."""
    under_way = f"m{market.seed}-{UNDER_WAY}"
    return [one.account for one in market.book.read.clearing() if one.subject != under_way]


def _rebuilt(read: Reading) -> Check:
    """Make every read model again from the events: the rows must be the same."""
    models = read.models
    for name in models.names:
        models.catch_up(name)
    slots = Slots(at_once=len(models.names))
    try:
        made = list(rebuild_all(models, models.names, lambda _: lambda _at, _head: None, slots))
    except OrderLedgerError as error:
        return Check("read models equal their rebuild", ok=False, detail=error.message)
    is_compared = all(one.compared_at is not None for one in made)
    rows = sum([one.rows for one in made])
    detail = f"{len(made)} models, {rows:,} rows"
    return Check("read models equal their rebuild", is_compared, detail)


def _settled(market: Market) -> Check:
    """Every provider's batch is closed, and the bank's statement is matched."""
    book = market.book
    states = {name: book.settlement(name, batch).status for name, (_, batch) in BATCHES.items()}
    statement = book.bank_statement(BANK, STATEMENT).status
    is_closed = all(one is SettlementStatus.CLOSED for one in states.values())
    is_matched = statement is StatementStatus.BALANCED
    detail = ", ".join([f"{name} {status.value}" for name, status in states.items()])
    return Check(
        "every settlement batch is balanced and closed, the bank's statement matched",
        is_closed and is_matched,
        f"{detail}, bank {statement.value}",
    )


def _owed_by_providers(read: Reading) -> Check:
    """What providers owe by the ledger is what no file has shown yet, operation by operation."""
    read.models.catch_up("operation_references")
    rows = read.models.select(OperationSettlementRow)
    shown = sum([(1 if one.kind != "refund" else -1) * (one.amount - one.shown) for one in rows])
    owed = sum([one.minor for one in read.balances_below("assets:psp") if one.currency == CURRENCY])
    return Check("providers owe what no file has shown yet", owed == shown, f"{owed} of {shown}")


def _no_work_left(market: Market) -> Check:
    """Nothing waits, and nothing was given up."""
    done = work_done(market)
    bad = [f"{count} {name}" for name, count in done.items() if not name.endswith(("done", "gone"))]
    return Check("outbox, queue and timers are done", not bad, "; ".join(bad))


def _accepted(one: Export) -> Check:
    if not one.checked_by:
        return Check(f"the {one.name} file was not checked: it is not installed", ok=True)
    return Check(f"{one.checked_by} accepts {one.file}", not one.complaint, one.complaint)
