"""The snapshots of one book in its SQLite file."""

from collections.abc import Mapping, Sequence, Set
from datetime import datetime
from typing import Any, Final

from ..codec import encode_json
from ..errors import StorageError, Unavailable
from ..snapshot_ports import Header, Named, SnapshotKind
from .named_sql import statements
from .sqlite_append import iso_text
from .sqlite_files import SqliteFile

_SQL: Final = statements("sqlite", "snapshot_queries")
_LAST: Final = 2**63 - 1


class SqliteSnapshots:
    """Snapshots in a SQLite file; see ``SnapshotStore`` for the contract."""

    def __init__(self, file: SqliteFile, book_id: int) -> None:
        self._file: Final = file
        self._book_id: Final = book_id
        self._is_closed = False

    def put(
        self,
        header: Header,
        body: bytes,
        parts: Mapping[bytes, bytes],
        kept: Set[bytes] = frozenset(),
    ) -> bool:
        self._check_open()
        of_subject = {"book_id": self._book_id, "subject": header.subject}
        with self._file.writing() as connection:
            if kept:
                rows = connection.execute(_SQL["hashes"], of_subject)
                if kept - {found for (found,) in rows}:
                    return False
            for part_hash, part in parts.items():
                connection.execute(
                    _SQL["put_part"], {**of_subject, "hash": part_hash, "body": part}
                )
            connection.execute(
                _SQL["put"],
                {
                    **_place(header),
                    "book_id": self._book_id,
                    "version": header.version,
                    "leaf_hash": header.leaf_hash,
                    "fingerprint": header.fingerprint,
                    "codec": header.codec,
                    "erasure_epoch": header.erasure_epoch,
                    "size": header.size,
                    "taken_at": iso_text(header.taken_at),
                    "body": body,
                },
            )
        return True

    def newest(
        self, kind: SnapshotKind, subjects: Sequence[str], *, until: int | None = None
    ) -> Mapping[str, Header]:
        parameters = {
            "kind": kind.value,
            "subjects": encode_json(list(subjects)),
            "until": _LAST if until is None else until,
        }
        return {found.subject: found for found in map(_header, self._rows("newest", parameters))}

    def headers(self, kind: SnapshotKind, subject: str) -> Sequence[Header]:
        parameters = {"kind": kind.value, "subject": subject}
        return [_header(row) for row in self._rows("headers", parameters)]

    def page(
        self, kind: SnapshotKind, *, after: tuple[str, int] = ("", 0), limit: int = 1000
    ) -> Sequence[Header]:
        subject, position = after
        parameters = {
            "kind": kind.value,
            "subject": subject,
            "position": position,
            "limit": limit,
        }
        return [_header(row) for row in self._rows("page", parameters)]

    def body(self, header: Header) -> bytes | None:
        return _only(self._rows("body", _place(header)))

    def part(self, subject: str, part_hash: bytes) -> bytes | None:
        return _only(self._rows("part", {"subject": subject, "hash": part_hash}))

    def drop(self, headers: Sequence[Header]) -> None:
        self._check_open()
        with self._file.writing() as connection:
            for header in headers:
                connection.execute(_SQL["drop"], {"book_id": self._book_id, **_place(header)})

    def sweep(self, subject: str, named: Named) -> int:
        self._check_open()
        of_subject = {"book_id": self._book_id, "subject": subject}
        with self._file.writing() as connection:
            bodies = connection.execute(_SQL["bodies"], of_subject)
            used = {part_hash for (body,) in bodies for part_hash in named(body)}
            rows = connection.execute(_SQL["hashes"], of_subject).fetchall()
            unused = [row[0] for row in rows if row[0] not in used]
            for part_hash in unused:
                connection.execute(_SQL["drop_part"], {**of_subject, "hash": part_hash})
        return len(unused)

    def close(self) -> None:
        self._is_closed = True

    def _rows(self, name: str, parameters: Mapping[str, object]) -> list[Any]:
        self._check_open()
        with self._file.reading() as connection:
            found = connection.execute(_SQL[name], {"book_id": self._book_id, **parameters})
            return found.fetchall()

    def _check_open(self) -> None:
        if self._is_closed:
            raise Unavailable("the snapshots of the book are closed")


def _place(header: Header) -> dict[str, object]:
    return {
        "kind": header.kind.value,
        "subject": header.subject,
        "position": header.position,
        "body_hash": header.body_hash,
    }


def _only(rows: Sequence[Any]) -> bytes | None:
    return rows[0][0] if rows else None


def _header(row: Any) -> Header:
    kind, subject, version, position, leaf_hash, fingerprint, codec, epoch = row[:8]
    body_hash, size, taken_at = row[8:]
    try:
        taken = datetime.fromisoformat(taken_at)
    except ValueError as error:
        raise StorageError(
            f"the snapshot of {subject} at position {position} was taken at {taken_at!r}, which is "
            "no instant: delete it",
            subject=subject,
            position=position,
        ) from error
    return Header(
        kind=SnapshotKind(kind),
        subject=subject,
        version=version,
        position=position,
        leaf_hash=leaf_hash,
        fingerprint=fingerprint,
        codec=codec,
        erasure_epoch=epoch,
        body_hash=body_hash,
        size=size,
        taken_at=taken,
    )
