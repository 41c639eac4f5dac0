"""
The read models that come with the library.
"""

from typing import Final

from .alerts import Alerts
from .anomalies import Anomalies
from .approvals import Approvals
from .balances import Postings
from .bank_statements import BankStatements
from .chargebacks import Chargebacks
from .customers import Customers
from .deadlines import Deadlines
from .disputes import Disputes
from .indicators import Indicators
from .models import ReadModel
from .operation_references import OperationReferences
from .orders import Orders
from .payments import Payments
from .payouts import Payouts
from .refunds import Refunds
from .risk_velocity import RiskVelocity
from .seller_standing import SellerStanding
from .sellers import Sellers
from .settlements import Settlements
from .stock import Stock
from .timeline import Timeline

SHIPPED: Final[tuple[ReadModel, ...]] = (
    Alerts(),
    Anomalies(),
    BankStatements(),
    Chargebacks(),
    Approvals(),
    Customers(),
    Deadlines(),
    Disputes(),
    Indicators(),
    OperationReferences(),
    Orders(),
    Payments(),
    Payouts(),
    Postings(),
    Refunds(),
    SellerStanding(),
    Sellers(),
    Settlements(),
    RiskVelocity(),
    Stock(),
    Timeline(),
)
