"""Proofs against a naive reading of RFC 6962, for every size up to 300 leaves."""

from collections.abc import Sequence
from functools import cache
from hashlib import sha256

import pytest

from orderledger.ledger.errors import InvalidInput
from orderledger.ledger.merkle import TILE, complete_tiles
from orderledger.ledger.merkle_proofs import (
    LogTree,
    is_consistent,
    is_included,
)

LEAVES_MAX = 300
LEAVES = [sha256(b"\x00" + str(number).encode()).digest() for number in range(2 * TILE**2 + 700)]


# RFC 6962, section 2.1, over leaves [start, end): nothing of the code under test.


@cache
def mth(start: int, end: int) -> bytes:
    if start == end:
        return sha256(b"").digest()
    if end - start == 1:
        return LEAVES[start]
    middle = start + _k(end - start)
    return sha256(b"\x01" + mth(start, middle) + mth(middle, end)).digest()


def path(m: int, start: int, end: int) -> list[bytes]:
    if end - start == 1:
        return []
    middle = start + _k(end - start)
    if m < middle - start:
        return [*path(m, start, middle), mth(middle, end)]
    return [*path(m - (middle - start), middle, end), mth(start, middle)]


def subproof(m: int, start: int, end: int, is_whole: bool) -> list[bytes]:
    if m == end - start:
        return [] if is_whole else [mth(start, end)]
    middle = start + _k(end - start)
    if m <= middle - start:
        return [*subproof(m, start, middle, is_whole), mth(middle, end)]
    return [*subproof(m - (middle - start), middle, end, False), mth(start, middle)]


def _k(n: int) -> int:
    k = 1
    while 2 * k < n:
        k *= 2
    return k


class Stored:
    """Leaf hashes and complete tiles, as a store has them."""

    def __init__(self, count: int) -> None:
        self.levels: dict[int, list[bytes]] = {0: LEAVES[:count]}
        for level, _, root in complete_tiles(0, count, self):
            self.levels.setdefault(level, []).append(root)

    def __call__(self, level: int, start: int, count: int) -> Sequence[bytes]:
        found = self.levels[level][start : start + count]
        assert len(found) == count, "no node is asked for that is not stored"
        return found


TREE = LogTree(Stored(LEAVES_MAX))


@pytest.mark.parametrize("size", range(1, LEAVES_MAX + 1))
def test_every_proof_of_a_size_is_that_of_the_rfc(size: int) -> None:
    """Catches a split at the wrong place, a hash in the wrong order, a check that says no."""
    root = mth(0, size)
    assert TREE.root(size) == root
    for index in range(size):
        proof = TREE.inclusion(index, size)
        assert list(proof) == path(index, 0, size)
        assert is_included(LEAVES[index], index, size, proof, root)
    for old_size in range(1, size + 1):
        proof = TREE.consistency(old_size, size)
        assert list(proof) == subproof(old_size, 0, size, True)
        old = (old_size, mth(0, old_size))
        assert is_consistent(old, (size, root), proof)


def _mutations(value: bytes) -> list[bytes]:
    return [
        value[:at] + bytes([value[at] ^ (1 << bit)]) + value[at + 1 :]
        for at in range(len(value))
        for bit in range(8)
    ]


@pytest.mark.parametrize(("index", "size"), [(0, 1), (0, 2), (4, 7), (255, 257), (299, 300)])
def test_no_single_bit_of_an_inclusion_may_differ(index: int, size: int) -> None:
    """Catches a check that does not look at all that it is given."""
    root, proof = mth(0, size), TREE.inclusion(index, size)
    for changed in _mutations(LEAVES[index]):
        assert not is_included(changed, index, size, proof, root)
    for changed in _mutations(root):
        assert not is_included(LEAVES[index], index, size, proof, changed)
    for at, one in enumerate(proof):
        for changed in _mutations(one):
            wrong = (*proof[:at], changed, *proof[at + 1 :])
            assert not is_included(LEAVES[index], index, size, wrong, root)
    for wrong_proof in (proof[:-1], (*proof, root)):
        if wrong_proof != proof:
            assert not is_included(LEAVES[index], index, size, wrong_proof, root)


@pytest.mark.parametrize("size", [2, 7, 8, 64, 257, 300])
def test_no_other_place_is_proven(size: int) -> None:
    """Catches an event that is shown at another position than its own, or in a log as long."""
    root = mth(0, size)
    for index in range(size):
        proof = TREE.inclusion(index, size)
        for other in {index - 1, index + 1, index ^ 1, size, -1} - {index}:
            assert not is_included(LEAVES[index], other, size, proof, root)


@pytest.mark.parametrize(("old_size", "size"), [(1, 2), (3, 7), (4, 7), (6, 8), (256, 300)])
def test_no_single_bit_of_a_consistency_may_differ(old_size: int, size: int) -> None:
    """Catches a forked log that passes for a continued one."""
    old, new = (old_size, mth(0, old_size)), (size, mth(0, size))
    proof = TREE.consistency(old_size, size)
    assert is_consistent(old, new, proof)
    for changed in _mutations(old[1]):
        assert not is_consistent((old_size, changed), new, proof)
    for changed in _mutations(new[1]):
        assert not is_consistent(old, (size, changed), proof)
    for at, one in enumerate(proof):
        for changed in _mutations(one):
            assert not is_consistent(old, new, (*proof[:at], changed, *proof[at + 1 :]))
    assert not is_consistent(old, new, proof[:-1])
    assert not is_consistent(old, new, (*proof, proof[0]))
    for other in {old_size - 1, old_size + 1} - {0, size}:
        assert not is_consistent((other, old[1]), new, proof)


def test_equal_and_empty_logs() -> None:
    """Catches equal sizes with unequal roots, and a shorter log that continues a longer one."""
    empty, one, two = mth(0, 0), (1, mth(0, 1)), (2, mth(0, 2))
    assert is_consistent((0, empty), two, ())
    assert is_consistent((0, empty), (0, empty), ())
    assert is_consistent(two, two, ())
    assert not is_consistent((2, one[1]), two, ())
    assert not is_consistent(two, one, TREE.consistency(1, 2))
    assert not is_consistent((0, one[1]), two, ())
    assert not is_consistent(one, two, ())


def test_places_that_do_not_exist_are_refused() -> None:
    """Catches a proof of nothing."""
    for index, size in ((0, 0), (3, 3), (-1, 3)):
        with pytest.raises(InvalidInput, match=f"position {index + 1} is not within"):
            TREE.inclusion(index, size)
    with pytest.raises(InvalidInput, match="a log of 3 events cannot continue one of 4"):
        TREE.consistency(4, 3)


@pytest.mark.parametrize("size", [TILE**2 - 1, TILE**2, TILE**2 + 1, 2 * TILE**2 + 700])
def test_proofs_reach_over_tiles_of_tiles(size: int) -> None:
    """Catches a level above the first that is taken for another, which small logs do not have."""
    tree, root = LogTree(Stored(size)), mth(0, size)
    assert tree.root(size) == root
    for index in {0, 255, 256, TILE**2 - 2, size - 1}:
        proof = tree.inclusion(index, size)
        assert is_included(LEAVES[index], index, size, proof, root)
    for old_size in {1, 255, 256, 65_000, size - 1}:
        proof = tree.consistency(old_size, size)
        assert is_consistent((old_size, mth(0, old_size)), (size, root), proof)
