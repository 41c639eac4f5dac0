"""
The whole error tree.

    OrderLedgerError
    ├── InvalidInput              malformed; never recorded                      422
    │   ├── InvalidMoney          a float, a bool, a wrong exponent
    │   ├── UnknownCurrency       a code that is neither ISO 4217 nor points
    │   ├── InvalidAccount        outside the address grammar
    │   ├── InvalidCommand        a field is missing, unknown or of another type
    │   ├── LimitExceeded         a documented limit (``ledger/limits.py``)
    │   ├── UnbalancedEntry       legs do not sum to zero per layer and currency
    │   └── ImportFileError       a line of a file (``orderledger/importers``)
    ├── Rejected                  the domain said no; recorded with the key     409
    ├── ConcurrencyConflict       the stream moved on                           412
    ├── AppendConflict            a batch; only callers of a store see it       412
    ├── IdempotencyConflict       same key, another command                     409
    ├── NotFound                  no such order, payment, account, book         404
    ├── Unavailable               the database cannot answer now; retry         503
    │   ├── DatabaseReadOnly      a read-only file, replica or transaction
    │   ├── DatabaseFull          nothing of the append was written
    │   ├── LockTimeout           another open transaction holds a row (``ledger/ports.py``)
    │   ├── RebuildUnderWay       somebody else builds that read model
    │   ├── NotSent               a provider did not get it (``ledger/provider_ports.py``)
    │   └── OutcomeUnknown        a provider may have got it (``ledger/provider_ports.py``)
    ├── StorageError              the database said something else              500
    │   └── SchemaMismatch        the tables are of another version
    └── IntegrityViolation        history is wrong: stop, never retry           500
        ├── UnknownTopic          the event's topic is not registered here
        ├── CorruptEvent          the event is not what its topic demands
        ├── CheckpointDiverged    a read model of another history; rebuild it
        ├── LogForked             the log does not continue a checkpoint that was signed
        └── RebuildRefused        a rebuilt read model has other rows than the one that serves

Every error carries its facts as fields, so that a program never parses a message. Precedence
within one command (the first that applies is raised): ``InvalidInput``, ``IdempotencyConflict``,
a stored reply of the same key, ``ConcurrencyConflict`` of a caller's own ``expected``,
``NotFound``, ``Rejected``.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import ClassVar, Final


class OrderLedgerError(Exception):
    """
    Base of everything this library raises on purpose.

    ``facts`` holds the machine-readable fields (strings, integers, lists of them); the message is
    the class docstring's first sentence followed by them, unless a better one is given.
    """

    http_status: ClassVar[int] = 500

    def __init__(self, message: str = "", **facts: object) -> None:
        self.facts: Final[Mapping[str, object]] = facts
        self.message: Final[str] = message or self._default_message(facts)
        super().__init__(self.message)

    @classmethod
    def _default_message(cls, facts: Mapping[str, object]) -> str:
        text = (cls.__doc__ or cls.__name__).strip().split("\n")[0].rstrip(".")
        listed = ", ".join(f"{name}={value}" for name, value in facts.items())
        return f"{text}: {listed}" if listed else text


class InvalidInput(OrderLedgerError):
    """The input is malformed."""

    http_status = 422


class InvalidMoney(InvalidInput):
    """The amount is not an integer number of minor units of its currency."""


class UnknownCurrency(InvalidInput):
    """The currency is neither an ISO 4217 code nor a points code."""


class InvalidAccount(InvalidInput):
    """The account name is outside the address grammar."""


class InvalidCommand(InvalidInput):
    """The command has a field that is missing, unknown or of the wrong type."""


class LimitExceeded(InvalidInput):
    """The input exceeds a documented limit."""


class UnbalancedEntry(InvalidInput):
    """The legs of the entry do not sum to zero."""


class Reason(StrEnum):
    """Why the domain refused. Stable: programs and stored replies depend on the values."""

    ALREADY_EXISTS = "already_exists"
    WRONG_STATE = "wrong_state"
    NOT_FOUND = "not_found"
    AMOUNT_NOT_POSITIVE = "amount_not_positive"
    AMOUNT_EXCEEDS_AVAILABLE = "amount_exceeds_available"
    AMOUNT_MISMATCH = "amount_mismatch"
    CURRENCY_MISMATCH = "currency_mismatch"
    QUANTITY_EXCEEDS_AVAILABLE = "quantity_exceeds_available"
    TOTALS_DO_NOT_ADD_UP = "totals_do_not_add_up"
    QUOTE_EXPIRED = "quote_expired"
    QUOTE_MISMATCH = "quote_mismatch"
    BUYER_CAP_EXCEEDED = "buyer_cap_exceeded"
    EMPTY_ORDER = "empty_order"
    ON_HOLD = "on_hold"
    NOT_COVERED = "not_covered"
    CHANGE_ALREADY_OPEN = "change_already_open"
    STALE_BASE_VERSION = "stale_base_version"
    OPERATION_IN_FLIGHT = "operation_in_flight"
    OPERATION_ALREADY_USED = "operation_already_used"
    NOT_YET_DUE = "not_yet_due"
    WINDOW_CLOSED = "window_closed"
    FOUR_EYES_REQUIRED = "four_eyes_required"
    APPROVAL_REQUIRED = "approval_required"
    RISK_LIMIT_EXCEEDED = "risk_limit_exceeded"
    NOT_SUPPORTED_BY_PROVIDER = "not_supported_by_provider"
    BOUND_TO_ANOTHER_ORDER = "bound_to_another_order"
    INSUFFICIENT_FUNDS = "insufficient_funds"
    ACCOUNT_FROZEN = "account_frozen"
    ACCOUNT_CLOSED = "account_closed"
    ACCOUNT_LIMIT = "account_limit"
    ALREADY_REVERSED = "already_reversed"
    ALREADY_PAID_OUT = "already_paid_out"
    SELLER_SUSPENDED = "seller_suspended"
    FUNDS_FROZEN = "funds_frozen"
    CHARGEBACK_OPEN = "chargeback_open"
    DISPUTE_OPEN = "dispute_open"
    DISPUTE_SUSPENDED = "dispute_suspended"
    DISPUTE_NOT_REFILABLE = "dispute_not_refilable"
    CONFLICT_OF_INTEREST = "conflict_of_interest"
    EVIDENCE_WINDOW_OPEN = "evidence_window_open"
    EVIDENCE_REQUIRED = "evidence_required"
    QUORUM_MISSING = "quorum_missing"
    VOTE_NOT_AS_SEALED = "vote_not_as_sealed"
    RULING_FINAL = "ruling_final"
    PERIOD_CLOSED = "period_closed"
    PERIOD_ORDER = "period_order"


class Rejected(OrderLedgerError):
    """The domain refused the command."""

    http_status = 409

    def __init__(self, reason: Reason, message: str, **facts: object) -> None:
        self.reason: Final[Reason] = reason
        super().__init__(message, **facts)


class ConcurrencyConflict(OrderLedgerError):
    """The stream has moved on since it was read."""

    http_status = 412

    def __init__(self, stream: str, expected: int, actual: int) -> None:
        self.stream: Final[str] = stream
        self.expected: Final[int] = expected
        self.actual: Final[int] = actual
        super().__init__(
            f"stream {stream} is at version {actual}, the append expected {expected}; "
            "read it again and decide anew",
            stream=stream,
            expected=expected,
            actual=actual,
        )


class IdempotencyConflict(OrderLedgerError):
    """The key was used before with another command."""

    http_status = 409

    def __init__(self, key: str, fields: tuple[str, ...]) -> None:
        self.key: Final[str] = key
        self.fields: Final[tuple[str, ...]] = fields
        super().__init__(
            f"idempotency key {key!r} was already used by a command that differs in "
            f"{', '.join(fields)}; use a new key for a new intention",
            key=key,
            fields=list(fields),
        )


class NotFound(OrderLedgerError):
    """There is no such thing in this book."""

    http_status = 404


class Unavailable(OrderLedgerError):
    """The database cannot answer now; the same call may be retried with the same key."""

    http_status = 503


class DatabaseReadOnly(Unavailable):
    """The database accepts no writes (read-only file, replica or transaction)."""


class DatabaseFull(Unavailable):
    """The disk or the database is full; nothing of this append was written."""


class RebuildUnderWay(Unavailable):
    """Somebody else rebuilds this read model; one at a time does."""


class StorageError(OrderLedgerError):
    """The database answered with an error that has no better name; see __cause__."""


class SchemaMismatch(StorageError):
    """The tables are of another version than this code; run `orderledger migrate`."""


class IntegrityViolation(OrderLedgerError):
    """Stored history is not what it must be. Stop and verify; retrying cannot help."""


class UnknownTopic(IntegrityViolation):
    """The event's topic is not registered in this version of the code."""


class CorruptEvent(IntegrityViolation):
    """The stored event cannot be decoded as its topic demands."""


class CheckpointDiverged(IntegrityViolation):
    """A projection was made from another history than the log's; rebuild it."""


class LogForked(IntegrityViolation):
    """The log is not the one that a checkpoint was signed for: it lost its end or was rewritten."""


class RebuildRefused(IntegrityViolation):
    """A rebuilt read model has other rows than the one that serves; neither can be trusted yet."""


EXIT_STATUS: Final[Mapping[type[OrderLedgerError], int]] = {
    ConcurrencyConflict: 3,
    IdempotencyConflict: 3,
    InvalidInput: 2,
    NotFound: 1,
    Rejected: 1,
    Unavailable: 4,
    StorageError: 4,
    IntegrityViolation: 1,
}
"""Exit status of the command line per error class; a subclass uses its nearest parent's."""

__all__ = [
    "EXIT_STATUS",
    "CheckpointDiverged",
    "ConcurrencyConflict",
    "CorruptEvent",
    "DatabaseFull",
    "DatabaseReadOnly",
    "IdempotencyConflict",
    "IntegrityViolation",
    "InvalidAccount",
    "InvalidCommand",
    "InvalidInput",
    "InvalidMoney",
    "LimitExceeded",
    "LogForked",
    "NotFound",
    "OrderLedgerError",
    "Reason",
    "RebuildRefused",
    "RebuildUnderWay",
    "Rejected",
    "SchemaMismatch",
    "StorageError",
    "Unavailable",
    "UnbalancedEntry",
    "UnknownCurrency",
    "UnknownTopic",
]
