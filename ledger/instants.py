"""
Instants: points in time with a time zone. A naive time means something else on every machine.
"""

from datetime import datetime
from typing import Annotated

import msgspec

Instant = Annotated[datetime, msgspec.Meta(tz=True)]
"""A field type: decoding refuses a time without a zone."""
