"""The FastAPI integration: the book of the application, joined transactions, error responses."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

pytest.importorskip("fastapi")
from fastapi import FastAPI, Response
from fastapi.testclient import TestClient

import orderledger
from orderledger import Envelope
from orderledger.contrib.fastapi import (
    IdempotencyKey,
    TheBook,
    install_errors,
    lifespan,
    problem,
    receipt_response,
)
from orderledger.ledger.errors import DatabaseFull
from tests.contrib.shop_commands import confirm_unpaid, place


def _application(url: str) -> FastAPI:
    app = FastAPI(lifespan=lifespan(url))
    install_errors(app)

    @app.post("/orders/{order_id}")
    async def post(
        order_id: str, book: TheBook, key: IdempotencyKey, quantity: int = 1
    ) -> Response:
        envelope = Envelope(command=place(order_id, quantity), key=key)
        return receipt_response(await book.execute_async(envelope), status_code=201)

    @app.post("/orders/{order_id}/confirm")
    async def confirm(order_id: str, book: TheBook, key: IdempotencyKey) -> Response:
        envelope = Envelope(command=confirm_unpaid(order_id), key=key)
        return receipt_response(await book.execute_async(envelope))

    @app.get("/orders/{order_id}")
    def show(order_id: str, book: TheBook) -> dict[str, Any]:
        return {"total": book.order(order_id).total}

    @app.get("/full")
    def full() -> None:
        raise DatabaseFull(f"the disk of {url} is full")

    return app


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    """An application on a new SQLite book."""
    with TestClient(_application(f"sqlite:///{tmp_path / 'shop.db'}")) as client:
        yield client


def test_a_key_is_executed_once(client: TestClient) -> None:
    """Catches a second order from a browser that sends its request again."""
    first = client.post("/orders/o1", headers={"Idempotency-Key": "k1"})
    again = client.post("/orders/o1", headers={"Idempotency-Key": "k1"})
    assert (first.status_code, again.status_code) == (201, 201)
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert first.json()["event_ids"] == again.json()["event_ids"]
    assert first.json()["positions"] == [1]
    assert client.get("/orders/o1").json() == {"total": 1250}


def test_another_command_of_the_same_key_is_a_conflict(client: TestClient) -> None:
    """Catches a key that silently answers for another request."""
    client.post("/orders/o1", headers={"Idempotency-Key": "k1"})
    other = client.post("/orders/o1?quantity=2", headers={"Idempotency-Key": "k1"})
    assert other.status_code == 409
    assert other.json()["code"] == "IdempotencyConflict"
    assert other.json()["facts"]["key"] == "k1"


def test_a_request_without_a_key_is_refused(client: TestClient) -> None:
    """Catches an endpoint that cannot be retried safely."""
    assert client.post("/orders/o1").status_code == 422
    assert client.post("/orders/o1", headers={"Idempotency-Key": "k" * 256}).status_code == 422


def test_errors_become_problem_documents(client: TestClient) -> None:
    """Catches a refusal that reaches the client as an internal error."""
    client.post("/orders/o1", headers={"Idempotency-Key": "k1"})
    refused = client.post("/orders/o1/confirm", headers={"Idempotency-Key": "k2"})
    assert refused.status_code == 409
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json() == {
        "type": "about:blank",
        "title": "Conflict",
        "status": 409,
        "code": "not_covered",
        "detail": refused.json()["detail"],
        "facts": refused.json()["facts"],
    }
    assert "o1" in refused.json()["detail"]
    malformed = client.post("/orders/o2?quantity=0", headers={"Idempotency-Key": "k3"})
    assert (malformed.status_code, malformed.json()["code"]) == (422, "InvalidCommand")
    absent = client.get("/orders/nobody")
    assert (absent.status_code, absent.json()["facts"]) == (404, {"order_id": "nobody"})


def test_what_the_database_said_stays_inside(client: TestClient) -> None:
    """Catches a response that tells a stranger where the database is."""
    full = client.get("/full")
    assert (full.status_code, full.headers["Retry-After"]) == (503, "1")
    assert full.json()["code"] == "DatabaseFull"
    assert "detail" not in full.json()
    assert "shop.db" not in full.text


def test_facts_of_any_type_are_answered() -> None:
    """Catches an error handler that fails itself on a fact that JSON does not know."""
    assert problem(orderledger.errors.NotFound(where=Path("a")))["facts"] == {"where": "a"}


@pytest.fixture
def joining(pg_url: str) -> Iterator[TestClient]:
    """An application whose endpoint has its own psycopg connection."""
    orderledger.migrate(pg_url)
    with psycopg.connect(pg_url, autocommit=True) as owner:
        owner.execute("CREATE TABLE basket (name text)")
    app = _application(pg_url)

    @app.post("/baskets/{order_id}")
    def checkout(
        order_id: str, book: TheBook, key: IdempotencyKey, action: str = "place"
    ) -> Response:
        with psycopg.connect(pg_url) as connection:
            connection.execute("INSERT INTO basket VALUES (%s)", (order_id,))
            command = place(order_id) if action == "place" else confirm_unpaid(order_id)
            receipt = book.execute(command, key=key, connection=connection)
        return receipt_response(book.wait(receipt))

    @app.get("/baskets")
    def count() -> int:
        with psycopg.connect(pg_url) as connection:
            return len(connection.execute("SELECT * FROM basket").fetchall())

    with TestClient(app) as client:
        yield client


def test_events_end_with_the_endpoints_transaction(joining: TestClient) -> None:
    """Catches an endpoint whose rows and events do not share their fate."""
    placed = joining.post("/baskets/o1", headers={"Idempotency-Key": "k1"})
    assert (placed.status_code, placed.json()["positions"]) == (200, [1])
    refused = joining.post("/baskets/o1?action=confirm", headers={"Idempotency-Key": "k2"})
    assert (refused.status_code, refused.json()["code"]) == (409, "not_covered")
    assert joining.get("/baskets").json() == 1
    assert joining.get("/orders/o1").json() == {"total": 1250}
