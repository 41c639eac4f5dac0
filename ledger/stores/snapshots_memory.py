"""The snapshots of a book in memory: for tests, and for books that end with their process."""

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from ..snapshot_ports import Header, SnapshotKind

_Place = tuple[str, str, int]


class MemorySnapshots:
    """Snapshots in memory; see ``SnapshotStore`` for the contract."""

    def __init__(self) -> None:
        self._lock: Final = threading.RLock()
        self._snapshots: Final[dict[_Place, tuple[Header, bytes]]] = {}
        self._parts: Final[dict[tuple[str, bytes], bytes]] = {}

    def put(self, header: Header, body: bytes, parts: Mapping[bytes, bytes]) -> None:
        with self._lock:
            for part_hash, part in parts.items():
                self._parts[(header.subject, part_hash)] = part
            self._snapshots[_place(header)] = (header, body)

    def newest(
        self, kind: SnapshotKind, subjects: Sequence[str], *, until: int | None = None
    ) -> Mapping[str, Header]:
        found: dict[str, Header] = {}
        with self._lock:
            for subject in subjects:
                for header in self.headers(kind, subject):
                    if until is None or header.position <= until:
                        found[subject] = header
        return found

    def headers(self, kind: SnapshotKind, subject: str) -> Sequence[Header]:
        with self._lock:
            return [one for one in self._of(kind) if one.subject == subject]

    def page(
        self, kind: SnapshotKind, *, after: tuple[str, int] = ("", 0), limit: int = 1000
    ) -> Sequence[Header]:
        with self._lock:
            return [one for one in self._of(kind) if (one.subject, one.position) > after][:limit]

    def body(self, header: Header) -> bytes | None:
        with self._lock:
            found = self._snapshots.get(_place(header))
            return found[1] if found and found[0].body_hash == header.body_hash else None

    def part(self, subject: str, part_hash: bytes) -> bytes | None:
        with self._lock:
            return self._parts.get((subject, part_hash))

    def drop(self, headers: Sequence[Header]) -> None:
        with self._lock:
            for header in headers:
                if self.body(header) is not None:
                    del self._snapshots[_place(header)]

    def sweep(self, subject: str, used: Iterable[bytes]) -> int:
        kept = {(subject, part_hash) for part_hash in used}
        with self._lock:
            unused = [one for one in self._parts if one[0] == subject and one not in kept]
            for one in unused:
                del self._parts[one]
            return len(unused)

    def close(self) -> None:
        """Nothing is released: the snapshots are there as long as the store of the events."""

    def _of(self, kind: SnapshotKind) -> list[Header]:
        places = sorted(place for place in self._snapshots if place[0] == kind.value)
        return [self._snapshots[place][0] for place in places]


def _place(header: Header) -> _Place:
    return (header.kind.value, header.subject, header.position)
