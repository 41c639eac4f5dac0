"""
One line of an order as folded: its live content, its counters and what was granted back of it.
"""

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from .order_content import OrderLine
from .order_events import MoveKind, RefundLine


class LineState(msgspec.Struct, frozen=True):
    """
    ``line`` is what is live now; ``base`` the line as last priced as a whole.

    Cancelled and refunded units are measured against ``base``, so that any series of partials adds
    up exactly. Counters are quantities; ``allocated`` counts units ever put into a fulfilment that
    was not cancelled, shipped ones included.
    """

    line: OrderLine
    base: OrderLine
    cancelled: int = 0
    allocated: int = 0
    shipped: int = 0
    delivered: int = 0
    return_requested: int = 0
    returned_ok: int = 0
    returned_damaged: int = 0
    lost: int = 0
    written_off: int = 0
    granted_quantity: int = 0
    granted_net: int = 0
    granted_tax: int = 0
    granted_discount: int = 0

    @property
    def live(self) -> int:
        """Units ordered and not cancelled."""
        return self.line.quantity

    @property
    def ordered(self) -> int:
        """Units ordered, cancelled ones included."""
        return self.line.quantity + self.cancelled

    @property
    def charged(self) -> int:
        """What the buyer is charged for the live units, in minor units."""
        return self.line.charged

    @property
    def granted(self) -> int:
        """What live grants give back of the line, in minor units."""
        return self.granted_net + self.granted_tax

    @property
    def returned(self) -> int:
        """Units that came back, whole or damaged."""
        return self.returned_ok + self.returned_damaged

    @property
    def cancellable(self) -> int:
        """Units that can still be cancelled: neither shipped, cancelled nor granted back."""
        return max(0, self.line.quantity - max(self.shipped, self.granted_quantity))

    @property
    def allocatable(self) -> int:
        """Units that can still be put into a fulfilment."""
        return max(0, self.line.quantity - max(self.allocated, self.shipped))

    @property
    def shippable(self) -> int:
        """Units that can still be shipped."""
        return max(0, self.line.quantity - self.shipped)

    @property
    def returnable(self) -> int:
        """Units delivered (or at least shipped) for which no return was requested yet."""
        return max(0, max(self.delivered, self.shipped) - self.return_requested)

    @property
    def fulfilled(self) -> int:
        """Units that an order change must leave in place."""
        return max(self.allocated, self.shipped, self.delivered)

    @property
    def refundable_quantity(self) -> int:
        """Live units that no live grant covers."""
        return max(0, self.line.quantity - self.granted_quantity)

    @property
    def is_settled(self) -> bool:
        """Every live unit was delivered, came back, was lost or was written off."""
        reached = max(self.delivered, self.returned) + self.lost + self.written_off
        return reached >= self.line.quantity


Lines = Mapping[str, LineState]


def new_line(line: OrderLine) -> LineState:
    """Return the state of a line nothing has happened to."""
    return LineState(line, line)


def _moved(name: str, sign: int) -> Callable[[LineState, int], LineState]:
    def move(line: LineState, quantity: int) -> LineState:
        # Observations may contradict each other; a counter below zero would hide the later ones.
        after = max(0, getattr(line, name) + sign * quantity)
        return msgspec.structs.replace(line, **{name: after})

    return move


MOVES: Final[Mapping[MoveKind, Callable[[LineState, int], LineState]]] = {
    MoveKind.ALLOCATED: _moved("allocated", 1),
    MoveKind.UNALLOCATED: _moved("allocated", -1),
    MoveKind.SHIPPED: _moved("shipped", 1),
    MoveKind.DELIVERED: _moved("delivered", 1),
    MoveKind.RETURN_REQUESTED: _moved("return_requested", 1),
    MoveKind.RETURN_CANCELLED: _moved("return_requested", -1),
    MoveKind.RETURNED_OK: _moved("returned_ok", 1),
    MoveKind.RETURNED_DAMAGED: _moved("returned_damaged", 1),
    MoveKind.LOST: _moved("lost", 1),
    MoveKind.WRITTEN_OFF: _moved("written_off", 1),
}
"""How each movement changes a line's counters."""


def write_off(line: LineState, quantity: int) -> LineState:
    """Return the line with ``quantity`` more (negative: fewer) units written off."""
    return msgspec.structs.replace(line, written_off=max(0, line.written_off + quantity))


def granted(line: LineState, part: RefundLine, sign: int) -> LineState:
    """Return the line after a grant of ``part`` (sign 1) or its withdrawal (sign -1)."""
    return msgspec.structs.replace(
        line,
        granted_quantity=line.granted_quantity + sign * part.quantity,
        granted_net=line.granted_net + sign * part.net,
        granted_tax=line.granted_tax + sign * part.tax,
        granted_discount=line.granted_discount + sign * part.discount,
    )
