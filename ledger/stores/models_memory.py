"""The read models of a book in memory: for tests, and for books that end with their process."""

import bisect
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from ..errors import InvalidInput, SchemaMismatch
from ..ids import utc_now
from ..model_ports import (
    Changes,
    Generation,
    GenerationState,
    Hold,
    Key,
    Parked,
    Row,
    Table,
    TableChanges,
    Value,
)
from .model_tables import check_tables, columns_of, rows_differ

_Place = tuple[str, int]


class _Claim(msgspec.Struct, frozen=True):
    """Who follows a generation, from when to when, and how many died at a position before."""

    owner: str = ""
    since: datetime = datetime.min.replace(tzinfo=UTC)
    until: datetime = datetime.min.replace(tzinfo=UTC)
    position: int = -1
    deaths: int = 0


class MemoryModels:
    """Read models in memory; see ``ModelStore`` for the contract."""

    def __init__(self, *, clock: Callable[[], datetime] = utc_now) -> None:
        self._lock: Final = threading.RLock()
        self._clock: Final = clock
        self._claims: Final[dict[_Place, _Claim]] = {}
        self._generations: Final[dict[_Place, Generation]] = {}
        self._rows: Final[dict[_Place, dict[str, dict[Key, Row]]]] = {}
        self._parked: Final[dict[_Place, list[Parked]]] = {}

    @property
    def is_at_hand(self) -> bool:
        return True

    def generations(self, model: str | None = None) -> Sequence[Generation]:
        with self._lock:
            found = [one for one in self._generations.values() if model in (None, one.model)]
            return sorted(found, key=lambda one: (one.model, one.number))

    def create(
        self,
        model: str,
        version: int,
        fingerprint: str,
        tables: Sequence[Table],
        skipped: Sequence[int] = (),
    ) -> Generation:
        check_tables(model, tables)
        with self._lock:
            number = 1 + max([one.number for one in self.generations(model)], default=0)
            made = Generation(
                model=model,
                number=number,
                version=version,
                fingerprint=fingerprint,
                state=GenerationState.BUILDING,
                skipped=tuple(skipped),
            )
            self._generations[(model, number)] = made
            self._rows[(model, number)] = {table.name: {} for table in tables}
            self._parked[(model, number)] = []
            return made

    def advance(
        self,
        before: Generation,
        after: Generation,
        tables: Sequence[Table],
        changes: Changes,
        parked: Sequence[Parked],
    ) -> bool:
        place = (before.model, before.number)
        with self._lock:
            if self._generations.get(place) != before:
                return False
            for table in tables:
                of_table = changes.get(table.name)
                if of_table is not None:
                    self._write(before, table, of_table)
            self._generations[place] = after
            self._parked[place].extend(parked)
            return True

    def claim(self, generation: Generation, owner: str, lease_ms: int) -> int | None:
        place = (generation.model, generation.number)
        with self._lock:
            now, held = self._clock(), self._claims.get(place, _Claim())
            is_free = held.owner in ("", owner)
            if not is_free and held.until > now:
                return None
            deaths = held.deaths if held.position == generation.position else 0
            self._claims[place] = _Claim(
                owner,
                held.since if held.owner == owner else now,
                now + timedelta(milliseconds=lease_ms),
                generation.position,
                deaths if is_free else deaths + 1,
            )
            return self._claims[place].deaths

    def claim_build(
        self, generation: Generation, owner: str, lease_ms: int, at_once: int
    ) -> int | None:
        with self._lock:
            model, holds = generation.model, self.holds()
            if len([one for one in holds if one.model != model]) >= at_once:
                return None
            own = [one for one in holds if one.model == model and one.number != generation.number]
            if any(self._claims[(model, one.number)].owner != owner for one in own):
                return None
            return self.claim(generation, owner, lease_ms)

    def holds(self) -> Sequence[Hold]:
        with self._lock:
            now = self._clock()
            found = [
                Hold(model=model, number=number, since=claim.since, until=claim.until)
                for (model, number), claim in self._claims.items()
                if claim.owner and claim.until > now and self._is_building((model, number))
            ]
            return sorted(found, key=lambda one: (one.since, one.model, one.number))

    def _is_building(self, place: _Place) -> bool:
        found = self._generations.get(place)
        return found is not None and found.state is GenerationState.BUILDING

    def release(self, generation: Generation, owner: str) -> None:
        place = (generation.model, generation.number)
        with self._lock:
            held = self._claims.get(place)
            if held is not None and held.owner == owner:
                self._claims[place] = msgspec.structs.replace(held, owner="")

    def fetch(self, generation: Generation, table: Table, keys: Sequence[Key]) -> Mapping[Key, Row]:
        with self._lock:
            stored = self._table(generation, table.name)
            return {key: stored[key] for key in keys if key in stored}

    def stored(self, generation: Generation, table: str) -> Sequence[Row]:
        """Return all rows of a table in key order."""
        with self._lock:
            stored = self._table(generation, table)
            keys: list[Any] = sorted(stored)
            return [stored[key] for key in keys]

    def page(
        self, generation: Generation, table: Table, after: Key | None, limit: int
    ) -> Sequence[Row]:
        with self._lock:
            stored = self._table(generation, table.name)
            keys: list[Any] = sorted(stored)
            start = 0 if after is None else bisect.bisect_right(keys, after)
            return [stored[key] for key in keys[start : start + limit]]

    def find(
        self,
        generation: Generation,
        table: Table,
        where: Mapping[str, Value],
        after: Key | None,
        limit: int,
    ) -> Sequence[Row]:
        columns_of(table, where)
        at = {column.name: number for number, column in enumerate(table.columns)}
        found: list[Row] = []
        for row in self.page(generation, table, after, sys.maxsize):
            if all(row[at[name]] == value for name, value in where.items()):
                found.append(row)
        return found[:limit]

    def promote(
        self, generation: Generation, tables: Sequence[Table], *, over_diverged: bool = False
    ) -> bool:
        place = (generation.model, generation.number)
        with self._lock:
            if self._generations.get(place) != generation:
                return False
            live = self._live(generation.model)
            if not over_diverged and live is not None and live.position > generation.position:
                return False
            for other in self.generations(generation.model):
                if other.state is GenerationState.LIVE:
                    self._set(other, GenerationState.PREVIOUS)
            self._set(generation, GenerationState.LIVE)
            return True

    def refuse(self, generation: Generation) -> None:
        with self._lock:
            found = self._generations.get((generation.model, generation.number))
            if found is not None and found.state is not GenerationState.LIVE:
                self._set(found, GenerationState.REFUSED)

    def drop(self, generation: Generation) -> None:
        place = (generation.model, generation.number)
        with self._lock:
            found = self._generations.get(place)
            if found is None:
                return
            if found.state is GenerationState.LIVE:
                raise InvalidInput(
                    f"generation {generation.number} of read model {generation.model} is live",
                    model=generation.model,
                    generation=generation.number,
                )
            for of_place in (self._generations, self._rows, self._parked):
                of_place.pop(place, None)

    def parked(self, generation: Generation) -> Sequence[Parked]:
        with self._lock:
            found = self._parked.get((generation.model, generation.number), [])
            return sorted(found, key=lambda one: one.position)

    def close(self) -> None:
        """Nothing to release."""

    def _table(self, generation: Generation, table: str) -> dict[Key, Row]:
        tables = self._rows.get((generation.model, generation.number))
        if tables is None:
            raise SchemaMismatch(
                f"generation {generation.number} of read model {generation.model} was dropped",
                model=generation.model,
                generation=generation.number,
            )
        return tables[table]

    def _write(self, generation: Generation, table: Table, changes: TableChanges) -> None:
        stored = self._table(generation, table.name)
        if any(table.key_of(row) in stored for row in changes.inserted) or any(
            key not in stored for key in (*map(table.key_of, changes.updated), *changes.deleted)
        ):
            raise rows_differ(generation, table)
        for row in (*changes.inserted, *changes.updated):
            stored[table.key_of(row)] = row
        for key in changes.deleted:
            del stored[key]

    def _live(self, model: str) -> Generation | None:
        for one in self.generations(model):
            if one.state is GenerationState.LIVE:
                return one
        return None

    def _set(self, generation: Generation, state: GenerationState) -> None:
        place = (generation.model, generation.number)
        self._generations[place] = msgspec.structs.replace(generation, state=state)
