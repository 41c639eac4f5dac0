"""
Filling generations of read models from the log, as fast as one process can.

Generations that are filled together read the log once. While one batch is projected, a thread reads
the next and another writes the one before: both mostly wait for the database.
"""

import gc
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from orderledger.projections.ahead import ReadAhead, Threads
from orderledger.projections.read_models import ReadModels

from .building import Build

Progress = Callable[[int, int], None]
"""Called with the position reached and the head."""


def complete(models: ReadModels, builds: Sequence[Build], progress: Progress) -> None:
    """
    Fill generations, and see to it that what is parked could not be read by this code.

    What an interrupted build parked says what its code made of it: it is begun again.
    """
    fill(models, builds, progress)
    if again := [build for build in builds if build.freshen()]:
        fill(models, again, progress)


def fill(models: ReadModels, builds: Sequence[Build], progress: Progress) -> None:
    """
    Bring generations to the head as it is now, side by side; those behind come along first.

    Raises what ``Build.step`` raises; what is written until then stays.
    """
    while models.events.sequence():
        pass
    head = models.events.head().size
    with (
        ReadAhead(models.events, head) as reader,
        ThreadPoolExecutor(1, "orderledger-write-behind") as writer,
        paused_collector() as collect,
    ):
        try:
            for build in builds:
                build.verify()
                build.use(Threads(reader, writer))
            while behind := [one for one in builds if one.generation.position < head]:
                position = min([one.assumed for one in behind])
                for build in behind:
                    if build.assumed == position:
                        build.step(min(build.border, head))
                collect()
                progress(min([one.generation.position for one in builds]), head)
        finally:
            for build in builds:
                build.use(None)


@contextmanager
def paused_collector() -> Generator[Callable[[], object]]:
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
