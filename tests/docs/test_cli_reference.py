"""The command line reference is that of the commands."""

from tools.generate_cli_reference import TARGET, document


def test_the_reference_is_current() -> None:
    """Catches a command or an option that is not documented, or no longer is there."""
    assert TARGET.read_text("utf-8") == document(), (
        "run python -m tools.generate_cli_reference and commit docs/cli.md"
    )
