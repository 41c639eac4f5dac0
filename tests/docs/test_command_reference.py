"""The page of the commands is that of the command structs."""

from collections.abc import Iterator
from typing import Any, get_args

from msgspec import Struct
from msgspec.structs import fields

from orderledger.commands import model
from orderledger.commands.model import COMMANDS
from tools.generate_command_reference import AREAS, TARGET, document


def test_the_page_is_current() -> None:
    """Catches a command or field that is not documented, or no longer is there."""
    assert TARGET.read_text("utf-8") == document(), (
        "run python -m tools.generate_command_reference and commit docs/commands.md"
    )


def test_every_command_has_one_area() -> None:
    """Catches a new kind of command that the page leaves out or shows twice."""
    for command in COMMANDS:
        areas = [title for title, _, bases in AREAS if issubclass(command, bases)]
        assert len(areas) == 1, f"{command.__name__} stands in {areas}"


def _types_in(annotation: Any) -> Iterator[type]:
    """Iterate over the types of ours that a field's value is made of, at any depth."""
    for argument in get_args(annotation):
        yield from _types_in(argument)
    if isinstance(annotation, type) and annotation.__module__.startswith("orderledger."):
        yield annotation
        if issubclass(annotation, Struct):
            for field in fields(annotation):
                yield from _types_in(field.type)


def test_what_a_command_is_made_of_is_under_the_same_import() -> None:
    """Catches a field whose type a caller has to look for in the source."""
    for command in COMMANDS:
        for field in fields(command):
            for one in _types_in(field.type):
                assert getattr(model, one.__name__, None) is one, f"{command.__name__}: {one}"
                assert one.__name__ in model.__all__
