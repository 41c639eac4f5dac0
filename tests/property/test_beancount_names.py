"""Account names in beancount's grammar: one to one, whatever the name."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderledger.replay.beancount_names import account_of_beancount, beancount_account

# beancount/parser/lexer.l: ACCOUNTTYPE and ACCOUNTNAME, without what is beyond ASCII.
GRAMMAR = re.compile(r"(Assets|Liabilities|Income|Expenses|Equity)(:[A-Z0-9][A-Za-z0-9-]*)+")
ROOTS = ("assets", "liabilities", "income", "expenses", "equity")
segments = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._@/+-]{0,6}", fullmatch=True)
# Few letters, so that names which differ in case and signs alone are common.
alike = st.from_regex(r"[aAhc0][aAhcC._-]{0,5}", fullmatch=True)
names = st.builds(
    lambda root, parts: ":".join([root, *parts]),
    st.sampled_from(ROOTS),
    st.lists(segments | alike, min_size=1, max_size=3),
)


@given(names)
def test_every_name_comes_back(name: str) -> None:
    """Catches two accounts that share a name in beancount, or a name that it refuses."""
    written = beancount_account(name)
    assert GRAMMAR.fullmatch(written)
    assert account_of_beancount(written) == name


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("assets:bank:main", "Assets:Bank:Main"),
        ("expenses:gateway_fees", "Expenses:Gateway-fees"),
        ("liabilities:escrow:order-17", "Liabilities:Escrow:Order--17"),
        ("liabilities:escrow:0199c1-7a", "Liabilities:Escrow:0199c1--7a"),
        ("liabilities:tax:US-CA", "Liabilities:Tax:US--CA"),
        ("liabilities:tax:us-ca", "Liabilities:Tax:Us--ca"),
        ("liabilities:seller:Anna", "Liabilities:Seller:Anna---c-"),
        ("liabilities:seller:anna", "Liabilities:Seller:Anna"),
        ("liabilities:seller:a.b@c", "Liabilities:Seller:A---d-b---a-c"),
        ("liabilities:seller:X.", "Liabilities:Seller:X---dc-"),
    ],
)
def test_names_read_well(name: str, written: str) -> None:
    """Catches a rule that changed: exported books of different days would not join."""
    assert beancount_account(name) == written
