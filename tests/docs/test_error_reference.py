"""The page of the errors is that of the error tree."""

from tools.generate_error_reference import TARGET, document


def test_the_page_is_current() -> None:
    """Catches an error, reason or status that is not documented, or no longer is there."""
    assert TARGET.read_text("utf-8") == document(), (
        "run python -m tools.generate_error_reference and commit docs/errors.md"
    )


def test_every_reason_is_used() -> None:
    """Catches a reason that no decider gives any more, but that callers still wait for."""
    rows = [line for line in document().splitlines() if "reserved for a later part" in line]
    assert rows == []
