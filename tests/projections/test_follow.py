"""Following the log: rows are a function of it, whatever the batches, and faults are noticed."""

import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
from msgspec.structs import replace

from orderledger import Book
from orderledger.ledger.errors import (
    CheckpointDiverged,
    IntegrityViolation,
    InvalidInput,
    Unavailable,
)
from orderledger.ledger.events import _upcasters
from orderledger.ledger.model_ports import Column, Generation, Kind, LogTable, Row, Table
from orderledger.ledger.ports import StoredEvent
from orderledger.ledger.stores.journals import journal_of
from orderledger.ledger.stores.models_memory import MemoryModels
from orderledger.projections.balances import POSTINGS, Balances, Postings
from orderledger.projections.compare import summed
from orderledger.projections.follow import Follower
from orderledger.projections.models import ReadModel, Recorded, Rows, fingerprint
from orderledger.projections.orders import OrderLineRow, OrderRow
from orderledger.projections.payments import PaymentRow
from orderledger.projections.read_models import ReadModels
from orderledger.projections.shipped import SHIPPED
from orderledger.testing import memory_book
from tests.projections.books import day_in_memory, fill, post, reverse
from tests.projections.toy_models import (
    ENTRIES,
    TOTALS,
    Entries,
    EntryRow,
    TotalRow,
    Totals,
)

NAMES = [model.name for model in SHIPPED]


def a_book() -> Book:
    book = memory_book()
    fill(book.store)
    return book


def models_over(book: Book, *models: ReadModel) -> ReadModels:
    return ReadModels(book.store, MemoryModels(), models or (Totals(), Entries()))


def built(models: ReadModels, name: str, until: int, batches: Callable[[], int]) -> Generation:
    """Fill a generation up to a position in batches of the given sizes."""
    model = models.model(name)
    made = models.store.create(name, model.version, fingerprint(model), tuple(model.tables))
    follower = Follower(models.events, models.store, model, made)
    while follower.generation.position < until:
        step = min(until, follower.generation.position + batches())
        follower.catch_up(step, batch_events=batches())
    return follower.generation


@pytest.mark.parametrize("name", NAMES)
def test_rows_do_not_depend_on_the_batches(name: str) -> None:
    """Catches a projector that sees where a batch ends, and a digest that drifts from the rows."""
    models = models_over(day_in_memory(), *SHIPPED)
    head = models.events.head().size
    sizes = random.Random(5)
    for until in (1, 2, 17, head // 3, head):
        whole = built(models, name, until, partial(int, until))
        one_by_one = built(models, name, until, lambda: 1)
        ragged = built(models, name, until, lambda: sizes.randint(1, 40))
        assert whole.digest == one_by_one.digest == ragged.digest
        tables = tuple(models.model(name).tables)
        stored = [summed(models.store, one, tables) for one in (whole, one_by_one, ragged)]
        assert stored[0] == stored[1] == stored[2]
        assert stored[0].digest == whole.digest


def test_states_that_are_not_in_memory_are_folded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a state read beyond the batch, or short of it, once the caches are too small."""
    models = models_over(day_in_memory(), *SHIPPED)
    head = models.events.head().size
    whole = built(models, "orders", head, lambda: head)
    monkeypatch.setattr("orderledger.projections.follow.KNOWN_ROWS", 4)
    monkeypatch.setattr("orderledger.projections.follow.KNOWN_STATES", 4)
    assert built(models, "orders", head, lambda: 23).digest == whole.digest


def test_orders_and_payments_are_those_of_their_states() -> None:
    """Catches a column that shows something else than the domain's own fold."""
    book = day_in_memory()
    models = models_over(book, *SHIPPED)
    for name in ("orders", "payments"):
        models.catch_up(name, batch_events=31)
    lifecycles: set[Any] = set()
    for row in models.select(OrderRow):
        order = book.order(row.order_id)
        lifecycles.add(row.lifecycle)
        assert row.lifecycle == order.lifecycle.value
        assert row.total == order.total
        assert row.due == order.due
        assert row.granted == order.granted
        assert row.escrow_held == order.escrow_held
        assert row.released == order.released
        assert row.buyer_ref == order.buyer_ref
        lines = {line.line_id: line for line in models.select(OrderLineRow, order_id=row.order_id)}
        assert set(lines) == set(order.lines)
        for line_id, line in order.lines.items():
            shown = lines[line_id]
            assert (shown.shipped, shown.delivered) == (line.shipped, line.delivered)
    assert len(lifecycles) > 2
    for paid in models.select(PaymentRow):
        payment = book.payment(paid.payment_id)
        assert paid.lifecycle == payment.lifecycle.value
        assert paid.captured == payment.captured
        assert paid.refunded == payment.refunded
        assert paid.capturable == payment.capturable
        assert paid.refundable == payment.refundable


def test_a_poisonous_event_parks_its_stream_only() -> None:
    """Catches one bad event that stops a model, or that lets later ones of its stream in."""
    book = a_book()
    book.execute(post(900, "poison"))
    book.execute(post(901, "fine"))
    book.execute(reverse(900))
    models = models_over(book)
    head = models.catch_up("entries")
    assert models.live("entries").position == head  # type: ignore[union-attr]  # it was caught up
    (parked,) = models.parked("entries")
    assert (parked.stream, parked.topic) == ("journal-e900", "journal.entry_posted.v1")
    assert parked.error == "ValueError: cannot read 'poison'"
    assert models.get(EntryRow, "e900") is None
    assert models.get(EntryRow, "e901") == EntryRow("e901", "fine", 2, False)
    assert models.status("entries").parked == 1
    book.execute(post(902, "later"))
    models.catch_up("entries")
    assert len(models.parked("entries")) == 1
    assert models.get(EntryRow, "e902") is not None
    assert list(models.parked("totals")) == [], "another model can read it"


class HalfWay(Totals):
    """Raises after it has changed a row, on every entry of seller s3."""

    name = "half_way"

    def project(self, recorded: Any, rows: Any) -> None:
        super().project(recorded, rows)
        if "s3" in recorded.postings:
            raise ArithmeticError("half way")


def test_what_a_failing_projector_did_before_is_undone() -> None:
    """Catches half of an event that stays in the rows."""
    book = a_book()
    models = models_over(book, HalfWay())
    models.catch_up("half_way")
    accounts = [row.account for row in models.select(TotalRow)]
    assert "liabilities:seller:s3" not in accounts
    (bank,) = models.select(TotalRow, account="assets:bank:a")
    sellers = [row for row in models.select(TotalRow) if row.account != "assets:bank:a"]
    assert bank.minor == -sum([row.minor for row in sellers])


class CannotDerive(Entries):
    """Derives no row of an entry that was reversed."""

    name = "cannot_derive"

    def derive(self, table: Any, key: Any, rows: Any) -> Row | None:
        row = super().derive(table, key, rows)
        assert row is not None
        if row[3]:
            raise LookupError("reversed")
        return row


def test_an_event_whose_row_cannot_be_derived_is_parked() -> None:
    """Catches a model that stops, or shows a row half made, where derive raises."""
    book = memory_book()
    book.execute_many([post(1), post(2), reverse(1), post(3)])
    models = models_over(book, CannotDerive())
    models.catch_up("cannot_derive")
    assert [parked.position for parked in models.parked("cannot_derive")] == [3]
    shown = [(row.entry_id, row.is_reversed) for row in models.select(EntryRow)]
    assert shown == [("e1", False), ("e2", False), ("e3", False)]


class OtherRow:
    """An event store in which one event reads otherwise than it was written."""

    def __init__(self, store: Any, position: int, changes: dict[str, Any] | None = None) -> None:
        self._store = store
        self._position = position
        self._changes = changes or {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def read(self, after: int, **bounds: Any) -> Sequence[StoredEvent]:
        return [
            replace(row, **self._changes) if row.position == self._position else row
            for row in self._store.read(after, **bounds)
        ]


def with_unknown_topic(store: Any, position: int) -> Any:
    """Return the store with a topic at a position that nobody registered."""
    return OtherRow(store, position, {"topic": "order.teleported.v9"})


def test_an_unknown_topic_is_parked() -> None:
    """Catches a model that stops at, or passes over unseen, what a newer version wrote."""
    book = a_book()
    models = ReadModels(with_unknown_topic(book.store, 9), MemoryModels(), [Totals()])
    models.catch_up("totals")
    (parked,) = models.parked("totals")
    assert (parked.position, parked.topic) == (9, "order.teleported.v9")
    assert parked.error.startswith("UnknownTopic: ")


def test_balances_need_no_topic() -> None:
    """Catches money that is left out because a newer version named what moved it."""
    book = a_book()
    models = ReadModels(with_unknown_topic(book.store, 9), MemoryModels(), [Postings()])
    expected = models_over(book, Postings())
    assert models.catch_up("balances") == expected.catch_up("balances")
    assert list(models.parked("balances")) == []
    assert models.live("balances") == expected.live("balances")


@pytest.mark.parametrize("postings", ["all my money", "posted a:b EUR 1\nposted c:d EUR 1", "x"])
def test_an_entry_that_cannot_be_read_parks_its_stream(postings: str) -> None:
    """Catches balances that stop for ever, or that count an entry that cannot be read whole."""
    book = a_book()
    damaged = OtherRow(book.store, 9, {"postings": postings})
    models = ReadModels(damaged, MemoryModels(), [Postings()])
    head = models.catch_up("balances")
    (parked,) = models.parked("balances")
    assert parked.position == 9
    rows = list(models.find(POSTINGS, {}))
    assert {row[0] for row in rows} == set(range(1, head + 1)) - {9}
    balances = Balances(models, journal_of(models.store))
    with pytest.raises(IntegrityViolation, match="from position 9 on"):
        balances.trial_balance()
    before = book.store.read(7, limit=1)[0].recorded_at
    assert balances.trial_balance(recorded_to=before).is_balanced


def test_an_old_version_of_a_topic_is_lifted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a model that passes over events because they were stored under an older version."""
    book = a_book()
    monkeypatch.setitem(
        _upcasters, "order.teleported.v9", ("journal.entry_posted.v1", lambda raw: raw)
    )
    models = ReadModels(with_unknown_topic(book.store, 9), MemoryModels(), [Totals()])
    models.catch_up("totals")
    assert list(models.parked("totals")) == []
    plain = models_over(book)
    plain.catch_up("totals")
    assert list(models.select(TotalRow)) == list(plain.select(TotalRow))


def test_two_followers_never_apply_an_event_twice() -> None:
    """Catches a batch that both of two workers write."""
    book = a_book()
    models = models_over(book)
    first, second = models.follower("totals"), models.follower("totals")
    first.catch_up(20, batch_events=3)
    second.catch_up(batch_events=5)
    first.catch_up(batch_events=2)
    live = models.live("totals")
    assert live is not None
    assert live.position == book.store.head().size
    assert summed(models.store, live, (TOTALS,)).digest == live.digest
    assert live.digest == built(models, "totals", live.position, lambda: 1000).digest


def _moved(models: ReadModels, **changes: Any) -> None:
    """Plant another checkpoint in the live generation."""
    live = models.live("totals")
    assert live is not None
    store: Any = models.store
    store._generations[(live.model, live.number)] = replace(live, **changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"position": 10_000}, "beyond the head"),
        ({"leaf_hash": b"x" * 32}, "another history"),
        ({"position": 30}, "another history"),
    ],
)
def test_a_checkpoint_of_another_log_is_refused(changes: dict[str, Any], said: str) -> None:
    """Catches rows of another history that are continued, and a lag that is clamped to zero."""
    models = models_over(a_book())
    head = models.catch_up("totals")
    _moved(models, **changes)
    with pytest.raises(CheckpointDiverged, match=said):
        models.catch_up("totals")
    status = models.status("totals")
    assert status.problem is not None
    assert said in status.problem
    assert status.lag == head - changes.get("position", head)


def test_a_cleared_checkpoint_is_noticed() -> None:
    """Catches a model that is made a second time on top of its own rows."""
    models = models_over(a_book())
    models.catch_up("totals")
    _moved(models, position=0, leaf_hash=b"", digest=bytes(32))
    models.catch_up("totals")
    live = models.live("totals")
    assert live is not None
    doubled = summed(models.store, live, (TOTALS,))
    fresh = built(models, "totals", live.position, lambda: 1000)
    assert doubled.digest != fresh.digest
    assert live.digest != fresh.digest


def test_a_log_with_a_hole_is_not_projected() -> None:
    """Catches an event that a reader skips."""

    class Hole(OtherRow):
        def read(self, after: int, **bounds: Any) -> Sequence[StoredEvent]:
            return [row for row in self._store.read(after, **bounds) if row.position != 9]

    book = a_book()
    models = ReadModels(Hole(book.store, 9), MemoryModels(), [Totals()])
    with pytest.raises(IntegrityViolation, match="no event at position 9"):
        models.catch_up("totals")


class Newer(Totals):
    """The same model in another version."""

    version = 2


def test_rows_of_another_version_are_not_continued() -> None:
    """Catches rows of two versions in one table; the old ones go on serving."""
    book = a_book()
    old = models_over(book, Totals())
    old.catch_up("totals")
    new = ReadModels(book.store, old.store, [Newer()])
    with pytest.raises(CheckpointDiverged, match="made by version 1"):
        new.catch_up("totals")
    assert not new.status("totals").is_current
    assert list(new.select(TotalRow)) == list(old.select(TotalRow))


def test_wait_returns_once_the_model_shows_the_command() -> None:
    """Catches a reader who does not find what he has just written."""
    book = a_book()
    models = book.read.models
    receipt = book.execute(post(700))
    assert receipt.positions is not None
    with pytest.raises(Unavailable, match="did not reach"):
        book.wait(receipt, model="orders", timeout_s=0.05)
    models.catch_up("orders")
    assert book.wait(receipt, model="orders", timeout_s=0.05) == receipt


class Neighbours(Entries):
    """Shows entry e7 anew at every event, and cannot read its reversal."""

    name = "neighbours"

    def project(self, recorded: Recorded, rows: Rows) -> None:
        if recorded.stream == "journal-e7" and recorded.version == 2:
            raise ValueError("cannot read the reversal")
        rows.touch(ENTRIES, ("e7",))


@pytest.mark.parametrize("states_kept", [1, 1_000])
def test_the_state_of_a_parked_stream_stands_still(
    monkeypatch: pytest.MonkeyPatch, states_kept: int
) -> None:
    """Catches rows that depend on whether a parked stream's state was still in memory."""
    monkeypatch.setattr("orderledger.projections.follow.KNOWN_STATES", states_kept)
    models = models_over(a_book(), Neighbours())
    models.catch_up("neighbours", batch_events=3)
    (parked,) = models.parked("neighbours")
    assert parked.stream == "journal-e7"
    assert list(models.select(EntryRow)) == [EntryRow("e7", "entry", 2, False)]


def test_models_do_not_share_a_table() -> None:
    """Catches a model of the host's own that replaces the view of a shipped one."""

    class Mine(Totals):
        name = "mine"

    with pytest.raises(InvalidInput, match="both have a table totals"):
        models_over(a_book(), Totals(), Mine())
    with pytest.raises(InvalidInput, match="two read models are named totals"):
        models_over(a_book(), Totals(), Totals())


class Undeclared(Totals):
    """Writes to a table that it does not declare."""

    name = "undeclared"
    tables = (ENTRIES,)


def test_a_table_that_is_not_declared_is_said() -> None:
    """Catches an error about a missing table that sends one to the migrations."""
    models = models_over(a_book(), Undeclared())
    models.catch_up("undeclared")
    said = {one.error for one in models.parked("undeclared")}
    assert said == {"LookupError: table totals is none of the read model's tables"}


class Exacting(Totals):
    """Raises where the bank's row is not there after the first entry."""

    name = "exacting"

    def project(self, recorded: Recorded, rows: Rows) -> None:
        if recorded.position > 1 and rows.get(TOTALS, ("assets:bank:a", "EUR")) is None:
            raise LookupError("the row of the bank is gone")
        super().project(recorded, rows)


def test_a_row_that_was_only_not_fetched_yet_parks_nothing() -> None:
    """Catches a stream parked for an error of a run that was thrown away."""
    models = models_over(a_book(), Exacting())
    models.follower("exacting").catch_up(5)
    # A new follower has no row in memory.
    models.catch_up("exacting")
    assert list(models.parked("exacting")) == []


LOG = LogTable("log", (Column("position", Kind.INTEGER), Column("stream", Kind.TEXT)))


PLACES = Table("places", LOG.columns)
WAYS = {
    "twice": "ValueError: a row appended to log needs a new key",
    "elsewhere": "ValueError: a row appended to log needs a new key",
    "short": "ValueError: a row of log has 2 values, not 1",
    "put": "LookupError: rows of log are only appended",
    "get": "LookupError: rows of log are only appended",
    "appended to another": "LookupError: table totals is none",
    "appended to a table": "LookupError: rows of places are put, not appended",
}


class Log(ReadModel):
    """Appends a row an event, and does one thing wrong at the fifth."""

    name = "log"
    tables = (LOG, PLACES)

    def __init__(self, how: str) -> None:
        self.how = how

    def project(self, recorded: Recorded, rows: Rows) -> None:
        row = (recorded.position, recorded.stream)
        if recorded.position != 5:
            rows.append(LOG, row)
        elif self.how == "twice":
            rows.append(LOG, row)
            rows.append(LOG, row)
        elif self.how == "elsewhere":
            rows.append(LOG, (4, "of an earlier event"))
        elif self.how == "put":
            rows.put(LOG, row)
        elif self.how == "get":
            rows.get(LOG, (4,))
        elif self.how == "appended to another":
            rows.append(TOTALS, (*row, "EUR", 1, 1))  # type: ignore[arg-type]  # on purpose
        elif self.how == "appended to a table":
            rows.append(PLACES, row)  # type: ignore[arg-type]  # on purpose
        elif self.how == "short":
            rows.append(LOG, row[:1])


@pytest.mark.parametrize("how", WAYS)
def test_a_row_is_appended_once_and_under_its_position(how: str) -> None:
    """Catches a projector whose rows could meet others that nobody looked up."""
    models = models_over(a_book(), Log(how))
    head = models.catch_up("log", batch_events=4)
    (parked,) = models.parked("log")
    assert parked.position == 5
    assert parked.error.startswith(WAYS[how])
    assert {row[0] for row in models.find(LOG, {})} == set(range(1, head + 1)) - {5}
    assert summed(models.store, live_of(models, "log"), Log.tables).digest == (
        live_of(models, "log").digest
    )


def live_of(models: ReadModels, name: str) -> Generation:
    live = models.live(name)
    assert live is not None
    return live


def test_an_appended_row_that_is_there_already_stops_the_model() -> None:
    """Catches an event applied twice after somebody moved the checkpoint back."""
    book = a_book()
    models = models_over(book, Postings())
    models.catch_up("balances")
    live = live_of(models, "balances")
    back = replace(live, position=8, leaf_hash=book.store.leaf_hashes(7, 1)[0])
    assert models.store.advance(live, back, (POSTINGS,), {}, ())
    with pytest.raises(IntegrityViolation, match="other rows than at its checkpoint"):
        models.catch_up("balances")
