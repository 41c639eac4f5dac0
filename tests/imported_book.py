"""Reading what an import left in a book, for the tests of importers and of the demo."""

from collections import Counter
from pathlib import Path

import orderledger
from orderledger.ledger.journal import decode_entry
from orderledger.ledger.ports import StoredEvent

HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"


def retail_file(path: Path, *lines: str) -> str:
    """
    Write a file of short lines ``invoice code quantity price customer [time]`` and return its name.

    ``_`` in a code stands for a space, ``-`` as customer for none.
    """
    text = [HEADER]
    for line in lines:
        invoice, code, quantity, price, customer, *time = line.split()
        at = time[0] if time else "10:00:00"
        who = "" if customer == "-" else f"{customer}.0"
        code = code.replace("_", " ") if not code.startswith("gift") else code
        text.append(
            f'{invoice},{code},"A THING, BLUE",{quantity},2011-03-01 {at},{price},{who},France'
        )
    path.write_bytes(("\r\n".join(text) + "\r\n").encode())
    return str(path)


def sqlite_url(path: Path) -> str:
    """Return the URL of a SQLite file."""
    return f"sqlite:///{path}"


def events(book: orderledger.Book) -> list[StoredEvent]:
    """Return every event of a book in log order."""
    found: list[StoredEvent] = []
    while rows := book.store.read(len(found), limit=5_000):
        found.extend(rows)
    return found


def topics(book: orderledger.Book) -> Counter[str]:
    """Count the events of a book by topic."""
    return Counter(event.topic for event in events(book))


def balances(book: orderledger.Book) -> Counter[str]:
    """Sum the posted legs per account, those of one currency per name; zero balances left out."""
    sums: Counter[str] = Counter()
    position = 0
    while rows := book.store.read(position, limit=5_000):
        for row in rows:
            for leg in decode_entry(row.postings).postings:
                if leg.layer == "posted":
                    sums[leg.account] += leg.minor
        position += len(rows)
    return Counter({account: minor for account, minor in sums.items() if minor})
