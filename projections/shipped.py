"""
The read models that come with the library.
"""

from typing import Final

from .anomalies import Anomalies
from .balances import Postings
from .customers import Customers
from .disputes import Disputes
from .indicators import Indicators
from .models import ReadModel
from .orders import Orders
from .payments import Payments
from .payouts import Payouts
from .refunds import Refunds
from .seller_standing import SellerStanding
from .sellers import Sellers
from .stock import Stock
from .timeline import Timeline

SHIPPED: Final[tuple[ReadModel, ...]] = (
    Anomalies(),
    Customers(),
    Disputes(),
    Indicators(),
    Orders(),
    Payments(),
    Payouts(),
    Postings(),
    Refunds(),
    SellerStanding(),
    Sellers(),
    Stock(),
    Timeline(),
)
