"""Which event a read model leaves out: what is recorded, and what is refused."""

from typing import Any

import pytest
from msgspec.structs import replace

from orderledger import Book
from orderledger.commands import decide_projections
from orderledger.commands.model import SkipProjectedEvent
from orderledger.ledger.errors import InvalidCommand, LimitExceeded, Reason, Rejected
from orderledger.ledger.projection_events import ProjectionEventSkipped
from orderledger.ledger.projection_skips import EVOLVE, INITIAL
from orderledger.testing import memory_book

SKIP = SkipProjectedEvent(
    model="orders",
    stream="order-o1",
    version=3,
    position=17,
    event_id="01890000-0000-7000-8000-000000000001",
    topic="order.placed.v1",
    reason="a broken import, see ticket 7",
    error="ValueError: no",
)


def recorded(book: Book) -> list[Any]:
    return [one.event for one in book.read.history("projection-orders")]


def test_a_skip_is_an_event_of_its_model() -> None:
    """Catches a skip that nobody can find again, or that does not say what and why."""
    with memory_book() as book:
        receipt = book.execute(SKIP)
        assert receipt.streams == {"projection-orders": 1}
        assert recorded(book) == [
            ProjectionEventSkipped(
                model="orders",
                stream="order-o1",
                version=3,
                position=17,
                event_id="01890000-0000-7000-8000-000000000001",
                topic="order.placed.v1",
                reason="a broken import, see ticket 7",
                error="ValueError: no",
            )
        ]


@pytest.mark.parametrize(
    "again",
    [
        SKIP,
        replace(SKIP, reason="another reason"),
        replace(SKIP, position=18),
        replace(SKIP, stream="order-o2"),
    ],
)
def test_an_event_is_skipped_once(again: SkipProjectedEvent) -> None:
    """Catches a second reason that replaces the first one."""
    with memory_book() as book:
        book.execute(SKIP, key="k")
        assert book.execute(SKIP, key="k").streams, "the same key is a retry"
        with pytest.raises(Rejected, match="leaves out version 3 of order-o1") as no:
            book.execute(again)
        assert no.value.reason is Reason.ALREADY_EXISTS
        assert len(recorded(book)) == 1


def test_other_events_and_other_models_are_skipped_for_themselves() -> None:
    """Catches a skip that stands for more than one event of one model."""
    with memory_book() as book:
        book.execute(SKIP)
        book.execute(replace(SKIP, version=4, position=18))
        book.execute(replace(SKIP, model="payments"))
        assert [one.position for one in recorded(book)] == [17, 18]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"reason": ""}, "reason"),
        ({"reason": " \n"}, "reason"),
        ({"event_id": ""}, "event_id"),
        ({"topic": ""}, "topic"),
        ({"stream": ""}, "stream"),
        ({"stream": "order"}, "stream"),
        ({"stream": "-o1"}, "stream"),
        ({"stream": "order-"}, "stream"),
        ({"stream": "order-o 1"}, "stream"),
        ({"stream": "order-o1\n"}, "stream"),
        ({"stream": "Order-o1"}, "stream"),
        ({"version": 0}, "version"),
        ({"position": -1}, "position"),
        ({"position": 2**63}, "position"),
        ({"model": "no model"}, ""),
    ],
)
def test_malformed_skips_are_refused(changes: dict[str, Any], field: str) -> None:
    """Catches a skip without a reason, or of what can be no event."""
    with memory_book() as book:
        with pytest.raises(InvalidCommand) as refused:
            book.execute(replace(SKIP, **changes))
        assert refused.value.facts.get("field", "") == field
        assert recorded(book) == []


def test_skips_and_their_texts_have_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a model that is skipped to nothing, and a reason without end."""
    monkeypatch.setattr(decide_projections, "PROJECTION_SKIPS_MAX", 1)
    with memory_book() as book:
        for field in ("reason", "error"):
            with pytest.raises(LimitExceeded, match=f"501 characters of {field}"):
                book.execute(replace(SKIP, **{field: "x" * 501}))
        book.execute(SKIP)
        with pytest.raises(LimitExceeded, match="leaves out 1 events, the limit is 1"):
            book.execute(replace(SKIP, version=4, position=18))


def test_the_first_of_two_stored_skips_stands() -> None:
    """Catches a fold that raises at, or is changed by, what no decider lets through."""
    event = ProjectionEventSkipped(
        model="m", stream="order-1", version=1, position=5, event_id="e", topic="t", reason="first"
    )
    evolve = EVOLVE[ProjectionEventSkipped]
    state = evolve(evolve(INITIAL, event), replace(event, reason="second"))
    assert state.skips == {5: event}
    assert state.exists
