"""
The library's log: one canonical line per command, through the standard logging tree.

The library never configures logging: the logger ``orderledger`` is silent until the host sets a
level, and structlog renders the fields as one ``key=value`` line. No payload, name or card data.
"""

import logging
from functools import cache
from typing import Any, Final

import msgspec

_logger: Final = logging.getLogger("orderledger")


@cache
def _log() -> Any:
    # Not before the first line is logged: importing structlog takes a third of opening a book.
    import structlog

    return structlog.wrap_logger(
        _logger,
        processors=[structlog.stdlib.filter_by_level, structlog.processors.LogfmtRenderer()],
        wrapper_class=structlog.stdlib.BoundLogger,
    )


def is_logged() -> bool:
    """Tell whether the host listens, so that the hot path need not build the line."""
    return _logger.isEnabledFor(logging.INFO)


class Handled(msgspec.Struct, frozen=True):
    """The canonical line of one command; ``outcome`` is accepted, or the name of its error."""

    command: str
    key: str
    outcome: str
    streams: tuple[str, ...]
    events: int
    attempts: int


def command_handled(line: Handled) -> None:
    """Log the outcome of a command."""
    _log().info(
        "command.handled",
        command=line.command,
        key=line.key,
        outcome=line.outcome,
        streams=",".join(line.streams),
        events=line.events,
        attempts=line.attempts,
    )


def background_failed(task: str, book: str, error: Exception) -> None:
    """Log that work in the background could not be done now; the next attempt follows."""
    _log().warning("background.failed", task=task, book=book, error=str(error))
