"""
How a verification that was interrupted goes on: its state in a file, between two pages.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from orderledger.ledger.errors import InvalidInput, OrderLedgerError
from orderledger.ledger.ports import EventStore

from .checkpoints import tree_of
from .findings import Finding
from .verify_log import LogState
from .verify_streams import StreamsState

_EVERY_PAGES: Final = 20
_FINDINGS_MAX: Final = 10_000
_FORM: Final = 1


class _Saved(msgspec.Struct):
    """What stands in the file. ``root`` is that of the log at ``size``."""

    form: int
    book: str
    size: int
    root: bytes
    log: LogState | None = None
    streams: StreamsState | None = None
    findings: list[Finding] = []
    rebuilt: list[str] = []


class Resuming:
    """
    The state of a verification, and the file that keeps it; None keeps nothing.

    Raises InvalidInput for a file that is none of a verification, or one of another book or of a
    log that is no longer the one that was verified: what had been checked says nothing of it.
    """

    def __init__(self, store: EventStore, path: Path | None) -> None:
        self._path: Final = path
        self._pages = 0
        found = _read(path) if path is not None else None
        if found is not None:
            _check(found, store, str(path))
        head = store.head().size
        self._saved: Final = found or _Saved(
            _FORM, store.book, head, b"" if path is None else _root(store, head)
        )
        self.findings: Final = tuple(self._saved.findings)

    @property
    def size(self) -> int:
        """The head as of which the book is verified."""
        return self._saved.size

    @property
    def log(self) -> LogState | None:
        return self._saved.log

    @property
    def streams(self) -> StreamsState | None:
        return self._saved.streams

    @property
    def rebuilt(self) -> frozenset[str]:
        """The read models that were compared already."""
        return frozenset(self._saved.rebuilt)

    def kept(self, findings: Iterable[Finding]) -> Iterator[Finding]:
        """Pass findings on, and keep them to be told again."""
        for one in findings:
            self._saved.findings.append(one)
            yield one

    def save(
        self,
        *,
        log: Callable[[], LogState] | None = None,
        streams: Callable[[], StreamsState] | None = None,
        is_due: bool = False,
    ) -> None:
        """Write down where a pass is, once in many pages."""
        self._pages += 1
        if self._path is None or not (is_due or self._pages % _EVERY_PAGES == 0):
            return
        if log is not None:
            self._saved.log = log()
        if streams is not None:
            self._saved.streams = streams()
        self._write()

    def has_rebuilt(self, name: str) -> None:
        """Write down that a read model was compared."""
        self._saved.rebuilt.append(name)
        self._write()

    def over(self) -> None:
        """Delete the file."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _write(self) -> None:
        if self._path is None or len(self._saved.findings) > _FINDINGS_MAX:
            return
        beside = self._path.with_name(self._path.name + ".new")
        beside.write_bytes(msgspec.msgpack.encode(self._saved))
        beside.replace(self._path)


def _read(path: Path) -> _Saved | None:
    with suppress(FileNotFoundError):
        try:
            return msgspec.msgpack.decode(path.read_bytes(), type=_Saved)
        except msgspec.MsgspecError as cause:
            raise InvalidInput(f"{path} is no state of a verification: {cause}") from cause
    return None


def _check(found: _Saved, store: EventStore, path: str) -> None:
    if found.form != _FORM or found.book != store.book:
        raise InvalidInput(
            f"{path} is the state of a verification of book {found.book!r} (form {found.form}), "
            f"not of {store.book!r}: name another file",
            book=found.book,
        )
    if found.size > store.head().size or _root(store, found.size) != found.root:
        raise InvalidInput(
            f"the first {found.size} events are not those that {path} is about: delete it and "
            "verify from the beginning",
            size=found.size,
        )


def _root(store: EventStore, size: int) -> bytes:
    try:
        return tree_of(store).root(size) if size else b""
    except OrderLedgerError:
        return b""  # a log with gaps has none; its findings say so
