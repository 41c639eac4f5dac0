"""Applications, subscriptions and our own events through `eventsourcing`, on both engines."""

import logging
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import msgspec
import psycopg
import pytest
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, DomainEvent, event
from eventsourcing.persistence import (
    DataError,
    InfrastructureFactory,
    IntegrityError,
    Mapper,
    MapperDeserialisationError,
    OperationalError,
    StoredEvent,
    Tracking,
)
from eventsourcing.utils import get_topic

from orderledger.commands.requests import Actor, Context, Source
from orderledger.ledger import events
from orderledger.ledger.journal import credit, debit, entry
from orderledger.ledger.ports import CutRequest
from orderledger.ledger.stores.eventsourcing_factory import LedgerFactory
from orderledger.ledger.stores.eventsourcing_mapper import LedgerEvent, OrderLedgerMapper
from orderledger.ledger.stores.postgres_schema import migrate
from orderledger.replay.findings import Check
from orderledger.replay.verify import verify
from tests.contract.batches import batch, command, everything, settle
from tests.contract.batches import event as new_event

WHEN = datetime(2026, 3, 1, 12, tzinfo=UTC)


@events.topic("adapter_test.tea_sold.v1")
class TeaSold(events.Event, frozen=True):
    """An event of this library."""

    amount: int


class Kettle(Aggregate):
    """An aggregate in the stock style."""

    def __init__(self) -> None:
        self.boiled = 0

    @event("Boiled")
    def boil(self) -> None:
        self.boiled += 1


class Kitchen(Application):
    """An application in the stock style."""

    snapshotting_intervals = {Kettle: 3}  # noqa: RUF012  # the library's way of configuring

    def boil(self, times: int) -> Kettle:
        kettle = Kettle()
        for _ in range(times):
            kettle.boil()
            self.save(kettle)
        return kettle


@pytest.fixture(
    params=[
        pytest.param("sqlite", id="sqlite"),
        pytest.param("postgres", id="postgres", marks=pytest.mark.pg),
    ]
)
def environment(request: pytest.FixtureRequest) -> dict[str, str]:
    if request.param == "sqlite":
        folder: Path = request.getfixturevalue("tmp_path")
        url = f"sqlite:///{folder}/book.db"
    else:
        url = request.getfixturevalue("pg_url")
        migrate(url)
    module = f"orderledger.ledger.stores.eventsourcing_{request.param}"
    return {"PERSISTENCE_MODULE": module, "ORDERLEDGER_URL": url}


@pytest.fixture
def factory(environment: dict[str, str]) -> Iterator[LedgerFactory]:
    made = InfrastructureFactory.construct(environment)
    assert isinstance(made, LedgerFactory)
    yield made
    made.close()


def stored(stream: str, version: int, topic: str = "a") -> StoredEvent:
    return StoredEvent(stream, version, topic, b"{}")


def is_same(found: object, expected: object) -> bool:
    return found == expected


class KitchenFromZero(Application):
    """An application whose aggregates start at version 0, as the library allows."""

    def open_tap(self) -> None:
        self.events.put([Tap(originator_id=uuid4(), originator_version=0, timestamp=WHEN)])


class Tap(DomainEvent):
    """An event beside any aggregate."""


def test_a_book_with_a_stock_application_verifies(environment: dict[str, str]) -> None:
    """A verification that cries wolf at streams and topics that only an application knows."""
    with Kitchen(environment) as kitchen, KitchenFromZero(environment) as from_zero:
        kitchen.boil(2)
        from_zero.open_tap()
        factory = kitchen.factory
        assert isinstance(factory, LedgerFactory)
        recorder = factory.application_recorder()
        # A topic of our form that a host registers, and this process does not know.
        recorder.insert_events([stored("host-1", 1, topic="host.did.v1")])
        # A whole stream whose name only looks like ours.
        recorder.insert_events([stored("order-theirs", 1), stored("order-theirs", 2)])
        store = factory.datastore.store
        assert list(verify(store)) == []
        assert len(everything(store)) == 7
        # One that is mixed cannot be folded any more: nobody could place that order.
        payload = '{"due_at":"2026-03-01T12:00:00Z"}'
        expired = new_event("order-mixed", 1, topic="order.expired.v1", payload=payload)
        store.append(batch(command("ours", expired)))
        settle(store)
        recorder.insert_events([stored("order-mixed", 2)])
        found = [one for one in verify(store) if one.code is not Check.CONTEXT_UNDECODABLE]
        assert [(one.code, one.stream, one.position) for one in found] == [
            (Check.EVENT_NOT_FOLDED, "order-mixed", 9)
        ]
        # Not written by an adapter: its stream and topic are nobody's.
        store.append(batch(command("stray", new_event("nonsense-1", 1))))
        settle(store)
        codes = {one.code for one in verify(store) if one.stream == "nonsense-1"}
        assert codes >= {Check.EVENT_NOT_FOLDED, Check.EVENT_UNDECODABLE}


def test_the_context_names_the_adapter(factory: LedgerFactory) -> None:
    """An event whose origin an auditor cannot tell, or whose context no reader can decode."""
    factory.application_recorder().insert_events([stored("a/1", 1)])
    (row,) = everything(factory.datastore.store)
    context = msgspec.json.decode(row.context, type=Context)
    assert context.actor == Actor("system", "eventsourcing")
    assert context.source is Source.EVENTSOURCING
    assert context.key.startswith("eventsourcing/")


def test_a_stock_application(environment: dict[str, str]) -> None:
    """An aggregate that is not the same after it is saved, loaded, and loaded by snapshot."""
    with Kitchen({**environment, "IS_SNAPSHOTTING_ENABLED": "y"}) as kitchen:
        kettle = kitchen.boil(5)
        found: Kettle = kitchen.repository.get(kettle.id)
        assert found.boiled == 5
        assert found.version == 6
        earlier: Kettle = kitchen.repository.get(kettle.id, version=3)
        assert earlier.boiled == 2
        assert kitchen.snapshots is not None
        assert [one.originator_version for one in kitchen.snapshots.get(kettle.id)] == [3, 6]
        assert len(kitchen.notification_log["1,10"].items) == 6
        stale: Kettle = kitchen.repository.get(kettle.id)
        found.boil()
        kitchen.save(found)
        stale.boil()
        with pytest.raises(IntegrityError):
            kitchen.save(stale)


def test_our_events_keep_topic_time_and_postings(factory: LedgerFactory) -> None:
    """A registered event that is stored under a Python path, or loses its postings."""
    mapper: OrderLedgerMapper[str] = OrderLedgerMapper(factory.transcoder())
    recorder = factory.application_recorder()
    sale = LedgerEvent(
        originator_id="tea/1",
        originator_version=1,
        event=TeaSold(amount=5),
        occurred_at=WHEN,
        postings=entry(debit("assets:bank:x", "GBP", 5), credit("liabilities:escrow:1", "GBP", 5)),
    )
    recorder.insert_events([mapper.to_stored_event(sale)])  # type: ignore[arg-type]  # a Struct
    (row,) = everything(factory.datastore.store)
    assert (row.topic, row.payload) == ("adapter_test.tea_sold.v1", '{"amount":5}')
    assert row.occurred_at == WHEN
    assert row.postings.count("\n") == 1
    (found,) = recorder.select_events("tea/1")
    assert is_same(mapper.to_domain_event(found), sale)
    (notification,) = recorder.select_notifications(1, 10)
    assert is_same(mapper.to_domain_event(notification), sale)


def test_an_application_cannot_post_into_a_closed_period(factory: LedgerFactory) -> None:
    """An entry that an application of the library puts into a trial balance that was reported."""
    mapper: OrderLedgerMapper[str] = OrderLedgerMapper(factory.transcoder())
    recorder = factory.application_recorder()
    store = factory.datastore.store

    def sell(number: int, at: datetime) -> None:
        postings = entry(debit("assets:bank:x", "GBP", 5), credit("income:tea", "GBP", 5))
        sale = LedgerEvent(
            originator_id=f"tea/{number}",
            originator_version=1,
            event=TeaSold(amount=5),
            occurred_at=at,
            postings=postings,
        )
        recorder.insert_events([mapper.to_stored_event(sale)])  # type: ignore[arg-type]  # a Struct

    sell(1, WHEN)
    closing = batch(command("close", new_event("periods-main", 1)))
    store.change_periods(CutRequest(before=WHEN), lambda _: (closing, WHEN))
    sell(2, WHEN)
    with pytest.raises(DataError, match="closed period"):
        sell(3, WHEN - timedelta(microseconds=1))
    assert [row.stream for row in everything(store)] == ["tea/1", "periods-main", "tea/2"]
    # One that was read before the close is found out by the append.
    stale, constraints = store.constraints(), store.constraints
    again = batch(command("again", new_event("periods-main", 2)))
    answers = iter([msgspec.structs.replace(stale, generation=0, closed_until=None)])
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(store, "constraints", lambda: next(answers, None) or constraints())
        with pytest.raises(DataError, match="closed period"):
            sell(4, WHEN - timedelta(microseconds=1))
    store.change_periods(CutRequest(), lambda _: (again, None))
    sell(5, WHEN - timedelta(microseconds=1))


def test_an_unregistered_topic_is_not_imported(factory: LedgerFactory) -> None:
    """A row whose topic makes the reader import a module."""
    recorder = factory.application_recorder()
    recorder.insert_events([stored("tea/1", 1, "antigravity.imported.v1")])
    mapper: Mapper[str] = factory.mapper()
    with pytest.raises(MapperDeserialisationError, match="antigravity"):
        mapper.to_domain_event(recorder.select_events("tea/1")[0])
    assert "antigravity" not in sys.modules


def test_a_state_that_is_no_text_is_refused(environment: dict[str, str]) -> None:
    """A compressed payload in a column that auditors read, or a driver's error about it."""
    with Kitchen({**environment, "COMPRESSOR_TOPIC": "zlib"}) as kitchen:
        with pytest.raises(DataError, match="UTF-8"):
            kitchen.save(Kettle())
        assert kitchen.recorder.max_notification_id() is None
        recorder = kitchen.factory.aggregate_recorder("snapshots")
        recorder.insert_events([StoredEvent("tea/1", 1, "a", zlib.compress(b"{}"))])
        assert zlib.decompress(recorder.select_events("tea/1")[0].state) == b"{}"


def test_the_log_shows_what_others_wrote(factory: LedgerFactory) -> None:
    """A notification log without the events of commands."""
    recorder = factory.application_recorder()
    recorder.insert_events([stored("a/1", 1)])
    factory.datastore.store.append(batch(command("k", new_event("order/1", 1))))
    settle(factory.datastore.store)
    kettle = Kettle()
    recorder.insert_events([StoredEvent(kettle.id, 1, get_topic(Kettle), b"{}")])
    found = recorder.select_notifications(None, 10)
    assert [one.originator_id for one in found] == ["a/1", "order/1", kettle.id]
    assert [one.id for one in found] == [1, 2, 3]


def test_tracking_and_events_are_one_transaction(factory: LedgerFactory) -> None:
    """A notification marked as processed although its events were refused."""
    recorder = factory.process_recorder()
    recorder.insert_events([stored("a/1", 1)], tracking=Tracking("up", 1))
    with pytest.raises(IntegrityError):
        recorder.insert_events([stored("a/1", 1)], tracking=Tracking("up", 2))
    assert recorder.max_tracking_id("up") == 1
    with pytest.raises(IntegrityError):
        recorder.insert_events([stored("a/1", 2)], tracking=Tracking("up", 1))
    assert len(recorder.select_events("a/1")) == 1
    assert recorder.insert_events([stored("a/1", 2)], tracking=Tracking("up", 2)) == [2]


def test_a_subscription_follows_the_log(factory: LedgerFactory) -> None:
    """An event that is skipped or repeated between the first pull and the first wait."""
    recorder = factory.application_recorder()
    recorder.insert_events([stored("a/1", version) for version in range(1, 4)])
    writing = threading.Event()

    def write() -> None:
        writing.wait(10)
        for number in range(200):
            recorder.insert_events([stored(f"b/{number}", 1, "ab"[number % 2])])

    with ThreadPoolExecutor(1) as pool:
        writer = pool.submit(write)
        with recorder.subscribe(gt=1) as subscription:
            found = [next(subscription).id]
            writing.set()
            found += [next(subscription).id for _ in range(201)]
        writer.result(timeout=30)
    assert found == list(range(2, 204))
    with recorder.subscribe(gt=3, topics=["b"]) as only:
        assert [next(only).id for _ in range(3)] == [5, 7, 9]


def test_a_subscription_ends_when_it_is_stopped(factory: LedgerFactory) -> None:
    """A worker that cannot be shut down while nothing happens."""
    recorder = factory.application_recorder()
    subscription = recorder.subscribe()
    with subscription, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(list, subscription)
        threading.Event().wait(0.3)
        assert not waiting.done()
        subscription.stop()
        assert waiting.result(timeout=5) == []


@pytest.mark.pg
def test_a_subscription_survives_lost_connections(pg_url: str) -> None:
    """A projection that stands still after a failover until somebody restarts it."""
    migrate(pg_url)
    made = InfrastructureFactory.construct(
        {
            "PERSISTENCE_MODULE": "orderledger.ledger.stores.eventsourcing_postgres",
            "ORDERLEDGER_URL": pg_url,
        }
    )
    recorder = made.application_recorder()
    kill = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    with recorder.subscribe() as subscription, ThreadPoolExecutor(1) as pool:
        for version in range(1, 6):
            coming = pool.submit(next, subscription)
            with psycopg.connect(pg_url, autocommit=True) as other:
                other.execute(kill)
            append_when_reconnected(recorder, version)
            assert coming.result(timeout=15).originator_version == version
    made.close()


def append_when_reconnected(recorder: object, version: int) -> None:
    """Append, again where the pooled connection turned out to be dead."""
    for _ in range(20):
        try:
            recorder.insert_events([stored("a/1", version)])  # type: ignore[attr-defined]  # any
        except OperationalError:
            continue
        except IntegrityError:
            return
        else:
            return
    raise AssertionError("the server does not answer")


def test_importing_leaves_the_drivers_loggers_alone() -> None:
    """A host whose psycopg warnings vanish because it imported a ledger."""
    script = (
        "import logging; logging.getLogger('psycopg').setLevel(logging.DEBUG);"
        "import orderledger.ledger.stores.eventsourcing_postgres;"
        "import orderledger.ledger.stores.eventsourcing_sqlite;"
        "print(logging.getLogger('psycopg').level, logging.getLogger('psycopg.pool').level)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == [str(logging.DEBUG), str(logging.NOTSET)]


def test_the_environment_names_the_book(environment: dict[str, str]) -> None:
    """Two applications that write into one book, or a URL that is silently a default."""

    class Shop(Application):
        name = "shop"

    shop = InfrastructureFactory.construct({**environment, "ORDERLEDGER_BOOK": "shop"})
    main = InfrastructureFactory.construct(environment)
    shop.application_recorder().insert_events([stored(f"a/{uuid4()}", 1)])
    assert main.application_recorder().max_notification_id() is None
    assert shop.application_recorder().max_notification_id() == 1
    with Shop({**environment, "SHOP_ORDERLEDGER_BOOK": "shop"}) as application:
        assert application.recorder.max_notification_id() == 1
    shop.close()
    main.close()
    with pytest.raises(Exception, match="ORDERLEDGER_URL"):
        InfrastructureFactory.construct({"PERSISTENCE_MODULE": environment["PERSISTENCE_MODULE"]})
