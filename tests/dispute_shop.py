"""
A dispute on a real book, through the executor: for what reads disputes, and for the engines.
"""

from collections.abc import Callable, Iterator
from datetime import datetime

from orderledger.book import Book
from orderledger.commands import model as m
from orderledger.commands.decision import Command
from orderledger.ledger.dispute_content import seal
from orderledger.ledger.ports import EventStore
from tests.dispute_book import HOUR, SALT, file, item, rules, ruling, shares
from tests.model.shop import NOW, Shop
from tests.model.shop import item as line


class DisputeShop(Shop):
    """An order o1 that is paid and confirmed, and a clock that a dispute can wait by."""

    def __init__(self, store: EventStore | None = None) -> None:
        super().__init__(store)
        self.now = NOW
        self.book = Book(self.store, clock=self._clock)
        self.place(line("a", "10", quantity=3), line("b", "20"))
        self.pay(5_000)

    def _clock(self) -> datetime:
        return self.now

    def steps(self) -> Iterator[Callable[[], object]]:
        """Yield the steps of a dispute from its filing to its execution, one after another."""
        division = shares(600, 400)
        commands: list[Command | int] = [
            file(
                placed_at=NOW - HOUR,
                delivered_at=None,
                rule_book=rules(mediation_hours=0, answer_hours=0),
                evidence=(item("e1"),),
            ),
            m.AcceptDispute(dispute_id="d1", by="clerk"),
            m.Respond(dispute_id="d1", answer=m.Answer.CONTEST),
            24,
            m.Escalate(dispute_id="d1", party=m.Party.BUYER),
            m.SuspendDispute(dispute_id="d1", by="cb1"),
            10,
            m.ResumeDispute(dispute_id="d1", by="cb1"),
            m.SubmitEvidence(dispute_id="d1", party=m.Party.SELLER, item=item("e2")),
            m.StrikeEvidence(dispute_id="d1", evidence_id="e2", reason="forged", by="clerk"),
            m.CloseEvidence(dispute_id="d1", party=m.Party.BUYER),
            m.CloseEvidence(dispute_id="d1", party=m.Party.SELLER),
            m.AssignPanel(dispute_id="d1", arbitrators=("ann", "bob", "cid"), by="clerk"),
            *[
                m.CastVote(
                    dispute_id="d1",
                    vote_id=f"v-{person}",
                    arbitrator=person,
                    commitment=seal("d1", person, division, SALT),
                )
                for person in ("ann", "bob")
            ],
            m.IssueRuling(**ruling(division, division)),
            240,
            m.PerformDisputeDeadline(dispute_id="d1", deadline_id="appeal/8"),
            m.ExecuteRuling(dispute_id="d1"),
        ]
        for command in commands:
            if isinstance(command, int):
                self.now += command * HOUR
            else:
                yield lambda command=command: self.run(command)  # type: ignore[misc]  # bound now
