"""How a long reading tells where it is."""

from collections.abc import Callable
from typing import Final

PAGE_EVENTS: Final = 1_000
Progress = Callable[[str, int, int], None]
"""Called with the name of the pass, how much is done and how much there is."""


def silent(name: str, done: int, whole: int) -> None:
    """Report no progress."""
