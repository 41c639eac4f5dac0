"""
RFC 6962 Merkle tree hashing over a book's log, with complete tiles of 256 leaves as stored nodes.

One structure only: leaf hashes stand in the log rows; each complete run of 256 nodes of a level
has its subtree root stored one level up. A root of any size is computed from the tiles and at most
255 nodes per level.
"""

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Final

TILE: Final = 256
"""Nodes per tile: 2^8, so that a tile root is the RFC 6962 node eight levels up."""


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return SHA-256(0x01 ‖ left ‖ right)."""
    return sha256(b"\x01" + left + right).digest()


def subtree_root(nodes: Sequence[bytes]) -> bytes:
    """
    Return the RFC 6962 root over nodes of one level; of no nodes, SHA-256 of the empty string.

    Splits at the largest power of two below the count, as the RFC demands; computed bottom-up by
    carrying the odd last node, which gives the same tree.
    """
    if not nodes:
        return sha256(b"").digest()
    level = list(nodes)
    while len(level) > 1:
        paired = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        if len(level) % 2:
            paired.append(level[-1])
        level = paired
    return level[0]


def complete_tiles(
    size_before: int, size_after: int, nodes: Callable[[int, int, int], Sequence[bytes]]
) -> list[tuple[int, int, bytes]]:
    """
    Return the tile roots (level, index, root) that an append from one size to another completes.

    ``nodes(level, start, count)`` returns stored nodes of a level: level 0 the leaf hashes of
    positions ``start + 1`` onwards, level n the tile roots of that level; it must already see the
    appended leaves, and the tiles of lower levels that this function has returned so far.
    """
    done: list[tuple[int, int, bytes]] = []
    made: dict[tuple[int, int], bytes] = {}
    level, before, after = 0, size_before, size_after
    while after // TILE > before // TILE:
        for index in range(before // TILE, after // TILE):
            start = index * TILE
            missing = [i for i in range(start, start + TILE) if (level, i) not in made]
            stored = dict(
                zip(missing, nodes(level, missing[0], len(missing)), strict=True) if missing else ()
            )
            root = subtree_root(
                [made.get((level, i)) or stored[i] for i in range(start, start + TILE)]
            )
            made[(level + 1, index)] = root
            done.append((level + 1, index, root))
        level, before, after = level + 1, before // TILE, after // TILE
    return done


def tree_root(size: int, nodes: Callable[[int, int, int], Sequence[bytes]]) -> bytes:
    """
    Return the RFC 6962 root of the first ``size`` leaves.

    ``nodes`` as in ``complete_tiles``. Cost: at most 255 nodes per level of 256.
    """
    carried: list[bytes] = []
    level, count = 0, size
    while True:
        full = count - count % TILE
        tail = [*nodes(level, full, count - full), *carried] if count > full else carried
        if full == 0:
            return subtree_root(tail)
        # The ragged right end of this level becomes one (partial) node of the tile level above.
        carried = [subtree_root(tail)] if tail else []
        level, count = level + 1, full // TILE
