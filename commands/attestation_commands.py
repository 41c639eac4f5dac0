"""
Commands about dossiers.
"""

import re
from typing import Final

from orderledger.ledger.errors import InvalidCommand
from orderledger.ledger.folds import FOLDS
from orderledger.ledger.streams import kind_of

from .decision import Command

_STREAM: Final = re.compile(r"[a-z]+-[\x21-\x7e]{1,400}")


class AttestStreams(Command, frozen=True, kw_only=True):
    """
    Close streams for a dossier of one of them: each gets an event that says that it ends here.

    ``Book.proving`` and `orderledger dossier export` fill it in from what belongs to an order.
    ``subject`` is the stream that the dossier is about, one of ``of``. Nothing else changes, and
    more may happen in the streams afterwards.
    """

    subject: str
    of: tuple[str, ...]
    reason: str

    def streams(self) -> tuple[str, ...]:
        for stream in self.of:
            if _STREAM.fullmatch(stream) is None or kind_of(stream) not in FOLDS:
                raise InvalidCommand(
                    f"{stream!r:.130} is no stream: give kind-id, such as order-7", field="of"
                )
        return self.of
