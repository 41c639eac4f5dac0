"""
The read models that come with the library.
"""

from typing import Final

from .alerts import Alerts
from .anomalies import Anomalies
from .approvals import Approvals
from .balances import Postings
from .customers import Customers
from .indicators import Indicators
from .models import ReadModel
from .orders import Orders
from .payments import Payments
from .refunds import Refunds
from .risk_velocity import RiskVelocity
from .stock import Stock
from .timeline import Timeline

SHIPPED: Final[tuple[ReadModel, ...]] = (
    Alerts(),
    Anomalies(),
    Approvals(),
    Customers(),
    Indicators(),
    Orders(),
    Payments(),
    Postings(),
    Refunds(),
    RiskVelocity(),
    Stock(),
    Timeline(),
)
