"""The page of the commands is that of the command structs."""

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
