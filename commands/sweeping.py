"""
Sweeping: deadlines that have come become work of the timer lane, each once.
"""

from collections.abc import Iterable, Set
from datetime import datetime
from itertools import islice
from typing import Final, Protocol

from orderledger.ledger.codec import encode_json
from orderledger.ledger.streams import kind_of
from orderledger.ledger.work_ports import Lane, NewWork, WorkStatus, WorkStore

from .effects import DEADLINE, Origin
from .timers import ASKS, TIMERS, timer_key

_BATCH: Final = 200


class DueRow(Protocol):
    """A deadline of a stream, as the read model ``deadlines`` has it."""

    @property
    def stream(self) -> str: ...

    @property
    def deadline_id(self) -> str: ...

    @property
    def kind(self) -> str: ...

    @property
    def due_at(self) -> datetime: ...


def sweep(work: WorkStore, due: Iterable[DueRow], now: datetime, *, ports: Set[str]) -> int:
    """
    Write every deadline that has come as work, unless it is there; return how many were new.

    One that had gone when its turn came and is open again is tried again. Kinds that this code
    does not know are left to a newer one, those that need a port beyond the connected ``ports`` to
    a worker that has it. Cost: a statement per deadline.
    """
    count = 0
    rows = (one for one in due if _is_ours(one, ports))
    while batch := [_work(one, now) for one in islice(rows, _BATCH)]:
        made = work.put(batch)
        count += made
        if made < len(batch):
            for one in batch:
                count += _is_open_again(work, one.key, now)
    return count


def _is_ours(row: DueRow, ports: Set[str]) -> bool:
    place = (kind_of(row.stream), row.kind)
    return place in TIMERS and (place not in ASKS or ASKS[place] in ports)


def _is_open_again(work: WorkStore, key: str, now: datetime) -> bool:
    found = work.find(Lane.TIMER, key)
    if found is None or found.status is not WorkStatus.GONE:
        return False
    return work.redrive(Lane.TIMER, key, now)


def _work(row: DueRow, now: datetime) -> NewWork:
    origin = Origin(
        stream=row.stream,
        deadline_id=row.deadline_id,
        deadline_kind=row.kind,
        due_at=row.due_at,
    )
    return NewWork(
        lane=Lane.TIMER,
        key=timer_key(row.stream, row.deadline_id),
        kind=f"{DEADLINE}:{row.kind}",
        payload="{}",
        origin=encode_json(origin),
        streams=(row.stream,),
        created_at=now,
        due_at=min(row.due_at, now),
    )
