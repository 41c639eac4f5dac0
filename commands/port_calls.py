"""
Asking a port: which adapter and which of its methods a request goes to.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from orderledger.ledger import provider_ports as p
from orderledger.ledger.payment_operations import Outcome

_CALLS: Final[Mapping[type[p.Request], tuple[str, str]]] = {
    p.AuthoriseRequest: ("payment_gateway", "authorise"),
    p.AdjustRequest: ("payment_gateway", "adjust"),
    p.CaptureRequest: ("payment_gateway", "capture"),
    p.VoidRequest: ("payment_gateway", "void"),
    p.RefundRequest: ("payment_gateway", "refund"),
    p.QueryRequest: ("payment_gateway", "query"),
    p.PayOutRequest: ("bank", "pay_out"),
    p.PayOutQuery: ("bank", "query"),
    p.ReserveStock: ("inventory", "reserve"),
    p.ReleaseStock: ("inventory", "release"),
    p.AssessOrder: ("risk_assessment", "assess"),
    p.ShipRequest: ("logistics", "ship"),
    p.Notify: ("notification", "notify"),
}
_ANSWERS: Final[Mapping[str, type[msgspec.Struct]]] = {
    "payment_gateway": p.GatewayResult,
    "bank": p.BankAnswer,
    "inventory": p.StockAnswer,
    "risk_assessment": p.RiskAnswer,
    "logistics": p.ShipAnswer,
    "notification": p.NotifyAnswer,
}


def port_of(request: type[p.Request]) -> str:
    """Return the name of the port that a request goes to."""
    return _CALLS[request][0]


def ask(ports: p.Ports, request: p.Request) -> object:
    """
    Ask a port, and return what it answers.

    Of an operation or payout whose request may have arrived the answer is unknown, whatever the
    adapter raises: its schedule of queries finds out. Raises NotSent, also where the port is not
    connected; of other ports whatever their adapters raise.
    """
    port, method = _CALLS[type(request)]
    adapter = getattr(ports, port)
    if adapter is None:
        raise p.NotSent(f"no {port.replace('_', ' ')} is connected", port=port)
    call: Callable[[p.Request], Any] = getattr(adapter, method)
    try:
        answer = call(request)
        if not isinstance(answer, _ANSWERS[port]):
            raise TypeError(f"the {port} answered {answer!r:.80}, no {_ANSWERS[port].__name__}")
    except p.NotSent:
        raise
    except Exception as error:  # an adapter may raise anything after sending
        if isinstance(request, p.GatewayRequest) and not isinstance(request, p.QueryRequest):
            return p.GatewayResult(outcome=Outcome.UNKNOWN, detail=f"{error!r:.400}")
        if isinstance(request, p.PayOutRequest):
            return p.BankAnswer(outcome=Outcome.UNKNOWN, detail=f"{error!r:.400}")
        raise
    return answer
