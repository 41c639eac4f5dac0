"""
A mapping of many entries for states: adding one copies a page of them, not all of them.

Folding n events that each add an entry to a plain dict copies n²/2 entries; here it is n times the
size of a page and of the table of pages. Source: the array mapped tries of P. Bagwell, "Ideal Hash
Trees", with one level.
"""

from collections.abc import Iterator, Mapping
from typing import Final, Generic, TypeVar
from zlib import crc32

import msgspec

V = TypeVar("V")
PAGE_COUNT: Final = 512
"""Pages at most: with 100,000 entries a page has 200."""


class Paged(msgspec.Struct, Generic[V], frozen=True, gc=False):
    """An immutable mapping of texts to values; ``size`` is how many there are."""

    pages: Mapping[int, Mapping[str, V]] = {}
    size: int = 0

    def get(self, key: str) -> V | None:
        """Return the value of a key, or None."""
        page = self.pages.get(_page_of(key))
        return None if page is None else page.get(key)

    def with_value(self, key: str, value: V) -> "Paged[V]":
        """Return the mapping with a value put in or replaced."""
        number = _page_of(key)
        page = self.pages.get(number, {})
        size = self.size + (key not in page)
        return Paged({**self.pages, number: {**page, key: value}}, size)

    def without(self, key: str) -> "Paged[V]":
        """Return the mapping without a key, if it has it."""
        number = _page_of(key)
        page = self.pages.get(number, {})
        if key not in page:
            return self
        kept = {name: value for name, value in page.items() if name != key}
        return Paged({**self.pages, number: kept}, self.size - 1)

    def items(self) -> Iterator[tuple[str, V]]:
        """Iterate over all entries, in no order that means anything but always the same."""
        for number in sorted(self.pages):
            page = self.pages[number]
            for key in sorted(page):
                yield key, page[key]


def _page_of(key: str) -> int:
    # Not hash(): that differs from process to process.
    return crc32(key.encode()) % PAGE_COUNT
