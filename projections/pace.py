"""
How many events are taken at once, where some may end whoever projects them by force.

An event may use up the memory, crash the interpreter, or never come to an end. Each time the next
owner finds a lease that ran out at the same position. After two such deaths it goes on event by
event, and after four it parks the stream of the event that is next.
"""

import re
from typing import Final

from orderledger.ledger.model_ports import Parked

from .follow import Follower

DEATHS_CAREFUL: Final = 2
"""Deaths at one position after which events are taken one by one, to find the one that kills."""
DEATHS_PARKED: Final = 4
"""Deaths at one position after which the stream of the next event is parked."""
# What a projector raises stands after the name of its class and a colon.
_BY_FORCE: Final = re.compile(r"ended [0-9]+ workers by force")


def is_by_force(parked: Parked) -> bool:
    """Tell whether a stream is parked because its event ended workers, not for an error."""
    return _BY_FORCE.fullmatch(parked.error) is not None


class Pace:
    """The steps of one follower, of ``batch_events`` at once while all is well."""

    def __init__(self, batch_events: int) -> None:
        self.batch_events: Final = batch_events
        self._careful_until = 0

    def is_careful(self, position: int) -> bool:
        """Tell whether events are taken one by one at a position."""
        return position < self._careful_until

    def advance(self, follower: Follower, deaths: int, until: int) -> None:
        """
        Take the next batch below a position, or one event where batches ended their workers.

        ``deaths`` is how many ended at the follower's position before (``ModelStore.claim``).
        """
        if deaths >= DEATHS_CAREFUL:
            # Until the batch that killed is behind us: the one after a batch that may not have been
            # written yet (``Follower.step``).
            self._careful_until = follower.generation.position + 2 * self.batch_events
        if deaths < DEATHS_CAREFUL and not self.is_careful(follower.assumed):
            follower.step(until, self.batch_events)
        elif not follower.settle():
            return
        elif deaths >= DEATHS_PARKED:
            follower.park_next(f"ended {deaths} workers by force")
        else:
            follower.catch_up(follower.generation.position + 1, batch_events=1)
