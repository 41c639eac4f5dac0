"""
Instants: points in time with a time zone. A naive time means something else on every machine.
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import msgspec

from .errors import InvalidInput

Instant = Annotated[datetime, msgspec.Meta(tz=True)]
"""A field type: decoding refuses a time without a zone."""

EARLIEST: Final = datetime.min.replace(tzinfo=UTC)
LATEST: Final = datetime.max.replace(tzinfo=UTC)
"""
The instants that every store keeps. A zone can put an instant beyond them: PostgreSQL would keep
the 10,000th year, and then no program in Python could read the row, nor any balance of the book.
"""


def after(at: datetime, wait: timedelta) -> datetime:
    """Return an instant some time later, the last one there is where that would be beyond it."""
    return at + wait if at <= LATEST - wait else LATEST


def in_utc(instant: object, field: str) -> datetime:
    """
    Return an instant in UTC.

    Raises InvalidInput naming the field for what is none, has no zone, or is out of range.
    """
    if not isinstance(instant, datetime):
        raise InvalidInput(f"{field} is {instant!r:.80}; it must be a datetime", field=field)
    if instant.tzinfo is None:
        raise InvalidInput(f"{field} is {instant.isoformat()}, which has no time zone", field=field)
    if not EARLIEST <= instant <= LATEST:
        raise InvalidInput(f"{field} is {instant}, beyond the years 1 to 9999 in UTC", field=field)
    return instant.astimezone(UTC)
