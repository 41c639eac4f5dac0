"""
The real file, where it is at hand: the facts of its description, and every penny of it.

Its first weeks are imported whenever the tests run, the whole year by those that are marked long.
"""

import gzip
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest

import orderledger
from orderledger.config import locate
from orderledger.databases import prepare
from orderledger.importers.online_retail_import import CACHE_STREAMS, check, import_file
from orderledger.importers.online_retail_summary import Summary
from orderledger.projections.customers import CustomerEventRow, CustomerRow
from orderledger.projections.orders import OrderRow
from orderledger.projections.refunds import RefundRow
from orderledger.replay.audit import AuditEvent
from orderledger.replay.audit_report import report
from orderledger.replay.rebuild import verify
from tests.imported_book import balances, sqlite_url, topics
from tests.online_retail_oracle import Expected, data_file, expected, rows

pytestmark = [
    pytest.mark.skipif(data_file() is None, reason="the Online Retail file is not here"),
]
UNITS = ("expenses:stock_written_off", "assets:stock:")
WEEKS_LINES = 60_000
YEAR = pytest.param("year", marks=[pytest.mark.long, pytest.mark.timeout(1_200)])
whole_year = pytest.mark.parametrize("path", [YEAR], indirect=True)


@pytest.fixture(scope="module")
def year() -> Path:
    """Return the real file."""
    found = data_file()
    assert found is not None
    return found


@pytest.fixture(scope="module", params=["weeks", YEAR])
def path(
    request: pytest.FixtureRequest, year: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return the first weeks of the real file, up to the end of an invoice, or all of it."""
    if request.param == "year":
        return year
    beginning = tmp_path_factory.mktemp("weeks") / "weeks.csv.gz"
    with (
        gzip.open(year, "rt", encoding="utf-8", newline="") as lines,
        gzip.open(beginning, "wt", encoding="utf-8", newline="") as out,
    ):
        last = ""
        for number, line in enumerate(lines):
            invoice = line.partition(",")[0]
            if number > WEEKS_LINES and invoice != last:
                break
            out.write(line)
            last = invoice
    return beginning


@pytest.fixture(scope="module")
def facts(path: Path) -> Expected:
    """Compute the facts once, without the importer."""
    return expected(path)


@pytest.fixture(scope="module")
def imported(
    path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[orderledger.Book, Summary]]:
    """Import the whole file once."""
    url = sqlite_url(tmp_path_factory.mktemp("retail") / "book.db")
    with orderledger.open(url, cache_streams=CACHE_STREAMS) as book:
        yield book, import_file(book, str(path))


@whole_year
def test_the_oracle_finds_the_published_facts(facts: Expected) -> None:
    """Catches an oracle that agrees with the importer and not with the data."""
    assert (facts.lines, len(facts.invoices)) == (541_909, 25_900)
    assert sum(number[0] == "C" for number in facts.invoices) == 3_836
    assert facts.counts["cancelled lines"] == 9_288
    assert facts.cancelled_mills == -896_812_490
    assert (facts.counts["bad debt"], facts.counts["write-offs"]) == (3, 1_336)
    assert (facts.counts["zero price"], facts.counts["negative price"]) == (2_515, 2)
    assert sum(not total for total in facts.totals.values()) == 2_102
    assert facts.counts["rounded"] == 4
    assert facts.counts["without customer"] == 135_080
    assert (len(facts.customers), len(facts.countries), len(facts.stock_codes)) == (4372, 38, 4070)
    assert (facts.positive_mills, facts.net_mills) == (10_666_684_544, 9_747_747_934)
    assert sum(len(times) > 1 for times in facts.times.values()) == 43
    assert sum(count - 1 for count in facts.duplicates.values()) == 5_268
    assert max(facts.sizes.values()) == 1_114


@whole_year
def test_the_oracle_finds_the_published_matching(facts: Expected) -> None:
    """
    Catches a matching that is not the one described.

    The published classification does not use up purchases that match at another price or in part;
    it divides its last two groups as 51 and 1,333, one line otherwise than found here.
    """
    assert facts.loose["same_price"] == 7_183
    assert facts.loose["other_price"] == 338
    assert facts.loose["over_returned"] + facts.loose["no_earlier_purchase"] == 51 + 1_333
    assert facts.loose["no_customer"] == 383


def test_checking_accounts_for_every_line(path: Path, facts: Expected) -> None:
    """Catches a line without category, and a rounding that is not listed."""
    summary = check(str(path))
    assert sum(one.lines for one in summary.categories.values()) == facts.lines == summary.lines
    assert summary.invoices == len(facts.invoices)
    assert Fraction(summary.exact) == facts.net
    assert len(summary.roundings) == facts.counts["rounded"]
    lost = sum(Fraction(one.exact) - Fraction(one.rounded) for one in summary.roundings)
    assert Fraction(summary.minor, 100) + lost == facts.net
    assert summary.cancelled_lines == {name: facts.strict[name] for name in summary.cancelled_lines}
    assert summary.zero_total_invoices == sum(not total for total in facts.totals.values())
    several = sum(len(times) > 1 for times in facts.times.values())
    assert summary.invoices_with_several_times == several
    assert summary.orders == len(facts.orders)
    counts = {name: one.lines for name, one in summary.categories.items()}
    assert counts["bad_debt"] == facts.counts["bad debt"]
    assert counts["stock_write_off"] == facts.counts["write-offs"]
    assert counts["discount"] == facts.counts["discounts"]
    assert counts["refund"] == facts.counts["refunds"]


@whole_year
def test_checking_the_year_comes_to_its_published_figures(path: Path) -> None:
    """Catches an importer and an oracle that are wrong in the same way."""
    summary = check(str(path))
    assert summary.exact == "9747747.934"
    assert len(summary.roundings) == 4
    lost = sum(Fraction(one.exact) - Fraction(one.rounded) for one in summary.roundings)
    assert lost == Fraction("0.004")
    assert summary.zero_total_invoices == 2_102
    assert summary.invoices_with_several_times == 43


def test_the_book_holds_the_money_of_the_file(
    imported: tuple[orderledger.Book, Summary], facts: Expected
) -> None:
    """Catches a penny made, lost or put on the wrong account among half a million lines."""
    book, summary = imported
    sums = balances(book)
    for account in (
        *("assets:psp:imported", "assets:receivables:imported", "expenses:bad_debt"),
        *("expenses:bank_fees", "expenses:marketplace_fees", "expenses:commission"),
        *("expenses:promo", "expenses:stock_written_off"),
    ):
        assert sums[account] == facts.balances[account], account
    credit = sum(minor for name, minor in sums.items() if ":store_credit:" in name)
    assert credit == facts.balances["store_credit"]
    goodwill = sums["expenses:goodwill"]
    assert goodwill == summary.credited_minor
    refunded = facts.balances["refunds"] - goodwill
    assert sums["liabilities:seller:shop"] == facts.balances["sold"] + refunded
    money = sums["assets:psp:imported"] + sums["assets:receivables:imported"]
    lost = sum(Fraction(one.exact) - Fraction(one.rounded) for one in summary.roundings)
    assert Fraction(money, 100) + lost == facts.net


def test_the_read_models_agree_with_the_file(
    imported: tuple[orderledger.Book, Summary], facts: Expected, path: Path, year: Path
) -> None:
    """Catches an order, a month's revenue or a refund that a read model shows otherwise."""
    book, summary = imported
    models = book.read.models
    for name in ("orders", "refunds"):
        assert models.catch_up(name) == book.store.head().size
        assert list(models.parked(name)) == []
        assert verify(models, name).problem is None
    by_month: Counter[str] = Counter()
    for row in models.select(OrderRow):
        assert row.placed_at is not None
        by_month[f"{row.placed_at:%Y-%m}"] += row.total
        by_month["orders"] += 1
    expected_by_month: Counter[str] = Counter({"orders": len(facts.orders)})
    for number, pence in facts.sold_by_order.items():
        expected_by_month[min(facts.times[number])[:7]] += pence
    assert by_month == expected_by_month
    months = {min(times)[:7] for times in facts.times.values()}
    assert len(by_month) == 1 + len(months)
    assert len(months) == (13 if path == year else 2)
    settled = sum([row.settled for row in models.select(RefundRow)])
    assert settled == facts.balances["refunds"] - summary.credited_minor


def test_the_customers_agree_with_the_file(
    imported: tuple[orderledger.Book, Summary], facts: Expected, path: Path
) -> None:
    """Catches a customer's orders, spending, refunds or dates that the file does not have."""
    book, summary = imported
    models = book.read.models
    models.catch_up("customers")
    assert list(models.parked("customers")) == []
    orders: dict[str, set[str]] = defaultdict(set)
    for number, *_, customer, _ in rows(path):
        if number in facts.orders:
            orders[customer.removesuffix(".0")].add(number)
    shown = {row.buyer_ref: row for row in models.select(CustomerRow) if row.order_count}
    assert set(shown) == set(orders)
    for customer, numbers in orders.items():
        row = shown[customer]
        times = sorted([min(facts.times[number]) for number in numbers])
        assert row.order_count == len(numbers)
        assert row.charged == sum([facts.sold_by_order[number] for number in numbers])
        assert f"{row.first_placed_at:%Y-%m-%d %H:%M:%S}" == times[0]
        assert f"{row.last_placed_at:%Y-%m-%d %H:%M:%S}" == times[-1]
        assert row.last_order_id in numbers
    refunded = sum([row.refunded for row in models.select(CustomerRow)])
    assert refunded == facts.balances["refunds"] - summary.credited_minor
    told: Counter[str] = Counter()
    for event in models.select(CustomerEventRow):
        told[event.buyer_ref] += event.charged - event.refunded
    for row in shown.values():
        assert told[row.buyer_ref] == row.charged - row.refunded


def test_the_trial_balance_is_zero(imported: tuple[orderledger.Book, Summary]) -> None:
    """Catches entries that do not balance, and escrow or refunds left open."""
    sums = balances(imported[0])
    assert sum(minor for name, minor in sums.items() if not name.startswith(UNITS)) == 0
    assert sum(minor for name, minor in sums.items() if name.startswith(UNITS)) == 0
    assert not [name for name in sums if ":escrow:" in name or ":refunds:" in name]


def test_every_invoice_has_its_events(
    imported: tuple[orderledger.Book, Summary], facts: Expected
) -> None:
    """Catches an invoice without order, payment or shipment."""
    counts = topics(imported[0])
    assert counts["order.placed.v1"] == counts["order.confirmed.v1"] == len(facts.orders)
    assert counts["fulfilment.shipment_dispatched.v1"] == len(facts.orders)
    assert counts["payment.captured.v1"] == len(facts.paid_orders)
    assert sum(counts.values()) == imported[1].events == imported[0].store.head().size
    entries = [facts.counts[name] for name in ("bad debt", "write-offs", "fees", "discounts")]
    assert counts["journal.entry_posted.v1"] == sum(entries)
    assert counts["payment.refund_succeeded.v1"] == counts["order.refund_settled.v1"]


@whole_year
def test_the_order_to_know_is_cancelled_whole(
    imported: tuple[orderledger.Book, Summary],
) -> None:
    """Catches the 80,995 units of invoice 581483 that C581484 gave back twelve minutes later."""
    order = imported[0].order("581483")
    assert order.total == 16_846_960
    assert order.granted == order.total
    assert imported[0].payment("581483").refunded == order.total
    assert order.lines["1"].returned_ok == 80_995


def test_importing_the_file_again_adds_nothing(
    imported: tuple[orderledger.Book, Summary], path: Path
) -> None:
    """Catches a second run that doubles anything."""
    book, first = imported
    size = book.store.head().size
    second = import_file(book, str(path))
    assert (second.events, second.commands_known) == (0, first.commands)
    assert book.store.head().size == size


@whole_year
def test_a_year_has_no_findings(imported: tuple[orderledger.Book, Summary]) -> None:
    """Catches a false alarm about what real orders do."""
    assert list(imported[0].read.verify()) == []


@whole_year
def test_both_engines_come_to_the_same(
    imported: tuple[orderledger.Book, Summary], path: Path, pg_url: str
) -> None:
    """Catches an engine that stores another number, or orders events otherwise."""
    prepare(locate(pg_url))
    with orderledger.open(pg_url, cache_streams=CACHE_STREAMS) as book:
        summary = import_file(book, str(path))
        assert summary.events == imported[1].events
        assert topics(book) == topics(imported[0])
        assert balances(book) == balances(imported[0])
        assert import_file(book, str(path)).events == 0


@whole_year
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
def test_the_import_needs_little_memory(path: Path, tmp_path: Path) -> None:
    """Catches state that grows with the file: half a million lines in less than 300 MB."""
    program = "from orderledger.cli import main; main()"
    arguments = ["import", "online-retail", str(path), "--url", sqlite_url(tmp_path / "book.db")]
    script = (
        f"import sys; sys.argv = ['orderledger', *{arguments!r}]\n"
        f"try:\n    {program}\n"
        # Not getrusage: what it tells begins with the size of the process that started this one.
        "finally:\n    print(open('/proc/self/status').read(), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("VmHWM:")]
    kilobytes = int(line.split()[1])
    assert kilobytes < 300_000


@whole_year
def test_an_audit_of_the_largest_sale_and_its_cancellation(
    imported: tuple[orderledger.Book, Summary],
) -> None:
    """Catches a sale of 168,469.60 pounds that was taken back, and whose audit does not say so."""
    book, _ = imported
    audit = book.read.audit("order", "581483")
    events = [one for one in audit if isinstance(one, AuditEvent)]
    assert [one.recorded for one in events] == list(book.read.order_history("581483"))
    assert "return-C581484/581483" in audit.streams
    causes = {one.recorded.context.correlation_id for one in events}
    assert causes == {"581483", "C581484"}, "the invoices"
    granted = next(one for one in events if one.recorded.topic == "order.refund_granted.v1")
    assert ("reason", "cancellation") in [(one.field, one.text) for one in granted.reasons]
    assert all(one.command for one in events)
    sums: Counter[str] = Counter()
    for one in events:
        for leg in one.recorded.entry.postings:
            sums[leg.account] += leg.minor
    assert not any(sums.values()), "all of it went back"
    page = report(book.read.audit("order", "581483"))
    assert page.count("168469.60 GBP") == 9, "the total, and four entries of two legs"
    assert page == report(book.read.audit("order", "581483"))
    balance = book.read.balance("expenses:bad_debt")["GBP"]
    entries = list(book.read.audit("account", "expenses:bad_debt"))
    assert (len(entries), balance) == (3, 1_106_206)
