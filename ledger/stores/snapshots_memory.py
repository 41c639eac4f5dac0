"""The snapshots of a book in memory: for tests, and for books that end with their process."""

import threading
from collections.abc import Mapping, Sequence, Set
from typing import Final

from ..snapshot_ports import Header, Named, SnapshotKind

_Place = tuple[str, str, int]


class MemorySnapshots:
    """Snapshots in memory; see ``SnapshotStore`` for the contract."""

    def __init__(self) -> None:
        self._lock: Final = threading.RLock()
        self._snapshots: Final[dict[_Place, tuple[Header, bytes]]] = {}
        self._parts: Final[dict[tuple[str, bytes], bytes]] = {}

    def put(
        self,
        header: Header,
        body: bytes,
        parts: Mapping[bytes, bytes],
        kept: Set[bytes] = frozenset(),
    ) -> bool:
        with self._lock:
            if any((header.subject, part_hash) not in self._parts for part_hash in kept):
                return False
            for part_hash, part in parts.items():
                self._parts[(header.subject, part_hash)] = part
            self._snapshots[_place(header)] = (header, body)
            return True

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

    def sweep(self, subject: str, named: Named) -> int:
        with self._lock:
            headers = [one for one in self._of(SnapshotKind.MODEL) if one.subject == subject]
            bodies = [self._snapshots[_place(header)][1] for header in headers]
            used = {(subject, part_hash) for body in bodies for part_hash in named(body)}
            unused = [one for one in self._parts if one[0] == subject and one not in used]
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
