"""
Commands about work: effects, queued commands and timers.
"""

from orderledger.ledger import streams

from .decision import Command


class DiscardWork(Command, frozen=True, kw_only=True):
    """
    Acknowledge that an effect, a queued command or a timer will not be performed, and why.

    ``orderledger outbox discard`` and ``Book.discard`` fill it in from the work that failed.
    """

    lane: str
    key: str
    reason: str
    error: str = ""

    def streams(self) -> tuple[str, ...]:
        return (streams.work(self.lane),)
