"""Importing settlement files and bank statements, end to end, on every engine."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import orderledger
from orderledger.book import Book
from orderledger.commands import model as m
from orderledger.commands.requests import SYSTEM
from orderledger.importers import settlement_import
from orderledger.importers.bank_import import StatementOptions, import_statement
from orderledger.importers.file_error import ImportFileError
from orderledger.importers.settlement_import import (
    ImportOptions,
    import_settlement,
    match_again,
    read_file,
)
from orderledger.ledger.chargeback_events import ChargebackReport
from orderledger.ledger.chargeback_stages import ChargebackFact
from orderledger.ledger.errors import InvalidInput, Rejected
from orderledger.ledger.ports import EventStore
from orderledger.ledger.settlement_events import LineType
from orderledger.ledger.stores.models_memory import MemoryModels
from orderledger.projections.operation_references import OperationSettlementRow
from orderledger.projections.read_models import ReadModels
from orderledger.projections.settlements import (
    SettlementBalanceRow,
    SettlementBreakRow,
    SettlementLineRow,
    SettlementRow,
)
from orderledger.projections.shipped import SHIPPED
from orderledger.replay.rebuild import rebuild, verify
from tests import settlement_files as files
from tests.model.shop import Shop, item
from tests.settlement_book import SettledShop, line
from tests.settlement_files import written

GROSS, FEE, NET = 12_325, 387, 11_938
"""The worked example of docs/money.md."""


def sold(store: EventStore, provider: str) -> SettledShop:
    """Return a shop on a store that has captured the worked example, and another purchase."""
    shop = SettledShop(store)
    shop.place(item("a", "123.25"))
    shop.pay(GROSS, provider=provider)
    return shop


def lines_in(form: str) -> list[m.SettlementLine]:
    """Return the worked example as lines of a format: a payment, and its payout."""
    types = {
        "adyen": files.ADYEN_TYPES,
        "stripe": files.STRIPE_TYPES,
        "paypal": files.PAYPAL_TYPES,
        "generic": {one: one.value for one in LineType},
    }[form]
    return [
        line(
            1,
            "payment",
            GROSS,
            FEE,
            raw_kind=types[LineType.PAYMENT],
            provider_ref="ref-buy-p1",
            modification_ref="ref-buy-p1",
            external_id="t1",
        ),
        line(
            2,
            "payout",
            -NET,
            raw_kind=types[LineType.PAYOUT],
            provider_ref="PO-7",
            modification_ref="PO-7",
            external_id="t2",
        ),
    ]


def file_of(form: str, folder: Path, lines: list[m.SettlementLine] | None = None) -> str:
    """Write lines, by default the worked example, as a file of a format; return its name."""
    found = lines_in(form) if lines is None else lines
    if form == "paypal":
        section = files.paypal_rows(found)
        rows = files.paypal(section, ["USD", "CR", "0", "CR", "0"])
    else:
        rows = {"adyen": files.adyen, "stripe": files.stripe, "generic": files.generic}[form](found)
    path = folder / f"{form}.csv"
    path.write_text(written(rows), "utf-8")
    return str(path)


def test_the_worked_example_from_a_file(store: EventStore, tmp_path: Path) -> None:
    """Catches an engine on which a file is recorded otherwise, or twice."""
    worked_example(store, "adyen", tmp_path)


@pytest.mark.parametrize("form", ["stripe", "paypal", "generic"])
def test_the_worked_example_in_every_format(form: str, tmp_path: Path) -> None:
    """Catches a format whose file ends in another bank balance than 11938 and fees than 387."""
    worked_example(_memory(), form, tmp_path)


def worked_example(store: EventStore, form: str, tmp_path: Path) -> None:
    shop = sold(store, form)
    path = file_of(form, tmp_path)
    first = import_settlement(shop.book, path, ImportOptions(form=form))
    size = store.head().size
    second = import_settlement(shop.book, path, ImportOptions(form=form))
    assert (first.status, first.new_lines, first.matched, first.breaks) == ("balanced", 2, 1, {})
    assert (second.new_lines, store.head().size) == (0, size)
    found = shop.posted(f"assets:psp:{form}", "assets:bank:main", "expenses:gateway_fees")
    assert found == (0, NET, FEE)


def test_a_line_resolves_what_nobody_knew(store: EventStore, tmp_path: Path) -> None:
    """Catches a look-up that finds a payment only by references that a timeout never gave."""
    shop = SettledShop(store)
    shop.place(item("a", "123.25"))
    shop.initiate(GROSS, provider="adyen")
    shop.run(m.Purchase(payment_id="p1", op_id="buy", amount=GROSS, currency="USD"))
    shop.run(m.RecordUnknown(payment_id="p1", op_id="buy", cause="timeout"))
    payment = line(
        1, "payment", GROSS, FEE, raw_kind="Settled", provider_ref="X1", merchant_ref="o1"
    )
    path = file_of("adyen", tmp_path, [payment, lines_in("adyen")[1]])
    done = import_settlement(shop.book, path, ImportOptions(form="adyen"))
    assert (done.status, done.breaks) == ("balanced", {})
    assert shop.payment().operations["buy"].status.value == "succeeded"
    assert shop.posted("assets:psp:adyen") == (0,)


def test_a_chargeback_is_found_by_its_reference(tmp_path: Path) -> None:
    """Catches a look-up that knows operations only, and leaves every chargeback a break."""
    shop = sold(_memory(), "adyen")
    said = ChargebackReport(
        payment_id="p1",
        chargeback_id="cb1",
        fact=ChargebackFact.OPENED,
        provider_ref="D9",
        amount=GROSS,
        fee=750,
        fee_currency="USD",
    )
    shop.run(m.RecordChargeback(report=said))
    taken = line(
        2, "chargeback", -GROSS, 750, raw_kind="Chargeback", provider_ref="x", modification_ref="D9"
    )
    owed = line(3, "transfer", GROSS + 750 - NET, raw_kind="Balancetransfer")
    path = file_of("adyen", tmp_path, [lines_in("adyen")[0], taken, owed])
    done = import_settlement(shop.book, path, ImportOptions(form="adyen"))
    assert (done.status, done.matched, done.breaks) == ("balanced", 2, {})
    assert shop.posted("assets:psp:adyen", "expenses:dispute_fees") == (-FEE - 750, 750)


def test_a_file_that_cannot_be_read_leaves_nothing(tmp_path: Path) -> None:
    """Catches half a file in the book."""
    store = _memory()
    path = Path(file_of("adyen", tmp_path))
    path.write_text(path.read_text("utf-8").replace("119.38", "119.3x"), "utf-8")
    book = Book(store)
    with pytest.raises(ImportFileError) as caught:
        import_settlement(book, str(path), ImportOptions(form="adyen"))
    assert caught.value.facts["line"] == 2
    assert caught.value.facts["field"] == "Net Credit (NC)"
    assert store.head().size == 0


def test_a_corrected_file_is_refused(tmp_path: Path) -> None:
    """Catches a second file under a batch that is known; a batch must be named somewhere."""
    book = Book(_memory())
    path = Path(file_of("generic", tmp_path))
    import_settlement(book, str(path), ImportOptions(form="generic"))
    path.write_text(path.read_text("utf-8").replace("119.38", "119.37"), "utf-8")
    with pytest.raises(Rejected, match="compare the two"):
        import_settlement(book, str(path), ImportOptions(form="generic"))
    import_settlement(book, str(path), ImportOptions(form="generic", batch="7a"))
    unnamed = tmp_path / "unnamed.csv"
    unnamed.write_text("type,gross,currency\nfee,-1,USD\n", "utf-8")
    with pytest.raises(InvalidInput, match="names no batch"):
        import_settlement(book, str(unnamed), ImportOptions(form="generic"))


class Stop(Exception):
    """What ends an import half way in a test."""


def many(count: int) -> list[m.SettlementLine]:
    """Return lines of which each third repeats the one before, and the others are fees."""
    return [
        line(number, "fee", -(number - (number % 3 == 0)), external_id="", merchant_ref="x")
        for number in range(1, count + 1)
    ]


def test_a_run_that_ended_between_chunks_goes_on(
    store: EventStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a second run that adds a line twice, or leaves out what the first did not do."""
    monkeypatch.setattr(settlement_import, "CHUNK", 4)
    path = file_of("generic", tmp_path, many(18))

    def stop(done: int, whole: int) -> None:
        if done >= 8:
            raise Stop

    with pytest.raises(Stop):
        import_settlement(Book(store), path, ImportOptions(form="generic"), stop)
    assert Book(store).settlement("generic", "7").lines.size == 8
    done = import_settlement(Book(store), path, ImportOptions(form="generic"))
    assert (done.lines, done.new_lines, done.breaks) == (18, 10, {"duplicate": 6})
    fees = sum([number for number in range(1, 19) if number % 3])
    shop = Shop(store)
    assert shop.balance("expenses:gateway_fees") == fees


def test_a_killed_import_goes_on(tmp_path: Path) -> None:
    """Catches a kill between two chunks that loses a line or adds one twice."""
    path = file_of("generic", tmp_path, many(12))
    url = f"sqlite:///{tmp_path / 'book.db'}"
    program = (
        "import os, signal, orderledger\n"
        "from orderledger.importers import settlement_import as s\n"
        "s.CHUNK = 5\n"
        "kill = lambda done, whole: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"book = orderledger.open({url!r})\n"
        f"s.import_settlement(book, {path!r}, s.ImportOptions(form='generic'), kill)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], timeout=60, check=False, env={**os.environ}
    )
    assert done.returncode == -signal.SIGKILL
    with orderledger.open(url) as book:
        assert book.settlement("generic", "7").lines.size == 5
        summary = import_settlement(book, path, ImportOptions(form="generic"))
        assert (summary.lines, summary.new_lines) == (12, 7)
        assert book.settlement("generic", "7").sums["USD"].net == -(sum(range(1, 13)) - 4)


def test_a_payment_that_is_recorded_later_is_matched_again(tmp_path: Path) -> None:
    """Catches a break that stays open although its payment and a later file explain it."""
    store = _memory()
    book = Book(store)
    path = file_of("adyen", tmp_path)
    done = import_settlement(book, path, ImportOptions(form="adyen"))
    assert done.breaks == {"unknown_reference": 1}
    assert match_again(book, "adyen", "7", SYSTEM) == 0
    shop = sold(store, "adyen")
    assert match_again(shop.book, "adyen", "7", SYSTEM) == 1
    assert shop.book.settlement("adyen", "7").status.value == "balanced"
    assert shop.posted("assets:psp:adyen") == (0,)


def test_the_read_models_of_a_settlement(store: EventStore, tmp_path: Path) -> None:
    """Catches rows that are not the batch's, and what no file has shown that nobody lists."""
    shop = sold(store, "adyen")
    models = shop.book.read.models
    models.catch_up("operation_references")
    (open_one,) = models.select(OperationSettlementRow, provider="adyen", is_settled=False)
    assert (open_one.op_id, open_one.amount, open_one.shown) == ("buy-p1", GROSS, 0)
    lines = [*lines_in("adyen"), line(3, "adjustment", -70, raw_kind="ManualCorrected")]
    import_settlement(shop.book, file_of("adyen", tmp_path, lines), ImportOptions(form="adyen"))
    for name in ("operation_references", "settlements"):
        models.catch_up(name)
    (settled,) = models.select(OperationSettlementRow, provider="adyen")
    assert (settled.shown, settled.is_settled) == (GROSS, True)
    (batch,) = models.select(SettlementRow)
    assert (batch.status, batch.recorded_count, batch.open_count) == ("matching", 3, 2)
    (balance,) = models.select(SettlementBalanceRow)
    assert (balance.net, balance.payout, balance.difference) == (NET - 70, NET, -70)
    rows = list(models.select(SettlementLineRow))
    assert [one.status for one in rows] == ["settled", "recorded", "open"]
    assert (rows[0].payment_id, rows[0].op_id) == ("p1", "buy-p1")
    found = {one.break_id: one.amount for one in models.select(SettlementBreakRow, is_open=True)}
    assert found == {"unbooked_adjustment/3": -70, "payout_sum_diff/USD": 70}


def test_a_rebuild_comes_to_the_same_rows(tmp_path: Path) -> None:
    """Catches rows that depend on the batches in which they were made."""
    shop = sold(_memory(), "adyen")
    lines = [*lines_in("adyen"), line(3, "adjustment", -70, raw_kind="ManualCorrected")]
    import_settlement(shop.book, file_of("adyen", tmp_path, lines), ImportOptions(form="adyen"))
    _bank(shop.book, tmp_path)
    models = ReadModels(shop.store, MemoryModels(), SHIPPED)
    for name in ("bank_statements", "operation_references", "settlements"):
        models.catch_up(name, batch_events=3)
        rebuild(models, name)
        assert verify(models, name).problem is None


def _memory() -> EventStore:
    return Shop().store


def _bank(book: Book, folder: Path) -> str:
    path = folder / "bank.csv"
    path.write_text(
        "Booked_on;Amount;Currency;Reference;ID;Type\r\n"
        "2026-03-01;10.00;USD;;;opening\r\n"
        '2026-03-04;119.38;USD;"ADYEN; PO-7 batch";b1;\r\n'
        "2026-03-05;-12.00;USD;account fee;b2;\r\n"
        "2026-03-31;117.38;USD;;;closing\r\n",
        "utf-8",
    )
    options = StatementOptions(bank="main", statement="2026-03")
    done = import_statement(book, str(path), options)
    assert (done.new_lines, done.matched, done.breaks) == (2, 1, {"unknown_reference": 1})
    return str(path)


def test_a_bank_statement_shows_the_payout(store: EventStore, tmp_path: Path) -> None:
    """Catches a payout that its settlement and the bank's line both post, or an import twice."""
    shop = sold(store, "adyen")
    import_settlement(shop.book, file_of("adyen", tmp_path), ImportOptions(form="adyen"))
    path = _bank(shop.book, tmp_path)
    size = store.head().size
    again = import_statement(shop.book, path, StatementOptions(bank="main", statement="2026-03"))
    assert (again.new_lines, store.head().size) == (0, size)
    shop.run(
        m.ResolveBankBreak(
            bank="main",
            statement="2026-03",
            break_id="unknown_reference/2",
            action=m.BreakAction.BOOKED,
            account="expenses:bank_fees",
            by="ann",
            reason="monthly fee",
        )
    )
    assert shop.book.bank_statement("main", "2026-03").status.value == "balanced"
    assert shop.posted("assets:bank:main", "expenses:bank_fees") == (NET - 1_200, 1_200)
    known = shop.book.settlement("adyen", "7").line(2)
    assert known is not None
    assert known.arrived == NET


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("booked_on,amount,currency\n2026-03-01,1,USD\n2026-03-01,1,EUR\n", "another currency"),
        ("booked_on,amount,currency\n2026-03-01,,USD\n", "amount '' is empty"),
        ("booked_on,amount,currency\n,1,USD\n", "booked_on '' is empty"),
        ("booked_on,amount,currency\n", "without rows"),
        ("booked_on,amount\n2026-03-01,1\n", "'currency' is missing"),
        (
            "type,booked_on,amount,currency\nopening,2026-03-01,1,USD\nopening,2026-03-01,1,USD\n",
            "stated twice",
        ),
    ],
)
def test_a_bad_bank_file_is_named(text: str, why: str, tmp_path: Path) -> None:
    """Catches a statement of two currencies, or with a line that has no date or amount."""
    path = tmp_path / "bank.csv"
    path.write_text(text, "utf-8")
    with pytest.raises(ImportFileError, match=why):
        import_statement(Book(_memory()), str(path), StatementOptions(bank="main", statement="s1"))


def test_what_is_given_goes_before_what_the_file_states(tmp_path: Path) -> None:
    """Catches an opening balance at the command line that the file's own overrides."""
    given = ImportOptions(form="adyen", balances=(m.StatedBalance("USD", opening=5),))
    read = read_file(file_of("adyen", tmp_path), given)
    assert read.parsed.balances == (m.StatedBalance("USD", opening=5, closing=0),)
