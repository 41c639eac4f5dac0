"""Approvals and alerts at the command line."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import orderledger
from orderledger.commands import model as m
from orderledger.ledger.errors import Rejected
from orderledger.ledger.risk_rules import AmountRule, RiskPolicy
from tests.cli.test_cli import run

RULE = AmountRule(rule_id="entries", command="PostEntry", currency="EUR", approve_above=100)


@pytest.fixture(autouse=True)
def approval_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give the id of an approval that was granted, in a book that the environment names."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORDERLEDGER_URL", "sqlite:///book.db")
    monkeypatch.delenv("ORDERLEDGER_BOOK", raising=False)
    legs = (
        m.PostingInput("assets:bank:main", "EUR", 700),
        m.PostingInput("equity:opening", "EUR", -700),
    )
    command = m.PostEntry(entry_id="e1", description="x", postings=legs)
    until = datetime.now(UTC) + timedelta(hours=1)
    with orderledger.open() as book:
        book.keep_to(RiskPolicy(version="1", amounts=(RULE,)))
        with pytest.raises(Rejected) as refusal:
            book.execute(command)
        found = str(refusal.value.facts["approval_id"])
        book.request_approval(command, requested_by="ann", reason="x", expires_at=until)
        book.execute(m.GrantApproval(approval_id=found, granted_by="bob", expires_at=until))
        book.execute(m.RaiseAlert(alert_id="a1", rule_id="ip", subject="b1", detail="a proxy"))
    return found


def test_approvals_are_listed_and_shown(approval_id: str) -> None:
    """Catches an approval that cannot be found by who must decide it, or without its amount."""
    (listed,) = json.loads(run("approval list --json").stdout)
    assert (listed["approval_id"], listed["status"]) == (approval_id, "granted")
    assert (listed["amount"], listed["rule_id"]) == ("7.00 EUR", "entries")
    assert json.loads(run("approval list --json --status requested").stdout) == []
    shown = json.loads(run(f"approval show {approval_id} --json").stdout)
    assert [step.split()[1] for step in shown["history"]] == [
        "approval.requested.v1",
        "approval.granted.v1",
    ]
    assert run(f"approval show {approval_id} --table").exit_code == 0
    done = run("approval show nope")
    assert (done.exit_code, done.stdout) == (1, "")


def test_open_alerts_set_the_exit_status() -> None:
    """Catches a watch that stays green while an alert waits."""
    done = run("alert list --json")
    assert done.exit_code == 1
    (alert,) = json.loads(done.stdout)
    assert (alert["alert_id"], alert["open"], alert["detail"]) == ("a1", True, "a proxy")
    with orderledger.open() as book:
        book.execute(m.ResolveAlert(alert_id="a1", by="ann", resolution="the shop itself"))
    done = run("alert list --json")
    assert (done.exit_code, json.loads(done.stdout)) == (0, [])
    done = run("alert list --all --json")
    assert (done.exit_code, json.loads(done.stdout)[0]["resolved_by"]) == (0, "ann")
