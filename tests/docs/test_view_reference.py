"""The reference of the views is that of the read models."""

import re

from orderledger.projections.shipped import SHIPPED
from tests.source_tree import ROOT
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


def test_the_page_names_every_model_and_its_views() -> None:
    """Catches a read model that is shipped and not told of, or told of and gone."""
    page = (ROOT / "docs" / "read-models.md").read_text("utf-8")
    rows = re.findall(r"(?m)^\| `(\w+)` \| (`[^|]+`) \|", page)
    told = {name: set(re.findall(r"`(\w+)`", views)) for name, views in rows}
    assert set(told) == {model.name for model in SHIPPED}
    for model in SHIPPED:
        assert told[model.name] <= {table.name for table in model.tables}, model.name
