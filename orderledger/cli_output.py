"""
How commands take their common options, open the book, print, and fail.

Answers go to stdout: JSON with ``--json`` or where stdout is no terminal, tables otherwise. Talk
and progress go to stderr. An error is one line on stderr and an exit status by its class.
"""

import contextlib
import functools
import io
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Final, NoReturn, TextIO, TypeVar, cast

import click

from .cli_tables import Columns, Row, encoded, print_fields, print_rows

if TYPE_CHECKING:
    from orderledger.book import Book
    from orderledger.config import Location
    from orderledger.ledger.errors import OrderLedgerError
    from orderledger.ledger.ports import EventStore
    from orderledger.proving import Proving
    from orderledger.reading import Reading
    from orderledger.snapshotting import Snapshots

    _InstantBase = click.ParamType[datetime]
else:
    # Generic only to type checkers: click 8.1 has no parameter for it.
    _InstantBase = click.ParamType

F = TypeVar("F", bound=Callable[..., object])
_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
_END_OF_DAY: Final = time(23, 59, 59, 999_999, tzinfo=UTC)


class Session:
    """One command's options, the book it opens and the way it prints."""

    def __init__(
        self, *, url: str | None, book: str | None, is_json: bool | None, is_quiet: bool
    ) -> None:
        self._url: Final = url
        self._book: Final = book
        self._is_json: Final = not is_terminal(sys.stdout) if is_json is None else is_json
        stdout: object = sys.stdout
        if isinstance(stdout, io.TextIOWrapper):
            # JSON is UTF-8 whatever the locale; a table does without what a terminal cannot show.
            encoding = "utf-8" if self._is_json else None
            cast("io.TextIOWrapper", stdout).reconfigure(encoding=encoding, errors="replace")
        self.is_quiet: Final = is_quiet
        self._store: EventStore | None = None
        self._reading: Reading | None = None
        self._snapshots: Snapshots | None = None
        self._written: Book | None = None

    @property
    def is_json(self) -> bool:
        """Whether answers are printed as JSON."""
        return self._is_json

    @property
    def given(self) -> tuple[str | None, str | None]:
        """The options --url and --book as given."""
        return (self._url, self._book)

    def location(self) -> "Location":
        """Return where the book is; raises InvalidInput."""
        from orderledger.config import locate

        return locate(self._url, self._book)

    @property
    def reading(self) -> "Reading":
        """The reading side of the book, opened at first use; a missing file is NotFound."""
        if self._reading is None:
            from orderledger.reading import Reading

            self._reading = Reading(self._opened(), snapshots=self.snapshots)
        return self._reading

    @property
    def snapshots(self) -> "Snapshots":
        """The snapshots of the book; a missing file is NotFound."""
        from orderledger.snapshotting import Snapshots

        if self._snapshots is None:
            self._snapshots = Snapshots(self._opened())
        return self._snapshots

    @property
    def proving(self) -> "Proving":
        """What the book can prove of itself; a missing file is NotFound."""
        return self.book.proving

    def _opened(self) -> "EventStore":
        if self._store is None:
            from orderledger.databases import open_store

            self._store = open_store(self.location(), must_exist=True)
        return self._store

    @property
    def book(self) -> "Book":
        """The book for writing, on the same store; a missing file is NotFound."""
        if self._written is None:
            from orderledger.book import Book

            self._written = Book(self._opened())
        return self._written

    def close(self) -> None:
        """Close what was opened."""
        if self._reading is not None:
            self._reading.close()
        if self._snapshots is not None:
            self._snapshots.close()
        if self._written is not None:
            self._written.close()
        elif self._store is not None:
            self._store.close()

    def talk(self, text: str) -> None:
        """Say something to the person at the terminal, unless --quiet."""
        if not self.is_quiet:
            say(text)

    def progress(self) -> Callable[[str, int, int | None], None]:
        """
        Return a function that shows progress on stderr if that is a terminal.

        It is given what is being done, how much is done, and of how much: None where that is not
        known before the end.
        """
        if self.is_quiet or not is_terminal(sys.stderr):
            return lambda name, done, whole: None

        def show(name: str, done: int, whole: int | None) -> None:
            of = "" if whole is None else f" of {whole}"
            is_over = whole is not None and done >= whole
            click.echo(f"\r{name}: {done}{of}  ", err=True, nl=is_over)

        return show

    def record(self, fields: Row) -> None:
        """Print one thing: a JSON object, or a table of two columns."""
        if self._is_json:
            import msgspec

            click.echo(msgspec.json.format(encoded(fields), indent=2).decode())
            return
        print_fields(fields)

    def rows(self, rows: Iterable[Row], columns: Columns) -> Sequence[str]:
        """
        Print many things: a JSON array with one object a line, or a table of these columns.

        The array is written while ``rows`` is read, so that it may be longer than memory. Returns
        the columns that a table left out because the terminal is too narrow for them.
        """
        if self._is_json:
            # Nothing is printed before the first row is there: an error must leave no half answer.
            opening = "[\n"
            for row in rows:
                click.echo(opening + encoded(row).decode(), nl=False)
                opening = ",\n"
            click.echo("[]" if opening == "[\n" else "\n]")
            return ()
        return print_rows(rows, columns)


def say(text: str) -> None:
    """Say something on stderr. Where nothing can be said, the exit status still tells."""
    with contextlib.suppress(OSError):
        click.echo(text, err=True)


def is_terminal(stream: TextIO | None) -> bool:
    """Tell whether a person looks at a stream; a closed one is None."""
    return stream is not None and stream.isatty()


def money(minor: int, currency: str) -> str:
    """Write minor units with the currency's decimals, without its code."""
    from orderledger.ledger.money import format_minor

    return format_minor(minor, currency)


class InstantType(_InstantBase):
    """
    An instant: ISO 8601, in UTC if it has no zone.

    A date alone is the start of that day, or its end where the option is an upper bound.
    """

    name = "instant"

    def __init__(self, *, is_upper_bound: bool) -> None:
        self._is_upper_bound = is_upper_bound

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Read an instant; a value that is none is a usage error."""
        text = str(value)
        try:
            return instant_of(text, is_upper_bound=self._is_upper_bound)
        except ValueError:
            self.fail(f"{text!r} is no instant like 2026-01-31 or 2026-01-31T12:00:00Z", param, ctx)


def instant_of(text: str, *, is_upper_bound: bool) -> datetime:
    """Read an instant, in UTC if it has no zone; raises ValueError. See ``InstantType``."""
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
        at = _END_OF_DAY if is_upper_bound else time(tzinfo=UTC)
        return datetime.combine(date.fromisoformat(text), at)
    instant = datetime.fromisoformat(text)
    return instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)


LOWER: Final = InstantType(is_upper_bound=False)
UPPER: Final = InstantType(is_upper_bound=True)


def common(function: F) -> F:
    """
    Give a command the options --url, --book, --json/--table and --quiet, and a session first.

    The decorated function gets a ``Session`` as its first argument, which is closed after it; an
    integer it returns is the exit status. Errors of this library are printed and set the status.
    """

    @click.option("--url", help="Where the book is; default: ORDERLEDGER_URL.")
    @click.option("--book", help="Name of the book; default: ORDERLEDGER_BOOK, or main.")
    @click.option(
        "--json/--table",
        "is_json",
        default=None,
        help="Print JSON (default where stdout is no terminal) or tables.",
    )
    @click.option("--quiet", "is_quiet", is_flag=True, help="No talk and no progress on stderr.")
    @functools.wraps(function)
    def command(
        *,
        url: str | None,
        book: str | None,
        is_json: bool | None,
        is_quiet: bool,
        **arguments: object,
    ) -> object:
        from orderledger.ledger.errors import OrderLedgerError

        session = Session(url=url, book=book, is_json=is_json, is_quiet=is_quiet)
        try:
            return function(session, **arguments)
        except OrderLedgerError as error:
            fail(error)
        finally:
            session.close()

    return command  # type: ignore[return-value]  # click's options keep the signature open


def exit_status(error: "OrderLedgerError") -> int:
    """Return the exit status of an error: that of the nearest parent in ``EXIT_STATUS``."""
    from orderledger.ledger.errors import EXIT_STATUS

    for kind in type(error).__mro__:
        if kind in EXIT_STATUS:
            return EXIT_STATUS[kind]
    return 1


def fail(error: "OrderLedgerError", *, status: int | None = None) -> NoReturn:
    """Print an error as one line on stderr and end the command."""
    message = " ".join(error.message.split())
    say(f"error: {_CONTROL.sub('?', message)}")
    sys.exit(exit_status(error) if status is None else status)
