"""Random logs, poisons and skips: a redrive gives the rows of a rebuild from nothing."""

import random
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from orderledger import Book
from orderledger.ledger.ports import StoredEvent
from orderledger.ledger.stores.memory import MemoryStore
from orderledger.ledger.stores.models_memory import MemoryModels
from orderledger.projections.read_models import ReadModels
from orderledger.replay import building
from orderledger.replay.acknowledged import skips
from orderledger.replay.rebuild import rebuild, redrive, verify
from tests.projections.books import post, reverse
from tests.projections.poisoned import Picky, from_nothing, live_rows, parked_at

MORE_EVENTS = 12


class Garbled:
    """An event store in which some events have a topic that nobody registered."""

    def __init__(self, store: Any, positions: frozenset[int]) -> None:
        self._store = store
        self._positions = positions

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def read(self, after: int, **bounds: Any) -> Sequence[StoredEvent]:
        return [self._seen(row) for row in self._store.read(after, **bounds)]

    def stream(self, stream: str, **bounds: Any) -> Iterator[StoredEvent]:
        return map(self._seen, self._store.stream(stream, **bounds))

    def _seen(self, row: StoredEvent) -> StoredEvent:
        if row.position in self._positions and row.stream.startswith("journal-"):
            return replace(row, topic="journal.entry_teleported.v9")
        return row


def grow(book: Book, chance: random.Random, events: int) -> None:
    """Post entries, and take parts of any of them back, several times perhaps."""
    posted = len(list(book.store.streams("journal", after="", limit=1_000)))
    for number in range(events):
        if posted and chance.random() < 0.6:
            back = replace(
                reverse(chance.randrange(posted)),
                reversal_id=f"r{posted}-{number}-{chance.random()}",
                numerator=1,
                denominator=100,  # an entry is never used up, however often it is taken back
            )
            book.execute(back)
        else:
            book.execute(replace(post(posted), postings=(post(99 + posted).postings)))
            posted += 1


class Life:
    """A book that grows while its model is followed, mended, skipped and redriven."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.model = Picky()
        self.book = Book(MemoryStore("main"), models=[self.model])
        grow(self.book, self.chance, 15)
        garbled = frozenset(self.chance.sample(range(1, 40), 2))
        self.store: Any = Garbled(self.book.store, garbled)
        self.models = ReadModels(self.store, MemoryModels(), [self.model])
        # What the book's own door sees is what the followers see.
        self.book.read._models = self.models

    def poison(self) -> None:
        self.model.cannot_read = frozenset(self.chance.sample(range(1, 60), 6))

    def follow(self) -> None:
        follower = self.models.follower("picky")
        head = self.store.head().size
        while follower.generation.position < head:
            step = min(head, follower.generation.position + self.chance.randint(1, 9))
            follower.catch_up(step, batch_events=self.chance.randint(1, 9))

    def skip_some(self) -> None:
        for stream, _ in parked_at(self.models, "picky"):
            known = {one.position for one in skips(self.models, "picky")}
            position = dict(parked_at(self.models, "picky"))[stream]
            if self.chance.random() < 0.6 and position not in known:
                self.book.skip_parked("picky", stream, reason="random")

    def mend_some(self) -> None:
        """Mend events of streams that are parked; what was projected stays as it was."""
        parked = dict(parked_at(self.models, "picky"))
        mended = {position for position in parked.values() if self.chance.random() < 0.5}
        self.model.cannot_read = frozenset(self.model.cannot_read) - mended

    def check(self) -> None:
        position, found = live_rows(self.models, "picky")
        assert found == from_nothing(self.models, "picky", MemoryModels(), position)


@given(st.integers(0, 2**32))
def test_a_redrive_gives_the_rows_of_a_rebuild_from_nothing(seed: int) -> None:
    """Catches rows that depend on batches, on when a skip was recorded, or on what was parked."""
    life = Life(seed)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(building, "BUILD_BATCH_EVENTS", 1 + seed % 11)
        life.poison()
        for _ in range(3):
            life.follow()
            life.mend_some()
            life.skip_some()
            grow(life.book, life.chance, MORE_EVENTS)
            if life.chance.random() < 0.5:
                life.follow()
            was = dict(parked_at(life.models, "picky"))
            done = redrive(life.models, "picky")
            assert [one.stream for one in done.streams] == list(was)
            if done.rebuilt is None and was:
                # Nothing got further; a rebuild, which was not asked for, must agree all the same.
                assert dict(parked_at(life.models, "picky")).items() >= was.items()
                rebuild(life.models, "picky")
            life.follow()
            life.check()
            assert verify(life.models, "picky").problem is None
    life.book.close()
