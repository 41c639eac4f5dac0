"""
The errors that this library raises, under one import: ``from orderledger.errors import Rejected``.

The tree, with its statuses, is drawn in ``orderledger.ledger.errors``.
"""

from orderledger.ledger.errors import *  # noqa: F403  # the whole tree, and nothing else
from orderledger.ledger.errors import __all__ as __all__
