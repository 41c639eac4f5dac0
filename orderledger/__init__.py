"""
orderledger: an event-sourced order and payment ledger for storefronts and marketplaces.

    import orderledger
    from orderledger.commands.model import PlaceOrder
    book = orderledger.open("sqlite:///shop.db")
    receipt = book.execute(PlaceOrder(…), key="checkout-1")

Names are loaded on first use, so that ``import orderledger`` stays cheap.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from orderledger import errors as errors
    from orderledger.book import Book as Book
    from orderledger.book import migrate as migrate
    from orderledger.book import open as open
    from orderledger.commands.requests import Actor as Actor
    from orderledger.commands.requests import Envelope as Envelope
    from orderledger.commands.requests import Receipt as Receipt
    from orderledger.commands.requests import Source as Source
    from orderledger.ledger.money import Money as Money

__version__ = "0.1.0"

_LAZY: Final = {
    "Actor": ("orderledger.commands.requests", "Actor"),
    "Book": ("orderledger.book", "Book"),
    "Envelope": ("orderledger.commands.requests", "Envelope"),
    "Money": ("orderledger.ledger.money", "Money"),
    "Receipt": ("orderledger.commands.requests", "Receipt"),
    "Source": ("orderledger.commands.requests", "Source"),
    "errors": ("orderledger.errors", ""),
    "migrate": ("orderledger.book", "migrate"),
    "open": ("orderledger.book", "open"),
}

__all__ = [
    "Actor",
    "Book",
    "Envelope",
    "Money",
    "Receipt",
    "Source",
    "errors",
    "migrate",
    "open",
]


def __getattr__(name: str) -> Any:
    try:
        module, attribute = _LAZY[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    loaded = import_module(module)
    return getattr(loaded, attribute) if attribute else loaded


def __dir__() -> list[str]:
    return sorted(__all__)
