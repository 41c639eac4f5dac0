"""
The other side of a rebuild: stock ``ProjectionRunner`` with the same two read models.

One row per order and one per account and currency, each event in a transaction of its own together
with its tracking, as the library does it.
"""

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

from eventsourcing.application import Application
from eventsourcing.dispatch import singledispatchmethod
from eventsourcing.domain import Aggregate, event
from eventsourcing.persistence import Tracking
from eventsourcing.postgres import PostgresTrackingRecorder
from eventsourcing.projection import Projection, ProjectionRunner
from psycopg.sql import SQL

from bench.stock import postgres_environment

EVENTS_PER_ORDER = 3
_LEGS = [["assets:psp:adyen", "GBP", 3500], ["liabilities:escrow:o", "GBP", -3500]]


class Sale(Aggregate):
    """An order that is placed, authorised and captured."""

    @event("Placed")
    def __init__(self, buyer: str, total: int) -> None:
        self.buyer = buyer
        self.total = total

    @event("Authorised")
    def authorise(self, amount: int, legs: list[Any]) -> None:
        self.authorised = amount

    @event("Captured")
    def capture(self, amount: int, legs: list[Any]) -> None:
        self.captured = amount


class View(PostgresTrackingRecorder):
    """The two tables."""

    def __init__(self, datastore: Any, **kwargs: Any) -> None:
        super().__init__(datastore, **kwargs)
        self.sql_create_statements.append(
            SQL(
                "CREATE TABLE IF NOT EXISTS sales (id uuid PRIMARY KEY, buyer text, total bigint, "
                "authorised bigint NOT NULL DEFAULT 0, captured bigint NOT NULL DEFAULT 0)"
            )
        )
        self.sql_create_statements.append(
            SQL(
                "CREATE TABLE IF NOT EXISTS balances (account text, currency text, minor bigint, "
                "PRIMARY KEY (account, currency))"
            )
        )

    def apply(self, statement: str, values: tuple[Any, ...], legs: list[Any], at: Tracking) -> None:
        """Write what one event changes, and that it was processed."""
        with self.datastore.transaction(commit=True) as cursor:
            self._insert_tracking(cursor, at)
            cursor.execute(statement.encode(), values)
            for account, currency, minor in legs:
                cursor.execute(
                    b"INSERT INTO balances VALUES (%s, %s, %s) ON CONFLICT (account, currency) "
                    b"DO UPDATE SET minor = balances.minor + EXCLUDED.minor",
                    (account, currency, minor),
                )


class Sales(Projection[View]):
    """Both read models in one projection: one tracking row, one transaction an event."""

    @singledispatchmethod
    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        """Look at the events below only."""

    @process_event.register
    def placed(self, found: Sale.Placed, tracking: Tracking) -> None:  # type: ignore[name-defined]  # made by the decorator
        values = (found.originator_id, found.buyer, found.total)
        statement = "INSERT INTO sales (id, buyer, total) VALUES (%s, %s, %s)"
        self.view.apply(statement, values, [], tracking)

    @process_event.register
    def authorised(self, found: Sale.Authorised, tracking: Tracking) -> None:  # type: ignore[name-defined]  # made by the decorator
        statement = "UPDATE sales SET authorised = %s WHERE id = %s"
        self.view.apply(statement, (found.amount, found.originator_id), found.legs, tracking)

    @process_event.register
    def captured(self, found: Sale.Captured, tracking: Tracking) -> None:  # type: ignore[name-defined]  # made by the decorator
        statement = "UPDATE sales SET captured = %s WHERE id = %s"
        self.view.apply(statement, (found.amount, found.originator_id), found.legs, tracking)


class Shop(Application[Any]):
    """Where the events come from."""


def filled_shop(url: str, orders: int) -> dict[str, str]:
    """Save orders of three events; return the environment that finds them."""
    environment = postgres_environment(url, pool=5, db_functions=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shop = Shop(env=environment)
    for number in range(orders):
        sale = Sale(f"b{number}", 3500)
        sale.authorise(3500, _LEGS)
        sale.capture(3500, _LEGS)
        shop.save(sale)
    shop.close()
    return environment


@contextlib.contextmanager
def projecting(environment: dict[str, str]) -> Iterator[ProjectionRunner[Any, View]]:
    """Run the projection from where it stands."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        runner = ProjectionRunner(
            application_class=Shop, projection_class=Sales, view_class=View, env=environment
        )
    with runner:
        yield runner
