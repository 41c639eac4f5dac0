"""Small commands for tests of the executor: manual entries, reversed in parts."""

from orderledger.commands.account_commands import PostEntry, PostingInput, ReverseEntry
from orderledger.commands.requests import Envelope

BANK = "assets:bank:main"
OPENING = "equity:opening"


def post(entry_id: str, minor: int = 100, description: str = "opening") -> PostEntry:
    return PostEntry(
        entry_id=entry_id,
        description=description,
        postings=(PostingInput(BANK, "GBP", minor), PostingInput(OPENING, "GBP", -minor)),
    )


def reverse(entry_id: str, reversal_id: str, minor: int) -> ReverseEntry:
    return ReverseEntry(
        entry_id=entry_id,
        reversal_id=reversal_id,
        reason="test",
        postings=(PostingInput(BANK, "GBP", -minor), PostingInput(OPENING, "GBP", minor)),
    )


def with_key(key: str, command: PostEntry | ReverseEntry) -> Envelope:
    return Envelope(command=command, key=key)
