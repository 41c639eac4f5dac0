"""
What a read model is: tables, and a pure function from an event to changes of their rows.

``project`` sees one event at a time, in log order, and the rows as the events before it left them.
It may also look at the state of any stream, folded up to that event, and mark rows to be derived
from states once the batch is read. It has no other input: no clock, no randomness, no I/O; the
event's ``recorded_at`` is its now. So the rows at a position are a function of the log up to it,
whoever makes them, in batches of whatever size.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Final, Protocol

from orderledger.ledger.codec import encode_json
from orderledger.ledger.events import Event
from orderledger.ledger.logged import Logged
from orderledger.ledger.model_ports import Key, LogTable, Row, Table

NOT_DECODED: Final = Event()
"""Stands for the event where a model does not look at it; see ``ReadModel.entries_only``."""


class Recorded(Logged, frozen=True, gc=False):
    """
    An event as a projector sees it; ``recorded_at`` is the projector's now.

    ``postings`` are as stored: one leg a line (``journal.decode_entry``).
    """

    postings: str


class Rows(Protocol):
    """
    The rows of a model as the events so far left them, and what an event may do to them.

    Those of a ``LogTable`` are only appended; those of other tables never.
    """

    def state(self, stream: str) -> Any:
        """Return the state of a stream, folded up to the event at hand; initial without events."""
        ...

    def get(self, table: Table, key: Key) -> Row | None:
        """Return a row, or None."""
        ...

    def put(self, table: Table, row: Row) -> None:
        """Write a row; one with the same key is replaced."""
        ...

    def append(self, table: LogTable, row: Row) -> None:
        """Write a new row, whose key begins with the position of the event at hand."""
        ...

    def delete(self, table: Table, key: Key) -> None:
        """Remove a row, if it is there."""
        ...

    def touch(self, table: Table, key: Key) -> None:
        """Have ``derive`` make this row from the states at the end of the batch."""
        ...


class ReadModel(ABC):
    """
    A read model: its tables, and what an event does to their rows.

    ``version`` is raised whenever old events would give other rows. ``topics`` names the topics
    that ``project`` is given, in their current version; None is all of them. ``folds`` names the
    kinds of stream whose states it looks at. What is neither is not even decoded for it. A topic
    that this code does not know parks its stream in every model.

    ``entries_only`` is for a model of postings alone: it is given every event that has some,
    whatever its topic, and ``recorded.event`` is ``NOT_DECODED``. No skip applies to it: money is
    counted in full or not at all.
    """

    name: str
    version: int = 1
    tables: Sequence[Table] = ()
    topics: frozenset[str] | None = None
    folds: frozenset[str] = frozenset()
    entries_only: bool = False

    @abstractmethod
    def project(self, recorded: Recorded, rows: Rows) -> None:
        """Apply one event."""

    def derive(self, table: Table, key: Key, rows: Rows) -> Row | None:
        """
        Return the row of a touched key as states and other rows have it; None if there is none.

        It only looks: what it would write beside the row is lost.
        """
        del rows
        raise LookupError(f"{self.name} touched {key} of {table.name} and does not derive rows")


_FINGERPRINT_LENGTH: Final = 12


def fingerprint(model: ReadModel) -> str:
    """Return what identifies the code of a model by its declaration: name, version and shape."""
    shape = encode_json([model.name, model.version, list(model.tables)])
    return sha256(shape.encode()).hexdigest()[:_FINGERPRINT_LENGTH]
