"""psycopg's errors as ours, by SQLSTATE (PostgreSQL documentation, appendix A)."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Final

import psycopg
from psycopg.pq import ConnStatus, DiagnosticField, TransactionStatus
from psycopg.pq.abc import PGresult

from ..errors import (
    DatabaseFull,
    DatabaseReadOnly,
    OrderLedgerError,
    SchemaMismatch,
    StorageError,
    Unavailable,
)
from ..ports import LockTimeout

UNIQUE_VIOLATION: Final = "23505"
KEY_ARCHIVED: Final = "OL001"
STREAM_MOVED: Final = "OL002"
GENERATION_MOVED: Final = "OL003"
ISOLATION: Final = "OL004"
NO_SUCH_STATEMENT: Final = "26000"

CONFLICTS: Final = frozenset({UNIQUE_VIOLATION, KEY_ARCHIVED, STREAM_MOVED, GENERATION_MOVED})

_BY_STATE: Final[Mapping[str, type[OrderLedgerError]]] = {
    "25006": DatabaseReadOnly,
    "3F000": SchemaMismatch,
    "40P01": LockTimeout,
    "42883": SchemaMismatch,
    "42P01": SchemaMismatch,
    "42703": SchemaMismatch,
    "53100": DatabaseFull,
    "55P03": LockTimeout,
    "57014": Unavailable,
}
_BY_CLASS: Final[Mapping[str, type[OrderLedgerError]]] = {
    "08": Unavailable,
    "53": Unavailable,
    "57": Unavailable,
}


def sqlstate(error: psycopg.Error) -> str:
    """Return the SQLSTATE that the server sent, or the empty string."""
    return error.diag.sqlstate or error.sqlstate or ""


def result_state(result: PGresult) -> str:
    """Return the SQLSTATE of a failed result; empty when the connection was lost."""
    return (result.error_field(DiagnosticField.SQLSTATE) or b"").decode()


def error_of(result: PGresult) -> psycopg.Error:
    """Return the error that a cursor would raise for a failed result."""
    state = result_state(result)
    kind: type[psycopg.Error]
    try:
        kind = psycopg.errors.lookup(state) if state else psycopg.OperationalError
    except KeyError:  # one of our own, or of a newer server
        kind = psycopg.DatabaseError
    return kind(result.error_message.decode("utf-8", "replace"), info=result)


def is_broken(connection: psycopg.Connection[object]) -> bool:
    """Say whether the connection can no longer be used."""
    return (
        connection.closed
        or connection.pgconn.status != ConnStatus.OK
        or connection.info.transaction_status == TransactionStatus.UNKNOWN
    )


def translated(error: psycopg.Error) -> OrderLedgerError:
    """Return our error for a driver's error; the caller raises it ``from`` that one."""
    state = sqlstate(error)
    kind: type[OrderLedgerError]
    text = str(error).strip().split("\n")[0] or type(error).__name__
    if not state:
        # No SQLSTATE: the connection was refused or lost, or the driver misused.
        kind = Unavailable if isinstance(error, psycopg.OperationalError) else StorageError
    else:
        kind = _BY_STATE.get(state) or _BY_CLASS.get(state[:2], StorageError)
    if kind is SchemaMismatch:
        text += "; run `orderledger migrate`"
    return kind(f"PostgreSQL: {text}", sqlstate=state)


@contextmanager
def translating() -> Generator[None]:
    """Turn what psycopg raises inside the block into our errors, the driver's as the cause."""
    try:
        yield
    except psycopg.Error as error:
        raise translated(error) from error
