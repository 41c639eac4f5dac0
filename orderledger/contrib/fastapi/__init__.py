"""
orderledger in a FastAPI application: the book as a dependency, its errors as problem responses.

    app = FastAPI(lifespan=lifespan("postgresql://…"))
    install_errors(app)

    @app.post("/orders/{order_id}/confirm")
    async def confirm(order_id: str, book: TheBook, key: IdempotencyKey) -> Response:
        envelope = Envelope(command=ConfirmOrder(order_id=order_id), key=key)
        return receipt_response(await book.execute_async(envelope))

To join a transaction of your own use a plain ``def`` endpoint, which FastAPI runs in a thread; see
docs/transactions.md.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from http import HTTPStatus
from typing import Annotated, Final

import msgspec
from fastapi import Depends, FastAPI, Header, Request
from fastapi.responses import JSONResponse

from orderledger.book import Book
from orderledger.book import open as open_book
from orderledger.commands.requests import MAX_KEY_LENGTH, Receipt
from orderledger.ledger.errors import OrderLedgerError, Rejected, Unavailable

__all__ = [
    "IdempotencyKey",
    "TheBook",
    "install_errors",
    "lifespan",
    "problem",
    "receipt_response",
    "the_book",
]

RETRY_AFTER_S: Final = 1
"""What a 503 tells the client to wait; the retry must carry the same key."""


def lifespan(
    url: str | None = None, *, book: str | None = None
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """
    Return a lifespan that opens the book at startup and closes it at shutdown.

    Defaults as ``orderledger.open``. Enter it inside your own lifespan if the application has one.
    """

    @asynccontextmanager
    async def opened(app: FastAPI) -> AsyncGenerator[None]:
        found = await asyncio.to_thread(open_book, url, book=book)
        app.state.orderledger = found
        try:
            yield
        finally:
            await asyncio.to_thread(found.close)

    return opened


def the_book(request: Request) -> Book:
    """Return the application's book; a dependency."""
    found: Book = request.app.state.orderledger
    return found


TheBook = Annotated[Book, Depends(the_book)]
"""Parameter type of an endpoint that needs the book."""

IdempotencyKey = Annotated[
    str, Header(alias="Idempotency-Key", min_length=1, max_length=MAX_KEY_LENGTH)
]
"""Parameter type of the client's key; a request without the header is answered with 422."""


def install_errors(app: FastAPI) -> None:
    """Answer every error of this library with its HTTP status and a problem document."""
    app.add_exception_handler(OrderLedgerError, _answer)


async def _answer(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, OrderLedgerError), "registered for this class only"
    status = error.http_status
    headers = {"Retry-After": str(RETRY_AFTER_S)} if isinstance(error, Unavailable) else None
    return JSONResponse(
        problem(error), status_code=status, headers=headers, media_type="application/problem+json"
    )


def problem(error: OrderLedgerError) -> Mapping[str, object]:
    """
    Return an error as a problem document (RFC 9457).

    ``code`` is the reason of a refusal, or the error's class; ``facts`` its fields. What the
    database said (500, 503) stays here: it may name hosts and tables.
    """
    status = error.http_status
    document: dict[str, object] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": error.reason.value if isinstance(error, Rejected) else type(error).__name__,
    }
    if status < HTTPStatus.INTERNAL_SERVER_ERROR:
        document["detail"] = error.message
        document["facts"] = msgspec.to_builtins(dict(error.facts), enc_hook=str)
    return document


def receipt_response(receipt: Receipt, status_code: int = 200) -> JSONResponse:
    """Answer with a receipt; ``Idempotency-Replayed`` tells that the key was known."""
    headers = {"Idempotency-Replayed": "true"} if receipt.replayed else None
    return JSONResponse(msgspec.to_builtins(receipt), status_code=status_code, headers=headers)
