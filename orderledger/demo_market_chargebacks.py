"""
The chargebacks of the marketplace month: what the buyers' banks take back, and who bears it.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta
from hashlib import sha256
from typing import Final

from orderledger.commands.chargeback_commands import (
    AcceptChargeback,
    RecordChargeback,
    SubmitChargebackEvidence,
)
from orderledger.commands.dispute_commands import Respond
from orderledger.commands.payment_commands import RequestRefund
from orderledger.commands.requests import Actor
from orderledger.ledger.chargeback_events import ChargebackReport, EvidenceDocument
from orderledger.ledger.chargeback_stages import ChargebackFact, ChargebackStage, Liability
from orderledger.ledger.dispute_content import Answer

from .demo_market_disputes import Contest
from .demo_market_sales import Sale, sold
from .demo_market_world import CURRENCY, Case, Tale

FEE: Final = 1_500
"""What a provider charges for a chargeback."""
_GATEWAY: Final = Actor("gateway", "provider")
_SECOND: Final = ChargebackStage.SECOND_CHARGEBACK


class Charged:
    """A chargeback of a story: about all of a payment unless an amount is named."""

    def __init__(self, case: Case, sale: Sale, amount: int = 0) -> None:
        self.case: Final = case
        self.sale: Final = sale
        self.chargeback_id: Final = case.part("chargeback")
        self.amount: Final = amount or sale.line_amount()

    def report(
        self,
        fact: ChargebackFact,
        stage: ChargebackStage = ChargebackStage.CHARGEBACK,
        **fields: object,
    ) -> None:
        """The provider reports something."""
        said = ChargebackReport(
            payment_id=self.sale.payment_id,
            chargeback_id=self.chargeback_id,
            fact=fact,
            stage=stage,
            order_id=self.sale.order_id,
            provider_ref=f"{self.chargeback_id}-{stage.value}",
            currency=CURRENCY,
            **fields,  # type: ignore[arg-type]  # fields of the report
        )
        self.case.do(RecordChargeback(report=said), by=_GATEWAY)

    def open(self, stage: ChargebackStage = ChargebackStage.CHARGEBACK) -> None:
        """The buyer's bank opens a stage; an inquiry takes no money and no fee."""
        is_inquiry = stage is ChargebackStage.INQUIRY
        self.report(
            ChargebackFact.OPENED,
            stage,
            amount=self.amount,
            fee=0 if is_inquiry else FEE,
            reason_code="not_received",
            evidence_due_by=self.case.now + timedelta(days=4),
        )

    def defend(self) -> None:
        """Hand in the proof of delivery, once."""
        proof = f"signature of {self.sale.order_id}".encode()
        self.case.do(
            SubmitChargebackEvidence(
                payment_id=self.sale.payment_id,
                chargeback_id=self.chargeback_id,
                documents=(EvidenceDocument("proof_of_delivery", sha256(proof).hexdigest()),),
                submitted_by="clerk",
            )
        )


def _delivered(case: Case, *sellers: str, is_released: bool = True) -> Sale:
    """Sell and deliver; the seller is paid where the story wants it so."""
    sale = sold(case, *(sellers or ("chiara",)))
    sale.deliver()
    if is_released:
        sale.meet()
    return sale


def inquiry_only(case: Case) -> Tale:
    """The bank only asks, and is content with the proof of delivery: no money moves."""
    yield case.on(4)
    charged = Charged(case, _delivered(case))
    yield case.after(days=2)
    charged.open(ChargebackStage.INQUIRY)
    yield case.after(days=1)
    charged.report(ChargebackFact.EVIDENCE_SUBMITTED, ChargebackStage.INQUIRY)
    yield case.after(days=2)
    charged.report(ChargebackFact.CANCELLED, ChargebackStage.INQUIRY)


def won(case: Case) -> Tale:
    """Defended and won; the provider keeps its fee."""
    yield case.on(4)
    charged = Charged(case, _delivered(case))
    yield case.after(days=2)
    charged.open()
    yield case.after(days=1)
    charged.defend()
    yield case.after(days=5)
    charged.report(ChargebackFact.WON)


def lost_by_seller(case: Case) -> Tale:
    """Nobody answers until the deadline, so the timer records the loss; the seller bears it."""
    yield case.on(5)
    charged = Charged(case, _delivered(case))
    yield case.after(days=2)
    charged.open()
    yield case.after(days=6)


def lost_by_platform(case: Case) -> Tale:
    """The market gives in, and bears it: its own carrier lost the parcel."""
    yield case.on(6)
    charged = Charged(case, _delivered(case, "ada", "bruno"))
    yield case.after(days=2)
    charged.open()
    yield case.after(days=1)
    case.do(
        AcceptChargeback(
            payment_id=charged.sale.payment_id,
            chargeback_id=charged.chargeback_id,
            accepted_by="clerk",
            liability=Liability.PLATFORM,
        )
    )


def lost_before_release(case: Case) -> Tale:
    """The money is still in escrow, and leaves from there."""
    yield case.on(7)
    charged = Charged(case, _delivered(case, is_released=False))
    yield case.after(days=1)
    charged.open()
    yield case.after(days=1)
    charged.defend()
    yield case.after(days=3)
    charged.report(ChargebackFact.LOST)


def second(case: Case) -> Tale:
    """Won for the time being, taken a second time, and lost."""
    yield case.on(3)
    sale = sold(case, "ada", provider="adyen")
    sale.deliver()
    sale.meet()
    charged = Charged(case, sale)
    yield case.after(days=2)
    charged.open()
    yield case.after(days=1)
    charged.defend()
    yield case.after(days=3)
    charged.report(ChargebackFact.WON)
    yield case.after(days=4)
    charged.open(_SECOND)
    yield case.after(days=2)
    charged.report(ChargebackFact.LOST, _SECOND)


def after_refund(case: Case) -> Tale:
    """
    A unit was refunded, and the buyer goes to the bank for the rest: the refund is evidence, and
    nothing of what is contested can be refunded meanwhile.
    """
    yield case.on(5)
    sale = _delivered(case, "bruno")
    yield case.after(days=1)
    refund_id = sale.refund_unit()
    yield case.after(days=2)
    charged = Charged(case, sale, sale.line_amount() // 2)
    charged.open()
    again = RequestRefund(
        payment_id=sale.payment_id,
        order_id=sale.order_id,
        op_id=case.part("again"),
        amount=sale.line_amount() // 2,
        currency=CURRENCY,
        refund_id=refund_id,
    )
    case.refused(again)
    charged.defend()
    yield case.after(days=4)
    charged.report(ChargebackFact.WON)


def dispute_suspended(case: Case) -> Tale:
    """
    The buyer disputes, and goes to the bank as well: the dispute stands still until the chargeback
    is won, then goes on with what was left of its deadlines.
    """
    yield case.on(4)
    contest = Contest(case)
    yield from contest.begin(6)
    yield case.after(hours=6)
    charged = Charged(case, contest.sale, contest.claimed)
    charged.open()
    case.refused(Respond(dispute_id=contest.dispute_id, answer=Answer.ACCEPT))
    charged.defend()
    yield case.after(days=5)
    charged.report(ChargebackFact.WON)
    yield case.after(hours=5)
    contest.respond(Answer.ACCEPT)
    contest.execute()
    contest.end()


def dispute_superseded(case: Case) -> Tale:
    """As before, but the bank takes all that was claimed: the dispute is over."""
    yield case.on(5)
    contest = Contest(case)
    yield from contest.begin(7)
    yield case.after(hours=6)
    charged = Charged(case, contest.sale, contest.claimed)
    charged.open()
    yield case.after(days=3)
    charged.report(ChargebackFact.LOST)
    contest.end()


CHARGEBACKS: Final[Mapping[str, tuple[int, Callable[[Case], Tale]]]] = {
    "chargeback: inquiry only": (1, inquiry_only),
    "chargeback won": (1, won),
    "chargeback lost by the seller": (1, lost_by_seller),
    "chargeback borne by the platform": (1, lost_by_platform),
    "chargeback before the release": (1, lost_before_release),
    "second chargeback": (1, second),
    "chargeback after a refund": (1, after_refund),
    "dispute suspended by a chargeback": (1, dispute_suspended),
    "dispute ended by a chargeback": (1, dispute_superseded),
}
"""By how a chargeback goes: how many, and its story."""
