"""The snapshots of one book in PostgreSQL."""

from collections.abc import Mapping, Sequence, Set
from typing import Any, Final

from ..errors import Unavailable
from ..snapshot_ports import Header, Named, SnapshotKind
from .named_sql import statements
from .postgres_connections import Connections, Session

_LAST: Final = 2**63 - 1


class PostgresSnapshots:
    """
    Snapshots in PostgreSQL; see ``SnapshotStore`` for the contract.

    On the connections of the events' store, which stay its own: a command that folds a stream asks
    here first, and needs no second pool for it.
    """

    def __init__(self, connections: Connections, book_id: int) -> None:
        self._sql: Final = statements("postgres", "snapshot_queries")
        self._connections: Final = connections
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
        with self._connections.session() as session, session.connection.transaction():
            if header.kind is SnapshotKind.MODEL:
                self._take_turn(session, header.subject)
            if kept and kept - self._hashes(session, header.subject):
                return False
            for part_hash, part in parts.items():
                of_part = {"subject": header.subject, "hash": part_hash, "body": part}
                self._run(session, "put_part", of_part)
            self._run(
                session,
                "put",
                {
                    **_place(header),
                    "version": header.version,
                    "leaf_hash": header.leaf_hash,
                    "fingerprint": header.fingerprint,
                    "codec": header.codec,
                    "erasure_epoch": header.erasure_epoch,
                    "size": header.size,
                    "taken_at": header.taken_at,
                    "body": body,
                },
            )
        return True

    def newest(
        self, kind: SnapshotKind, subjects: Sequence[str], *, until: int | None = None
    ) -> Mapping[str, Header]:
        parameters = {
            "kind": kind.value,
            "subjects": list(subjects),
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
        with self._connections.session() as session, session.connection.transaction():
            for header in headers:
                self._run(session, "drop", _place(header))

    def sweep(self, subject: str, named: Named) -> int:
        self._check_open()
        of_subject = {"subject": subject}
        with self._connections.session() as session, session.connection.transaction():
            self._take_turn(session, subject)
            bodies = self._run(session, "bodies", of_subject).fetchall()
            used = {part_hash for (body,) in bodies for part_hash in named(bytes(body))}
            unused = self._hashes(session, subject) - used
            for part_hash in unused:
                self._run(session, "drop_part", {**of_subject, "hash": part_hash})
        return len(unused)

    def _take_turn(self, session: Session, subject: str) -> None:
        session.cursor.execute(self._sql["patience"].encode())
        self._run(session, "take_turn", {"subject": subject})

    def _hashes(self, session: Session, subject: str) -> set[bytes]:
        rows = self._run(session, "hashes", {"subject": subject}).fetchall()
        return {bytes(found) for (found,) in rows}

    def close(self) -> None:
        self._is_closed = True

    def _rows(self, name: str, parameters: Mapping[str, object]) -> list[Any]:
        self._check_open()
        with self._connections.session() as session:
            rows: list[Any] = self._run(session, name, parameters).fetchall()
        return rows

    def _run(self, session: Session, name: str, parameters: Mapping[str, object]) -> Any:
        statement = self._sql[name].encode()
        return session.cursor.execute(statement, {"book_id": self._book_id, **parameters})

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
    return bytes(rows[0][0]) if rows else None


def _header(row: Any) -> Header:
    kind, subject, version, position, leaf_hash, fingerprint, codec, epoch = row[:8]
    body_hash, size, taken_at = row[8:]
    return Header(
        kind=SnapshotKind(kind),
        subject=subject,
        version=version,
        position=position,
        leaf_hash=bytes(leaf_hash),
        fingerprint=bytes(fingerprint),
        codec=codec,
        erasure_epoch=epoch,
        body_hash=bytes(body_hash),
        size=size,
        taken_at=taken_at,
    )
