"""
Proofs over a book's log: that an event is in it, and that a longer log continues a shorter one.

Exactly those of RFC 6962, sections 2.1.1 and 2.1.2, made from the leaf hashes and tiles of
``merkle``; checked as RFC 9162, sections 2.1.3.2 and 2.1.4.2, says. A check needs nothing but the
hashes that it is given.
"""

from collections.abc import Callable, Sequence
from typing import Final

from .errors import InvalidInput
from .merkle import TILE, node_hash, subtree_root

Nodes = Callable[[int, int, int], Sequence[bytes]]
"""``nodes(level, start, count)`` returns stored nodes of a level, as in ``merkle``."""

_TILE_BITS: Final = TILE.bit_length() - 1


class LogTree:
    """
    The tree over a log, as far as ``nodes`` has it: roots and proofs of any of its sizes.

    Remembers the root of every part that it was asked for, which never changes: proofs of many
    events of one log share most of theirs. For one thread.
    """

    def __init__(self, nodes: Nodes) -> None:
        self._nodes: Final = nodes
        self._known: Final[dict[tuple[int, int], bytes]] = {}

    def root(self, size: int) -> bytes:
        """Return the root over the first ``size`` leaves."""
        return self._part(0, size) if size else subtree_root(())

    def inclusion(self, index: int, size: int) -> tuple[bytes, ...]:
        """
        Return PATH(index, D[size]), the lowest hash first: at most 64 hashes of 32 bytes.

        ``index`` counts leaves from 0: it is the position less one. Raises InvalidInput where it is
        not within the size.
        """
        if not 0 <= index < size:
            raise InvalidInput(
                f"position {index + 1} is not within a log of {size} events",
                position=index + 1,
                size=size,
            )
        path: list[bytes] = []
        start, count = 0, size
        while count > 1:
            left = _left_of(count)
            if index - start < left:
                path.append(self._part(start + left, count - left))
                count = left
            else:
                path.append(self._part(start, left))
                start, count = start + left, count - left
        return tuple(reversed(path))

    def consistency(self, old_size: int, size: int) -> tuple[bytes, ...]:
        """
        Return PROOF(old_size, D[size]); empty where the sizes are equal or the old log was empty.

        Raises InvalidInput where the old log is the longer one.
        """
        if not 0 <= old_size <= size:
            raise InvalidInput(
                f"a log of {size} events cannot continue one of {old_size}",
                old_size=old_size,
                size=size,
            )
        if old_size in (0, size):
            return ()
        path: list[bytes] = []
        start, count, is_known = 0, size, True
        # The old log ends within this part, until it ends with it. The verifier has the root of
        # that part only where it is the whole old log.
        while old_size - start != count:
            left = _left_of(count)
            if old_size - start <= left:
                path.append(self._part(start + left, count - left))
                count = left
            else:
                path.append(self._part(start, left))
                start, count, is_known = start + left, count - left, False
        if not is_known:
            path.append(self._part(start, count))
        return tuple(reversed(path))

    def _part(self, start: int, count: int) -> bytes:
        """Return the root of a part: ``start`` is a multiple of a power of two >= ``count``."""
        known = self._known.get((start, count))
        if known is not None:
            return known
        size = 1 << (count.bit_length() - 1)
        if size == count:
            # A full subtree: of the widest nodes that are stored, 128 at most.
            level = (count.bit_length() - 1) // _TILE_BITS
            width = TILE**level
            root = subtree_root(self._nodes(level, start // width, count // width))
        else:
            root = node_hash(self._part(start, size), self._part(start + size, count - size))
        self._known[(start, count)] = root
        return root


def _left_of(count: int) -> int:
    """Return how many of ``count`` > 1 leaves are left of the split: the RFC's k."""
    return 1 << ((count - 1).bit_length() - 1)


def is_included(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Tell whether a proof shows a leaf hash at an index (from 0) of the log with this root."""
    if not 0 <= index < size:
        return False
    node, last, found = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if node & 1 or node == last:
            found = node_hash(sibling, found)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and found == root


def is_consistent(old: tuple[int, bytes], new: tuple[int, bytes], proof: Sequence[bytes]) -> bool:
    """
    Tell whether a proof shows that a log continues another; each is a size and a root.

    Every log continues the empty one, and equal sizes must have equal roots.
    """
    (old_size, old_root), (size, root) = old, new
    if old_size == 0 or old_size >= size:
        is_same = old_size == size and old_root == root
        return not proof and (is_same or (old_size == 0 < size and old_root == subtree_root(())))
    # An old size that is a power of two is itself a node of the new tree.
    path = [old_root, *proof] if old_size & (old_size - 1) == 0 else list(proof)
    if not path:
        return False
    node, last = old_size - 1, size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old_found = found = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            old_found, found = node_hash(sibling, old_found), node_hash(sibling, found)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and old_found == old_root and found == root
