"""
``orderledger import online-retail FILE``: the command line of the Online Retail importer.
"""

import sys
import time
from typing import Final

import click
import msgspec

from orderledger import cli_output
from orderledger.cli_output import Session
from orderledger.ledger.errors import OrderLedgerError
from orderledger.ledger.money import format_minor

from .file_error import ImportFileError
from .online_retail_import import CACHE_STREAMS, Progress, check, import_file
from .online_retail_rows import CURRENCY
from .online_retail_summary import Summary

PROGRESS_INTERVAL_S: Final = 0.2


@click.command("online-retail")
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@click.option("--check", "is_check", is_flag=True, help="Only read and account; write nothing.")
@cli_output.common
def online_retail(session: Session, *, file: str, is_check: bool) -> int:
    """
    Import FILE, the Online Retail data set (UCI, 2015) as .csv or .csv.gz; - is standard input.

    Every line is accounted for. A malformed line stops the import with status 2: what came before
    it is kept, and the next run goes on there. Running it again adds nothing twice.
    """
    bar = _Bar(session)
    try:
        run = _check if is_check else _import
        summary = run(session, file, bar.progress)
    except ImportFileError:
        bar.end()
        if not is_check:
            session.talk(
                "What is complete before that line is in the book; "
                "correct the line and run the same command again."
            )
        raise
    except OrderLedgerError:
        bar.end()
        raise
    bar.end()
    if session.is_json:
        click.echo(msgspec.json.format(msgspec.json.encode(summary), indent=2).decode())
    else:
        for line in report(summary):
            click.echo(line)
    return 0


def _check(session: Session, file: str, progress: Progress) -> Summary:
    return check(file, progress)


def _import(session: Session, file: str, progress: Progress) -> Summary:
    from orderledger import book

    url, name = session.given
    with book.open(url, book=name, cache_streams=CACHE_STREAMS) as opened:
        return import_file(opened, file, progress)


class _Bar:
    """A counter on stderr that overwrites itself, on a terminal only."""

    def __init__(self, session: Session) -> None:
        self._is_shown: Final = not session.is_quiet and cli_output.is_terminal(sys.stderr)
        self._started: Final = time.monotonic()
        self._shown_at = 0.0
        self._is_open = False

    @property
    def progress(self) -> Progress:
        return self._show if self._is_shown else _silent

    def _show(self, lines: int, invoices: int) -> None:
        now = time.monotonic()
        if now - self._shown_at < PROGRESS_INTERVAL_S:
            return
        self._shown_at = now
        self._is_open = True
        rate = round(lines / max(now - self._started, 0.001))
        text = f"\r{lines:,} lines, {invoices:,} invoices, {rate:,} lines/s "
        click.echo(text, err=True, nl=False)

    def end(self) -> None:
        """Leave the line of the counter, if there is one."""
        if self._is_open:
            click.echo("", err=True)
            self._is_open = False


def _silent(lines: int, invoices: int) -> None:
    pass


def report(summary: Summary) -> list[str]:
    """Return the account of an import as lines for a person, at most 100 columns wide."""
    rate = round(summary.lines / summary.seconds) if summary.seconds else 0
    read = f"{summary.lines:,} lines, {summary.invoices:,} invoices from {summary.source}"
    exact = f"exact total of the file {summary.exact} {CURRENCY}"
    lines = [
        f"{read} in {summary.seconds:,.1f} s ({rate:,} lines/s)",
        "",
        f"{'line is recorded as':<22}{'lines':>9}{'units':>12}{CURRENCY:>18}",
    ]
    for name, total in summary.categories.items():
        money = _money(total.minor)
        lines.append(f"{_words(name):<22}{total.lines:>9,}{total.units:>12,}{money:>18}")
    lines += [
        f"{'total':<22}{summary.lines:>9,}{'':>12}{_money(summary.minor):>18}",
        "",
        f"{exact}, rounded at {summary.roundings_count} lines:",
        *(
            f"  invoice {one.invoice}, line {one.line:,}: {one.exact} recorded as {one.rounded}"
            for one in summary.roundings
        ),
        "",
        "cancelled lines and the customer's earlier purchases of the same article:",
        *(f"  {_words(name):<22}{count:>7,}" for name, count in summary.cancelled_lines.items()),
        f"  refunded without a purchase: {_money(summary.credited_minor)} {CURRENCY}",
        "",
    ]
    if summary.is_check:
        lines.append(f"checked only: {summary.commands:,} commands would record it")
    else:
        new = summary.commands - summary.commands_known
        lines.append(
            f"{new:,} commands executed, {summary.events:,} events added, "
            f"{summary.commands_known:,} commands known before"
        )
    return lines


def _words(name: str) -> str:
    return name.replace("_", " ")


def _money(minor: int) -> str:
    whole, _, pence = format_minor(minor, CURRENCY).rpartition(".")
    sign = "-" if whole.startswith("-") else ""
    return f"{sign}{int(whole.lstrip('-')):,}.{pence}"
