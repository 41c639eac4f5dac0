"""The commands of a small shop that the tests of the web integrations give."""

from decimal import Decimal

from orderledger.commands.model import ConfirmOrder, PlaceOrder
from orderledger.ledger.order_content import LineInput


def place(order_id: str, quantity: int = 1) -> PlaceOrder:
    line = LineInput("1", "MUG", "anna", quantity, Decimal("12.50"))
    return PlaceOrder(order_id=order_id, buyer_ref="b1", currency="EUR", lines=(line,))


def confirm_unpaid(order_id: str) -> ConfirmOrder:
    """A command that is refused: nothing covers the order."""
    return ConfirmOrder(order_id=order_id)
