"""
A table of a read model, declared once: a struct whose fields are the columns.

The fields' annotations say what the columns hold: ``str``, ``int``, ``Amount``, ``datetime`` and
``bool``, and ``X | None`` for one that may be empty. From it come the ``Table`` that stores know,
and the rows that a reader gets.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import NoneType, UnionType
from typing import Annotated, Any, ClassVar, Final, TypeVar, Union, get_args, get_origin

import msgspec

from orderledger.ledger.errors import InvalidInput
from orderledger.ledger.instants import in_utc
from orderledger.ledger.model_ports import Column, Key, Kind, LogTable, Table, Value

Amount = Annotated[int, Kind.AMOUNT]
"""An exact integer of at most 30 digits, in minor units of the currency that the table names."""


class TableRow(msgspec.Struct, frozen=True, gc=False):
    """
    A row of a read model; a subclass declares its table. See ``table``.

    Values have exactly the types of the annotations; instants are in UTC.
    """

    table: ClassVar[Table]


R = TypeVar("R", bound=TableRow)

_KINDS: Final[Mapping[object, Kind]] = {
    str: Kind.TEXT,
    int: Kind.INTEGER,
    datetime: Kind.INSTANT,
    bool: Kind.BOOLEAN,
}
_WORDS: Final[Mapping[Kind, str]] = {
    Kind.TEXT: "a text (str)",
    Kind.INTEGER: "an integer of 64 bits (int)",
    Kind.AMOUNT: "an amount (int, minor units, at most 30 digits)",
    Kind.INSTANT: "an instant (datetime with a time zone)",
    Kind.BOOLEAN: "true or false (bool)",
}
_TAKEN: Final = frozenset({"table", "after"})
"""What a column cannot be named: the table itself, and a parameter of ``ReadModels.select``."""
RANGES: Final[Mapping[Kind, range]] = {
    Kind.INTEGER: range(-(2**63), 2**63),
    Kind.AMOUNT: range(1 - 10**30, 10**30),
}


def table(
    name: str,
    *,
    key_count: int = 1,
    indexes: tuple[tuple[str, ...], ...] = (),
    is_log: bool = False,
) -> Callable[[type[R]], type[R]]:
    """
    Make the decorated ``TableRow`` a table: its first ``key_count`` fields are the key.

    ``indexes`` name further columns by which rows are looked up; ``is_log`` makes it a
    ``LogTable``. Raises TypeError for a field that no column can hold.
    """

    def declare(row_type: type[R]) -> type[R]:
        fields = msgspec.structs.fields(row_type)
        columns = tuple([_column(row_type, field.name, field.type) for field in fields])
        row_type.table = (LogTable if is_log else Table)(name, columns, key_count, indexes)
        return row_type

    return declare


def _column(row_type: type[TableRow], name: str, annotation: object) -> Column:
    kind, is_optional = _kind(annotation)
    if kind is None or name in _TAKEN:
        why = f"is {annotation}" if kind is None else "has a name that is taken"
        raise TypeError(
            f"field {name} of {row_type.__name__} {why}; a column is a str, int, Amount, datetime "
            "or bool, or one of them | None"
        )
    return Column(name, kind, is_optional)


def _kind(annotation: Any) -> tuple[Kind | None, bool]:
    """Return the kind of an annotation, and whether it allows None."""
    if get_origin(annotation) in (UnionType, Union):
        members = [one for one in get_args(annotation) if one is not NoneType]
        return (_kind(members[0])[0] if len(members) == 1 else None), True
    for one in getattr(annotation, "__metadata__", ()):
        if isinstance(one, Kind):
            return one, False
    return _KINDS.get(annotation), False


def check_values(of: Table, values: Mapping[str, object]) -> dict[str, Value]:
    """
    Return values for columns of a table, as a store takes them.

    Raises InvalidInput, naming the column and what it holds, for a column that the table does not
    have and for a value that it cannot hold.
    """
    known = {column.name: column for column in of.columns}
    checked: dict[str, Value] = {}
    for name, value in values.items():
        if name not in known:
            raise InvalidInput(
                f"table {of.name} has no column {name}; it has {', '.join(known)}",
                table=of.name,
                column=name,
            )
        checked[name] = _checked(of, known[name], value)
    return checked


def check_key(of: Table, key: Sequence[object]) -> Key:
    """Return a key as a store takes it; raises InvalidInput where it is not one of the table."""
    names = of.key_names
    if len(key) != len(names):
        raise InvalidInput(
            f"a key of table {of.name} is {', '.join(names)}, not {len(key)} values",
            table=of.name,
            columns=names,
        )
    return tuple(check_values(of, dict(zip(names, key, strict=True))).values())


def _checked(of: Table, column: Column, value: object) -> Value:
    where = f"column {column.name} of table {of.name}"
    if value is None and column.is_optional:
        return None
    match column.kind, value:
        case Kind.TEXT, str() if _is_storable(value):
            return str.__str__(value)  # a member of a StrEnum as the plain text that drivers take
        case ((Kind.INTEGER | Kind.AMOUNT), int()) if not isinstance(value, bool):
            if value in RANGES[column.kind]:
                return value
        case Kind.BOOLEAN, bool():
            return value
        case Kind.INSTANT, datetime():
            return in_utc(value, where)
        case _:
            pass
    what = "empty (None)" if value is None else f"{value!r:.80} ({type(value).__name__})"
    raise InvalidInput(
        f"{where} holds {_WORDS[column.kind]}{' or None' if column.is_optional else ''}; it is "
        f"never {what}",
        table=of.name,
        column=column.name,
        kind=column.kind.value,
    )


def _is_storable(text: str) -> bool:
    return "\x00" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)
