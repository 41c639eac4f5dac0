"""
Receipts: made from what was appended, or read back from the record of a key.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

import msgspec

from orderledger.ledger.ports import Appended, EventStore, StoredCommand

from .deciding import Decided, Prepared
from .idempotency import replay
from .requests import Receipt

_MICROSECOND: Final = timedelta(microseconds=1)

Known = Mapping[bytes, StoredCommand]


class Receipts:
    """The receipts of one book's commands."""

    def __init__(self, store: EventStore) -> None:
        self._store: Final = store
        self._book: Final = store.book

    def known(self, prepared: Sequence[Prepared], connection: object | None = None) -> Known:
        return self._store.commands(
            [one.key_hash for one in prepared if one.envelope.key is not None],
            connection=connection,
        )

    def replayed(self, prepared: Prepared, known: Known) -> Receipt | None:
        """Return the stored receipt, raise the stored refusal, or return None if unknown."""
        stored = known.get(prepared.key_hash)
        if stored is None:
            return None
        receipt = replay(self._book, prepared.command, prepared.fingerprint, stored)
        return self.with_positions(receipt) or receipt

    def receipt(
        self, prepared: Prepared, decided: Decided, appended: Appended, offset: int
    ) -> Receipt:
        events = decided.append.events
        first = appended.first_position
        positions, recorded_at = None, None
        if first is not None and appended.recorded_at is not None and events:
            positions = tuple(range(first + offset, first + offset + len(events)))
            recorded_at = appended.recorded_at + offset * _MICROSECOND
        return Receipt(
            book=self._book,
            command_id=prepared.command_id,
            key=prepared.key,
            streams={stream: state.version for stream, state in decided.written.items()},
            event_ids=tuple([event.event_id for event in events]),
            positions=positions,
            recorded_at=recorded_at,
        )

    def with_positions(self, receipt: Receipt) -> Receipt | None:
        found = self._store.positions(receipt.event_ids)
        if len(found) < len(receipt.event_ids):
            return None
        placed = [found[event_id] for event_id in receipt.event_ids]
        return msgspec.structs.replace(
            receipt,
            positions=tuple([position for position, _ in placed]),
            recorded_at=placed[0][1] if placed else None,
        )
