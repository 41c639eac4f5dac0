"""The Merkle tree against a straightforward recursive reading of RFC 6962, section 2.1."""

import random
from collections.abc import Sequence
from hashlib import sha256

import pytest

from orderledger.ledger.merkle import TILE, complete_tiles, node_hash, subtree_root, tree_root


def recursive_root(leaves: Sequence[bytes]) -> bytes:
    """Compute MTH as the RFC writes it, over leaf hashes."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    left, right = recursive_root(leaves[:split]), recursive_root(leaves[split:])
    return sha256(b"\x01" + left + right).digest()


def leaf(number: int) -> bytes:
    """Return a cheap, distinct stand-in for a leaf hash."""
    return number.to_bytes(32, "big")


LEAVES = [leaf(number) for number in range(600)]


class StoredNodes:
    """Leaves and tiles as a store keeps them; refuses nodes that are not there yet."""

    def __init__(self) -> None:
        self.levels: dict[int, list[bytes]] = {0: []}

    def __call__(self, level: int, start: int, count: int) -> Sequence[bytes]:
        found = self.levels.get(level, [])[start : start + count]
        assert len(found) == count, f"level {level} has no nodes {start} to {start + count}"
        return found

    def append(self, leaves: Sequence[bytes]) -> None:
        before = len(self.levels[0])
        self.levels[0].extend(leaves)
        for level, index, root in complete_tiles(before, len(self.levels[0]), self):
            nodes = self.levels.setdefault(level, [])
            assert len(nodes) == index, f"tile {index} of level {level} out of order"
            nodes.append(root)


def test_empty_and_single() -> None:
    """An empty log whose root is that of one empty leaf."""
    assert subtree_root([]) == sha256(b"").digest()
    assert subtree_root([leaf(7)]) == leaf(7)
    assert node_hash(b"a", b"b") == sha256(b"\x01ab").digest()


def test_published_roots() -> None:
    """A tree that agrees with itself but with no other implementation.

    Source: the test vectors of google/certificate-transparency (merkletree/merkle_tree_test.cc).
    """
    inputs = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657"]
    leaves = [sha256(b"\x00" + bytes.fromhex(text)).digest() for text in inputs]
    roots = {
        1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        4: "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        5: "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        6: "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        7: "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    }
    for size, root in roots.items():
        assert subtree_root(leaves[:size]).hex() == root


def test_every_size_up_to_600() -> None:
    """An odd node that is hashed with itself, or carried to the wrong place."""
    stored = StoredNodes()
    stored.append(LEAVES)
    for size in range(601):
        expected = recursive_root(LEAVES[:size])
        assert subtree_root(LEAVES[:size]) == expected, size
        assert tree_root(size, stored) == expected, size


@pytest.mark.parametrize("step", [1, 2, 100, 255, 256, 257, 600])
def test_tiles_do_not_depend_on_the_size_of_appends(step: int) -> None:
    """A tile that is missed or made twice when an append ends at, or crosses, its border."""
    stored = StoredNodes()
    for start in range(0, 600, step):
        stored.append(LEAVES[start : start + step])
    assert stored.levels[1] == [recursive_root(LEAVES[:256]), recursive_root(LEAVES[256:512])]
    assert set(stored.levels) == {0, 1}


def test_around_the_second_level() -> None:
    """The first tile of level 2 (65,536 leaves), which nobody sees in a small test."""
    edge = TILE * TILE
    leaves = [leaf(number) for number in range(edge + 700)]
    stored = StoredNodes()
    chooser = random.Random(7)
    position = 0
    while position < edge - 3:
        step = min(chooser.choice((1, 50, 300, 5_000)), edge - 3 - position)
        stored.append(leaves[position : position + step])
        position += step
    for size in (
        edge - 3,
        edge - 1,
        edge,
        edge + 1,
        edge + 255,
        edge + 256,
        edge + 257,
        edge + 700,
    ):
        stored.append(leaves[position:size])
        position = size
        assert tree_root(size, stored) == recursive_root(leaves[:size]), size
        for earlier in (1, 255, 256, 257, 10_000, edge - 1, edge):
            if earlier <= size:
                assert tree_root(earlier, stored) == recursive_root(leaves[:earlier]), earlier
    assert stored.levels[1] == [
        recursive_root(leaves[index * TILE : (index + 1) * TILE])
        for index in range((edge + 700) // TILE)
    ]
    assert stored.levels[2] == [recursive_root(leaves[:edge])]


def test_one_append_over_the_second_level() -> None:
    """An import in one append, which makes tiles of two levels at once."""
    edge = TILE * TILE
    stored = StoredNodes()
    stored.append([leaf(0)] * 10)
    stored.append([leaf(0)] * (edge + 500))
    assert len(stored.levels[1]) == (edge + 510) // TILE
    assert stored.levels[2] == [recursive_root(stored.levels[1][:TILE])]
