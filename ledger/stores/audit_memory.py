"""What stands around the events of a book in memory: its command records, and no database."""

from collections.abc import Sequence
from typing import Final

from ..audit_ports import CommandRecord, Duplicate, Guards, Stray
from .memory import MemoryStore


class MemoryAudit:
    """See ``Audit`` for the contract."""

    def __init__(self, store: MemoryStore) -> None:
        self._store: Final = store

    def records(self, after: bytes, limit: int) -> Sequence[CommandRecord]:
        return self._store.records(after, limit)

    def duplicates(self) -> Sequence[Duplicate]:
        """Return none: what would be one was refused."""
        return ()

    def strays(self) -> Sequence[Stray]:
        """Return none: a book in memory is alone."""
        return ()

    def loose_work(self) -> Sequence[int]:
        """Return none: the order is read from the work itself."""
        return ()

    def guards(self) -> Guards:
        return Guards({}, {})
