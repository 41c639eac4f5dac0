"""
Filling generations of read models from the log, as fast as one process can.

Generations that are filled together read the log once. While one batch is projected, a thread reads
the next and another writes the one before: both mostly wait for the database.
"""

import gc
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Final, Self

from orderledger.ledger.model_ports import Generation
from orderledger.projections.ahead import ReadAhead, Threads
from orderledger.projections.follow import Follower
from orderledger.projections.models import ReadModel
from orderledger.projections.read_models import ReadModels

BUILD_BATCH_EVENTS: Final = 10_000
"""Events per transaction while building: nobody reads these rows yet."""

Progress = Callable[[int, int], None]
"""Called with the position reached and the head."""


class Filling:
    """
    The threads that read ahead and write behind, while the ``with`` block lasts.

    What is read ahead ends at the head as it is when this is made.
    """

    def __init__(self, models: ReadModels) -> None:
        self._models: Final = models
        self._ending: Final = ExitStack()
        self.head: Final = models.events.head().size
        self._reader: Final = ReadAhead(models.events, self.head)
        self._writer: Final = ThreadPoolExecutor(1, "orderledger-write-behind")

    def follower(self, model: ReadModel, generation: Generation) -> Follower:
        """Return what fills a generation, with these threads at its side."""
        events, store = self._models.events, self._models.store
        follower = Follower(events, store, model, generation, clock=self._models.clock)
        follower.use(Threads(self._reader, self._writer))
        return follower

    def fill(self, followers: Sequence[Follower], progress: Progress) -> None:
        """
        Bring generations to the head, side by side; those that are behind come along first.

        Raises what ``Follower.catch_up`` raises; what is written until then stays.
        """
        for follower in followers:
            follower.verify()
        with _paused_collector() as collect:
            while behind := [one for one in followers if one.generation.position < self.head]:
                position = min([one.assumed for one in behind])
                for follower in behind:
                    if follower.assumed == position < self.head:
                        follower.step(self.head, BUILD_BATCH_EVENTS)
                    elif position == self.head:
                        follower.settle()
                collect()
                progress(min([one.generation.position for one in followers]), self.head)

    def __enter__(self) -> Self:
        self._ending.enter_context(self._reader)
        self._ending.enter_context(self._writer)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ending.close()


@contextmanager
def _paused_collector() -> Generator[Callable[[], object]]:
    """
    Keep the cycle collector from looking through a heap in which there are no cycles.

    It costs as much as the projection itself. The function that this gives looks at what is new,
    so that a projector, or another thread, that does make cycles uses no more memory than a batch.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield lambda: gc.collect(0)
    finally:
        if was_enabled:
            gc.enable()
