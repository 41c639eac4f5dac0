"""Books for the tests of read models: a marketplace day, and a handful of entries."""

from functools import cache

from orderledger import Book, Envelope
from orderledger.commands.account_commands import PostEntry, PostingInput, ReverseEntry
from orderledger.demo_scenarios import interleaved, stories
from orderledger.ledger.ports import EventStore
from orderledger.testing import memory_book

SEED = 11


@cache
def day() -> tuple[Envelope, ...]:
    """Return the commands of a small marketplace's day, every scenario of the demo among them."""
    return tuple([step.envelope for step in interleaved(stories(SEED, 60))])


@cache
def day_in_memory() -> Book:
    """Return a book in memory that has lived that day; nobody writes to it."""
    book = memory_book()
    book.execute_many(day())
    return book


def post(number: int, description: str = "entry") -> PostEntry:
    """Return an entry of ``number`` + 1 minor units to one of five sellers."""
    return PostEntry(
        entry_id=f"e{number}",
        description=description,
        postings=(
            PostingInput("assets:bank:a", "EUR", number + 1),
            PostingInput(f"liabilities:seller:s{number % 5}", "EUR", -number - 1),
        ),
    )


def reverse(number: int) -> ReverseEntry:
    return ReverseEntry(entry_id=f"e{number}", reversal_id="r", reason="again")


def fill(store: EventStore, entries: int = 60) -> None:
    """Post entries and take every seventh back."""
    with_book = Book(store)
    results = with_book.execute_many(
        [*[post(number) for number in range(entries)], *[reverse(n) for n in range(0, entries, 7)]]
    )
    assert all(hasattr(result, "streams") for result in results)
