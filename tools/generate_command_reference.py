"""
Write docs/commands.md from the commands: python -m tools.generate_command_reference [--check].
"""

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from orderledger.commands.account_commands import OfAccount, OfJournal
from orderledger.commands.attestation_commands import AttestStreams
from orderledger.commands.bank_commands import OfStatement
from orderledger.commands.decision import Command
from orderledger.commands.dispute_commands import OfDispute
from orderledger.commands.fulfilment_commands import OfFulfilment, OfReturn
from orderledger.commands.model import (
    COMMANDS,
    ReceiveNotification,
    RecordChargeback,
    RecordObservation,
    RetryNotification,
)
from orderledger.commands.order_commands import OrderCommand
from orderledger.commands.payment_commands import OfPayment
from orderledger.commands.payout_commands import OfPayout
from orderledger.commands.period_commands import OfPeriods
from orderledger.commands.projection_commands import OfProjection
from orderledger.commands.risk_commands import OfAlert, OfApproval
from orderledger.commands.seller_commands import OfSeller, OfStanding
from orderledger.commands.settlement_commands import OfSettlement
from orderledger.commands.value_commands import OfValue
from orderledger.commands.work_commands import DiscardWork

TARGET: Final = Path(__file__).resolve().parent.parent / "docs" / "commands.md"
AREAS: Final[tuple[tuple[str, str, tuple[type[Command], ...]], ...]] = (
    ("Orders", "`order-{order_id}`", (OrderCommand,)),
    (
        "Payments",
        "`payment-{payment_id}`; refunds, captures and chargebacks also the order",
        (OfPayment, RecordChargeback),
    ),
    (
        "Provider notifications",
        "`inbox-{provider}/{notification_id}`, and the payment it is about",
        (ReceiveNotification, RetryNotification, RecordObservation),
    ),
    ("Fulfilments", "`fulfilment-{fulfilment_id}` and the order", (OfFulfilment,)),
    ("Returns", "`return-{return_id}` and the order", (OfReturn,)),
    (
        "Disputes",
        "`dispute-{dispute_id}`; filing, admission, execution and end also the order",
        (OfDispute,),
    ),
    ("Stored value", "`storedvalue-{account_id}`, and the order if one is named", (OfValue,)),
    (
        "Sellers",
        "`seller-{seller}/{currency}`; standing and suspension `standing-{seller}`",
        (OfSeller, OfStanding),
    ),
    (
        "Payouts",
        "`payout-{payout_id}` and the seller's; the orders that the entries name are read",
        (OfPayout,),
    ),
    ("Constrained accounts", "`account-{account}`", (OfAccount,)),
    (
        "Settlement batches",
        "`settlement-{provider}/{batch}`, and the payments that its lines settle",
        (OfSettlement,),
    ),
    (
        "Bank statements",
        "`bank-{bank}/{statement}`, and what its lines show",
        (OfStatement,),
    ),
    ("Manual journal", "`journal-{entry_id}`", (OfJournal,)),
    ("Accounting periods", "`periods-main`", (OfPeriods,)),
    ("Approvals", "`approval-{approval_id}`", (OfApproval,)),
    ("Alerts", "`alert-{alert_id}`", (OfAlert,)),
    ("Read models", "`projection-{model}`", (OfProjection,)),
    ("Work", "`work-{lane}`", (DiscardWork,)),
    ("Dossiers", "each of the streams that it names", (AttestStreams,)),
)
HEAD: Final = """\
# Commands

Generated from the commands by `python -m tools.generate_command_reference`; a test compares.

All are in `orderledger.commands.model`, with the values that they are made of. A command is a
frozen struct of keyword fields; every one also takes `occurred_at`, when it happened in the world
if that is not now. Amounts are integers in minor units. Ids are yours: they make a command
recognisable, and a command whose outcome already holds changes nothing.

There are two kinds.

- **Intentions** (`PlaceOrder`, `Capture`) say what someone wants. They may be refused: `Rejected`,
  with a `reason`, and nothing happens.
- **Observations** (`RecordSucceeded`, `ReceiveNotification`) say what happened outside: at the
  provider, at the carrier, in a file. They are never refused for contradicting what is known, but
  recorded with `anomaly.raised.v2` beside them.

Malformed input is `InvalidInput` in both. Guards run in this order: malformed input, existence,
state, amounts. `orderledger schema export DIRECTORY` writes the JSON Schema of every command and
event.

What is asked of a payment provider takes three steps: the intention (`Authorise`, `Capture`,
`Void`, `RequestRefund` …) records the operation before the provider is called; you call it with
the operation's idempotency key; an observation reports the outcome. Where the answer was lost,
`RecordUnknown` keeps the money reserved until someone knows.

Fields in brackets may be left out.
"""


def document() -> str:
    """Return the whole text of docs/commands.md."""
    return "\n".join([HEAD, *[_section(*area) for area in AREAS]])


def _section(title: str, stream: str, bases: tuple[type[Command], ...]) -> str:
    found = sorted(
        (one for one in COMMANDS if issubclass(one, bases)), key=lambda one: one.__name__
    )
    lines = [f"## {title}", "", f"Stream: {stream}.", ""]
    for heading, is_observation in (("Intention", False), ("Observation", True)):
        rows = [_row(one) for one in found if one.is_observation is is_observation]
        if rows:
            lines += [f"| {heading} | Meaning | Fields |", "|--|--|--|", *rows, ""]
    return "\n".join(lines)


def _row(command: type[Command]) -> str:
    meaning = " ".join((inspect.getdoc(command) or "").split()).replace("``", "`")
    return f"| `{command.__name__}` | {meaning} | {', '.join(_fields(command))} |".replace(
        "\n", " "
    )


def _fields(command: type[Command]) -> Iterator[str]:
    fields = [one for one in msgspec.structs.fields(command) if one.name != "occurred_at"]
    yield from (one.name for one in fields if one.required)
    optional = ", ".join(one.name for one in fields if not one.required)
    if optional:
        yield f"[{optional}]"


def run(arguments: list[str]) -> int:
    """Write the file, or with --check compare; return the exit status."""
    text = document()
    if "--check" in arguments:
        is_current = TARGET.exists() and TARGET.read_text("utf-8") == text
        state = "current" if is_current else "stale"
        print(f"docs/commands.md is {state}", file=sys.stderr)
        return 0 if is_current else 1
    TARGET.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
