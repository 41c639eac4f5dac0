"""The diagram and the table of docs/chargebacks.md are those of the transitions."""

from tools.generate_chargeback_table import TARGET, document


def test_the_page_is_current() -> None:
    """Catches a transition that the page does not show, or one that it invents."""
    assert TARGET.read_text("utf-8") == document(), (
        "run python -m tools.generate_chargeback_table and commit docs/chargebacks.md"
    )
