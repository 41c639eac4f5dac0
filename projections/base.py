"""
What every follower of the log holds to: positions without a gap, and a checkpoint of this log.

A checkpoint names the position up to which rows are complete and the leaf hash of the log there:
rows that were made from another history (a restored backup, another database) are refused, never
continued.
"""

from orderledger.ledger.errors import CheckpointDiverged
from orderledger.ledger.following import Checked
from orderledger.ledger.following import is_of_log as is_of_log
from orderledger.ledger.following import read_gapless as read_gapless
from orderledger.ledger.ports import EventStore


def require_same_log(events: EventStore, what: str, name: str, found: Checked) -> None:
    """
    Refuse a checkpoint that is not one of this log.

    Raises CheckpointDiverged when it is beyond the head or has another leaf hash.
    """
    if found.position == 0:
        return
    leaf = events.leaf_hashes(found.position - 1, 1)
    if not leaf:
        head = events.head().size
        raise CheckpointDiverged(
            f"{what} is at position {found.position}, beyond the head of book {events.book} at "
            f"{head}: the log lost its end or is another one; verify the book, then run "
            f"`orderledger projection rebuild {name}`",
            projection=name,
            position=found.position,
            head=head,
        )
    if leaf[0] != found.leaf_hash:
        raise CheckpointDiverged(
            f"{what} was made from another history: at position {found.position} it saw the leaf "
            f"hash {found.leaf_hash.hex()}, the log has {leaf[0].hex()}; verify the book, then run "
            f"`orderledger projection rebuild {name}`",
            projection=name,
            position=found.position,
        )
