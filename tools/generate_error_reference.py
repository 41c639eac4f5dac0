"""
Write docs/errors.md from ledger/errors.py: python -m tools.generate_error_reference [--check].
"""

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from orderledger.ledger import errors, ports
from orderledger.ledger.errors import EXIT_STATUS, OrderLedgerError, Reason

TARGET: Final = Path(__file__).resolve().parent.parent / "docs" / "errors.md"
HEAD: Final = """\
# Errors

Generated from `ledger/errors.py` by `python -m tools.generate_error_reference`; a test compares.

All are in `orderledger.errors` and derive from `OrderLedgerError`. Each has a `message` (what
happened, with which ids and amounts, what to do), `facts` (the same as fields, so that no program
parses a message), and an HTTP status as `http_status`. The driver's own error, if there was one, is
the `__cause__`.

```python
import orderledger
from orderledger.commands.model import CancelOrder

book = orderledger.open("sqlite:///shop.db")
try:
    book.execute(CancelOrder(order_id="o1", reason="changed my mind", by="buyer"), key="k1")
except orderledger.errors.Rejected as refused:
    print(refused.reason, refused.facts)
except orderledger.errors.OrderLedgerError as error:
    print(error.http_status, error.message, dict(error.facts))
```

```text
404 there is no order o1 {'order_id': 'o1'}
```

Of several that apply, the first of this order is raised: `InvalidInput`, `IdempotencyConflict`, the
stored answer of the same key, `ConcurrencyConflict` of the caller's own `expected`, `NotFound`,
`Rejected`.

- Recorded with the key, and answered again for ever: `Rejected`, and a `NotFound` of the domain.
- Not recorded: `InvalidInput`; and everything the database said.
- To be tried again **with the same key**: `Unavailable` and what derives from it. The command may
  have been executed; the same key finds out.
- Never to be tried again: `IntegrityViolation`. Stop, run `orderledger verify`.

## The tree
"""
REASONS: Final = """\
## Reasons of a refusal

`Rejected.reason`. The values are stable: programs and stored answers depend on them. The facts name
the ids and amounts.

| Reason | Refused by |
|--|--|"""
SEEN_IN: Final = {errors.__name__, ports.__name__}
"""Modules whose errors callers meet; AppendConflict is for stores only."""
FOLDERS: Final = ("commands", "ledger")
USED: Final = re.compile(r"\b(?:Reason|RejectionReason)\.([A-Z_]+)")


def document() -> str:
    """Return the whole text of docs/errors.md."""
    tree = "\n".join(
        [
            "| Error | HTTP | Exit status | Meaning |",
            "|--|--|--|--|",
            *_rows(OrderLedgerError, 0),
        ]
    )
    areas = _areas()
    reserved = {"reserved for a later part"}
    reasons = "\n".join(
        f"| `{reason.value}` | {', '.join(sorted(areas.get(reason.name, reserved)))} |"
        for reason in Reason
    )
    return f"{HEAD}\n{tree}\n\n{REASONS}\n{reasons}\n"


def _rows(kind: type[OrderLedgerError], depth: int) -> Iterator[str]:
    if kind is not OrderLedgerError:
        meaning = (inspect.getdoc(kind) or "").split("\n")[0]
        indent = "&emsp;" * (depth - 1)
        yield f"| {indent}`{kind.__name__}` | {kind.http_status} | {_exit(kind)} | {meaning} |"
    for child in kind.__subclasses__():
        if child.__module__ in SEEN_IN and child is not ports.AppendConflict:
            yield from _rows(child, depth + 1)


def _exit(kind: type[OrderLedgerError]) -> int:
    return next(EXIT_STATUS[parent] for parent in kind.__mro__ if parent in EXIT_STATUS)


def _areas() -> dict[str, set[str]]:
    root = TARGET.parent.parent
    areas: dict[str, set[str]] = {}
    for path in (one for folder in FOLDERS for one in (root / folder).glob("*.py")):
        for name in USED.findall(path.read_text("utf-8")):
            areas.setdefault(name, set()).add(_area(path.stem))
    return areas


def _area(module: str) -> str:
    for word, area in (
        ("chargeback", "chargebacks"),
        ("money", "amounts"),
        ("account", "accounts and journal"),
        ("period", "accounting periods"),
        ("value", "stored value"),
        ("fulfilment", "fulfilments"),
        ("return", "returns"),
        ("refund", "refunds"),
        ("escrow", "escrow"),
        ("order", "orders"),
    ):
        if word in module:
            return area
    return "payments"


def run(arguments: list[str]) -> int:
    """Write the file, or with --check compare; return the exit status."""
    text = document()
    if "--check" in arguments:
        is_current = TARGET.exists() and TARGET.read_text("utf-8") == text
        print(f"docs/errors.md is {'current' if is_current else 'stale'}", file=sys.stderr)
        return 0 if is_current else 1
    TARGET.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
