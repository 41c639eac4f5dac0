"""
Parameters in PostgreSQL's binary format, built by hand.

psycopg dumps a list item by item through its adapters, 5 µs per event row; one join of bytes per
column takes a fifth. Format: src/backend/utils/adt/arrayfuncs.c, array_recv; of scalars the *_recv
function of each type.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from struct import Struct
from typing import Any, Final, NamedTuple, cast
from uuid import UUID

from psycopg.adapt import AdaptersMap, Buffer, Dumper
from psycopg.pq import Format

from ..codec import microseconds

# Microseconds from 1970 to 2000, the zero of PostgreSQL's timestamps.
_POSTGRES_EPOCH_US: Final = 946_684_800_000_000
_header: Final = Struct("!iiIii").pack
_EMPTY: Final = Struct("!iiI").pack
_int: Final = Struct("!i").pack
_NULL: Final = _int(-1)
_bigint: Final = Struct("!iq").pack
_scalar: Final = Struct("!q")
_POSTGRES_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

integer: Final = _int
"""integer"""
bigint: Final = _scalar.pack
"""bigint"""


def boolean(value: bool) -> bytes:
    return b"\x01" if value else b"\x00"


def timestamp(value: datetime) -> bytes:
    """timestamptz"""
    return _scalar.pack((value - _POSTGRES_EPOCH) // _MICROSECOND)


def read_bigint(data: bytes) -> int:
    """Return the value of a bigint."""
    return cast(int, _scalar.unpack(data)[0])


def read_timestamp(data: bytes) -> datetime:
    """Return the value of a finite timestamptz, in UTC."""
    return _POSTGRES_EPOCH + read_bigint(data) * _MICROSECOND


class TextArray(bytes):
    """text[]"""


class UuidArray(bytes):
    """uuid[]"""


class BytesArray(bytes):
    """bytea[]"""


class BigintArray(bytes):
    """bigint[]"""


class TimestampArray(bytes):
    """timestamptz[]"""


class BooleanArray(bytes):
    """boolean[]"""


def _array(element: int, count: int, items: Iterable[bytes]) -> bytes:
    if not count:
        return _EMPTY(0, 0, element)
    return _header(1, 0, element, count, 1) + b"".join(items)


def text_array(values: Sequence[str]) -> TextArray:
    parts: list[bytes] = []
    for value in values:
        data = value.encode()
        parts.append(_int(len(data)))
        parts.append(data)
    return TextArray(_array(25, len(values), parts))


def bytes_array(values: Sequence[bytes]) -> BytesArray:
    parts: list[bytes] = []
    for value in values:
        parts.append(_int(len(value)))
        parts.append(value)
    return BytesArray(_array(17, len(values), parts))


def uuid_array(values: Sequence[UUID]) -> UuidArray:
    return uuid_array_of_bytes([value.bytes for value in values])


def uuid_array_of_bytes(values: Sequence[bytes]) -> UuidArray:
    """Take each uuid as its 16 bytes."""
    return UuidArray(_array(2950, len(values), [b"\0\0\0\x10" + value for value in values]))


def bigint_array(values: Sequence[int]) -> BigintArray:
    return BigintArray(_array(20, len(values), [_bigint(8, value) for value in values]))


def timestamp_array(values: Sequence[datetime]) -> TimestampArray:
    # Neighbours often share an instant, and to subtract takes longer than to look.
    last, item = _POSTGRES_EPOCH, _bigint(8, 0)
    parts: list[bytes] = []
    for value in values:
        if value is not last:
            last, item = value, _bigint(8, microseconds(value) - _POSTGRES_EPOCH_US)
        parts.append(item)
    return TimestampArray(_array(1184, len(values), parts))


def boolean_array(values: Sequence[bool]) -> BooleanArray:
    return BooleanArray(
        _array(
            16, len(values), [b"\0\0\0\x01\x01" if value else b"\0\0\0\x01\0" for value in values]
        )
    )


class Element(NamedTuple):
    """A type as the element of arrays: how to write many values, one, and some that are NULL."""

    oid: int
    kind: type[bytes]
    array: Callable[[Sequence[Any]], bytes]
    encode: Callable[[Any], bytes]

    def of_bytes(self, values: Sequence[bytes | None]) -> bytes:
        """Return an array from the values' bytes; None is NULL."""
        parts = [_NULL if value is None else _int(len(value)) + value for value in values]
        head = _header(1, int(None in values), self.oid, len(values), 1)
        return self.kind(head + b"".join(parts))


TEXT: Final = Element(25, TextArray, text_array, str.encode)
BIGINT: Final = Element(20, BigintArray, bigint_array, bigint)
TIMESTAMP: Final = Element(1184, TimestampArray, timestamp_array, timestamp)
BOOLEAN: Final = Element(16, BooleanArray, boolean_array, boolean)


class _ReadyDumper(Dumper):
    """Passes bytes that are in binary format already."""

    format = Format.BINARY

    def dump(self, obj: bytes) -> Buffer | None:
        return obj


class _TextArrayDumper(_ReadyDumper):
    oid = 1009


class _UuidArrayDumper(_ReadyDumper):
    oid = 2951


class _BytesArrayDumper(_ReadyDumper):
    oid = 1001


class _BigintArrayDumper(_ReadyDumper):
    oid = 1016


class _TimestampArrayDumper(_ReadyDumper):
    oid = 1185


class _BooleanArrayDumper(_ReadyDumper):
    oid = 1000


def register(adapters: AdaptersMap) -> None:
    """Teach a connection or cursor the array types above."""
    adapters.register_dumper(TextArray, _TextArrayDumper)
    adapters.register_dumper(UuidArray, _UuidArrayDumper)
    adapters.register_dumper(BytesArray, _BytesArrayDumper)
    adapters.register_dumper(BigintArray, _BigintArrayDumper)
    adapters.register_dumper(TimestampArray, _TimestampArrayDumper)
    adapters.register_dumper(BooleanArray, _BooleanArrayDumper)
