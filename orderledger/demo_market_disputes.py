"""
The disputes of the marketplace month that end without a panel, and what every dispute begins with.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta
from hashlib import sha256
from typing import Final

from msgspec.structs import replace

from orderledger.commands.dispute_commands import (
    AcceptDispute,
    AcceptOffer,
    AnswerProposal,
    CloseEvidence,
    Escalate,
    FileDispute,
    MakeOffer,
    ProposeResolution,
    RejectDispute,
    Respond,
    StartMediation,
    SubmitEvidence,
    WithdrawDispute,
)
from orderledger.commands.ruling_commands import ExecuteRuling
from orderledger.commands.ruling_execution import ExecutionTerms
from orderledger.ledger.dispute_content import Answer, ClaimedLine, EvidenceItem, Remedy
from orderledger.ledger.dispute_parties import Allocation, Party, split
from orderledger.ledger.disputes import DisputeState
from orderledger.ledger.rule_books import (
    ExternalRules,
    NegotiationSilence,
    ResponseSilence,
    RuleBook,
)

from .demo_market_sales import Sale, sold
from .demo_market_world import COMMISSION, Case, Tale

MEDIATED: Final = RuleBook(
    rule_book_id="market-house",
    version=1,
    filing_hours=14 * 24,
    response_hours=48,
    response_silence=ResponseSilence.AWARD_CLAIMANT,
    escalation_from_hours=24,
    negotiation_hours=96,
    negotiation_silence=NegotiationSilence.ESCALATE,
    claimant_evidence_hours=48,
    respondent_evidence_hours=48,
    mediation_hours=72,
    answer_hours=24,
    panel_size=3,
    quorum=2,
    ruling_hours=96,
    appeal_hours=72,
    appeals_per_party=1,
    external=ExternalRules(opt_in_hours=48),
)
"""The market's own rules: everything that a rule book offers, in days rather than weeks."""
HOUSE: Final = replace(MEDIATED, rule_book_id="market-panel", mediation_hours=0, answer_hours=0)
"""The same without mediation."""
TERMS: Final = ExecutionTerms(commission_rate=COMMISSION, rate_version="2026")


class Contest:
    """
    A dispute of a story about the first line of its order: the buyer claims half of what it cost.
    """

    def __init__(
        self, case: Case, *, rules: RuleBook = HOUSE, is_released: bool = False, provider: str = ""
    ) -> None:
        self.case: Final = case
        self.rules: Final = rules
        self.is_released: Final = is_released
        self.sale: Final[Sale] = sold(case, "bruno", provider=provider)
        self.dispute_id: Final = case.part("dispute")
        self.claimed: Final = self.sale.line_amount() // 2

    @property
    def state(self) -> DisputeState:
        """The dispute as it is now."""
        return self.case.book.read.dispute(self.dispute_id)

    def deliver(self) -> None:
        """Let the goods arrive, and the seller be paid where the story wants it so."""
        self.sale.deliver()
        if self.is_released:
            self.sale.meet()

    def evidence(self, name: str) -> EvidenceItem:
        """Keep some bytes where evidence is kept; return what the ledger is told of them."""
        content = f"{name} of {self.dispute_id}".encode()
        place = self.case.market.world.blobs.put(content)
        digest = sha256(content).hexdigest()
        return EvidenceItem(name, "photo", digest, len(content), f"blob://{place}")

    def file(self) -> None:
        """The buyer files, with a photo."""
        case, now = self.case, self.case.now
        case.do(
            FileDispute(
                dispute_id=self.dispute_id,
                order_id=self.sale.order_id,
                seller=self.sale.lines[0].seller,
                claimant=Party.BUYER,
                claims=(ClaimedLine(self.sale.lines[0].line_id, self.claimed),),
                remedy=Remedy.REFUND,
                reason="one of two is not as described",
                placed_at=now - timedelta(days=3),
                delivered_at=now - timedelta(days=1),
                rule_book=self.rules,
                evidence=(self.evidence("photo-1"),),
            )
        )

    def accept(self) -> None:
        """The market hears it; the amount in dispute is frozen."""
        self.case.do(AcceptDispute(dispute_id=self.dispute_id, by="clerk"))

    def respond(self, answer: Answer = Answer.CONTEST) -> None:
        """The seller answers."""
        self.case.do(Respond(dispute_id=self.dispute_id, answer=answer, statement="packed well"))

    def submit(self, party: Party, name: str) -> None:
        """A side adds a piece of evidence."""
        item = self.evidence(name)
        self.case.do(SubmitEvidence(dispute_id=self.dispute_id, party=party, item=item))

    def close_evidence(self, *parties: Party) -> None:
        """Sides waive what is left of their evidence windows."""
        for party in parties or (Party.BUYER, Party.SELLER):
            self.case.do(CloseEvidence(dispute_id=self.dispute_id, party=party))

    def division(self, buyer: int, platform: int = 0) -> tuple[Allocation, ...]:
        """Divide the claim: percentages of it to the buyer and the platform, the seller's rest."""
        for_buyer, fee = self.claimed * buyer // 100, self.claimed * platform // 100
        return (
            Allocation(Party.BUYER, for_buyer),
            Allocation(Party.SELLER, self.claimed - for_buyer - fee),
            Allocation(Party.PLATFORM, fee),
        )

    def execute(self) -> None:
        """Do what was decided; the machinery pays a refund as any other."""
        self.case.do(ExecuteRuling(dispute_id=self.dispute_id, terms=TERMS))
        self.case.settle()

    def end(self) -> None:
        """Let the seller have what is left, where it was not paid before."""
        if not self.is_released:
            self.sale.meet()

    # -- the course that many disputes share -----------------------------------------------------

    def begin(self, day: int) -> Tale:
        """Deliver, file, accept."""
        yield self.case.on(day)
        self.deliver()
        yield self.case.after(days=1)
        self.file()
        yield self.case.after(hours=5)
        self.accept()

    def into_evidence(self, day: int) -> Tale:
        """Begin; the seller contests, and the buyer asks for a decision."""
        yield from self.begin(day)
        yield self.case.after(hours=20)
        self.respond()
        yield self.case.after(hours=24)
        self.case.do(Escalate(dispute_id=self.dispute_id, party=Party.BUYER))


def withdrawn(case: Case) -> Tale:
    """The parcel was found: the buyer takes the claim back."""
    yield case.on(2)
    contest = Contest(case)
    yield from contest.begin(4)
    yield case.after(days=1)
    case.do(
        WithdrawDispute(dispute_id=contest.dispute_id, by="buyer", reason="it was my mistake"),
    )
    contest.end()


def inadmissible(case: Case) -> Tale:
    """The claim is not heard; nothing was frozen."""
    yield case.on(3)
    contest = Contest(case)
    yield case.on(5)
    contest.deliver()
    yield case.after(days=1)
    contest.file()
    yield case.after(hours=3)
    case.do(
        RejectDispute(dispute_id=contest.dispute_id, by="clerk", reason="the buyer's remorse"),
    )
    contest.end()


def settled_by_offer(case: Case) -> Tale:
    """The seller offers a part, the buyer asks for more, and gets it."""
    yield case.on(3)
    contest = Contest(case, is_released=True)
    yield from contest.begin(5)
    yield case.after(hours=8)
    expires_at = case.after(days=3)
    third = contest.claimed // 3
    case.do(
        Respond(
            dispute_id=contest.dispute_id,
            answer=Answer.OFFER,
            offer_id="offer-1",
            amount=third,
            expires_at=expires_at,
        ),
    )
    yield case.after(hours=8)
    case.do(
        MakeOffer(
            dispute_id=contest.dispute_id,
            offer_id="offer-2",
            party=Party.BUYER,
            amount=third * 2,
            remedy=Remedy.REFUND,
            expires_at=expires_at,
        ),
    )
    yield case.after(hours=8)
    case.do(
        AcceptOffer(dispute_id=contest.dispute_id, offer_id="offer-2", party=Party.SELLER),
    )
    contest.execute()
    contest.end()


def silent_respondent(case: Case) -> Tale:
    """The seller says nothing: at the deadline the rules award the claim."""
    yield case.on(4)
    contest = Contest(case)
    yield from contest.begin(6)
    yield case.after(days=6)
    contest.execute()
    contest.end()


def mediated(case: Case) -> Tale:
    """A mediator proposes a division that both sides accept."""
    yield case.on(3)
    contest = Contest(case, rules=MEDIATED)
    yield from contest.into_evidence(5)
    yield case.after(hours=5)
    contest.submit(Party.SELLER, "packing-1")
    contest.close_evidence()
    yield case.after(hours=12)
    case.do(StartMediation(dispute_id=contest.dispute_id, mediator="mara", by="clerk"))
    yield case.after(hours=12)
    case.do(
        ProposeResolution(
            dispute_id=contest.dispute_id,
            proposal_id="proposal-1",
            allocations=split(Party.BUYER, contest.claimed // 2, contest.claimed),
            remedy=Remedy.REFUND,
            reasons="nobody can say when it broke",
        ),
    )
    for party in (Party.BUYER, Party.SELLER):
        yield case.after(hours=6)
        case.do(
            AnswerProposal(
                dispute_id=contest.dispute_id,
                proposal_id="proposal-1",
                party=party,
                accept=True,
            ),
        )
    contest.execute()
    contest.end()


DISPUTES: Final[Mapping[str, tuple[int, Callable[[Case], Tale]]]] = {
    "dispute withdrawn": (1, withdrawn),
    "dispute declined as inadmissible": (1, inadmissible),
    "dispute settled by an offer": (1, settled_by_offer),
    "dispute lost by silence": (1, silent_respondent),
    "dispute mediated": (1, mediated),
}
"""By how a dispute goes: how many, and its story."""
