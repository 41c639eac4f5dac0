"""
Rule books modelled on what marketplaces publish, to start from; a host may give its own.

What each models is named with it, and its source; every other figure of it is a choice of ours. A
policy changes and a preset does not: another figure is another version.
"""

from typing import Final

from .dispute_parties import Party
from .rule_books import (
    EvidenceSilence,
    ExternalRules,
    NegotiationSilence,
    ResponseSilence,
    RuleBook,
)

_DAY: Final = 24

B2B_TRADE: Final = RuleBook(
    rule_book_id="b2b-trade",
    version=1,
    filing_hours=30 * _DAY,
    response_hours=3 * _DAY,
    response_silence=ResponseSilence.ESCALATE,
    escalation_from_hours=3 * _DAY,
    negotiation_hours=6 * _DAY,
    negotiation_silence=NegotiationSilence.ESCALATE,
    claimant_evidence_hours=3 * _DAY,
    respondent_evidence_hours=3 * _DAY,
    respondent_evidence_silence=EvidenceSilence.AWARD_OTHER_SIDE,
    claimant_evidence_silence=EvidenceSilence.AWARD_OTHER_SIDE,
    ruling_hours=30 * _DAY,
    appeal_hours=7 * _DAY,
    appeals_per_party=1,
)
"""
Trade between businesses: escalation from the fourth day, by itself on the seventh.

Source: Alibaba.com Trade Assurance dispute rules.
"""

CONSUMER_IMPORT: Final = RuleBook(
    rule_book_id="consumer-import",
    version=1,
    filing_hours=15 * _DAY,
    response_hours=5 * _DAY,
    response_silence=ResponseSilence.AWARD_CLAIMANT,
    escalation_from_hours=3 * _DAY,
    negotiation_hours=15 * _DAY,
    negotiation_silence=NegotiationSilence.ESCALATE,
    claimant_evidence_hours=7 * _DAY,
    respondent_evidence_hours=7 * _DAY,
    ruling_hours=14 * _DAY,
    appeal_hours=7 * _DAY,
    appeals_per_party=1,
)
"""
Consumers who buy abroad: escalation from the fourth to the fifteenth day, by itself on the 16th.

Source: AliExpress buyer protection and dispute rules.
"""

CONSUMER_GUARANTEE: Final = RuleBook(
    rule_book_id="consumer-guarantee",
    version=1,
    filing_hours=30 * _DAY,
    # Three business days take at most five calendar days, with a weekend between.
    response_hours=5 * _DAY,
    response_silence=ResponseSilence.ESCALATE,
    escalation_from_hours=5 * _DAY,
    negotiation_hours=21 * _DAY,
    negotiation_silence=NegotiationSilence.CLOSE,
    claimant_evidence_hours=3 * _DAY,
    respondent_evidence_hours=3 * _DAY,
    respondent_evidence_silence=EvidenceSilence.AWARD_OTHER_SIDE,
    ruling_hours=2 * _DAY,
    appeal_hours=30 * _DAY,
    appeals_per_party=1,
)
"""
A marketplace's money-back guarantee: the seller has three business days, an appeal thirty days.

A case that the buyer does not escalate is closed after 21 days. Source: eBay Money Back Guarantee.
"""

WALLET_INQUIRY: Final = RuleBook(
    rule_book_id="wallet-inquiry",
    version=1,
    filing_hours=180 * _DAY,
    response_hours=20 * _DAY,
    response_silence=ResponseSilence.WAIT,
    escalation_from_hours=0,
    negotiation_hours=20 * _DAY,
    negotiation_silence=NegotiationSilence.CLOSE,
    claimant_evidence_hours=10 * _DAY,
    respondent_evidence_hours=10 * _DAY,
    respondent_evidence_silence=EvidenceSilence.AWARD_OTHER_SIDE,
    claimant_evidence_silence=EvidenceSilence.AWARD_OTHER_SIDE,
    ruling_hours=30 * _DAY,
    appeal_hours=10 * _DAY,
    appeals_per_party=1,
)
"""
A payment wallet: the sides talk for twenty days, and what nobody escalates by then is closed.

Source: PayPal user agreement, disputes and claims; the appeal window is Klarna's ten days.
"""

FREELANCE_ESCROW: Final = RuleBook(
    rule_book_id="freelance-escrow",
    version=1,
    filing_hours=30 * _DAY,
    response_hours=5 * _DAY,
    response_silence=ResponseSilence.AWARD_CLAIMANT,
    escalation_from_hours=0,
    negotiation_hours=7 * _DAY,
    negotiation_silence=NegotiationSilence.ESCALATE,
    claimant_evidence_hours=2 * _DAY,
    respondent_evidence_hours=2 * _DAY,
    mediation_hours=30 * _DAY,
    answer_hours=2 * _DAY,
    panel_size=3,
    quorum=2,
    ruling_hours=30 * _DAY,
    external=ExternalRules(opt_in_hours=7 * _DAY, neither=Party.BUYER),
)
"""
Work held in escrow: mediation of thirty days, two to answer a proposal, then an outside arbitrator.

Both sides opt in and pay within seven days; if only one does it is awarded the funds, if neither
does the client is. Source: Upwork dispute assistance and arbitration for fixed-price contracts.
"""

FIRST_PARTY_GUARANTEE: Final = RuleBook(
    rule_book_id="first-party-guarantee",
    version=1,
    filing_hours=90 * _DAY,
    response_hours=3 * _DAY,
    response_silence=ResponseSilence.AWARD_CLAIMANT,
    escalation_from_hours=2 * _DAY,
    negotiation_hours=3 * _DAY,
    negotiation_silence=NegotiationSilence.ESCALATE,
    claimant_evidence_hours=3 * _DAY,
    respondent_evidence_hours=3 * _DAY,
    respondent_evidence_silence=EvidenceSilence.AWARD_OTHER_SIDE,
    ruling_hours=7 * _DAY,
    appeal_hours=30 * _DAY,
    appeals_per_party=1,
    may_refile=True,
)
"""
A guarantee that the marketplace gives for goods of its sellers; an appeal within thirty days.

Source: Amazon A-to-z Guarantee.
"""

PRESETS: Final = (
    B2B_TRADE,
    CONSUMER_IMPORT,
    CONSUMER_GUARANTEE,
    WALLET_INQUIRY,
    FREELANCE_ESCROW,
    FIRST_PARTY_GUARANTEE,
)
"""Every preset."""
