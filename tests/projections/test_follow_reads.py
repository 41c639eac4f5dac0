"""What a follower reads beside the log: rows and streams, in as few queries as there need be."""

from collections.abc import Mapping
from typing import Any

import pytest

from orderledger.ledger.errors import OrderLedgerError, StorageError, Unavailable
from orderledger.ledger.model_ports import Key, Row, Table
from orderledger.projections.follow import Follower
from orderledger.projections.models import Recorded, Rows
from orderledger.projections.shipped import SHIPPED
from tests.projections.books import day_in_memory
from tests.projections.test_follow import a_book, built, models_over
from tests.projections.toy_models import ENTRIES, Entries, Totals


def test_rows_at_hand_are_fetched_as_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a batch that is projected twice though no query is saved by it."""
    monkeypatch.setattr("orderledger.projections.follow.KNOWN_ROWS", 0)
    book = a_book()
    asked: list[int] = []

    class Counted(Totals):
        def project(self, recorded: Recorded, rows: Rows) -> None:
            asked.append(recorded.position)
            super().project(recorded, rows)

    models = models_over(book, Counted())
    models.catch_up("totals", batch_events=40)
    assert asked
    assert asked == sorted(set(asked))


def test_streams_begun_before_are_read_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a query for each of thousands of payments that are under way where one begins."""
    book = day_in_memory()
    models = models_over(book, *SHIPPED)
    head = models.events.head().size
    whole = built(models, "payments", head, lambda: head)
    halfway = built(models, "payments", head // 2, lambda: head)
    follower = Follower(models.events, models.store, models.model("payments"), halfway)
    asked: list[int] = []
    load = models.events.load

    def asking(streams: Mapping[str, int], **of: Any) -> Any:
        asked.append(len(streams))
        return load(streams, **of)

    monkeypatch.setattr(models.events, "load", asking)
    monkeypatch.setattr(models.events, "stream", None)
    follower.catch_up(head)
    assert follower.generation.digest == whole.digest
    assert asked == [3]


@pytest.mark.parametrize(("limit", "short"), [(1, 256), (8, 4), (40, 256)])
def test_many_or_long_streams_are_read_in_groups(
    limit: int, short: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a group that leaves out a stream, or cuts one short."""
    models = models_over(day_in_memory(), *SHIPPED)
    head = models.events.head().size
    whole = built(models, "orders", head, lambda: head)
    monkeypatch.setattr("orderledger.projections.follow.BATCH_EVENTS", limit)
    monkeypatch.setattr("orderledger.projections.follow.SHORT_EVENTS", short)
    halfway = built(models, "orders", head // 2, lambda: head)
    follower = Follower(models.events, models.store, models.model("orders"), halfway)
    follower.catch_up(head, batch_events=head)
    assert follower.generation.digest == whole.digest


@pytest.mark.parametrize("error", [Unavailable, StorageError])
@pytest.mark.parametrize("in_derive", [False, True])
def test_a_database_that_fails_while_it_is_asked_parks_nothing(
    error: type[OrderLedgerError], in_derive: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a stream left out for good because the database was away for a moment."""

    class Looking(Entries):
        def project(self, recorded: Recorded, rows: Rows) -> None:
            if not in_derive:
                rows.state(f"{recorded.stream}-other")
            super().project(recorded, rows)

        def derive(self, table: Table, key: Key, rows: Rows) -> Row | None:
            rows.state(f"journal-{key[0]}-other")
            return super().derive(table, key, rows)

    models = models_over(a_book(), Looking())
    stream = models.events.stream

    def away(name: str, **of: Any) -> Any:
        if name.endswith("-other"):
            raise error("the server is restarting")
        return stream(name, **of)

    monkeypatch.setattr(models.events, "stream", away)
    with pytest.raises(error, match="restarting"):
        models.catch_up("entries")
    monkeypatch.undo()
    assert models.catch_up("entries") == models.events.head().size
    assert not models.parked("entries")
    assert list(models.find(ENTRIES, {}))
