"""
Tables for people at a terminal: what must be read whole is never broken.

Only free text is folded. Where a table is wider than the terminal, columns of little use give way
in the order given; what is left is printed whole, and the terminal wraps it if it must.
"""

import re
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple, cast

import click

Row = Mapping[str, object]
WIDTH_WITHOUT_TERMINAL: Final = 160
"""Columns of a table that goes to a file or a pipe."""
FREE_TEXT: Final = frozenset({"text", "value"})
"""Columns that are folded, to no less than ``_FOLDED_WIDTH``."""
_FOLDED_WIDTH: Final = 24
_GAP: Final = 2
_NARROWEST_INDENT: Final = 2
_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")


class Columns(NamedTuple):
    """
    The columns of a table.

    ``numeric`` are aligned to the right. ``giving_way`` are left out one by one where the terminal
    is too narrow, and at once when they are empty. In a story, those of them that have a word in
    ``words`` then stand in a line below the row, after that word.
    """

    shown: Sequence[str]
    numeric: Collection[str] = ()
    giving_way: Sequence[str] = ()
    words: Mapping[str, str] = {}


class Chapter(NamedTuple):
    """One row of a story and the rows that belong to it."""

    head: Row
    lines: Sequence[Row] = ()


def print_fields(fields: Row) -> None:
    """Print one thing as a table of two columns."""
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in fields.items():
        table.add_row(name, f"{_cell(value)} UTC" if isinstance(value, datetime) else _cell(value))
    _print(_console(), table)


def print_rows(rows: Iterable[Row], columns: Columns) -> Sequence[str]:
    """
    Print many things, a line each unless free text is folded.

    Returns the columns that have values and were left out because the terminal is too narrow.
    """
    listed = list(rows)
    console = _console()
    shown = _fitting(listed, columns, console.width)
    console.width = max(console.width, _width_needed(listed, shown))
    _print(console, _table(listed, shown, columns.numeric))
    return [
        name
        for name in columns.shown
        if name not in shown and any(row.get(name) is not None for row in listed)
    ]


def print_story(chapters: Iterable[Chapter], columns: Columns, below: Columns) -> None:
    """Print rows, each followed by indented lines that are aligned over the whole story."""
    listed = list(chapters)
    heads = [chapter.head for chapter in listed]
    console = _console()
    shown = _fitting(heads, columns, console.width)
    lines_width = _width_needed([line for one in listed for line in one.lines], below.shown)
    indent = _width_needed(heads, shown[:1]) + _GAP
    indent = max(min(indent, console.width - lines_width), _NARROWEST_INDENT)
    console.width = max(console.width, _width_needed(heads, shown), indent + lines_width)
    with console.capture() as capture:
        console.print(_table(heads, shown, columns.numeric))
    # No cell of a story is folded: a title, a rule, and then one line for each head.
    title, rule, *printed = capture.get().splitlines()
    details = _aligned([one.lines for one in listed], below)
    left_out = [name for name in columns.shown if name not in shown and name in columns.words]
    click.echo(f"{title.rstrip()}\n{rule}")
    for chapter, line, detail in zip(listed, printed, details, strict=True):
        click.echo(line.rstrip())
        note = ", ".join(
            f"{columns.words[name]} {_one_line(chapter.head[name])}"
            for name in left_out
            if chapter.head.get(name) is not None
        )
        for text in [note, *detail] if note else detail:
            click.echo(f"{' ' * indent}{text}".rstrip())


def _print(console: Any, table: object) -> None:
    """Print by way of click: rich would end the program with status 1 at a closed pipe."""
    with console.capture() as capture:
        console.print(table)
    click.echo(capture.get(), nl=False)


def _console() -> Any:
    from rich.console import Console

    is_terminal = sys.stdout is not None and sys.stdout.isatty()
    width = None if is_terminal else WIDTH_WITHOUT_TERMINAL
    return Console(file=sys.stdout, width=width, highlight=False, markup=False, emoji=False)


def _table(rows: Sequence[Row], shown: Sequence[str], numeric: Collection[str]) -> Any:
    from rich import box
    from rich.table import Table

    # One space of padding and one of the box make the gap.
    table = Table(box=box.SIMPLE, pad_edge=False, show_edge=False, padding=(0, _GAP - 1, 0, 0))
    for name in shown:
        table.add_column(
            _title(rows, name),
            justify="right" if name in numeric else "left",
            no_wrap=name not in FREE_TEXT,
            overflow="fold",
        )
    for row in rows:
        table.add_row(
            *(
                _cell(row.get(name)) if name in FREE_TEXT else _one_line(row.get(name))
                for name in shown
            )
        )
    return table


def _fitting(rows: Sequence[Row], columns: Columns, width: int) -> Sequence[str]:
    """Return the columns that are shown at a width."""
    shown = [
        name
        for name in columns.shown
        if name not in columns.giving_way or any(row.get(name) is not None for row in rows)
    ]
    for name in columns.giving_way:
        if _width_needed(rows, shown) <= width:
            break
        if name in shown:
            shown.remove(name)
    return shown


def _width_needed(rows: Sequence[Row], shown: Sequence[str]) -> int:
    return sum(_width(rows, name) for name in shown) + _GAP * (len(shown) - 1)


def _width(rows: Sequence[Row], name: str) -> int:
    from rich.cells import cell_len

    widest = max((cell_len(_one_line(row.get(name))) for row in rows), default=0)
    widest = max(widest, cell_len(_title(rows, name)))
    return min(widest, _FOLDED_WIDTH) if name in FREE_TEXT else widest


def _title(rows: Sequence[Row], name: str) -> str:
    title = name.replace("_", " ")
    return f"{title} UTC" if any(isinstance(row.get(name), datetime) for row in rows) else title


def _aligned(groups: Sequence[Sequence[Row]], columns: Columns) -> list[list[str]]:
    """Return the lines of every group, their columns as wide as the widest of all groups."""
    from rich.cells import cell_len

    def width(name: str) -> int:
        cells = (_one_line(row.get(name)) for rows in groups for row in rows)
        return max((cell_len(cell) for cell in cells), default=0)

    widths = {name: width(name) for name in columns.shown}

    def padded(row: Row, name: str) -> str:
        text = _one_line(row.get(name))
        blank = " " * (widths[name] - cell_len(text))
        return f"{blank}{text}" if name in columns.numeric else f"{text}{blank}"

    return [
        [
            (" " * _GAP).join(padded(row, name) for name in columns.shown if widths[name])
            for row in rows
        ]
        for rows in groups
    ]


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = str(value) if isinstance(value, str | int) else encoded(value).decode()
    # A buyer's free text must not move the cursor of whoever looks at it.
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def _one_line(value: object) -> str:
    return _cell(value).replace("\n", "\N{REPLACEMENT CHARACTER}")


def short_topic(topic: str) -> str:
    """Return a topic without its version; ``--json`` has it whole."""
    return topic.rpartition(".v")[0]


def encoded(value: object) -> bytes:
    """Return a value as JSON; decimals are strings, and keys of several parts ``a/b``."""
    import msgspec

    plain: object = msgspec.to_builtins(value, builtin_types=(Decimal,))
    return msgspec.json.Encoder(decimal_format="string").encode(_text_keys(plain))


def _text_keys(value: object) -> object:
    """Write keys of several parts as one text: JSON has no others."""
    if isinstance(value, dict):
        found = cast("Mapping[object, object]", value)
        return {_key(key): _text_keys(item) for key, item in found.items()}
    if isinstance(value, list | tuple):
        return [_text_keys(item) for item in cast("Sequence[object]", value)]
    return value


def _key(key: object) -> object:
    if isinstance(key, tuple):
        return "/".join(str(part) for part in cast("Sequence[object]", key))
    return key
