"""
A subscription that survives lost connections: listen first, then pull; poll as the fallback.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from eventsourcing.persistence import (
    ApplicationRecorder,
    Notification,
    OperationalError,
    Subscription,
)

POLL_S: Final = 1.0
"""Longest wait before the log is read although nothing announced an event."""


class Waiter(Protocol):
    """A way to wait for new events of one book."""

    def listen(self) -> None:
        """Begin to listen, again after a loss; what is appended from now on ends a wait."""
        ...

    def wait(self, timeout_s: float) -> None:
        """Return when events were announced, ``wake`` was called or the time is over."""
        ...

    def wake(self) -> None:
        """End a wait, from any thread."""
        ...

    def close(self) -> None: ...


class LedgerSubscription(Subscription[ApplicationRecorder]):
    """
    Iterates over notifications and waits for more, until ``stop()``.

    Pulls in the thread that iterates. While the database is unavailable it waits and tries again;
    every event after ``gt`` is yielded exactly once, in order.
    """

    def __init__(
        self,
        recorder: ApplicationRecorder,
        gt: int | None,
        topics: Sequence[str],
        *,
        pull: Callable[[int], Sequence[Notification]],
        waiter: Waiter,
    ) -> None:
        super().__init__(recorder, gt, topics)
        self._position = gt or 0
        self._wanted = frozenset(topics)
        self._pull: Final = pull
        self._waiter: Final = waiter
        self._ready: Final[deque[Notification]] = deque()

    def stop(self) -> None:
        """End the iteration, from any thread; a waiting ``__next__`` returns at once."""
        super().stop()
        self._waiter.wake()

    def __exit__(self, *args: object, **kwargs: object) -> None:
        super().__exit__(*args, **kwargs)
        self._waiter.close()

    def __next__(self) -> Notification:
        while not self._has_been_stopped:
            if self._ready:
                return self._ready.popleft()
            if not self._fill():
                self._waiter.wait(POLL_S)
        raise StopIteration

    def _fill(self) -> bool:
        """Read the next page; False if there was nothing, or no database."""
        try:
            # Before reading: an event between the two would otherwise be seen a poll later.
            self._waiter.listen()
            page = self._pull(self._position)
        except OperationalError:
            return False
        if not page:
            return False
        self._position = page[-1].id
        self._ready.extend(one for one in page if not self._wanted or one.topic in self._wanted)
        return True
