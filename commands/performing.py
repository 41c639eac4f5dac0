"""
Performing work: the command is executed, the port asked, and what it answered recorded.

Whatever crashes between, the work is performed again under the same keys: a command that ran is
replayed, a provider that got the request answers as it did, and its answer is recorded once.
"""

from collections.abc import Callable
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

import msgspec

from orderledger.ledger import streams
from orderledger.ledger.codec import encode_json
from orderledger.ledger.deadlines import Deadline
from orderledger.ledger.errors import (
    ConcurrencyConflict,
    IdempotencyConflict,
    IntegrityViolation,
    InvalidInput,
    NotFound,
    OrderLedgerError,
    Reason,
    Rejected,
)
from orderledger.ledger.open_deadlines import is_open
from orderledger.ledger.payment_operations import OperationStatus
from orderledger.ledger.payouts import PayoutStatus
from orderledger.ledger.provider_ports import (
    GatewayRequest,
    PayOutRequest,
    Ports,
    QueryRequest,
    Request,
)
from orderledger.ledger.streams import kind_of
from orderledger.ledger.work_ports import Lane, Outcome, Work, WorkStatus

from .decision import Command
from .effects import (
    CALL,
    DEADLINE,
    REACTION,
    Execute,
    bounded_key,
    decode_envelope,
    decode_origin,
    decode_request,
)
from .handle import Executor
from .idempotency import encode_refusal
from .payment_commands import QueryOperation
from .payout_commands import QueryPayout
from .port_answers import command_of
from .port_calls import ask
from .requests import Envelope, Receipt, Source
from .timers import fire

Reactions = Callable[[Work], None]
"""Lets a reactor look again at the event for which it failed; see ``reacting``."""


class Performer:
    """
    Performs work of one book with its executor and its ports.

    ``perform`` returns what came of it, or raises what a later attempt may mend.
    """

    def __init__(
        self,
        executor: Executor,
        ports: Ports,
        *,
        clock: Callable[[], datetime],
        reactions: Reactions | None = None,
    ) -> None:
        self._executor: Final = executor
        self._ports: Final = ports
        self._clock: Final = clock
        self._reactions: Final = reactions

    def perform(self, work: Work) -> Outcome:
        """Do what the work says, once; raises what is worth another attempt."""
        kind = work.kind.partition(":")[0]
        if kind == DEADLINE:
            return self._fire(work)
        if kind == CALL:
            return self._call(work, decode_request(work.kind, work.payload))
        if kind == REACTION:
            return self._react(work)
        return self._execute(work, decode_envelope(work.kind, work.payload, _command_key(work)))

    def _react(self, work: Work) -> Outcome:
        if self._reactions is None:
            raise IntegrityViolation(f"nobody here performs {work.kind}", kind=work.kind)
        self._reactions(work)
        return Outcome(status=WorkStatus.DONE, at=self._clock())

    def _fire(self, work: Work) -> Outcome:
        origin = decode_origin(work.origin)
        state = self._executor.state(origin.stream).state
        if not is_open(kind_of(origin.stream), state, origin.deadline_id):
            return Outcome(status=WorkStatus.GONE, at=self._clock())
        assert origin.due_at is not None, "a deadline has an instant"
        deadline = Deadline(origin.deadline_id, origin.deadline_kind, origin.due_at)
        effect = fire(origin.stream, deadline, state)
        if not isinstance(effect, Execute):
            return self._call(work, effect.request)
        command = effect.command
        if _refused_for_its_period(work):
            # Its own instant lies in a period that was closed meanwhile: it counts as of now.
            command = msgspec.structs.replace(command, occurred_at=None)
        envelope = Envelope(command=command, key=_command_key(work), source=Source.TIMER)
        return self._execute(work, envelope)

    def _execute(self, work: Work, envelope: Envelope) -> Outcome:
        try:
            receipt = self._executor.execute(envelope)
        except (Rejected, NotFound) as refusal:
            return self._refused(refusal, is_on_record=True)
        except (InvalidInput, IdempotencyConflict) as error:
            return self._refused(error, is_on_record=False)
        except ConcurrencyConflict as error:
            if not envelope.expected:
                raise
            return self._refused(error, is_on_record=False)
        return Outcome(status=WorkStatus.DONE, at=self._clock(), result=encode_json(receipt))

    def _refused(self, error: OrderLedgerError, *, is_on_record: bool) -> Outcome:
        return Outcome(
            status=WorkStatus.REFUSED,
            at=self._clock(),
            error=error.message,
            result=encode_refusal(error),
            is_refusal=is_on_record,
        )

    def _call(self, work: Work, request: Request) -> Outcome:
        if isinstance(request, PayOutRequest) or (
            isinstance(request, GatewayRequest) and not isinstance(request, QueryRequest)
        ):
            moved = self._moved_on(request)
            if moved:
                return Outcome(
                    status=WorkStatus.DONE, at=self._clock(), result=encode_json({"status": moved})
                )
        answer = ask(self._ports, request)
        command = command_of(request, answer)
        told: dict[str, Any] = {"answer": answer}
        if command is None:
            return Outcome(status=WorkStatus.DONE, at=self._clock(), result=encode_json(told))
        try:
            receipt = self._record(work, command)
        except (Rejected, NotFound, InvalidInput) as error:
            if isinstance(command, QueryOperation | QueryPayout) and isinstance(error, Rejected):
                # It has become known while we asked.
                return Outcome(status=WorkStatus.GONE, at=self._clock(), result=encode_json(told))
            told["problem"] = error.message
            return Outcome(
                status=WorkStatus.DEAD,
                at=self._clock(),
                error=f"the answer cannot be recorded: {error.message}",
                result=encode_json(told),
            )
        told["receipt"] = receipt
        return Outcome(status=WorkStatus.DONE, at=self._clock(), result=encode_json(told))

    def _moved_on(self, request: GatewayRequest | PayOutRequest) -> str:
        """
        Return the status of an operation or payout of which something is known already, else "".

        A request that was held up, or is redriven, must not move money for an operation that was
        given up or resolved by hand meanwhile. What is pending or unknown is asked about by its
        schedule of queries, not asked for again.
        """
        if isinstance(request, PayOutRequest):
            payout = self._executor.state(streams.payout(request.payout_id)).state
            is_new = payout.status is PayoutStatus.IN_TRANSIT and not payout.doubts
            return "" if is_new else str(payout.status.value)
        state = self._executor.state(streams.payment(request.payment_id)).state
        op = state.operations.get(request.op_id)
        if op is None or op.status is OperationStatus.REQUESTED:
            return ""
        return str(op.status.value)

    def _record(self, work: Work, command: Command) -> Receipt:
        """Record an answer under a key of its own: another answer is another fact."""
        digest = sha256(encode_json(command).encode()).hexdigest()[:16]
        key = bounded_key(f"{_command_key(work)}/answer/{digest}")
        return self._executor.execute(Envelope(command=command, key=key, source=Source.GATEWAY))


def _command_key(work: Work) -> str:
    """
    Return the key to execute under.

    An answer of the domain that is on record stays the answer of its key. Work of the queue has
    its caller's key, for good; other work is tried under another one when it is tried again.
    """
    if work.refusals == 0 or work.lane is Lane.QUEUE:
        return work.key
    return f"{work.key}#{work.refusals + 1}"


class _Refusal(msgspec.Struct, frozen=True):
    reason: str = ""


def _refused_for_its_period(work: Work) -> bool:
    if not work.refusals:
        return False
    try:
        found = msgspec.json.decode(work.result, type=_Refusal)
    except msgspec.MsgspecError:
        return False
    return found.reason == Reason.PERIOD_CLOSED.value
