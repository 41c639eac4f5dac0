"""The reference of the views is that of the read models."""

from orderledger.projections.shipped import SHIPPED
from tools.generate_view_reference import TARGET, document, row_type_of


def test_the_reference_is_current() -> None:
    """Catches a view or a column that is not documented, or no longer is there."""
    assert TARGET.read_text("utf-8") == document(), (
        "run python -m tools.generate_view_reference and commit docs/views.md"
    )


def test_every_amount_says_its_currency() -> None:
    """Catches an amount whose minor units are of a currency that nothing names."""
    for model in SHIPPED:
        for table in model.tables:
            if any(column.kind == "amount" for column in table.columns):
                assert "minor units of" in (row_type_of(table).__doc__ or ""), table.name
