"""
Where a payment provider counts decimals otherwise than ISO 4217.

Sources: Adyen, "Currency codes and minor units" (its list says CLP 2, CVE 0, ISK 2 where ISO 4217
says 0, 2 and 0); PayPal, "Supported currencies" (no decimals of HUF and TWD).
Only the adapter that talks to the provider, or reads its files, uses this table: inside the ledger
an amount is always in ISO minor units, and a wrong table here is a factor of one hundred.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from .currencies import exponent

PROVIDER_EXPONENTS: Final[Mapping[str, Mapping[str, int]]] = MappingProxyType(
    {
        "adyen": MappingProxyType({"CLP": 2, "CVE": 0, "ISK": 2}),
        "paypal": MappingProxyType({"HUF": 0, "TWD": 0}),
    }
)


def provider_exponent(provider: str, currency: str) -> int:
    """
    Return how many decimals the provider counts for the currency; ISO's where it does not differ.

    A provider without a table counts as ISO does. Raises UnknownCurrency for an unknown code.
    """
    expected = exponent(currency)
    return PROVIDER_EXPONENTS.get(provider, {}).get(currency, expected)
