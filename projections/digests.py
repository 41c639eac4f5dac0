"""
Digests of rows: what two generations of a read model must agree on.

A row's hash covers its table and every value. The *digest* of a generation is the sum of its rows'
hashes modulo 2^256: it does not depend on the order of the rows, so it moves with each batch at
the cost of the rows that changed, and it tells an edited, lost or doubled row. The *checksum* of
the gate is SHA-256 over all rows in key order; see ``checksum``.
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final

import msgspec

from orderledger.ledger.model_ports import Row

_MODULUS: Final = 1 << 256
_BYTES: Final = 32
ZERO: Final = bytes(_BYTES)
"""The digest of no rows."""


canonical: Final = msgspec.json.Encoder().encode
"""
A row as bytes that are the same on every engine: a JSON array of its values.

Integers are numbers of any size, instants RFC 3339 in UTC, text, true, false and null as they are.
The table's columns say which is which, so no two rows have the same bytes.
"""


def row_hash(table: str, row: Row) -> int:
    """Return the hash of a row of a table as a number below 2^256."""
    return int.from_bytes(sha256(table.encode() + b"\x00" + canonical(row)).digest(), "big")


def moved(digest: bytes, added: Iterable[int], removed: Iterable[int]) -> bytes:
    """Return the digest after rows were added and others removed, each given by its hash."""
    total = int.from_bytes(digest, "big") + sum(added) - sum(removed)
    return (total % _MODULUS).to_bytes(_BYTES, "big")


class Checksum:
    """SHA-256 over rows, table by table, in key order: every byte counts, and so does order."""

    def __init__(self) -> None:
        self._hash = sha256()
        self.rows = 0

    def table(self, name: str) -> None:
        """Begin a table."""
        self._hash.update(b"\x01" + name.encode() + b"\x00")

    def add(self, rows: Sequence[Row]) -> None:
        """Add the next rows of the table."""
        for row in rows:
            data = canonical(row)
            self._hash.update(len(data).to_bytes(4, "big"))
            self._hash.update(data)
        self.rows += len(rows)

    def digest(self) -> bytes:
        """Return the 32 bytes so far."""
        return self._hash.digest()
