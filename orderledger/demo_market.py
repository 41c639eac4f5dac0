"""
``orderledger demo marketplace``: a marketplace's month through every path, on a new book.

No network and no data file are needed; the month depends on its seed only. It can be interrupted
and told again: what is in the book stays, what is missing is done.
"""

import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import click
import msgspec

from orderledger import cli_output
from orderledger.ledger.errors import OrderLedgerError
from orderledger.ledger.money import format_minor

from .demo_market_case import money
from .demo_market_run import EXAMPLE, SELLER, Month, run
from .demo_place import place_of

BOOK: Final = "market"
COLUMNS: Final = 100
_COUNTED: Final[Mapping[str, str]] = {
    "order.placed.v1": "orders placed",
    "order.confirmed.v1": "orders confirmed",
    "order.completed.v1": "orders completed by the timer",
    "order.expired.v1": "orders expired",
    "order.held.v1": "orders held",
    "order.release_condition_met.v1": "release conditions met",
    "order.funds_released.v1": "releases out of escrow",
    "order.funds_frozen.v1": "freezes",
    "order.refund_settled.v1": "refund parts settled",
    "payment.captured.v1": "captures",
    "payment.operation_declined.v1": "operations declined",
    "payment.operation_outcome_unknown.v1": "outcomes unknown",
    "value.redeemed.v1": "gift cards and points spent",
    "value.restored.v1": "gift cards and points given back",
    "dispute.filed.v1": "disputes filed",
    "dispute.evidence_submitted.v1": "pieces of evidence",
    "dispute.vote_cast.v1": "sealed votes",
    "dispute.ruling_issued.v1": "rulings",
    "dispute.appeal_decided.v1": "appeals decided",
    "dispute.external_award_received.v1": "awards of an outside body",
    "dispute.ruling_executed.v1": "divisions executed",
    "payment.chargeback_opened.v1": "chargebacks",
    "payment.second_chargeback_opened.v1": "second chargebacks",
    "payment.chargeback_won.v1": "of them won",
    "payment.chargeback_loss_assigned.v1": "losses assigned",
    "payout.paid.v1": "payouts paid",
    "payout.failed.v1": "payouts failed",
    "payout.returned.v1": "payouts returned",
    "seller.reserve_taken.v1": "reserves taken",
    "seller.reserve_released.v1": "reserves released",
    "seller.debt_written_off.v1": "debts written off",
    "seller.penalty_imposed.v1": "penalties",
    "standing.changed.v1": "standings decided",
    "settlement.line_recorded.v1": "settlement lines",
    "settlement.break_raised.v1": "breaks in them",
    "bank.line_recorded.v1": "bank lines",
    "approval.used.v1": "approvals used",
    "risk.alert_raised.v1": "alerts",
}


@click.command("marketplace")
@click.option("--url", help=f"Where the book is; default: orderledger-{BOOK}.db here.")
@click.option("--book", help=f"Its name; default: the first of {BOOK}, {BOOK}-2 … not used yet.")
@click.option("--seed", default=1, show_default=True, help="The month depends on it only.")
@click.option(
    "--export",
    "directory",
    type=click.Path(file_okay=False, exists=True),
    help="Where the beancount and hledger files go; default: beside the book, or here.",
)
@click.option(
    "--continue", "is_continued", is_flag=True, help="Go on with a book of the same month."
)
@click.option("--json/--table", "is_json", default=False, help="Print JSON, or the story.")
@click.option("--quiet", "is_quiet", is_flag=True, help="Print nothing: the status says it all.")
def marketplace(**options: object) -> int:
    """
    Run a marketplace's month and show what it left.

    Escrow, disputes with panels and appeals, chargebacks, payouts, settlement files and a bank
    statement, risk and the machinery, with a clock of its own. Ends with status 0 only if the book
    is sound afterwards and the exports pass the checks of the programs that are installed.
    """
    given = msgspec.convert(options, _Options, strict=False)
    try:
        location = place_of(given.url, given.book, BOOK, is_continued=given.is_continued)
        beside = Path(location.path).parent if location.engine == "sqlite" else Path()
        month = run(location, given.seed, Path(given.directory) if given.directory else beside)
        if not given.is_quiet:
            _print(month, is_json=given.is_json)
    except OrderLedgerError as error:
        cli_output.fail(error)
    return 0 if month.is_sound else 1


class _Options(msgspec.Struct, frozen=True):
    url: str | None
    book: str | None
    seed: int
    directory: str | None
    is_continued: bool
    is_json: bool
    is_quiet: bool


def _print(month: Month, *, is_json: bool) -> None:
    if is_json:
        click.echo(msgspec.json.format(msgspec.json.encode(month), indent=2).decode())
        return
    for line in _told(month):
        click.echo(line)


def _told(month: Month) -> Iterator[str]:
    """Yield the story of the month, at most 100 columns wide."""
    yield f"A marketplace's month, seed {month.seed}."
    yield ""
    yield "What it went through"
    yield from _table(month.stories)
    yield ""
    yield (
        f"What the book recorded: {month.events:,} events; {month.commands:,} commands were given, "
        f"{month.refused} refused as told"
    )
    named = {text: month.topics[topic] for topic, text in _COUNTED.items() if topic in month.topics}
    yield from _table(named)
    yield ""
    if month.anomalies:
        yield "What it noticed by itself"
        yield from _table(month.anomalies)
        yield ""
    yield "What the machinery did"
    yield from _table(month.work)
    yield ""
    for currency, balances in month.balances.items():
        yield from _balance(currency, balances)
        yield ""
    yield f"One dispute as a case: m{month.seed}-{EXAMPLE}-dispute"
    for at, text in month.case:
        yield from textwrap.wrap(
            f"  {at}  {text}", COLUMNS, subsequent_indent=" " * 18, drop_whitespace=True
        )
    yield ""
    yield from _statement(month)
    yield "Checks"
    for check in month.checks:
        detail = f": {check.detail}" if check.detail else ""
        yield from textwrap.wrap(
            f"  {'ok    ' if check.ok else 'FAILED'}  {check.name}{detail}",
            COLUMNS,
            subsequent_indent=" " * 10,
        )
    yield ""
    yield f"The book is {month.book!r} at {month.url}. Look into it, for instance:"
    yield f"  orderledger dispute list --url {month.url} --book {month.book}"


def _table(counts: Mapping[str, int]) -> Iterator[str]:
    """Two columns of names and counts."""
    cells = [f"  {name:<38}{number:>7,}" for name, number in counts.items()]
    half = (len(cells) + 1) // 2
    for left, right in zip(cells[:half], [*cells[half:], ""], strict=False):
        yield f"{left}  {right}".rstrip()


def _balance(currency: str, balances: Mapping[str, int]) -> Iterator[str]:
    yield f"Trial balance in {currency}"
    yield f"  {'account':<44}{'debit':>16}{'credit':>16}"
    for account, minor in balances.items():
        side = 16 if minor > 0 else 32
        yield f"  {account:<44}{_amount(abs(minor), currency):>{side}}"
    debit = sum([minor for minor in balances.values() if minor > 0])
    credit = -sum([minor for minor in balances.values() if minor < 0])
    yield f"  {'total':<44}{_amount(debit, currency):>16}{_amount(credit, currency):>16}"


def _amount(minor: int, currency: str) -> str:
    return format_minor(minor, currency)


def _statement(month: Month) -> Iterator[str]:
    yield f"The month's statement of the seller {SELLER}: what the marketplace owes it"
    for at, what, amount, balance in month.statement:
        moved = money(amount) if at else ""
        yield f"  {at:<14}{what[:58]:<58}{moved:>12}{money(balance):>12}"
    yield ""
