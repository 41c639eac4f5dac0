"""The balance read model on every engine: both clocks, exact sums, checkpoints, statements."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import msgspec
import pytest

from orderledger.ledger.as_of import position_at
from orderledger.ledger.errors import (
    CheckpointDiverged,
    IntegrityViolation,
    InvalidAccount,
    InvalidInput,
    SchemaMismatch,
    Unavailable,
    UnknownCurrency,
)
from orderledger.ledger.instants import EARLIEST, LATEST
from orderledger.ledger.journal import Layer, entry
from orderledger.ledger.journal import Posting as Leg
from orderledger.ledger.model_ports import Generation, Parked
from orderledger.ledger.ports import EventStore, StoredEvent
from orderledger.ledger.read_ports import LineSelection
from orderledger.ledger.stores.journals import journal_of
from orderledger.ledger.stores.models import models_of
from orderledger.ledger.stores.models_memory import MemoryModels
from orderledger.projections.balances import (
    POSTINGS,
    Balances,
    JournalFilter,
    Postings,
    StatementRequest,
)
from orderledger.projections.models import fingerprint
from orderledger.projections.read_models import ReadModels
from orderledger.replay.rebuild import rebuild, rollback
from tests.seeding import (
    CASH,
    OPENING,
    START,
    Seeder,
    balances_of,
    memory_store,
    posted,
    sqlite_store,
    ticking,
    transfer,
)


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgres", marks=pytest.mark.pg)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EventStore]:
    """Give an empty book on each engine; its clock moves on by a second an append."""
    if request.param == "memory":
        opened: EventStore = memory_store()
    elif request.param == "sqlite":
        opened = sqlite_store(tmp_path / "book.db")
    else:
        from orderledger.ledger.stores.postgres import PostgresStore
        from orderledger.ledger.stores.postgres_schema import migrate

        url = request.getfixturevalue("pg_url")
        migrate(url)
        opened = PostgresStore(url, clock=ticking())
    yield opened
    opened.close()


@pytest.fixture
def models(store: EventStore) -> Iterator[ReadModels]:
    """Give the read models beside the book: the balances alone."""
    opened = models_of(store)
    yield ReadModels(store, opened, (Postings(),))
    opened.close()


@pytest.fixture
def balances(models: ReadModels) -> Balances:
    """Give the balances of the book."""
    return Balances(models, journal_of(models.store))


def _live(models: ReadModels) -> Generation:
    live = models.live("balances")
    assert live is not None
    return live


def day(number: int) -> datetime:
    """Return noon of a day in January."""
    return datetime(2026, 1, number, 12, tzinfo=UTC)


MATRIX = (
    (5, (100, 100, 100, 100, 100)),
    (7, (100, 100, 70, 70, 70)),
    (10, (100, 150, 120, 120, 180)),
    (31, (100, 150, 120, 70, 130)),
)
FACTS = ((5, 100), (10, 50), (6, -30), (20, -50), (10, 60))


def _seed_matrix(store: EventStore) -> list[datetime]:
    seeder = Seeder(store)
    for number, (on, amount) in enumerate(FACTS, 1):
        seeder.append(transfer(amount, day(on), entry_id=f"e{number}"))
    recorded = [event.recorded_at for event in store.read(0)]
    assert all(recorded)
    return [instant for instant in recorded if instant is not None]


@pytest.mark.parametrize(("effective_to", "expected"), MATRIX)
def test_the_two_clocks_give_the_documented_matrix(
    store: EventStore, balances: Balances, effective_to: int, expected: tuple[int, ...]
) -> None:
    """Catches a back-dated entry that is missed, or that changes what was known before."""
    recorded = _seed_matrix(store)
    found = tuple(
        balances.balance(CASH, effective_to=day(effective_to), recorded_to=instant)["USD"]
        for instant in recorded
    )
    assert found == expected


def test_either_clock_may_be_left_out(store: EventStore, balances: Balances) -> None:
    """Catches a default that cuts off the future or the past of one clock."""
    recorded = _seed_matrix(store)
    assert balances.balance(CASH) == {"USD": 130}
    assert balances.balance(CASH, effective_to=day(7)) == {"USD": 70}
    assert balances.balance(CASH, recorded_to=recorded[1]) == {"USD": 150}
    before = recorded[0] - timedelta(microseconds=1)
    assert balances.balance(CASH, recorded_to=before) == {}
    assert balances.balance(CASH, "USD", recorded_to=before) == {"USD": 0}


def test_bounds_are_inclusive_to_the_microsecond(store: EventStore, balances: Balances) -> None:
    """Catches an end-of-day balance that leaves the day's last entry out."""
    _seed_matrix(store)
    just_before = day(5) - timedelta(microseconds=1)
    assert balances.balance(CASH, effective_to=day(5)) == {"USD": 100}
    assert balances.balance(CASH, effective_to=just_before) == {}


def test_amounts_beyond_64_bits_sum_exactly(store: EventStore, balances: Balances) -> None:
    """Catches sums that wrap around or go through a float."""
    seeder = Seeder(store)
    amounts = (10**24, 10**24, -(10**24) + 1, 10**29, -7, 10**10, -(10**20), 1, 10**18 - 1)
    for number, amount in enumerate(amounts):
        seeder.append(transfer(amount, day(1), entry_id=f"e{number}"))
    assert balances.balance(CASH) == {"USD": sum(amounts)}
    assert balances.balance(OPENING) == {"USD": -sum(amounts)}
    lines = [leg.minor for one in balances.journal(JournalFilter()) for leg in one.lines]
    assert lines[::2] == [*amounts]
    trial = balances.trial_balance()
    assert trial.is_balanced
    assert trial.totals[0].debit == sum(amounts)


def test_currencies_and_layers_are_kept_apart(store: EventStore, balances: Balances) -> None:
    """Catches a hold that counts as money, or yen added to dollars."""
    seeder = Seeder(store)
    seeder.append(transfer(100, day(1), entry_id="a"))
    seeder.append(transfer(7, day(1), entry_id="b", currency="JPY"))
    seeder.append(transfer(40, day(1), entry_id="c", layer=Layer.HELD))
    assert balances.balance(CASH) == {"JPY": 7, "USD": 100}
    assert balances.balance(CASH, "JPY") == {"JPY": 7}
    assert balances.balance(CASH, layer=Layer.HELD) == {"USD": 40}
    assert [total.currency for total in balances.trial_balance().totals] == ["JPY", "USD"]


def test_balances_below_a_prefix_are_whole_segments(store: EventStore, balances: Balances) -> None:
    """Catches seller `a-1` and seller `ab` counted as below seller `a`."""
    seeder = Seeder(store)
    names = ("a", "a:x", "a-1", "a.1", "ab", "a/2", "b")
    for number, name in enumerate(names, 1):
        account = f"liabilities:seller:{name}"
        seeder.append(transfer(-number, day(1), entry_id=name.replace(":", "_"), account=account))
    found = balances.balances_below("liabilities:seller:a")
    assert [(one.account.rpartition("seller:")[2], one.minor) for one in found] == [
        ("a", -1),
        ("a:x", -2),
    ]
    assert len(balances.balances_below("liabilities")) == len(names)
    assert balances.balances_below("liabilities:seller:c") == []


def test_the_trial_balance_names_both_columns(store: EventStore, balances: Balances) -> None:
    """Catches columns that are swapped, a zero account that clutters, or sums that differ."""
    seeder = Seeder(store)
    seeder.append(transfer(100, day(1), entry_id="a"))
    seeder.append(transfer(50, day(2), entry_id="b", account="assets:psp:adyen"))
    seeder.append(transfer(-50, day(3), entry_id="c", account="assets:psp:adyen"))
    trial = balances.trial_balance(effective_to=day(3))
    assert [(row.account, row.debit, row.credit) for row in trial.rows] == [
        (CASH, 100, 0),
        (OPENING, 0, 100),
    ]
    assert trial.position == 3
    assert [(one.debit, one.credit) for one in trial.totals] == [(100, 100)]
    then = balances.trial_balance(effective_to=day(2))
    assert [row.account for row in then.rows] == ["assets:bank:main", "assets:psp:adyen", OPENING]


def test_accounts_say_when_they_were_used(store: EventStore, balances: Balances) -> None:
    """Catches a list of accounts with the wrong class or the wrong first and last use."""
    seeder = Seeder(store)
    seeder.append(transfer(-5, day(9), entry_id="a", account="liabilities:escrow:o1"))
    seeder.append(transfer(5, day(3), entry_id="b", account="liabilities:escrow:o1"))
    (escrow,) = balances.accounts("liabilities")
    assert (escrow.account, escrow.side, escrow.must_be_zero) == (
        "liabilities:escrow:o1",
        "credit",
        True,
    )
    assert (escrow.first_effective_at, escrow.last_effective_at) == (day(3), day(9))
    assert (escrow.first_position, escrow.last_position, escrow.line_count) == (1, 2, 2)
    assert [one.account for one in balances.accounts()] == [OPENING, "liabilities:escrow:o1"]


def test_the_journal_gives_whole_entries_in_order(store: EventStore, balances: Balances) -> None:
    """Catches an entry shown without its other leg, twice, or out of order."""
    _seed_matrix(store)
    everything = list(balances.journal(JournalFilter()))
    assert [one.position for one in everything] == [1, 2, 3, 4, 5]
    assert [line.minor for line in everything[2].lines] == [-30, 30]
    assert everything[0].stream == "journal-e1"
    chosen = JournalFilter(
        account=CASH, first_position=2, last_position=4, effective_from=day(6), effective_to=day(10)
    )
    assert [one.position for one in balances.journal(chosen)] == [2, 3]
    on_one_day = JournalFilter(effective_from=day(10), effective_to=day(10))
    assert [one.position for one in balances.journal(on_one_day)] == [2, 5]
    assert list(balances.journal(JournalFilter(account="assets:bank:other"))) == []


def test_the_journal_pages_through_large_entries(store: EventStore, balances: Balances) -> None:
    """Catches entries lost or doubled where a page of lines ends inside an entry."""
    legs = [Leg(f"expenses:part{number}", "USD", 1) for number in range(399)]
    facts = [
        posted(entry(*legs, Leg(CASH, "USD", -399)), day(number + 1), entry_id=f"big{number}")
        for number in range(7)
    ]
    Seeder(store).append_many(facts)
    found = list(balances.journal(JournalFilter()))
    assert [(one.position, len(one.lines)) for one in found] == [(n, 400) for n in range(1, 8)]


def test_a_statement_adds_up_and_never_changes(store: EventStore, balances: Balances) -> None:
    """Catches a statement sent last month that cannot be produced again today."""
    recorded = _seed_matrix(store)
    wanted = StatementRequest(
        account=CASH, currency="USD", start=day(6), end=day(20), recorded_to=recorded[3]
    )
    first = balances.statement(wanted)
    assert (first.opening, [line.minor for line in first.lines]) == (100, [-30, 50])
    assert [line.balance for line in first.lines] == [70, 120]
    assert first.closing == 120
    Seeder(store, first=1000).append(transfer(999, day(7), entry_id="later"))
    again = balances.statement(wanted)
    assert msgspec.json.encode(again) == msgspec.json.encode(first)
    now = balances.statement(msgspec.structs.replace(wanted, recorded_to=None))
    assert now.closing == balances.balance(CASH, effective_to=day(19))["USD"] == 1179
    assert now.recorded_to == store.head().recorded_at
    Seeder(store, first=2000).append(transfer(1, day(7), entry_id="latest"))
    reproduced = msgspec.structs.replace(wanted, recorded_to=now.recorded_to)
    assert balances.statement(reproduced) == now


def test_statements_page_and_stay_in_order(store: EventStore, balances: Balances) -> None:
    """Catches lines lost where many have the same instant and a page ends among them."""
    facts = [transfer(1, day(2), entry_id=f"e{number}") for number in range(2_100)]
    Seeder(store).append_many(facts)
    wanted = StatementRequest(account=CASH, currency="USD", start=day(1), end=day(3))
    found = balances.statement(wanted)
    assert [line.balance for line in found.lines] == list(range(1, 2_101))


def test_bad_questions_are_refused(store: EventStore, balances: Balances) -> None:
    """Catches a typing error in an account that is answered with a balance of zero."""
    with pytest.raises(InvalidAccount):
        balances.balance("asset:bank")
    with pytest.raises(InvalidInput, match="time zone"):
        balances.balance(CASH, effective_to=datetime(2026, 1, 1))
    with pytest.raises(InvalidInput, match="ends before"):
        balances.statement(StatementRequest(account=CASH, currency="USD", start=day(2), end=day(1)))
    with pytest.raises(UnknownCurrency):
        balances.balance(CASH, "usd")
    with pytest.raises(UnknownCurrency):
        balances.statement(StatementRequest(account=CASH, currency="usd", start=day(1), end=day(2)))
    with pytest.raises(InvalidAccount):
        balances.balances_below("assets:bank main")
    with pytest.raises(InvalidAccount):
        balances.accounts("\ud800")


WEST = timezone(timedelta(hours=-10))


@pytest.mark.parametrize(
    "instant", [datetime(9999, 12, 31, 23, tzinfo=WEST), datetime(2026, 1, 1), "2026-01-01", None]
)
@pytest.mark.parametrize("field", ["start", "end", "effective_from", "recorded_to"])
def test_an_instant_that_is_none_is_named(balances: Balances, field: str, instant: object) -> None:
    """Catches an OverflowError or a TypeError of a comparison that says nothing of the field."""
    statement: dict[str, object] = {"account": CASH, "currency": "USD", "start": day(1)}
    if field in ("start", "end"):
        wanted = StatementRequest(**{**statement, "end": day(9), field: instant})  # type: ignore[arg-type]  # on purpose
        with pytest.raises(InvalidInput) as error:
            balances.statement(wanted)
    elif instant is None:
        wanted_none: dict[str, Any] = {field: None}
        assert list(balances.journal(JournalFilter(**wanted_none))) == []
        return
    else:
        with pytest.raises(InvalidInput) as error:
            list(balances.journal(JournalFilter(**{field: instant})))  # type: ignore[arg-type]  # on purpose
    assert error.value.facts["field"] == field


def test_statements_reach_from_the_first_instant_to_the_last(
    store: EventStore, balances: Balances
) -> None:
    """Catches an opening balance that is asked for as of before the first year."""
    Seeder(store).append(transfer(7, EARLIEST, entry_id="e"))
    wanted = StatementRequest(account=CASH, currency="USD", start=EARLIEST, end=LATEST)
    found = balances.statement(wanted)
    assert (found.opening, [line.minor for line in found.lines], found.closing) == (0, [7], 7)
    nothing = balances.statement(msgspec.structs.replace(wanted, end=EARLIEST))
    assert (nothing.opening, nothing.lines, nothing.closing) == (0, (), 0)


@pytest.mark.parametrize(
    ("first", "last", "found"), [(10**30, None, 0), (1, 10**30, 1), (-5, 1, 1)]
)
def test_positions_of_any_size_are_understood(
    store: EventStore, balances: Balances, first: int, last: int | None, found: int
) -> None:
    """Catches an OverflowError of a driver."""
    Seeder(store).append(transfer(7, day(1), entry_id="e"))
    wanted = JournalFilter(first_position=first, last_position=last)
    assert len(list(balances.journal(wanted))) == found
    with pytest.raises(InvalidInput, match="first_position"):
        list(balances.journal(JournalFilter(first_position=1.5)))  # type: ignore[arg-type]  # on purpose


def test_position_at_finds_every_instant(store: EventStore) -> None:
    """Catches a search that is off by one between two recorded instants."""
    assert position_at(store, START) == 0
    recorded = _seed_matrix(store)
    for position, instant in enumerate(recorded, 1):
        assert position_at(store, instant) == position
        assert position_at(store, instant - timedelta(microseconds=1)) == position - 1


def test_catching_up_in_small_batches_gives_the_same(
    store: EventStore, models: ReadModels, balances: Balances
) -> None:
    """Catches lines lost or doubled between two batches."""
    assert balances.catch_up() == 0
    _seed_matrix(store)
    assert balances.catch_up(batch_events=2) == 5
    rows = list(models.find(POSTINGS, {}))
    assert [row[0] for row in rows] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    live = _live(models)
    assert live.leaf_hash == store.leaf_hashes(4, 1)[0]
    assert balances.catch_up() == 5
    made = rebuild(models, "balances")
    assert (made.compared_at, made.rows) == (5, 10)
    assert list(models.find(POSTINGS, {})) == rows
    assert balances.balance(CASH) == {"USD": 130}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"position": 6}, "beyond the head"),
        ({"position": 3}, "another history"),
    ],
)
def test_a_checkpoint_of_another_history_is_refused(
    store: EventStore,
    models: ReadModels,
    balances: Balances,
    changes: dict[str, Any],
    message: str,
) -> None:
    """Catches a model that goes on from a restored or foreign log, or that no rebuild heals."""
    balances.catch_up()
    live = _live(models)
    foreign = msgspec.structs.replace(live, leaf_hash=b"x" * 32, **changes)
    assert models.store.advance(live, foreign, (POSTINGS,), {}, ())
    _seed_matrix(store)
    with pytest.raises(CheckpointDiverged, match=message):
        balances.balance(CASH)
    with pytest.raises(CheckpointDiverged, match="projection rebuild balances"):
        balances.catch_up()
    made = rebuild(models, "balances")
    assert (made.position, made.compared_at) == (5, None)
    assert balances.balance(CASH) == {"USD": 130}
    with pytest.raises(CheckpointDiverged):
        rollback(models, "balances")


def test_a_building_generation_of_another_history_is_given_up(
    store: EventStore, models: ReadModels, balances: Balances
) -> None:
    """Catches a rebuild that goes on with rows of a restored log, or refuses for ever."""
    _seed_matrix(store)
    balances.catch_up()
    shape = (POSTINGS,)
    begun = models.store.create("balances", 1, fingerprint(models.model("balances")), shape)
    foreign = msgspec.structs.replace(begun, position=3, leaf_hash=b"x" * 32)
    assert models.store.advance(begun, foreign, shape, {}, ())
    assert rebuild(models, "balances").compared_at == 5


def test_closed_read_models_say_so(models: ReadModels, balances: Balances) -> None:
    """Catches a read after close that hangs or opens the database anew."""
    balances.catch_up()
    if isinstance(models.store, MemoryModels):
        return
    models.store.close()
    with pytest.raises(Unavailable):
        balances.balance(CASH)


def test_questions_go_to_the_generation_that_serves(
    store: EventStore, models: ReadModels, balances: Balances
) -> None:
    """Catches an answer that fails because a rebuild dropped the rows that it was reading."""
    _seed_matrix(store)
    entries = balances.journal(JournalFilter())
    next(entries)
    for _ in range(3):
        rebuild(models, "balances")
    assert len(list(entries)) == 4
    gone = models.live("balances")
    for _ in range(2):
        rebuild(models, "balances")
    assert gone is not None
    with pytest.raises(SchemaMismatch):
        journal_of(models.store).totals(gone, LineSelection(until=5))


def test_balances_that_lack_a_stream_are_refused(
    store: EventStore, models: ReadModels, balances: Balances
) -> None:
    """Catches a balance that is told although an entry of it could not be read."""
    recorded = _seed_matrix(store)
    balances.catch_up()
    live = _live(models)
    parked = Parked(
        model="balances",
        number=live.number,
        stream="journal-e4",
        position=4,
        topic="journal.entry_posted.v1",
        error="CorruptEvent: unreadable",
        parked_at=START,
    )
    assert models.store.advance(live, live, (POSTINGS,), {}, (parked,))
    for ask in (balances.trial_balance, balances.accounts, balances.clearing):
        with pytest.raises(IntegrityViolation, match="lack stream journal-e4 from position 4"):
            ask()
    with pytest.raises(IntegrityViolation, match="journal-e4"):
        balances.balance(CASH, recorded_to=recorded[3])
    assert balances.balance(CASH, recorded_to=recorded[2]) == {"USD": 120}


class WithAHole:
    """A store whose log has lost a row."""

    def __init__(self, store: EventStore, missing: int) -> None:
        self._store = store
        self._missing = missing

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def read(self, after: int, *, until: int | None = None, limit: int = 1000) -> list[StoredEvent]:
        """Return what is left."""
        rows = self._store.read(after, until=until, limit=limit)
        return [row for row in rows if row.position != self._missing]


@pytest.mark.parametrize("missing", [1, 3, 5])
def test_a_hole_in_the_log_stops_the_model(missing: int) -> None:
    """Catches balances that silently leave out an entry that can no longer be read."""
    store = memory_store()
    _seed_matrix(store)
    damaged = balances_of(WithAHole(store, missing), models_of(store))  # type: ignore[arg-type]  # proxy
    with pytest.raises(IntegrityViolation, match=f"no event at position {missing}"):
        damaged.balance(CASH)


ORDER = "liabilities:escrow:o1"
DAY = timedelta(days=1)


def test_the_clearing_report_tells_since_when(store: EventStore, balances: Balances) -> None:
    """Catches escrow that is forgotten, one that is cleared and still listed, and a wrong age."""
    seeder = Seeder(store)
    for number, (minor, day) in enumerate([(500, 0), (-500, 3), (70, 5), (30, 9)]):
        legs = (Leg(CASH, "USD", minor), Leg(ORDER, "USD", -minor))
        seeder.append(posted(entry(*legs), START + day * DAY, entry_id=f"e{number}"))
    seeder.append(transfer(1_000, START, entry_id="other"))
    (found,) = balances.clearing()
    assert (found.account, found.currency, found.subject) == (ORDER, "USD", "o1")
    assert (found.minor, found.since, found.position) == (-100, START + 5 * DAY, 3)
    assert list(balances.clearing(effective_to=START + 4 * DAY)) == []
    (then,) = balances.clearing(effective_to=START + 2 * DAY)
    assert (then.minor, then.since) == (-500, START)
    (known,) = balances.clearing(recorded_to=store.read(0, until=1)[0].recorded_at)
    assert (known.minor, known.position) == (-500, 1)
