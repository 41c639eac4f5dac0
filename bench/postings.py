"""
The one-event command of the small benchmarks: PostEntry with two legs on a new stream.

One event, balanced by the database's own CHECK, with a random idempotency key that the client
gives. Entry ids are time-ordered, as the library's own are.
"""

import itertools
import os
from collections.abc import Callable
from typing import Any

from orderledger import Book, Envelope
from orderledger.commands.account_commands import PostEntry, PostingInput
from orderledger.ledger.ids import new_id

PLATFORM = "assets:psp:adyen"
_numbers = itertools.count(1)


def random_key() -> str:
    """Return an idempotency key as a client would draw it."""
    return os.urandom(16).hex()


def post_entry(seller: str = "s1") -> PostEntry:
    """Return a fresh entry: the platform received an amount that it owes to a seller."""
    amount = 1 + next(_numbers) % 100_000
    return PostEntry(
        entry_id=str(new_id()),
        description="benchmark entry",
        postings=(
            PostingInput(PLATFORM, "GBP", amount),
            PostingInput(f"liabilities:seller:{seller}", "GBP", -amount),
        ),
    )


def keyed(seller: str = "s1") -> Envelope:
    """Return a fresh entry in its envelope, with a random key."""
    return Envelope(command=post_entry(seller), key=random_key())


def executing(book: Book) -> Callable[[], Any]:
    """Return a call that executes one fresh command with a random key."""
    execute = book.execute
    return lambda: execute(post_entry(), key=random_key())
