"""
Sums of hashes in buckets: whether two sets that are read in different orders are the same.

Each side adds a hash for what it has. Sums of all buckets that agree mean that the sets are equal,
in memory that does not grow with them; a bucket that differs says which few of them to look at
again. Two different sets with one sum are as hard to find as a preimage of SHA-256.
"""

from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Final

BUCKETS: Final = 1024
_MODULUS: Final = 1 << 256
_BYTES: Final = 32


class BucketSums:
    """Sums modulo 2^256. ``data`` is what ``encoded`` gave, to go on from there."""

    def __init__(self, data: bytes = b"") -> None:
        self._sums: Final = [
            int.from_bytes(data[at : at + _BYTES], "big")
            for at in range(0, BUCKETS * _BYTES, _BYTES)
        ]

    def add(self, bucket: int, value: int) -> None:
        """Add a number of either sign, of any size."""
        self._sums[bucket] += value

    def encoded(self) -> bytes:
        """Return the sums as bytes."""
        return b"".join([(one % _MODULUS).to_bytes(_BYTES, "big") for one in self._sums])

    def differing(self, other: "BucketSums") -> Sequence[int]:
        """Return the buckets whose sums are not those of another."""
        return [
            bucket
            for bucket, (mine, theirs) in enumerate(zip(self._sums, other._sums, strict=True))
            if (mine - theirs) % _MODULUS
        ]


@lru_cache(maxsize=65_536)
def keyed(key: str) -> tuple[int, int]:
    """Return the bucket of a key, and the number by which its amounts are multiplied."""
    found = sha256(key.encode()).digest()
    return int.from_bytes(found[:2], "big") % BUCKETS, int.from_bytes(found, "big")
