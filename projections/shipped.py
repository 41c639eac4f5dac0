"""
The read models that come with the library.
"""

from typing import Final

from .anomalies import Anomalies
from .balances import Postings
from .customers import Customers
from .deadlines import Deadlines
from .disputes import Disputes
from .indicators import Indicators
from .models import ReadModel
from .orders import Orders
from .payments import Payments
from .refunds import Refunds
from .stock import Stock
from .timeline import Timeline

SHIPPED: Final[tuple[ReadModel, ...]] = (
    Anomalies(),
    Customers(),
    Disputes(),
    Deadlines(),
    Indicators(),
    Orders(),
    Payments(),
    Postings(),
    Refunds(),
    Stock(),
    Timeline(),
)
