"""
Rows against rows: the checksum of a generation, and where two generations differ.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import msgspec

from orderledger.ledger.model_ports import Generation, Key, ModelStore, Row, Table

from .digests import ZERO, Checksum, moved, row_hash

PAGE_ROWS: Final = 5_000


class Summed(msgspec.Struct, frozen=True):
    """
    What the stored rows of a generation come to: SHA-256 over them in key order, and the sum of
    their hashes, which must be the digest of the checkpoint.
    """

    checksum: bytes
    digest: bytes
    rows: int


class RowDifference(msgspec.Struct, frozen=True):
    """One row that two generations do not have alike; None where it is missing."""

    table: str
    key: Key
    before: Row | None
    after: Row | None


def rows_of(store: ModelStore, generation: Generation, table: Table) -> Iterator[Row]:
    """Iterate over a table in key order, in constant memory."""
    after: Key | None = None
    while True:
        page = store.page(generation, table, after, PAGE_ROWS)
        yield from page
        if len(page) < PAGE_ROWS:
            return
        after = table.key_of(page[-1])


def _nothing(count: int) -> None:
    del count


def summed(
    store: ModelStore,
    generation: Generation,
    tables: Sequence[Table],
    each_page: Callable[[int], None] = _nothing,
) -> Summed:
    """
    Read every row of a generation and sum it up. It must not move meanwhile.

    ``each_page`` is called with the number of rows so far, every ``PAGE_ROWS`` rows.
    """
    checksum, digest = Checksum(), ZERO
    for table in tables:
        checksum.table(table.name)
        for row in rows_of(store, generation, table):
            checksum.add((row,))
            digest = moved(digest, (row_hash(table.name, row),), ())
            if checksum.rows % PAGE_ROWS == 0:
                each_page(checksum.rows)
    return Summed(checksum.digest(), digest, checksum.rows)


def differences(
    store: ModelStore,
    before: Generation,
    after: Generation,
    tables: Sequence[Table],
    each_page: Callable[[int], None] = _nothing,
) -> Iterator[RowDifference]:
    """
    Iterate over the rows in which two generations differ, table by table, in key order.

    ``each_page`` is called with the number of rows read of ``before``, every ``PAGE_ROWS`` rows.
    """
    count = 0

    def counted(rows: Iterator[Row]) -> Iterator[Row]:
        nonlocal count
        for row in rows:
            count += 1
            if count % PAGE_ROWS == 0:
                each_page(count)
            yield row

    for table in tables:
        left, right = rows_of(store, before, table), rows_of(store, after, table)
        yield from _merged(table, counted(left), right)


def _merged(table: Table, before: Iterator[Row], after: Iterator[Row]) -> Iterator[RowDifference]:
    left, right = next(before, None), next(after, None)
    while left is not None or right is not None:
        if right is None or (left is not None and _key(table, left) < _key(table, right)):
            assert left is not None
            yield RowDifference(table.name, table.key_of(left), left, None)
            left = next(before, None)
        elif left is None or _key(table, right) < _key(table, left):
            yield RowDifference(table.name, table.key_of(right), None, right)
            right = next(after, None)
        else:
            if left != right:
                yield RowDifference(table.name, table.key_of(left), left, right)
            left, right = next(before, None), next(after, None)


def _key(table: Table, row: Row) -> tuple[object, ...]:
    return table.key_of(row)
