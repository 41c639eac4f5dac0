"""
Commands given to a fork of a book: decided by the deciders of the book, written nowhere else.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final

from orderledger.commands import deciders as _deciders
from orderledger.commands.decision import Command
from orderledger.commands.handle import Executor
from orderledger.commands.period_commands import Exclusive
from orderledger.commands.requests import Actor, Envelope
from orderledger.commands.risk_hook import RiskHook
from orderledger.ledger.as_of import LogAsOf
from orderledger.ledger.errors import OrderLedgerError
from orderledger.ledger.hypothetical import Fork
from orderledger.ledger.ids import CountedIds
from orderledger.ledger.ports import StoredEvent

OpenFork = Callable[[LogAsOf, Callable[[], datetime]], Fork]
"""Opens a fork of a log, with the clock that gives ``recorded_at``."""
assert _deciders.__all__, "importing them has registered the deciders"


class Course:
    """
    What becomes of a book when commands are given to it at instants of a clock of its own.

    The same log, commands and instants give the same events, their ids included. ``now`` is what
    the clock says; whoever gives the commands sets it.
    """

    def __init__(
        self, log: LogAsOf, open_fork: OpenFork, at: datetime, risk: RiskHook | None = None
    ) -> None:
        self.now = at
        self.fork: Final = open_fork(log, lambda: self.now)
        self._executor: Final = Executor(self.fork, clock=lambda: self.now, new_id=CountedIds(at))
        self._executor.risk = risk

    def give(self, command: Command, actor: Actor) -> Sequence[StoredEvent]:
        """Execute a command on the fork and return its events; raises what refuses it."""
        before = len(self.fork.written)
        envelope = Envelope(command=command, actor=actor)
        if isinstance(command, Exclusive):
            self._executor.execute(envelope)
        else:
            self._give_alone(envelope)
        return self.fork.written[before:]

    def _give_alone(self, envelope: Envelope) -> None:
        try:
            # Not ``execute``: what it does is logged as a command of the book.
            self._executor.execute_atomic((envelope,))
        except OrderLedgerError as error:
            if isinstance(error.__cause__, type(error)):
                raise error.__cause__ from None
            raise

    def state(self, stream: str) -> Any:
        """Return the state of a stream of the fork."""
        return self._executor.state(stream).state

    def close(self) -> None:
        """Release what executes."""
        self._executor.close()
