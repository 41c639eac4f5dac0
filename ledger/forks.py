"""
What a forked process must not go on with: its parent's locks, threads, connections, random numbers.

A web server may open a book, then fork its workers. A lock that another thread held at that moment
stays locked in the child for ever, a pool has no threads there, and a connection used by both
processes gives one the answers meant for the other.
"""

import os
from collections.abc import Callable
from typing import Final
from weakref import WeakMethod

_resets: Final[list[WeakMethod[Callable[[], None]]]] = []


def in_child(reset: Callable[[], None]) -> None:
    """Have a bound method called in every process forked from here on, while its object lives."""
    _resets[:] = [one for one in _resets if one() is not None]
    _resets.append(WeakMethod(reset))


def _forked() -> None:
    for one in _resets:
        reset = one()
        if reset is not None:
            reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
