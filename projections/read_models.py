"""
The read models of one book: which there are, which generation serves, and how far it is.
"""

import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec

from orderledger.ledger.errors import (
    CheckpointDiverged,
    InvalidInput,
    NotFound,
    SchemaMismatch,
    Unavailable,
)
from orderledger.ledger.ids import utc_now
from orderledger.ledger.model_ports import (
    Generation,
    GenerationState,
    Key,
    ModelStore,
    Parked,
    Row,
    Table,
    Value,
)
from orderledger.ledger.ports import EventStore

from .base import require_same_log
from .follow import BATCH_EVENTS, Follower
from .models import ReadModel, fingerprint
from .skips import skipped_of
from .tables import R, check_key, check_values

PAGE_ROWS: Final = 1_000
WAIT_POLL_S: Final = 0.02
"""Between two looks at a checkpoint that another process moves."""


class ModelStatus(msgspec.Struct, frozen=True, kw_only=True):
    """
    Where a read model stands.

    ``lag`` is how many events the live generation lacks, negative where its checkpoint is beyond
    the head. ``is_current`` tells whether this code made it. ``parked`` counts streams left out,
    ``skipped`` the events that the live generation leaves out by acknowledgement.
    """

    model: str
    version: int
    generation: int | None
    position: int
    head: int
    lag: int
    is_current: bool
    parked: int
    skipped: int
    building: int | None
    problem: str | None


class ReadModels:
    """
    A book's read models on its event store. Safe to share between threads.

    Each call opens its own follower; a long-lived one (``follower``) keeps what it knows between
    batches and is much faster.
    """

    def __init__(
        self,
        events: EventStore,
        store: ModelStore,
        models: Sequence[ReadModel],
        *,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.events: Final = events
        self.store: Final = store
        self.clock: Final = clock
        self._models: Final[dict[str, ReadModel]] = {}
        self._owners: Final[dict[str, ReadModel]] = {}
        for model in models:
            if model.name in self._models:
                raise InvalidInput(f"two read models are named {model.name}", model=model.name)
            for table in model.tables:
                owner = self._owners.setdefault(table.name, model)
                if owner is not model:
                    raise InvalidInput(
                        f"read models {owner.name} and {model.name} both have a table "
                        f"{table.name}; the views are named by the tables",
                        model=model.name,
                        table=table.name,
                    )
            self._models[model.name] = model

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the models this book was opened with, sorted."""
        return tuple(sorted(self._models))

    def model(self, name: str) -> ReadModel:
        """Return a model by name; raises NotFound."""
        try:
            return self._models[name]
        except KeyError:
            raise NotFound(
                f"there is no read model {name}; there are {', '.join(self.names)}", model=name
            ) from None

    def table(self, name: str) -> Table:
        """Return a table of one of the models by its name, that of its view; raises NotFound."""
        if name not in self._owners:
            raise NotFound(
                f"there is no table {name}; there are {', '.join(sorted(self._owners))}", table=name
            )
        (found,) = [one for one in self._owners[name].tables if one.name == name]
        return found

    def owner(self, table: Table) -> ReadModel:
        """Return the model that has a table; raises NotFound."""
        if self.table(table.name) != table:
            raise NotFound(
                f"read model {self._owners[table.name].name} has a table {table.name} of other "
                "columns",
                table=table.name,
            )
        return self._owners[table.name]

    def live(self, name: str) -> Generation | None:
        """Return the generation that serves readers, or None before the first was built."""
        return self._in_state(name, GenerationState.LIVE)

    def previous(self, name: str) -> Generation | None:
        """Return the generation that a rollback would bring back."""
        return self._in_state(name, GenerationState.PREVIOUS)

    def _in_state(self, name: str, state: GenerationState) -> Generation | None:
        found = [one for one in self.store.generations(name) if one.state is state]
        return found[-1] if found else None

    def follower(self, name: str) -> Follower:
        """
        Return what moves the live generation along; the first one is made and served at once.

        Raises CheckpointDiverged where another version of the model made the live generation: the
        old rows go on serving, and a rebuild makes new ones beside them.
        """
        model = self.model(name)
        live = self.live(name)
        if live is None:
            live = self._first(model)
        if live.fingerprint != fingerprint(model):
            raise CheckpointDiverged(
                f"read model {name} was made by version {live.version} ({live.fingerprint}), this "
                f"code has version {model.version} ({fingerprint(model)}); run "
                f"`orderledger projection rebuild {name}`",
                projection=name,
                version=live.version,
            )
        return Follower(self.events, self.store, model, live, clock=self.clock)

    def _first(self, model: ReadModel) -> Generation:
        tables = tuple(model.tables)
        skipped = skipped_of(self.events, model.name)
        made = self.store.create(model.name, model.version, fingerprint(model), tables, skipped)
        if not self.store.promote(made, tables):
            # Another process made the first one meanwhile.
            self.store.drop(made)
        live = self.live(model.name)
        assert live is not None, "one of the two was promoted"
        return live

    def catch_up(self, name: str, *, batch_events: int = BATCH_EVENTS) -> int:
        """Bring a model's live generation up to the head and return that position."""
        return self.caught_up(name, batch_events=batch_events).generation.position

    def caught_up(self, name: str, *, batch_events: int = BATCH_EVENTS) -> Follower:
        """
        Bring a model's live generation up to the head and return what did.

        First gives positions to what is committed and waits for one.
        """
        while self.events.sequence():
            pass
        follower = self.follower(name)
        follower.catch_up(batch_events=batch_events)
        return follower

    def wait(self, name: str, position: int, *, timeout_s: float = 10.0) -> int:
        """
        Return once the live generation has reached a position; returns where it is.

        Whoever follows the model brings it there; nobody need call ``catch_up``. Raises
        Unavailable after ``timeout_s`` seconds.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            live = self.live(name)
            reached = live.position if live is not None else 0
            if reached >= position:
                return reached
            if time.monotonic() >= deadline:
                raise Unavailable(
                    f"read model {name} is at position {reached} and did not reach {position} "
                    f"within {timeout_s:g} s; is a worker following it "
                    "(`orderledger projection run`)?",
                    model=name,
                    position=reached,
                    wanted=position,
                )
            time.sleep(WAIT_POLL_S)

    def position(self, name: str) -> int:
        """
        Return the position up to which the live rows are complete; 0 before the first were made.

        Asked before rows are read: they show every event up to it, and perhaps later ones.
        """
        self.model(name)
        live = self.live(name)
        return live.position if live is not None else 0

    def select(
        self, row_type: type[R], /, *, after: Key | None = None, **where: Value
    ) -> Iterator[R]:
        """
        Iterate over the live rows of a table in key order, those whose columns have given values.

        Read a page at a time, after the key ``after`` (the values of the key columns). Quick where
        an index of the table starts with the columns in ``where``. Raises InvalidInput, naming the
        column and what it holds, for a value that the column cannot have.
        """
        return itertools.starmap(row_type, self.find(row_type.table, where, after=after))

    def get(self, row_type: type[R], /, *key: Value) -> R | None:
        """Return the live row with a key, or None; raises InvalidInput for what is no key."""
        table = row_type.table
        where = dict(zip(table.key_names, check_key(table, key), strict=True))
        found = next(self.find(table, where), None)
        return None if found is None else row_type(*found)

    def find(
        self, table: Table, where: Mapping[str, Value], *, after: Key | None = None
    ) -> Iterator[Row]:
        """Iterate over live rows like ``select``, as tuples in the order of the columns."""
        model = self.owner(table)
        checked = check_values(table, where)
        start = None if after is None else check_key(table, after)
        return self._pages(model, table, checked, start)

    def _pages(
        self, model: ReadModel, table: Table, where: Mapping[str, Value], after: Key | None
    ) -> Iterator[Row]:
        while True:
            live = self.live(model.name)
            if live is None:
                return
            try:
                page = self.store.find(live, table, where, after, PAGE_ROWS)
            except SchemaMismatch as error:
                if self.live(model.name) == live:
                    raise _other_columns(model, live, error) from error
                # Swapped out and dropped since we looked: what serves now has the same rows.
                continue
            yield from page
            if len(page) < PAGE_ROWS:
                return
            after = table.key_of(page[-1])

    def parked(self, name: str) -> Sequence[Parked]:
        """Return the streams that the live generation leaves out."""
        live = self.live(name)
        return () if live is None else self.store.parked(live)

    def status(self, name: str) -> ModelStatus:
        """Return where a model stands; catches nothing up."""
        model = self.model(name)
        # The newest of each state, as ``live`` has it, from one look.
        newest = {one.state: one for one in self.store.generations(name)}
        live, building = newest.get(GenerationState.LIVE), newest.get(GenerationState.BUILDING)
        problem: str | None = None
        if live is not None:
            try:
                require_same_log(self.events, f"read model {name}", name, live)
            except CheckpointDiverged as error:
                problem = error.message
        # After the checkpoint, so that a writer in between cannot make the lag negative.
        head = self.events.head().size
        position = live.position if live is not None else 0
        return ModelStatus(
            model=name,
            version=live.version if live is not None else model.version,
            generation=live.number if live is not None else None,
            position=position,
            head=head,
            lag=head - position,
            is_current=live is not None and live.fingerprint == fingerprint(model),
            parked=len(self.store.parked(live)) if live is not None else 0,
            skipped=len(live.skipped) if live is not None else 0,
            building=building.position if building is not None else None,
            problem=problem,
        )


def _other_columns(model: ReadModel, live: Generation, error: SchemaMismatch) -> SchemaMismatch:
    """Return what to say of a table that lacks columns: its model may be of another version."""
    if live.fingerprint == fingerprint(model):
        return error
    return SchemaMismatch(
        f"the rows of read model {model.name} were made by version {live.version} "
        f"({live.fingerprint}), this code has version {model.version} ({fingerprint(model)}) with "
        f"other columns; run `orderledger projection rebuild {model.name}`",
        model=model.name,
        version=live.version,
    )
