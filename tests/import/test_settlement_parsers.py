"""Settlement files: each format as its provider writes it, and every way it can be wrong."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderledger.importers import (
    settlement_adyen,
    settlement_generic,
    settlement_paypal,
    settlement_stripe,
)
from orderledger.importers.file_error import ImportFileError
from orderledger.importers.settlement_file import ParsedFile, decoded
from orderledger.ledger.settlement_events import LineType, NamedFee, SettlementLine, StatedBalance
from tests import settlement_files as files
from tests.settlement_files import AT, written

CURRENCIES = ("USD", "EUR", "JPY", "KWD", "CLP", "HUF", "ISK")
NAMES: Mapping[str, tuple[str, ...]] = {
    "adyen": ("commission", "markup", "scheme_fees", "interchange"),
    "stripe": ("processing",),
    "paypal": ("paypal",),
    "generic": ("fee",),
}
TYPES: Mapping[str, Mapping[LineType, str]] = {
    "adyen": files.ADYEN_TYPES,
    "stripe": files.STRIPE_TYPES,
    "paypal": files.PAYPAL_TYPES,
    "generic": {one: one.value for one in LineType},
}
PARSERS: Mapping[str, Callable[[str], ParsedFile]] = {
    "adyen": settlement_adyen.parse,
    "stripe": settlement_stripe.parse,
    "paypal": settlement_paypal.parse,
    "generic": settlement_generic.parse,
}
REFERENCE = st.text('ABCxyz0123456789,"; é', min_size=1, max_size=12).map(str.strip).filter(bool)


@st.composite
def lines_of(draw: st.DrawFn, form: str) -> list[SettlementLine]:
    """Draw lines that a format can express."""
    lines: list[SettlementLine] = []
    for number in range(1, draw(st.integers(1, 6)) + 1):
        kind = draw(st.sampled_from(sorted(TYPES[form])))
        code = draw(st.sampled_from(CURRENCIES))
        step = 100 if form == "paypal" and code == "HUF" else 1
        amount = draw(st.integers(1, 10**9)) * step
        outgoing = (LineType.REFUND, LineType.CHARGEBACK, LineType.PAYOUT, LineType.PAID_OUT)
        gross = -amount if kind in outgoing else amount
        count = draw(st.integers(0, len(NAMES[form])))
        amounts = draw(st.lists(st.integers(-999, 999), min_size=count, max_size=count))
        fees = tuple(
            [
                NamedFee(name, fee * step)
                for name, fee in zip(NAMES[form], amounts, strict=False)
                if fee
            ]
        )
        reference = draw(REFERENCE)
        own = draw(st.just(reference) | REFERENCE) if form != "generic" else draw(REFERENCE)
        external = ""
        if form == "paypal":
            external = f"{own} {TYPES[form][kind]} {code}"
        elif form != "adyen":
            external = f"txn_{number}"
        lines.append(
            SettlementLine(
                line_no=number,
                type=kind,
                raw_kind=TYPES[form][kind],
                gross=gross,
                gross_currency=code,
                net=gross - sum([fee.amount for fee in fees]),
                currency=code,
                fees=fees,
                provider_ref=reference,
                modification_ref=own,
                merchant_ref=draw(st.just("") | REFERENCE),
                external_id=external,
                occurred_at=AT + timedelta(seconds=draw(st.integers(0, 10**6))),
            )
        )
    return lines


def text_of(form: str, lines: Sequence[SettlementLine], seed: int, **style: Any) -> str:
    """Write lines in a format, the columns in another order."""
    if form == "paypal":
        section = files.shuffled(files.paypal_rows(lines), seed)
        return written(files.paypal(section), **style)
    rows = {"adyen": files.adyen, "stripe": files.stripe, "generic": files.generic}[form](lines)
    return written(files.shuffled(rows, seed), **style)


@pytest.mark.parametrize("form", sorted(PARSERS))
@given(st.data(), st.integers(0, 999), st.sampled_from([",", ";", "\t"]), st.booleans())
def test_what_is_written_is_read(
    form: str, data: st.DataObject, seed: int, delimiter: str, is_dos: bool
) -> None:
    """Catches a column read by its place, a quoted separator, a lost sign or decimal."""
    lines = data.draw(lines_of(form))
    text = text_of(form, lines, seed, delimiter=delimiter, end="\r\n" if is_dos else "\n")
    read = PARSERS[form](decoded(b"\xef\xbb\xbf" + text.encode()))
    assert list(read.lines) == lines
    assert read.format == form


def first(form: str, **columns: str) -> SettlementLine:
    """Read one row of a format in which some cells are given and the others are empty."""
    header = {
        "adyen": files.ADYEN_HEADER,
        "stripe": files.STRIPE_HEADER,
        "generic": files.GENERIC_HEADER,
    }[form]
    names = [*header, *(name for name in columns if name not in header)]
    text = written([names, [columns.get(name, "") for name in names]])
    return PARSERS[form](text).lines[0]


def test_adyen_converts_and_charges_in_the_currency_of_the_payout() -> None:
    """Catches a net in the payment's currency, or a rate that is lost."""
    one = first(
        "adyen",
        **{
            "Type": "Settled",
            "Psp Reference": "P1",
            "Gross Currency": "EUR",
            "Gross Credit (GC)": "100.00",
            "Exchange Rate": "1.0837",
            "Net Currency": "USD",
            "Net Credit (NC)": "105.00",
            "Markup (NC)": "3.37",
            "Creation Date": "2026-07-01 12:00:00",
            "TimeZone": "CEST",
        },
    )
    assert (one.gross, one.net, one.fee, one.processed, one.residue) == (
        10_000,
        10_500,
        337,
        10_837,
        0,
    )
    assert one.fx_rate == Decimal("1.0837")
    assert one.occurred_at == datetime(2026, 7, 1, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("currency", "text", "minor"),
    [("CLP", "1000.00", 1_000), ("ISK", "500.00", 500), ("KWD", "1.234", 1_234), ("JPY", "5", 5)],
)
def test_adyen_s_decimals_become_iso_minor_units(currency: str, text: str, minor: int) -> None:
    """Catches 1,000 pesos read as 100,000 (hard case 20)."""
    one = first("adyen", Type="Settled", **{"Net Currency": currency, "Net Credit (NC)": text})
    assert (one.net, one.gross, one.gross_currency) == (minor, minor, currency)


def test_adyen_s_chargeback_has_its_fee_inside_the_net() -> None:
    """Catches a chargeback whose fee is taken for a discount."""
    one = first(
        "adyen",
        **{
            "Type": "Chargeback",
            "Gross Currency": "EUR",
            "Gross Debit (GC)": "349.99",
            "Net Currency": "EUR",
            "Net Debit (NC)": "357.49",
            "Commission (NC)": "7.5",
        },
    )
    assert (one.gross, one.net, one.fee, one.residue) == (-34_999, -35_749, 750, 0)


def test_every_adyen_type_has_a_meaning() -> None:
    """Catches a journal type of the report that falls among the adjustments by a typing error."""
    wanted = """Settled Refunded RefundedReversed Chargeback ChargebackReversed SecondChargeback Fee
    MiscCosts MerchantPayout PaidOut PaidOutReversed DepositCorrection InvoiceDeduction
    Balancetransfer ManualCorrected MatchedStatement BankInstructionReturned PaymentCost EpaPaid"""
    for kind in wanted.split():
        assert kind.lower() in settlement_adyen.TYPES, kind
    one = first("adyen", Type="SomethingNew", **{"Net Currency": "EUR", "Net Debit (NC)": "1"})
    assert (one.type, one.raw_kind, one.net) == (LineType.ADJUSTMENT, "SomethingNew", -100)


def test_stripe_s_customer_paid_in_another_currency() -> None:
    """Catches a charge in dollars matched to a payment in euros by the balance's amount."""
    given = {
        "balance_transaction_id": "txn_1",
        "currency": "usd",
        "gross": "-54.18",
        "fee": "0.00",
        "net": "-54.18",
        "reporting_category": "refund",
        "source_id": "re_1",
        "charge_id": "ch_1",
        "customer_facing_amount": "50.00",
        "customer_facing_currency": "eur",
    }
    one = first("stripe", **given)
    assert (one.gross, one.gross_currency, one.processed) == (-5_000, "EUR", -5_418)
    assert (one.modification_ref, one.provider_ref) == ("re_1", "ch_1")


@pytest.mark.parametrize("category", ["charge", "refund", "fee", "dispute", "dispute_reversal"])
def test_stripe_s_categories_have_a_meaning(category: str) -> None:
    """Catches a reporting category that was seen and is not known."""
    assert category in settlement_stripe.TYPES


@pytest.mark.parametrize(
    ("code", "side", "expected"),
    [
        ("T0000", "CR", LineType.PAYMENT),
        ("T0003", "CR", LineType.PAYMENT),
        ("T0006", "CR", LineType.PAYMENT),
        ("T0001", "DR", LineType.PAID_OUT),
        ("T0106", "DR", LineType.CHARGEBACK_FEE),
        ("T0200", "DR", LineType.CONVERSION),
        ("T0201", "CR", LineType.CONVERSION),
        ("T0400", "DR", LineType.PAYOUT),
        ("T0401", "CR", LineType.PAYOUT_RETURNED),
        ("T1107", "DR", LineType.REFUND),
        ("T1108", "CR", LineType.FEE),
        ("T1201", "DR", LineType.CHARGEBACK),
        ("T1202", "CR", LineType.CHARGEBACK_REVERSED),
        ("T9999", "CR", LineType.ADJUSTMENT),
    ],
)
def test_paypal_s_codes(code: str, side: str, expected: LineType) -> None:
    """Catches a T-code that is read as another kind of movement."""
    assert settlement_paypal.type_of(code, is_credit=side == "CR") is expected


def test_paypal_s_sections_and_balances() -> None:
    """Catches a second section read by the columns of the first, and balances that are lost."""
    one = [files.PAYPAL_HEADER, paypal_row("A1", "T0006", "CR", "10000", "USD", "DR", "320")]
    two = [
        list(reversed(files.PAYPAL_HEADER)),
        list(reversed(paypal_row("B1", "T0006", "CR", "5000", "JPY", "", ""))),
    ]
    report = files.paypal(one, ["USD", "DR", "50", "CR", "9630"])
    report += files.paypal(two, ["JPY", "CR", "0", "CR", "5000"])[2:]
    read = settlement_paypal.parse(written(report))
    assert [(line.gross, line.fee, line.net, line.currency) for line in read.lines] == [
        (10_000, 320, 9_680, "USD"),
        (5_000, 0, 5_000, "JPY"),
    ]
    assert read.balances == (
        StatedBalance("JPY", 0, 5_000),
        StatedBalance("USD", -50, 9_630),
    )
    assert read.batch == "ACCT1-20260302"


def paypal_row(transaction: str, code: str, *amounts: str) -> list[str]:
    side, gross, currency, fee_side, fee = amounts
    at = "2026/03/02 10:00:00 -0800"
    return [transaction, "", "", code, at, side, gross, currency, fee_side, fee, currency]


def test_paypal_s_forints_have_no_decimals() -> None:
    """Catches 5,000 forints read as 50.00."""
    section = [files.PAYPAL_HEADER, paypal_row("A1", "T0006", "CR", "5000", "HUF", "", "")]
    read = settlement_paypal.parse(written(files.paypal(section)))
    assert read.lines[0].gross == 500_000


def test_the_generic_file_states_balances() -> None:
    """Catches an opening balance that is read as a line."""
    text = (
        "type;gross;currency\nopening;1.00;USD\npayment;10;USD\n\npayout_total;8;USD\n"
        "closing;3.00;USD\n"
    )
    read = settlement_generic.parse(text)
    assert [line.gross for line in read.lines] == [1_000]
    assert read.balances == (StatedBalance("USD", 100, 300, 800),)


ADYEN_ROW = {
    "Type": "Settled",
    "Psp Reference": "P1",
    "Gross Currency": "EUR",
    "Gross Credit (GC)": "1.00",
    "Net Currency": "EUR",
    "Net Credit (NC)": "1.00",
}


@pytest.mark.parametrize(
    ("column", "value", "why"),
    [
        ("Gross Credit (GC)", "1,00", "is no amount"),
        ("Gross Credit (GC)", "1.005", "more decimals than the 2 of EUR"),
        ("Gross Credit (GC)", "12345678901.000000000000000001", "more decimals than the 2 of EUR"),
        ("Gross Credit (GC)", "1e3", "is no amount"),
        ("Gross Credit (GC)", "NaN", "is no amount"),
        ("Net Currency", "XYZ", "is no currency"),
        ("Type", "", "is empty"),
        ("Creation Date", "yesterday", "is no instant"),
        ("Creation Date", "2026-02-30 10:00:00", "is no instant"),
        ("TimeZone", "XST", "time zone"),
        ("Psp Reference", "x" * 501, "is longer"),
    ],
)
def test_a_bad_cell_names_its_line_and_column(column: str, value: str, why: str) -> None:
    """Catches a malformed cell that becomes an amount of zero, or an error without its place."""
    row = {**ADYEN_ROW, "Creation Date": "2026-03-02 10:00:00", column: value}
    names = files.ADYEN_HEADER
    good = [ADYEN_ROW.get(name, "") for name in names]
    text = written([names, good, [row.get(name, "") for name in names]])
    with pytest.raises(ImportFileError, match=why) as caught:
        settlement_adyen.parse(text)
    assert (caught.value.facts["line"], caught.value.facts["field"]) == (3, column)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "the file is empty"),
        ("type,gross\npayment,1\n", "column 'currency' is missing"),
        ("type,gross,currency,Gross\npayment,1,USD,2\n", "is there 2 times"),
        ("type,gross,currency\npayment,1,USD,more\n", "is beyond the 3 columns"),
        ('type,gross,currency\npayment,"1,USD\n', "is not CSV"),
        ("type,gross,currency\nopening,1,USD\nopening,1,USD\n", "is stated twice"),
        ("type,gross,currency,batch\nfee,1,USD,1\nfee,1,USD,2\n", "is a second batch"),
        ("type,gross,currency,gross_currency\npayment,1,USD,EUR\n", "net '' is empty"),
    ],
)
def test_a_bad_file_is_named(text: str, why: str) -> None:
    """Catches a file that is half a file and is taken for a whole one."""
    with pytest.raises(ImportFileError, match=why):
        settlement_generic.parse(text)


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([["RH", "x"]], "SH '' is missing"),
        ([["SH", "x"], ["SB", "x"]], "before the names of its columns"),
        ([["SH", "x"], ["CH", "Transaction ID"]], "is missing in the header"),
        ([["SH", "x"], ["??", "x"]], "is no kind of row"),
    ],
)
def test_a_bad_report_of_paypal_is_named(rows: list[list[str]], why: str) -> None:
    """Catches another report of PayPal's that is read as a settlement."""
    with pytest.raises(ImportFileError, match=why):
        settlement_paypal.parse(written(rows))


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (paypal_row("A", "T0006", "", "100", "USD", "", ""), "neither CR nor DR"),
        (paypal_row("A", "0006", "CR", "100", "USD", "", ""), "is no code"),
        (paypal_row("A", "T0006", "CR", "1.00", "USD", "", ""), "in minor units"),
    ],
)
def test_a_bad_line_of_paypal_is_named(row: list[str], why: str) -> None:
    """Catches an amount whose side is not known, which would have either sign."""
    with pytest.raises(ImportFileError, match=why):
        settlement_paypal.parse(written(files.paypal([files.PAYPAL_HEADER, row])))


def test_bytes_that_are_no_text() -> None:
    """Catches a file in another encoding that is read with wrong letters."""
    with pytest.raises(ImportFileError, match=r"line 2: file .* is not utf-8") as caught:
        decoded("type\npayé\n".encode("latin-1"))
    assert caught.value.facts["line"] == 2
    assert decoded("type,é".encode("utf-16")) == "type,é"
