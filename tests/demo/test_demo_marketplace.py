"""`orderledger demo marketplace`: every path of the month, and a book that is sound after it."""

import shutil
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from orderledger import demo_market_run
from orderledger.cli import main
from orderledger.config import Location
from orderledger.demo_market_run import STORIES, Month
from orderledger.demo_market_world import FIRST, Clock
from orderledger.demo_run import Check
from orderledger.ledger.provider_ports import AuthoriseRequest, GatewayResult
from orderledger.ledger.stores.memory import MemoryStore
from orderledger.testing.fakes import FakeGateway

PATHS = {
    # escrow
    "order.funds_released.v1": 40,
    "order.release_condition_met.v1": 40,
    "order.completed.v1": 40,
    "order.expired.v1": 1,
    "order.funds_frozen.v1": 1,
    "order.funds_unfrozen.v1": 1,
    "value.redeemed.v1": 2,
    "value.restored.v1": 2,
    # disputes
    "dispute.withdrawn.v1": 1,
    "dispute.declined_inadmissible.v1": 1,
    "dispute.settlement_offered.v1": 2,
    "dispute.settlement_agreed.v1": 3,
    "dispute.default_ruling_issued.v1": 1,
    "dispute.mediation_proposal_made.v1": 1,
    "dispute.arbitrator_recused.v1": 1,
    "dispute.evidence_struck.v1": 1,
    "dispute.ruling_issued.v1": 4,
    "dispute.appeal_decided.v1": 2,
    "dispute.ruling_amended.v1": 1,
    "dispute.external_award_received.v1": 1,
    "dispute.suspended.v1": 2,
    "dispute.resumed.v1": 1,
    "dispute.superseded.v1": 1,
    # chargebacks
    "payment.chargeback_inquiry_opened.v1": 1,
    "payment.chargeback_won.v1": 4,
    "payment.chargeback_fee_charged.v1": 9,
    "payment.chargeback_accepted.v1": 1,
    "payment.chargeback_defence_period_ended.v1": 1,
    "payment.chargeback_credit_evidence_attached.v1": 1,
    "payment.second_chargeback_opened.v1": 1,
    # sellers
    "payout.paid.v1": 8,
    "payout.cancelled.v1": 1,
    "payout.failed.v1": 1,
    "payout.returned.v1": 1,
    "seller.reserve_taken.v1": 1,
    "seller.reserve_released.v1": 1,
    "seller.debt_written_off.v1": 1,
    "seller.penalty_imposed.v1": 2,
    "seller.penalty_lifted.v1": 1,
    "standing.changed.v1": 3,
    "standing.suspended.v1": 1,
    # settlement
    "settlement.batch_closed.v1": 4,
    "settlement.break_resolved.v1": 3,
    "bank.line_matched.v1": 16,
    "payout.seen_on_bank.v1": 12,
    "payment.operation_outcome_unknown.v1": 1,
    # risk
    "approval.used.v1": 1,
    "risk.alert_raised.v1": 1,
    "order.held.v1": 1,
    "order.hold_released.v1": 1,
}
"""Topics of the paths that the month must go, and how often at least."""


def _marketplace(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["demo", "marketplace", *arguments])


def _month(*arguments: str) -> Month:
    result = _marketplace("--json", *arguments)
    assert result.exit_code == 0, result.output
    return msgspec.json.decode(result.stdout, type=Month)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of the module's book."""
    return tmp_path_factory.mktemp("month")


@pytest.fixture(scope="module")
def url(place: Path) -> str:
    return f"sqlite:///{place / 'month.db'}"


@pytest.fixture(scope="module")
def month(url: str) -> Month:
    """Play the month once for the tests that look at it."""
    return _month("--url", url, "--book", "market")


def test_every_path_is_gone(month: Month) -> None:
    """Catches a month that leaves out what it is to show, or where a command did otherwise."""
    assert month.surprises == []
    assert set(month.stories) == set(STORIES)
    missing = {
        topic: (month.topics.get(topic, 0), least)
        for topic, least in PATHS.items()
        if month.topics.get(topic, 0) < least
    }
    assert missing == {}
    assert month.anomalies == {}


def test_what_is_closed_is_settled(month: Month) -> None:
    """Catches money left in escrow, refunds, payouts or disputes of a subject that is over."""
    assert len(month.checks) == 10
    assert [one.name for one in month.checks if not one.ok] == []
    assert set(month.balances) == {"EUR", "PTS"}
    for balances in month.balances.values():
        assert sum(balances.values()) == 0
    # Of the order still under way: captured, in no settlement yet, and in escrow.
    euros = month.balances["EUR"]
    (provider,) = [name for name in euros if name.startswith("assets:psp:")]
    assert euros[provider] == -euros["liabilities:escrow:…"] > 0
    assert not any(name.startswith("liabilities:dispute_reserve") for name in euros)


def test_the_machinery_did_all_of_it(month: Month) -> None:
    """Catches work that is dead or waits, and a queue or timer that was never used."""
    assert set(month.work) == {"outbox, done", "queue, done", "timer, done"}
    assert month.work["queue, done"] == 6


def test_other_programs_accept_the_exports(month: Month, place: Path) -> None:
    """Catches an export that its own checker refuses, or that was never given to it."""
    assert [one.name for one in month.exports] == ["beancount", "hledger"]
    assert sorted(path.name for path in place.glob("market.*")) == [
        "market.beancount",
        "market.journal",
    ]
    beancount, hledger = month.exports
    assert (beancount.checked_by, beancount.complaint) == ("bean-check --no-cache", "")
    assert hledger.complaint == ""
    assert bool(hledger.checked_by) == (shutil.which("hledger") is not None)
    assert beancount.transactions == hledger.transactions > 200


def test_a_dispute_reads_as_a_case(month: Month) -> None:
    """Catches a case that shows topics instead of sentences, or lost its late evidence."""
    text = "\n".join(words for _, words in month.case)
    assert ".v1" not in text
    for part in ("LATE", "recused", "sealed", "opened votes", "is final", "the dispute is over"):
        assert part in text
    (_, opening, _, before), *lines, (_, closing, _, after) = month.statement
    assert (opening, closing) == ("opening", "closing")
    assert before + sum(amount for _, _, amount, _ in lines) == after == 0


def test_told_again_it_adds_nothing(month: Month, url: str) -> None:
    """Catches a month that cannot be gone on with: keys or commands that depend on the state."""
    again = _month("--url", url, "--book", "market", "--continue")
    assert (again.events, again.topics) == (month.events, month.topics)
    assert again.known == again.commands > 500


def test_another_month_is_refused(month: Month, url: str) -> None:
    """Catches two months in one book, whose settlement files would contradict each other."""
    for arguments in ((), ("--continue", "--seed", "2")):
        result = _marketplace("--url", url, "--book", "market", *arguments)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "name another one" in result.stderr


class _Kept(MemoryStore):
    """A store in memory that outlives the book that closes it."""

    def close(self) -> None:
        self._is_closed = False


def test_options_of_the_day_are_not_passed_over(tmp_path: Path) -> None:
    """Catches a month that is written elsewhere than the options before its name say."""
    url = f"sqlite:///{tmp_path / 'day.db'}"
    result = CliRunner().invoke(main, ["demo", "--url", url, "marketplace"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "give the options after marketplace" in result.stderr


def test_an_interrupted_month_is_gone_on_with(
    month: Month, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a month that loses or doubles what it had in hand when it was stopped half way."""
    clock, left, authorise = Clock(), [17], FakeGateway.authorise
    store, place = _Kept("memory", clock=clock), Location("memory", "memory", "memory")

    def dies(self: FakeGateway, request: AuthoriseRequest) -> GatewayResult:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return authorise(self, request)

    monkeypatch.setattr(demo_market_run, "Clock", lambda: clock)
    monkeypatch.setattr(demo_market_run, "open_store", lambda *_, **__: store)
    monkeypatch.setattr(demo_market_run, "check", lambda *_: [])
    with monkeypatch.context() as patch:
        patch.setattr(FakeGateway, "authorise", dies)
        with pytest.raises(KeyboardInterrupt):
            demo_market_run.run(place, 1, tmp_path)
    clock.now = FIRST
    whole = demo_market_run.run(place, 1, tmp_path)
    assert 0 < whole.known < whole.commands
    assert whole.topics == month.topics
    assert whole.balances == month.balances


@pytest.mark.long
def test_the_month_is_the_same_on_postgresql(month: Month, pg_url: str, tmp_path: Path) -> None:
    """Catches a month that works on the embedded engine only, or comes to other amounts."""
    there = _month("--url", pg_url, "--export", str(tmp_path))
    assert there.topics == month.topics
    assert there.balances == month.balances
    assert (there.case, there.statement) == (month.case, month.statement)


def test_the_story_fits_a_terminal(
    month: Month, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a table that wraps, a failed check that is not told, and a status that hides it."""
    failed = msgspec.structs.replace(
        month,
        url="sqlite:///story.db",
        checks=[Check("the trial balance is zero", ok=False, detail="0.01")],
    )
    monkeypatch.setattr("orderledger.demo_market.run", lambda *_: failed)
    result = _marketplace("--url", f"sqlite:///{tmp_path / 'story.db'}")
    assert result.exit_code == 1
    assert max(map(len, result.stdout.splitlines())) <= 100
    assert "FAILED  the trial balance is zero: 0.01" in result.stdout
