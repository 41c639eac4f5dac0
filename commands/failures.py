"""
What callers are told when a batch, an atomic group or a series of attempts could not go on.
"""

from collections.abc import Mapping

from orderledger.ledger.errors import (
    ConcurrencyConflict,
    IdempotencyConflict,
    OrderLedgerError,
    Rejected,
    StorageError,
    Unavailable,
)

from .deciding import Prepared


def failure(error: BaseException) -> OrderLedgerError:
    """Return the error for everyone whose command shared a transaction with one that failed."""
    if isinstance(error, Exception):
        return StorageError(f"the append failed: {error!r}")
    # An interrupt may come after the commit: those who shared the transaction cannot know.
    return Unavailable(
        f"the thread that wrote this command was interrupted ({type(error).__name__}); "
        "retry it with the same key"
    )


def exhausted(prepared: Prepared, moved: Mapping[str, int]) -> ConcurrencyConflict:
    """Name a stream that kept moving; the caller may simply retry."""
    streams = prepared.streams
    stream = next((one for one in streams if one in moved), streams[0] if streams else "")
    actual = moved.get(stream, 0)
    return ConcurrencyConflict(stream, max(actual - 1, 0), actual)


def at_index(error: OrderLedgerError, index: int) -> OrderLedgerError:
    """Return the same error with the place of its command in the atomic group."""
    message = f"command {index} of the atomic group: {error.message}"
    if isinstance(error, Rejected):
        return Rejected(error.reason, message, **{**error.facts, "index": index})
    if isinstance(error, ConcurrencyConflict | IdempotencyConflict):
        return error
    return type(error)(message, **{**error.facts, "index": index})
