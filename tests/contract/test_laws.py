"""
Every law and every machine of the other folders again, on SQLite and on PostgreSQL.

A law is a hypothesis test or a state machine that decides on folded states, or on a book in memory,
with many examples. Here it has few (many with ``-m long``), each in a book of its own in one
database; ``tests/kept_books.py`` says what is compared at each step and at the end.
"""

import functools
import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, Phase, is_hypothesis_test, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from orderledger.ledger.ids import utc_now
from orderledger.ledger.stores.memory import MemoryStore
from orderledger.ledger.stores.postgres import PostgresStore
from orderledger.ledger.stores.postgres_schema import migrate
from orderledger.ledger.stores.sqlite import SqliteStore
from tests.kept_books import Clock, OpenStore, kept_in
from tests.model.market_machine import MarketMachine
from tests.model.marketplace_run import MarketplaceMachine
from tests.source_tree import ROOT

FOLDERS: Final = ("property", "model", "machinery")
WITHOUT_A_BOOK: Final = frozenset(
    {
        "test_beancount_names.test_every_name_comes_back",
        "test_chargebacks.test_where_it_stands_is_a_function_of_the_set",
        "test_disputes_fold.test_any_events_in_any_order_fold",
        "test_journal.test_an_entry_cannot_be_unbalanced",
        "test_journal.test_an_entry_survives_storage",
        "test_journal.test_what_is_recorded_later_changes_no_earlier_answer",
        "test_orders.test_order_discounts_are_exact_fair_and_independent_of_order",
        "test_orders.test_partials_of_a_line_come_back_whole",
        "test_snapshots.test_a_snapshot_and_its_tail_are_the_whole",
        "test_snapshots.test_what_is_kept",
        "test_snapshots.test_what_is_kept_of_a_growing_stream_is_spread",
        "test_snapshots.test_when_one_is_due",
    }
)
"""Laws of values, of names, of a fold alone and of what is saved of it."""
WITH_OTHER_BOOKS: Final = frozenset({"test_balance_model", "test_periods_model", "test_money"})
"""Modules whose laws open stores of several kinds themselves, or are arithmetic."""
FEW: Final = 3
MANY: Final = 50
STEPS: Final = 20
HOW: Final[dict[str, Any]] = {"deadline": None, "suppress_health_check": list(HealthCheck)}
Law = Callable[..., None]


def _laws_of(path: Path) -> Iterator[tuple[str, Any]]:
    folder = path.parent.name
    module = importlib.import_module(f"tests.{folder}.{path.stem}")
    for name, one in vars(module).items():
        if getattr(one, "__module__", "") != module.__name__:
            continue
        is_machine = isinstance(one, type) and issubclass(one, RuleBasedStateMachine)
        is_long = any(mark.name == "long" for mark in getattr(one, "pytestmark", ()))
        if is_machine or (callable(one) and is_hypothesis_test(one) and not is_long):
            yield f"{path.stem}.{name}", one


def _laws() -> Iterator[tuple[str, Any]]:
    for folder in FOLDERS:
        for path in sorted((ROOT / "tests" / folder).glob("test_*.py")):
            if path.stem not in WITH_OTHER_BOOKS:
                yield from _laws_of(path)
    for machine in (MarketMachine, MarketplaceMachine):
        yield f"{machine.__module__.rpartition('.')[2]}.{machine.__name__}", machine


LAWS: Final = dict(_laws())
KEPT: Final = [pytest.param(LAWS[name], id=name) for name in LAWS if name not in WITHOUT_A_BOOK]


class Numbered:
    """Opens books by numbers of their own: many in one database."""

    def __init__(self, open_named: Callable[[str, Clock | None], Any]) -> None:
        self._open_named: Final = open_named
        self._count = 0

    def __call__(self, clock: Clock | None) -> Any:
        self._count += 1
        return self._open_named(f"book{self._count}", clock)


ENGINES: Final = ("sqlite", pytest.param("postgres", marks=pytest.mark.pg))


def _opened(request: pytest.FixtureRequest, folders: pytest.TempPathFactory) -> Iterator[OpenStore]:
    if request.param == "sqlite":
        path = folders.mktemp("laws") / "books.db"
        yield Numbered(lambda name, clock: SqliteStore(path, name, clock=clock or utc_now))
        return
    with request.getfixturevalue("pg_server").fresh_database() as url:
        migrate(url)
        yield Numbered(lambda name, clock: PostgresStore(url, name, clock=clock))


@pytest.fixture(scope="module", params=ENGINES)
def open_store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OpenStore]:
    """Open the books of one migrated database."""
    yield from _opened(request, tmp_path_factory)


@pytest.fixture(params=ENGINES)
def open_own_store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OpenStore]:
    """Open the books of a database for one law: each book makes the next one dearer to begin."""
    yield from _opened(request, tmp_path_factory)


def _kept_law(inner: Law, open_store: OpenStore, is_kept: bool) -> Law:
    @functools.wraps(inner)
    def kept(*args: Any, **named: Any) -> None:
        with kept_in(open_store) as keeping:
            inner(*args, **named)
            assert keeping.is_empty is not is_kept, "see WITHOUT_A_BOOK"

    return kept


def _kept_machine(machine: type[RuleBasedStateMachine], open_store: OpenStore) -> Any:
    class Kept(machine):  # type: ignore[misc, valid-type]  # a class that is given
        def __init__(self) -> None:
            self._kept = kept_in(open_store)
            self._kept.__enter__()
            try:
                super().__init__()
            except BaseException:
                self._kept.__exit__(*sys.exc_info())
                raise

        def teardown(self) -> None:
            # A step that failed is what to tell of: the book behind it is only closed.
            failed = sys.exc_info()
            try:
                if failed[0] is None:
                    super().teardown()
            except BaseException:
                failed = sys.exc_info()
                raise
            finally:
                self._kept.__exit__(*failed)

    return Kept


def _few(given: settings) -> settings:
    """The same few examples each time, told as they were found: shrinking takes many runs."""
    phases = [Phase.explicit, Phase.generate]
    return settings(given, max_examples=FEW, derandomize=True, database=None, phases=phases, **HOW)


def _many(given: settings) -> settings:
    return settings(given, max_examples=MANY, **HOW)


class Bench:
    """Runs laws on the books that a store opens."""

    def __init__(self, open_store: OpenStore, patch: pytest.MonkeyPatch) -> None:
        self._open_store: Final = open_store
        self._patch: Final = patch

    def run(self, law: Any, how: Callable[[settings], settings], *, is_kept: bool = True) -> None:
        if isinstance(law, type):
            given = law.TestCase.settings  # type: ignore[attr-defined]  # of a machine
            steps = min(given.stateful_step_count, STEPS)
            machine = _kept_machine(law, self._open_store)
            run_state_machine_as_test(
                machine, settings=settings(how(given), stateful_step_count=steps)
            )
            return
        inner = _kept_law(law.hypothesis.inner_test, self._open_store, is_kept)
        self._patch.setattr(law.hypothesis, "inner_test", inner)
        # The decorator refuses a law that has settings already.
        attribute = "_hypothesis_internal_use_settings"
        self._patch.setattr(law, attribute, how(getattr(law, attribute)))
        law()


@pytest.mark.parametrize("law", KEPT)
def test_on_a_database(law: Any, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches an executor or a store that makes something else of a command than was decided."""
    Bench(open_store, monkeypatch).run(law, _few)


@pytest.mark.long
@pytest.mark.parametrize("law", KEPT)
def test_on_a_database_at_length(
    law: Any, open_own_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches what few examples do not show."""
    Bench(open_own_store, monkeypatch).run(law, _many)


@pytest.mark.parametrize("name", sorted(WITHOUT_A_BOOK))
def test_what_has_no_book_opens_none(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a law that is left out here although a database could keep its book."""
    bench = Bench(lambda _: MemoryStore(), monkeypatch)
    bench.run(LAWS[name], _few, is_kept=False)
