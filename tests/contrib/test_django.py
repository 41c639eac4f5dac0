"""The Django integration, on both engines: one transaction for the host's rows and the events."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("django")
import django
from django.conf import settings
from django.core.management import call_command
from django.db import connection, connections, transaction
from psycopg.conninfo import conninfo_to_dict

if not settings.configured:
    settings.configure(INSTALLED_APPS=["orderledger.contrib.django"], USE_TZ=True)
    django.setup()

from orderledger import Receipt
from orderledger.contrib import django as shop
from orderledger.ledger.errors import InvalidInput, NotFound, Rejected
from tests.contrib.shop_commands import confirm_unpaid, place


def _sqlite(path: Path) -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": path,
        "OPTIONS": {"transaction_mode": "IMMEDIATE"},
    }


def _postgres(url: str) -> dict[str, Any]:
    said = conninfo_to_dict(url)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": said["dbname"],
        "USER": said.get("user", ""),
        "PASSWORD": said.get("password", ""),
        "HOST": said.get("host", ""),
        "PORT": said.get("port", ""),
        "OPTIONS": {"connect_timeout": 10},
    }


def _use(database: dict[str, Any]) -> None:
    connections.settings = connections.configure_settings({"default": database})
    if hasattr(connections._connections, "default"):
        del connections["default"]


@pytest.fixture(
    params=["sqlite", pytest.param("postgres", marks=pytest.mark.pg)],
)
def database(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """A project whose default database is empty but for the book's tables and one of its own."""
    for name in ("ORDERLEDGER_URL", "ORDERLEDGER_BOOK"):
        monkeypatch.setenv(name, "set by the command")
    if request.param == "sqlite":
        _use(_sqlite(tmp_path / "shop.sqlite3"))
    else:
        _use(_postgres(request.getfixturevalue("pg_url")))
    with pytest.raises(SystemExit) as prepared:
        call_command("orderledger", "migrate", "--quiet")
    assert prepared.value.code == 0
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE basket (name text)")
    yield
    shop.close()
    connections.close_all()


def _baskets() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM basket")
        return int(cursor.fetchone()[0])


def _add_basket() -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO basket VALUES ('tea')")


def _place_and_fail(order_id: str, receipts: list[Receipt]) -> None:
    with transaction.atomic():
        _add_basket()
        receipts.append(shop.execute_in_transaction(place(order_id), f"key of {order_id}"))
        raise ZeroDivisionError


@pytest.mark.usefixtures("database")
def test_events_are_committed_with_the_hosts_rows() -> None:
    """Catches an order without its basket row, or the row without the order."""
    placed: list[Receipt] = []
    with transaction.atomic():
        _add_basket()
        receipt = shop.execute_in_transaction(place("o1"), "k1")
        transaction.on_commit(lambda: placed.append(shop.book().wait(receipt)))
        assert receipt.positions is None
        with pytest.raises(NotFound):
            shop.book().order("o1")
    assert shop.book().order("o1").total == 1250
    assert placed[0].positions == (1,)
    assert shop.book().read.status().head == 1
    assert _baskets() == 1


@pytest.mark.usefixtures("database")
def test_events_are_rolled_back_with_the_host() -> None:
    """Catches an order that survives the request that failed after it."""
    receipts: list[Receipt] = []
    with pytest.raises(ZeroDivisionError):
        _place_and_fail("o1", receipts)
    with pytest.raises(NotFound):
        shop.book().order("o1")
    with pytest.raises(NotFound):
        shop.book().wait(receipts[0])
    assert (_baskets(), shop.book().store.head().size) == (0, 0)
    # The key was rolled back too: the same request may be tried again.
    with transaction.atomic():
        assert not shop.execute_in_transaction(place("o1"), "key of o1").replayed
    # Nothing waits for a position once the request has ended.
    assert (shop.book().store.head().size, shop.book().store.pending()) == (1, 0)


@pytest.mark.usefixtures("database")
def test_a_refusal_leaves_the_block_usable() -> None:
    """Catches a refused command that costs the host its transaction."""
    with transaction.atomic():
        shop.execute_in_transaction(place("o1"), "k1")
        with pytest.raises(Rejected, match="o1"):
            shop.execute_in_transaction(confirm_unpaid("o1"), "k2")
        _add_basket()
        shop.execute_in_transaction(place("o2"), "k3")
    assert _baskets() == 1
    assert shop.book().order("o2").total == 1250


@pytest.mark.usefixtures("database")
def test_only_a_savepoint_is_rolled_back() -> None:
    """Catches events that ignore the savepoint of an inner atomic block."""
    with transaction.atomic():
        shop.execute_in_transaction(place("o1"), "k1")
        with pytest.raises(ZeroDivisionError):
            _place_and_fail("o2", [])
        assert shop.execute_in_transaction(place("o1"), "k1").replayed
    assert shop.book().order("o1").total == 1250
    with pytest.raises(NotFound):
        shop.book().order("o2")


@pytest.mark.usefixtures("database")
def test_without_a_block_nothing_is_joined() -> None:
    """Catches events in autocommit that the host believes it can still roll back."""
    with pytest.raises(InvalidInput, match="atomic"):
        shop.execute_in_transaction(place("o1"), "k1")


@pytest.mark.usefixtures("database")
def test_the_command_line_runs_on_the_projects_book(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Catches `manage.py orderledger` on another database than the project's."""
    with transaction.atomic():
        shop.execute_in_transaction(place("o1"), "k1")
    with pytest.raises(SystemExit) as ended:
        call_command("orderledger", "order", "show", "o1", "--json")
    assert ended.value.code == 0
    assert json.loads(capsys.readouterr().out)["total"] == 1250
    with pytest.raises(SystemExit) as refused:
        call_command("orderledger", "order", "show", "nobody")
    assert refused.value.code == 1


@pytest.mark.usefixtures("database")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_worker_opens_its_own_book() -> None:
    """Catches two processes on one connection."""
    parent = shop.book()
    child = os.fork()
    if child == 0:
        os._exit(0 if shop.book() is not parent else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert shop.book() is parent


def test_urls_of_databases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a password or a socket directory that breaks the URL, and a foreign engine."""
    _use({**_postgres("dbname=shop user=a host=/run/pg"), "PASSWORD": "p@s/&", "PORT": 5433})
    assert shop.url() == (
        "postgresql:///shop?user=a&password=p%40s%2F%26&host=%2Frun%2Fpg&port=5433"
        "&connect_timeout=10"
    )
    assert conninfo_to_dict(shop.url())["password"] == "p@s/&"
    _use({"ENGINE": "django.db.backends.dummy", "NAME": "shop"})
    with pytest.raises(InvalidInput, match="dummy"):
        shop.url()
    monkeypatch.setattr(settings, "ORDERLEDGER_URL", "sqlite:///other.db", raising=False)
    assert shop.url() == "sqlite:///other.db"
