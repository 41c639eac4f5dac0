"""
Kinds of tampering with money, guards, read models and work, and what must be found of each.

Those with money make every hash agree: what is wrong is what the events say together.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from orderledger.ledger.model_ports import Generation
from orderledger.ledger.stores.models import models_of
from orderledger.projections.compare import summed
from orderledger.projections.shipped import SHIPPED
from orderledger.replay.findings import Check
from tests.replay.forger import Forger
from tests.replay.tampering import (
    CAPTURED,
    LAST,
    LIMITED_STREAM,
    MOVED,
    PETTY,
    PETTY_STREAM,
    PLACED,
    Kind,
    at,
)

RULED: Final = 31
FROZEN: Final = 84
LOST: Final = 86
EXPOSED: Final = 88
LINES: Final = 94
RELEASED: Final = 102
SCHEDULED: Final = 105
CLAIMED: Final = 112
FREED: Final = 118
ARRIVED: Final = 133
ISSUED: Final = 158
IN_JANUARY: Final = datetime.fromisoformat("2026-01-15T00:00:00+00:00")


def _edited(position: int, edit: Callable[[dict[str, Any]], object]) -> Callable[[Forger], object]:
    """Return what changes the payload of an event and makes all hashes agree."""

    def forge(forger: Forger) -> None:
        forger.edit(position, edit)
        forger.agree(position)

    return forge


def _set(position: int, *path: str | int, to: object) -> Callable[[Forger], object]:
    """Return what sets one value in the payload of an event and makes all hashes agree."""

    def edit(payload: Any) -> None:
        for step in path[:-1]:
            payload = payload[step]
        payload[path[-1]] = to

    return _edited(position, edit)


def _posted(position: int, old: str, new: str) -> Callable[[Forger], object]:
    def forge(forger: Forger) -> None:
        forger.replace(position, "postings", old, new)
        forger.agree(position)

    return forge


def _claimed_twice(forger: Forger) -> None:
    """Let payout y2 pay what y1 paid, and never be freed."""
    _set(CLAIMED, "entries", 0, "release_id", to="rel-1")(forger)
    _set(FREED, "payout_id", to="y9")(forger)


def _balanced(forger: Forger) -> None:
    balance = '{"currency":"USD","opening":0,"net":7750,"payout":3700,"closing":4050}'
    forger.rewrite(
        ARRIVED, topic="settlement.batch_balanced.v1", payload=f'{{"balances":[{balance}]}}'
    )


DOMAIN: Final = (
    Kind(
        "an unbalanced entry, with right hashes",
        _posted(PETTY, " -55", " -54"),
        (at(Check.ENTRY_UNBALANCED, PETTY, PETTY_STREAM), at(Check.TOTALS_NOT_ZERO)),
    ),
    Kind(
        "an entry of another amount than its event says, with right hashes",
        _posted(PETTY, "55", "99"),
        (at(Check.ENTRY_NOT_OF_EVENT, PETTY, PETTY_STREAM),),
    ),
    Kind(
        "a capture is posted with another amount, with right hashes",
        _posted(CAPTURED, "5000", "5001"),
        (at(Check.BALANCE_DISAGREES, stream="order-o1"),),
    ),
    Kind(
        "escrow of one order is posted to another's, with right hashes",
        _posted(CAPTURED, "escrow:o1", "escrow:o3"),
        (
            at(Check.BALANCE_DISAGREES, stream="order-o1"),
            at(Check.BALANCE_DISAGREES, stream="order-o3"),
        ),
    ),
    Kind(
        "a slice is said to hold more, with right hashes",
        _set(7, "amount", to=6_000),
        (at(Check.BALANCE_DISAGREES, stream="order-o1"),),
    ),
    Kind(
        "more is released than a slice holds, with right hashes",
        _set(RELEASED, "amount", to=9_000),
        (at(Check.INVARIANT_BROKEN, RELEASED, "order-o3"),),
    ),
    Kind(
        "a frozen amount is another, with right hashes",
        _set(FROZEN, "reserve", 0, "minor", to=56),
        (at(Check.BALANCE_DISAGREES),),
    ),
    Kind(
        "the total of an order is another, with right hashes",
        _set(PLACED, "totals", "grand", to=4_000),
        (at(Check.INVARIANT_BROKEN, PLACED, "order-o1"),),
    ),
    Kind(
        "a line of an order is below zero, with right hashes",
        _set(LINES, "lines", 0, "net", to=-1),
        (at(Check.INVARIANT_BROKEN, LINES, "order-o3"),),
    ),
    Kind(
        "the anomaly that tells of an exposure is renamed, with right hashes",
        _set(EXPOSED, "kind", to="Nothing"),
        (at(Check.INVARIANT_BROKEN, LOST, "payment-p2"),),
    ),
    Kind(
        "a ruling divides more than was in dispute, with right hashes",
        _set(RULED, "allocations", 0, "amount", to=900),
        (at(Check.INVARIANT_BROKEN, RULED, "dispute-d1"),),
    ),
    Kind(
        "a payout pays more than its entries, with right hashes",
        _set(SCHEDULED, "sum", "amount", to=9_999),
        (at(Check.INVARIANT_BROKEN, SCHEDULED, "payout-y1"),),
    ),
    Kind(
        "a release is in two live payouts, with right hashes",
        _claimed_twice,
        (at(Check.INVARIANT_BROKEN, CLAIMED, "seller-s3/USD"),),
    ),
    Kind(
        "a settlement batch is balanced with other sums, with right hashes",
        _balanced,
        (at(Check.INVARIANT_BROKEN, ARRIVED, "settlement-psp/b1"),),
    ),
    Kind(
        "stored value is issued with another amount, with right hashes",
        _set(ISSUED, "amount", to=50_000),
        (at(Check.BALANCE_DISAGREES, stream="storedvalue-sv1"),),
    ),
    Kind(
        "what moved a constrained account is another amount, with right hashes",
        _set(MOVED, "amount", to=1),
        (at(Check.BALANCE_DISAGREES, stream=LIMITED_STREAM),),
    ),
    Kind(
        "an order says that it is another, with right hashes",
        _set(PLACED, "order_id", to="o77"),
        (at(Check.STREAM_OF_ANOTHER, stream="order-o1"),),
    ),
)


def _disabled(forger: Forger) -> None:
    if forger.is_postgres:
        forger.run("ALTER TABLE orderledger.events DISABLE TRIGGER append_only")
        return
    forger.run("DROP TRIGGER orderledger_events_no_update")
    forger.run(
        "CREATE TRIGGER orderledger_events_no_update BEFORE UPDATE ON orderledger_events "
        "WHEN false BEGIN SELECT RAISE(ABORT, 'events are append-only: UPDATE is refused'); END"
    )


def _dropped(forger: Forger) -> None:
    if forger.is_postgres:
        forger.run("DROP TRIGGER append_only ON orderledger.events")
    else:
        forger.run("DROP TRIGGER orderledger_events_no_delete")


def _unchecked(forger: Forger) -> None:
    if forger.is_postgres:
        forger.run("ALTER TABLE orderledger.events DROP CONSTRAINT entry_balances")
    else:
        forger.run("DROP TRIGGER orderledger_events_balanced")


def _softened(forger: Forger) -> None:
    """Let the guard of the balance accept everything, under its own name."""
    if forger.is_postgres:
        forger.run(
            "CREATE OR REPLACE FUNCTION orderledger.legs_balance(p_postings text) RETURNS boolean "
            "LANGUAGE sql IMMUTABLE AS 'SELECT true'"
        )
        return
    forger.run("DROP TRIGGER orderledger_events_balanced")
    forger.run(
        "CREATE TRIGGER orderledger_events_balanced BEFORE INSERT ON orderledger_events "
        "WHEN NEW.postings <> '' BEGIN SELECT 1; END"
    )


def _unique_no_more(forger: Forger) -> None:
    if forger.is_postgres:
        forger.run("ALTER TABLE orderledger.events DROP CONSTRAINT events_event_id_key")
    else:
        forger.run("DROP INDEX orderledger_generations_live")


def _spy(forger: Forger) -> None:
    """Add a trigger that changes what is written."""
    if forger.is_postgres:
        forger.run(
            "CREATE FUNCTION public.spy() RETURNS trigger LANGUAGE plpgsql "
            "AS 'BEGIN RETURN NEW; END'; "
            "CREATE TRIGGER spy BEFORE INSERT ON orderledger.events FOR EACH ROW "
            "EXECUTE FUNCTION public.spy()"
        )
    else:
        forger.run("CREATE TRIGGER spy AFTER INSERT ON orderledger_events BEGIN SELECT 1; END")


def _nullable(forger: Forger) -> None:
    if forger.is_postgres:
        forger.run("ALTER TABLE orderledger.events ALTER COLUMN payload DROP NOT NULL")
    else:
        forger.run(
            "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql, "
            "'payload TEXT NOT NULL', 'payload TEXT') WHERE name = 'orderledger_events';"
        )


AROUND: Final = (
    Kind("a guard is dropped", _dropped, (at(Check.GUARD_MISSING),), is_of_guards=True),
    Kind("a guard is disabled", _disabled, (at(Check.GUARD_ALTERED),), is_of_guards=True),
    Kind("the balance is not checked", _unchecked, (at(Check.GUARD_MISSING),), is_of_guards=True),
    Kind("the balance is always right", _softened, (at(Check.GUARD_ALTERED),), is_of_guards=True),
    Kind(
        "an id need not be unique", _unique_no_more, (at(Check.GUARD_MISSING),), is_of_guards=True
    ),
    Kind(
        "a column may be empty",
        _nullable,
        (at(Check.GUARD_ALTERED),),
        is_of_guards=True,
    ),
    Kind("a trigger of another", _spy, (at(Check.GUARD_ALTERED),), is_of_guards=True),
    Kind(
        "an account is not held to its constraint",
        lambda forger: forger.delete("orderledger.constrained_accounts", {}),
        (at(Check.CONSTRAINTS_WRONG, stream=LIMITED_STREAM),),
    ),
    Kind(
        "an account is held to a constraint that there is not",
        lambda forger: forger.insert(
            "orderledger.constrained_accounts",
            {"book_id": forger.book_id, "account": "assets:bank:other"}
            | ({} if forger.is_postgres else {"generation": 1}),
        ),
        (at(Check.CONSTRAINTS_WRONG),),
    ),
    Kind(
        "the generation of the constraints is set back",
        lambda forger: forger.update("orderledger.books", {"constraint_generation": 0}, {}),
        (at(Check.CONSTRAINTS_WRONG),),
    ),
    Kind(
        "the books are open again",
        lambda forger: forger.update("orderledger.books", {"closed_until": None}, {}),
        (at(Check.PERIOD_GUARD_WRONG),),
    ),
    Kind(
        "an entry is moved into a closed period, with right hashes",
        lambda forger: forger.rewrite(PETTY, occurred_at=IN_JANUARY),
        (at(Check.PERIOD_ENTRY_INSIDE, PETTY, PETTY_STREAM),),
    ),
    Kind(
        "an entry is moved out of a closed period, with right hashes",
        lambda forger: forger.rewrite(
            ISSUED, occurred_at=datetime.fromisoformat("2026-03-01T00:00:00+00:00")
        ),
        (at(Check.PERIOD_TOTALS_WRONG, 163),),
    ),
    Kind(
        "a closed period begins elsewhere, with right hashes",
        _set(163, "start", to="2026-01-31T00:00:00Z"),
        (at(Check.PERIOD_GAP, 163),),
    ),
    Kind(
        "an entry says that it was reported for a closed period, with right hashes",
        lambda forger: forger.rewrite(
            PETTY,
            context=forger.event(PETTY).context[:-1]
            + ',"reported_at":"2026-01-15T00:00:00Z","adjusts":"2026-01"}',
        ),
        (at(Check.PERIOD_MOVE_WRONG, PETTY),),
    ),
)


def _generation(forger: Forger, model: str) -> Generation:
    store = forger.database.open()
    models = models_of(store)
    try:
        (found,) = models.generations(model)
        return found
    finally:
        models.close()
        store.close()


def _rows(forger: Forger, model: str, table: str) -> str:
    """Return the name of the table that has the rows of a model."""
    live = _generation(forger, model)
    name = f"rm_{forger.book_id}_{live.number}_{live.fingerprint}_{table}"
    return f"orderledger_read.{name}"


def _move(model: str, **changes: object) -> Callable[[Forger], object]:
    return lambda forger: forger.update("orderledger.generations", changes, {"model": model})


def _adjusted(forger: Forger, model: str) -> None:
    """Make the digest of a model that of its rows."""
    store = forger.database.open()
    models = models_of(store)
    (declared,) = [one for one in SHIPPED if one.name == model]
    found = summed(models, models.generations(model)[0], tuple(declared.tables), lambda _: None)
    models.close()
    store.close()
    forger.update("orderledger.generations", {"digest": found.digest}, {"model": model})


def _order_edited(forger: Forger, *, is_adjusted: bool) -> None:
    table = _rows(forger, "orders", "orders")
    forger.update(table, {"buyer_ref": "somebody"}, {"order_id": "o3"})
    if is_adjusted:
        _adjusted(forger, "orders")


def _order_lost(forger: Forger) -> None:
    forger.delete(_rows(forger, "orders", "orders"), {"order_id": "o3"})
    _adjusted(forger, "orders")


def _order_invented(forger: Forger) -> None:
    table = _rows(forger, "orders", "orders")
    row = forger.row(table, {"order_id": "o3"})
    forger.insert(table, {**row, "order_id": "o88"})
    _adjusted(forger, "orders")


def _line(forger: Forger, **changes: object) -> None:
    where = {"position": PETTY, "line_no": 1}
    forger.update(_rows(forger, "balances", "postings"), changes, where)


def _line_doubled(forger: Forger) -> None:
    table = _rows(forger, "balances", "postings")
    row = forger.row(table, {"position": PETTY, "line_no": 1})
    forger.insert(table, {**row, "line_no": 3})


def _park(forger: Forger) -> None:
    live = _generation(forger, "orders")
    forger.insert(
        "orderledger.parked",
        {
            "book_id": forger.book_id,
            "model": "orders",
            "number": live.number,
            "stream": "order-o3",
            "position": PETTY,
            "topic": "order.placed.v1",
            "error": "it could not be read",
            "parked_at": IN_JANUARY,
        },
    )


def _skipped(forger: Forger) -> object:
    return _move("orders", skipped=[LINES] if forger.is_postgres else f"[{LINES}]")(forger)


def _left_behind(forger: Forger) -> None:
    """Move the checkpoint of the balances back by the last entry, under the right hash."""
    found = forger.run("SELECT leaf_hash FROM orderledger.log WHERE position = %s", (590,))
    _move("balances", position=590, leaf_hash=bytes(found[0][0]))(forger)


MODELS: Final = (
    Kind(
        "a checkpoint is beyond the head",
        _move("orders", position=LAST + 1),
        (at(Check.CHECKPOINT_DIVERGED, LAST + 1),),
    ),
    Kind(
        "a checkpoint is of another history",
        _move("orders", leaf_hash=bytes(32)),
        (at(Check.CHECKPOINT_DIVERGED, LAST),),
    ),
    Kind("a checkpoint is moved back", _left_behind, (at(Check.JOURNAL_LINES_WRONG, 592),)),
    Kind(
        "the checkpoint of a reactor is of another history",
        lambda forger: forger.update("orderledger.reactors", {"leaf_hash": bytes(32)}, {}),
        (at(Check.CHECKPOINT_DIVERGED, LAST),),
    ),
    Kind(
        "a journal line is on another account",
        lambda forger: _line(forger, account="assets:bank:main"),
        (at(Check.JOURNAL_LINES_WRONG, PETTY, PETTY_STREAM),),
    ),
    Kind(
        "a journal line is deleted",
        lambda forger: forger.delete(
            _rows(forger, "balances", "postings"), {"position": PETTY, "line_no": 1}
        ),
        (at(Check.JOURNAL_LINES_WRONG, PETTY, PETTY_STREAM),),
    ),
    Kind(
        "a journal line is there twice",
        _line_doubled,
        (at(Check.JOURNAL_LINES_WRONG, PETTY, PETTY_STREAM),),
    ),
    Kind("an event is left out of a model", _skipped, (at(Check.MODEL_CATALOGUE_WRONG, LINES),)),
    Kind(
        "a stream is left out of a model",
        _park,
        (at(Check.MODEL_CATALOGUE_WRONG, PETTY, "order-o3"),),
    ),
    Kind(
        "a row of a model is edited",
        lambda forger: _order_edited(forger, is_adjusted=False),
        (at(Check.MODEL_ROWS_WRONG),),
        is_deep=True,
    ),
    Kind(
        "a row of a model is edited and the digest with it",
        lambda forger: _order_edited(forger, is_adjusted=True),
        (at(Check.MODEL_ROWS_WRONG, LAST),),
        is_deep=True,
    ),
    Kind(
        "a row of a model is deleted and the digest with it",
        _order_lost,
        (at(Check.MODEL_ROWS_WRONG, LAST),),
        is_deep=True,
    ),
    Kind(
        "a row of a model is invented and the digest with it",
        _order_invented,
        (at(Check.MODEL_ROWS_WRONG, LAST),),
        is_deep=True,
    ),
    Kind(
        "the digest of a model is another",
        _move("orders", digest=bytes(32)),
        (at(Check.MODEL_ROWS_WRONG, LAST),),
        is_deep=True,
    ),
)
