"""
The error of every importer: a file has a line that cannot be read.
"""

from typing import Final

from orderledger.ledger.errors import InvalidInput

_TEXT_MAX: Final = 100


class ImportFileError(InvalidInput):
    """The file has a line that cannot be read."""

    def __init__(self, line: int, field: str, value: str, why: str) -> None:
        shown = value if len(value) <= _TEXT_MAX else f"{value[:_TEXT_MAX]}…"
        super().__init__(
            f"line {line}: {field} {shown!r} {why}", line=line, field=field, value=shown
        )
