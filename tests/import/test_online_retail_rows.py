"""Reading the file: every malformed line is named, and nothing malformed gets through."""

import gzip
from pathlib import Path

import pytest

from orderledger.importers.file_error import ImportFileError
from orderledger.importers.online_retail_import import check
from orderledger.importers.online_retail_invoices import OPEN_INVOICES, gather
from orderledger.importers.online_retail_rows import open_source, read_rows
from tests.imported_book import HEADER, retail_file

GOOD = "536365,85123A,HEART,6,2010-12-01 08:26:00,2.55,17850.0,United Kingdom"


def _error(path: Path, content: bytes) -> ImportFileError:
    path.write_bytes(content)
    with pytest.raises(ImportFileError) as caught:
        check(str(path))
    return caught.value


@pytest.mark.parametrize(
    ("line", "field", "value"),
    [
        ("536365,85123A,HEART,6,2010-12-01 08:26:00,2.55,17850.0", "Country", None),
        (GOOD + ",more", "line", None),
        (GOOD.replace("536365", "X536365"), "InvoiceNo", "X536365"),
        (GOOD.replace("536365", ""), "InvoiceNo", ""),
        (GOOD.replace("85123A", " "), "StockCode", " "),
        (GOOD.replace(",6,", ",six,"), "Quantity", "six"),
        (GOOD.replace(",6,", ",6.5,"), "Quantity", "6.5"),
        (GOOD.replace(",6,", ",0,"), "Quantity", "0"),
        (GOOD.replace(",6,", ",1_000,"), "Quantity", "1_000"),
        (GOOD.replace(",6,", ",2000000000,"), "Quantity", "2000000000"),
        (GOOD.replace("2010-12-01 08:26:00", "01/12/2010 08:26"), "InvoiceDate", None),
        (GOOD.replace("2010-12-01", "2010-02-30"), "InvoiceDate", "2010-02-30 08:26:00"),
        (GOOD.replace("2.55", "2,55"), "line", None),
        (GOOD.replace("2.55", "NaN"), "UnitPrice", "NaN"),
        (GOOD.replace("2.55", "1e3"), "UnitPrice", "1e3"),
        (GOOD.replace("2.55", "-2.55"), "UnitPrice", "-2.55"),
        (GOOD.replace("2.55", "0.0000000000001"), "UnitPrice", "0.0000000000001"),
        (GOOD.replace("17850.0", "17850.5"), "CustomerID", "17850.5"),
        (GOOD.replace("536365", "C536365"), "Quantity", "6"),
        (GOOD.replace(",6,", ",-6,"), "UnitPrice", "2.55"),
        (GOOD.replace("United Kingdom", "x" * 200), "Country", None),
    ],
)
def test_a_malformed_line_is_named(
    tmp_path: Path, line: str, field: str, value: str | None
) -> None:
    """Catches a bad line that is guessed at, or reported without its place."""
    content = "\n".join([HEADER, GOOD, line, GOOD]).encode()
    error = _error(tmp_path / "bad.csv", content)
    assert (error.facts["line"], error.facts["field"]) == (3, field)
    assert value is None or error.facts["value"] == value
    assert "line 3" in error.message


def test_a_wrong_or_missing_header_is_refused(tmp_path: Path) -> None:
    """Catches columns taken by position from a file that has others."""
    other = _error(tmp_path / "a.csv", GOOD.encode())
    assert (other.facts["line"], other.facts["field"]) == (1, "header")
    assert _error(tmp_path / "b.csv", b"").facts["field"] == "header"
    assert _error(tmp_path / "c.csv", HEADER.replace(",", ";").encode()).facts["line"] == 1


def test_another_encoding_is_refused_with_its_line(tmp_path: Path) -> None:
    """Catches a Latin-1 file decoded to other characters."""
    bad = GOOD.replace("HEART", "CAF\xc9").encode("latin-1")
    error = _error(tmp_path / "latin.csv", b"\n".join([HEADER.encode(), GOOD.encode(), bad]))
    assert (error.facts["line"], error.facts["field"]) == (3, "encoding")
    utf16 = _error(tmp_path / "utf16.csv", f"{HEADER}\n{GOOD}\n".encode("utf-16"))
    assert utf16.facts["field"] == "encoding"


def test_a_truncated_archive_is_refused(tmp_path: Path) -> None:
    """Catches the end of a cut download taken for the end of the data."""
    whole = gzip.compress("\n".join([HEADER, *[GOOD] * 500]).encode())
    error = _error(tmp_path / "cut.csv.gz", whole[: len(whole) // 2])
    assert error.facts["field"] == "file"
    garbled = _error(tmp_path / "garbled.csv.gz", whole[:40] + b"\x00" * 40 + whole[80:])
    assert garbled.facts["field"] == "file"


def test_an_open_quote_is_refused(tmp_path: Path) -> None:
    """Catches a quote that swallows the rest of the file into one description."""
    bad = GOOD.replace("HEART", '"HEART')
    error = _error(tmp_path / "quote.csv", "\n".join([HEADER, GOOD, bad, GOOD]).encode())
    assert (error.facts["line"], error.facts["field"]) == (3, "line")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """Catches a traceback in place of an error for a mistyped name."""
    with pytest.raises(ImportFileError, match="cannot be opened"):
        check(str(tmp_path / "none.csv"))


def test_lines_are_counted_as_in_the_file(tmp_path: Path) -> None:
    """Catches line numbers that drift behind a quoted line break."""
    path = tmp_path / "quoted.csv"
    quoted = GOOD.replace("HEART", '"HEART,\n RED"')
    path.write_text("\n".join([HEADER, quoted, GOOD]), encoding="utf-8-sig")
    with open_source(str(path)) as source:
        rows = list(read_rows(source))
    assert [row.line for row in rows] == [2, 4]
    assert rows[0].customer == "17850"


def test_interrupted_invoices_are_joined(tmp_path: Path) -> None:
    """Catches the second half of an invoice that becomes an order of its own, or is lost."""
    others = [f"{number} 10001 1 1.00 1" for number in range(200, 200 + OPEN_INVOICES + 1)]
    near = retail_file(tmp_path / "near.csv", "100 10001 1 1.00 1", others[0], "100 10002 2 1.00 1")
    far = retail_file(tmp_path / "far.csv", "100 10001 1 1.00 1", *others, "100 10002 2 1.00 1")
    with open_source(near) as source:
        joined = list(gather(read_rows(source)))
    assert [(one.document, len(one.rows)) for one in joined] == [("100", 2), ("200", 1)]
    with open_source(far) as source:
        split = list(gather(read_rows(source)))
    assert split[0].document == "100"
    assert split[-1].document == "100.2"
    assert sum(len(one.rows) for one in split) == len(others) + 2


def test_customers_do_not_mix_within_an_invoice(tmp_path: Path) -> None:
    """Catches an order whose buyer is whoever stands in its first line."""
    path = retail_file(tmp_path / "mixed.csv", "100 10001 1 1.00 1", "100 10002 1 1.00 2")
    with pytest.raises(ImportFileError, match="CustomerID"):
        check(path)
