"""
``orderledger demo``: a marketplace's day on a new book, with a crash in the middle.

No network and no data file are needed; the day depends on its seed only.
"""

import textwrap
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Final

import click
import msgspec
from click.core import ParameterSource

from orderledger import cli_output
from orderledger.config import Location
from orderledger.databases import open_store
from orderledger.ledger.errors import OrderLedgerError
from orderledger.ledger.journal import Posting
from orderledger.ledger.money import format_minor
from orderledger.reading import Reading
from orderledger.replay.history import RecordedEvent

from .demo_market import marketplace
from .demo_place import place_of
from .demo_run import Day, run
from .demo_scenarios import SCENARIOS
from .demo_story import CURRENCY

BOOK: Final = "demo"
ORDERS: Final = 300
ORDERS_MAX: Final = 5_000
COLUMNS: Final = 100
_NOT_TOLD: Final = frozenset({"order.lines_moved.v1", "order.payment_linked.v1"})
"""Events that repeat on the order's stream what another event says."""

_COUNTED: Final[Mapping[str, str]] = {
    "order.placed.v1": "orders placed",
    "order.confirmed.v1": "orders confirmed",
    "order.cancelled.v1": "orders cancelled",
    "order.expired.v1": "orders expired",
    "order.change_confirmed.v1": "order changes agreed",
    "payment.authorised.v1": "authorisations",
    "payment.captured.v1": "captures",
    "payment.authorisation_voided.v1": "authorisations voided",
    "payment.operation_outcome_unknown.v1": "outcomes unknown",
    "payment.operation_resolved_manually.v1": "of them decided by two people",
    "fulfilment.shipment_dispatched.v1": "parcels sent",
    "return.received.v1": "returns received",
    "order.refund_granted.v1": "refunds granted",
    "order.refund_settled.v1": "refunds settled",
    "order.refund_failed.v1": "refunds failed",
    "order.refund_settled_externally.v1": "refunds taken as store credit",
    "value.issued.v1": "store credit issued",
    "value.redeemed.v1": "store credit redeemed",
    "inbox.notification_received.v1": "provider notifications kept",
    "inbox.notification_deduplicated.v1": "of them known already",
    "inbox.notification_parked.v1": "of them too early, parked",
    "order.funds_released.v1": "payments out of escrow",
    "order.late_payment_detected.v1": "payments that came too late",
}


@click.group("demo", invoke_without_command=True)
@click.pass_context
@click.option("--url", help=f"Where the book is; default: orderledger-{BOOK}.db in this directory.")
@click.option("--book", help="Name of the book; default: the first of demo, demo-2 … not used yet.")
@click.option("--seed", default=1, show_default=True, help="The day depends on it only.")
@click.option(
    "--orders",
    type=click.IntRange(len(SCENARIOS), ORDERS_MAX),
    default=ORDERS,
    show_default=True,
    help="How many orders the day has.",
)
@click.option("--continue", "is_continued", is_flag=True, help="Use a book that is not empty.")
@click.option("--json/--table", "is_json", default=False, help="Print JSON, or the story.")
@click.option("--quiet", "is_quiet", is_flag=True, help="Print nothing: the status says it all.")
def demo(context: click.Context, /, **options: object) -> int:
    """
    Run a marketplace's day and show what it left; or its month, with the subcommand.

    Hundreds of orders with split payments, partial captures, cancellations, returns, refunds that
    fail, notifications that repeat, come late or out of order, and a process killed in the middle
    of an append. Ends with status 0 only if the book verifies afterwards.
    """
    if context.invoked_subcommand is not None:
        _check_bare(context)
        return 0
    given = msgspec.convert(options, _Options)
    try:
        location = place_of(given.url, given.book, BOOK, is_continued=given.is_continued)
        day = run(location, given.seed, given.orders)
        if not given.is_quiet:
            _print(day, location, is_json=given.is_json)
    except OrderLedgerError as error:
        cli_output.fail(error)
    return 0 if day.is_sound else 1


def _check_bare(context: click.Context) -> None:
    """Refuse options of the day that were given to the month, which would ignore them."""
    given = [name for name in context.params if _is_given(context, name)]
    if given:
        raise click.UsageError(
            f"give the options after {context.invoked_subcommand}, not before it", context
        )


def _is_given(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) is not ParameterSource.DEFAULT


demo.add_command(marketplace)


class _Options(msgspec.Struct, frozen=True):
    url: str | None
    book: str | None
    seed: int
    orders: int
    is_continued: bool
    is_json: bool
    is_quiet: bool


def _print(day: Day, location: Location, *, is_json: bool) -> None:
    if is_json:
        click.echo(msgspec.json.format(msgspec.json.encode(day), indent=2).decode())
        return
    for line in _told(day, location):
        click.echo(line)


def _told(day: Day, location: Location) -> Iterator[str]:
    """Yield the story of the day, at most 100 columns wide."""
    yield f"A marketplace's day: {day.orders} orders, seed {day.seed}."
    yield ""
    yield from _crash(day)
    yield "What the orders went through"
    yield from _table(day.scenarios)
    yield ""
    yield f"What the book recorded: {day.events:,} events by {day.commands:,} commands"
    named = {text: day.topics[topic] for topic, text in _COUNTED.items() if topic in day.topics}
    yield from _table(named)
    yield ""
    if day.anomalies:
        yield "What it noticed by itself"
        yield from _table(day.anomalies)
        yield ""
    yield f"Trial balance ({CURRENCY}; accounts of single orders and buyers summed)"
    yield from _balance(day.balances)
    yield ""
    yield from _history(day, location)
    yield "Checks"
    for check in day.checks:
        detail = f": {check.detail}" if check.detail else ""
        yield from textwrap.wrap(
            f"  {'ok    ' if check.ok else 'FAILED'}  {check.name}{detail}", COLUMNS
        )
    yield ""
    yield f"The book is {day.book!r} at {day.url}. Look into it, for instance:"
    yield f"  orderledger order history {day.example} --url {day.url} --book {day.book}"


def _crash(day: Day) -> Iterator[str]:
    crash = day.crash
    if crash is None:
        return
    fate = "all of them are there" if crash.in_flight_stored else "none of them is there"
    text = (
        f"Half way through, the process was killed (SIGKILL) in the middle of appending a "
        f"transaction of {crash.in_flight} commands. It had acknowledged "
        f"{crash.acknowledged:,} commands before: {crash.acknowledged_stored:,} of them are in "
        f"the book. Of the {crash.in_flight} under way {fate}. A new process told the whole day "
        f"again from its beginning: {day.known:,} commands were known by their keys and did "
        f"nothing, {day.commands - day.known:,} were executed. {day.refused:,} of all were "
        f"refused, as they should be."
    )
    yield from textwrap.wrap(text, COLUMNS)
    yield ""


def _table(counts: Mapping[str, int]) -> Iterator[str]:
    """Two columns of names and counts."""
    cells = [f"  {name:<36}{number:>8,}" for name, number in counts.items()]
    half = (len(cells) + 1) // 2
    for left, right in zip(cells[:half], [*cells[half:], ""], strict=False):
        yield f"{left}  {right}".rstrip()


def _balance(balances: Mapping[str, int]) -> Iterator[str]:
    yield f"  {'account':<44}{'debit':>16}{'credit':>16}"
    for account, minor in balances.items():
        side = 44 + (16 if minor > 0 else 32)
        yield f"  {account:<44}{_money(abs(minor)):>{side - 44}}"
    debit = sum([minor for minor in balances.values() if minor > 0])
    credit = -sum([minor for minor in balances.values() if minor < 0])
    yield f"  {'total':<44}{_money(debit):>16}{_money(credit):>16}"


def _money(minor: int) -> str:
    whole, _, cents = format_minor(minor, CURRENCY).rpartition(".")
    return f"{int(whole):,}.{cents}"


def _history(day: Day, location: Location) -> Iterator[str]:
    """Yield one order's events with what they posted."""
    if not day.example:
        return
    with closing(open_store(location)) as store:
        reading = Reading(store)
        events = list(reading.order_history(day.example))
        reading.close()
    yield f"One order from beginning to end: {day.example}"
    for event in events:
        if event.topic not in _NOT_TOLD:
            yield from _line(event, day.example)
    yield ""


def _line(event: RecordedEvent, order_id: str) -> Iterator[str]:
    at = event.occurred_at.strftime("%d %b %H:%M")
    what = event.topic.rpartition(".")[0]
    yield f"  {at}  {what}"
    legs = [_leg(leg, order_id) for leg in event.entry.postings]
    for line in textwrap.wrap(", ".join(legs), COLUMNS - 20):
        yield f"{'':18}{line}"


def _leg(leg: Posting, order_id: str) -> str:
    side = "debit" if leg.minor > 0 else "credit"
    held = "hold: " if leg.layer == "held" else ""
    account = leg.account.replace(f":{order_id}", "").partition(":")[2]
    return f"{held}{side} {account} {_money(abs(leg.minor))}"
