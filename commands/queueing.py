"""
The durable command queue: a command is written as work at once, and executed by a worker later.

Commands that name a common stream (``Command.streams()``) are executed in the order in which they
were accepted, the later when the earlier is done, refused or dead; others in any order. Two that
are accepted at the same time have no order. The key is the key of the command: what was executed
under it already, queued or not, is not executed again.
"""

from datetime import datetime
from typing import Final

import msgspec

from orderledger.ledger.codec import encode_json
from orderledger.ledger.errors import IdempotencyConflict, OrderLedgerError, Unavailable
from orderledger.ledger.work_ports import Lane, NewWork, Work, WorkStatus, WorkStore

from .deciding import Prepared
from .effects import decode_envelope, encode_envelope
from .idempotency import decode_refusal
from .requests import Receipt

_receipt: Final = msgspec.json.Decoder(Receipt)


class Ticket(msgspec.Struct, frozen=True, kw_only=True):
    """
    A command in the queue, and what came of it.

    ``receipt`` is there once it was executed, ``refusal`` once the domain refused it. ``error`` is
    what the latest attempt failed with; a ticket whose ``status`` is dead waits for a person.
    """

    key: str
    command: str
    status: WorkStatus
    attempts: int
    queued_at: datetime
    due_at: datetime
    finished_at: datetime | None = None
    receipt: Receipt | None = None
    refusal: OrderLedgerError | None = None
    error: str = ""

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes of it by itself."""
        return self.status is not WorkStatus.WAITING

    def result(self) -> Receipt:
        """Return the receipt; raises the refusal, or Unavailable while there is neither."""
        if self.refusal is not None:
            raise self.refusal
        if self.receipt is None:
            raise Unavailable(
                f"command {self.command} with key {self.key!r} is {self.status.value}"
                + (f": {self.error}" if self.error else ""),
                key=self.key,
                status=self.status.value,
            )
        return self.receipt


def enqueue(work: WorkStore, prepared: Prepared, now: datetime) -> Ticket:
    """
    Write a command as work of the queue, in one statement, and return its ticket.

    A second time with the same key returns the ticket of the first. Raises IdempotencyConflict
    where that was another command.
    """
    kind, payload = encode_envelope(
        msgspec.structs.replace(prepared.envelope, command=prepared.command)
    )
    new = NewWork(
        lane=Lane.QUEUE,
        key=prepared.key,
        kind=kind,
        payload=payload,
        streams=tuple(dict.fromkeys(prepared.streams)),
        created_at=now,
        due_at=now,
    )
    if work.put((new,)):
        return Ticket(
            key=new.key,
            command=type(prepared.command).__name__,
            status=WorkStatus.WAITING,
            attempts=0,
            queued_at=now,
            due_at=now,
        )
    found = work.find(Lane.QUEUE, new.key)
    assert found is not None, "work is never deleted"
    _check_same(prepared, found)
    return ticket_of(found)


def _check_same(prepared: Prepared, found: Work) -> None:
    mine = prepared.command
    name = found.kind.partition(":")[2]
    if name != type(mine).__name__:
        raise IdempotencyConflict(found.key, ("command",))
    theirs = decode_envelope(found.kind, found.payload, found.key).command
    differing = tuple(
        [
            field
            for field in mine.__struct_fields__
            if encode_json(getattr(mine, field)) != encode_json(getattr(theirs, field))
        ]
    )
    if differing:
        raise IdempotencyConflict(found.key, differing)


def ticket_of(found: Work) -> Ticket:
    """Return work of the queue as its caller sees it."""
    is_done = found.status is WorkStatus.DONE
    is_refused = found.status is WorkStatus.REFUSED
    return Ticket(
        key=found.key,
        command=found.kind.partition(":")[2],
        status=found.status,
        attempts=found.attempts,
        queued_at=found.created_at,
        due_at=found.due_at,
        finished_at=found.finished_at,
        receipt=_receipt.decode(found.result) if is_done else None,
        refusal=decode_refusal(found.result) if is_refused else None,
        error=found.error,
    )
