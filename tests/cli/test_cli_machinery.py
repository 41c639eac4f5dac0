"""Timers, outbox, queue, reactors and the worker at the command line."""

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

import orderledger
from orderledger.commands.lanes import RULES
from orderledger.commands.order_commands import ConfirmOrder
from orderledger.ledger.work_ports import Lane
from orderledger.machinery import Wiring
from orderledger.testing.fakes import Failure, FakeWorld
from tests.cli.test_cli import run
from tests.cli.test_cli_periods import answer, error
from tests.machinery.shop import place
from tests.machinery.test_outbox import Welcome

ONCE = {lane: msgspec.structs.replace(one, attempts_max=1) for lane, one in RULES.items()}
WIRING = """
from orderledger.commands.process_orders import Confirmation
from orderledger.commands.process_payments import PaymentOperations
from orderledger.machinery import Wiring
from orderledger.testing.fakes import FakeWorld

def shop() -> Wiring:
    return Wiring(ports=FakeWorld().ports, reactors=(PaymentOperations(), Confirmation()))
"""


@pytest.fixture(autouse=True)
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a book with a dead effect, a refused command, and an order that is overdue."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORDERLEDGER_URL", "sqlite:///book.db")
    monkeypatch.delenv("ORDERLEDGER_BOOK", raising=False)
    world = FakeWorld()
    world.notification.fail(Failure.NOT_SENT)
    with orderledger.open("sqlite:///book.db") as made:
        made.wire(Wiring(ports=world.ports, reactors=(Welcome(),), rules=ONCE))
        made.machinery.settle()
        made.execute(place(payment_due_at=datetime.now(UTC) - timedelta(hours=1)))
        made.enqueue(ConfirmOrder(order_id="ghost"), key="too early")
        made.machinery.reactors["welcome"].drain()
        made.machinery.lane(Lane.OUTBOX).drain()
        made.machinery.lane(Lane.QUEUE).drain()
    return tmp_path / "book.db"


def test_a_dead_effect_is_listed_redriven_and_discarded() -> None:
    """Catches a dead letter that an operator cannot see, try again or give up."""
    (dead,) = answer("outbox list")
    assert (dead["status"], dead["kind"]) == ("dead", "call:Notify")
    assert [one["status"] for one in answer("outbox list --all")] == ["done", "dead"]
    assert answer("status", 1)["parts"][2]["state"] == "dead letters"
    assert answer(f"outbox discard {dead['key']} --reason late")["done"] is False
    assert answer(f"outbox redrive {dead['key']}")["status"] == "waiting"
    assert "is waiting" in error(f"outbox redrive {dead['key']}", 2)
    assert "no work" in error("outbox redrive other", 1)
    with orderledger.open() as made:
        made.wire(Wiring(rules=ONCE))
        made.machinery.lane(Lane.OUTBOX).drain()
    given_up = answer(f"outbox discard {dead['key']} --reason late --actor ann --yes")
    assert given_up["status"] == "discarded"
    assert answer("outbox list") == []


def test_a_refused_command_is_listed_and_given_up() -> None:
    """Catches a refusal that is tried again under a key whose answer is known."""
    (refused,) = answer("queue list")
    assert (refused["status"], refused["key"]) == ("refused", "too early")
    assert "only what is dead is" in error("queue redrive 'too early'", 2)
    assert answer("queue discard 'too early' --reason gone")["done"] is False
    done = answer("queue discard 'too early' --reason gone --yes")
    assert done["status"] == "discarded"


def test_timers_are_listed_and_run() -> None:
    """Catches a deadline that has come and that an operator cannot see or fire."""
    (due,) = answer("timer list")
    assert (due["kind"], due["status"]) == ("payment_due", "open")
    assert answer("timer list --stream order-other") == []
    assert answer("timer run") == {"found": 1, "performed": 1}
    assert answer("timer list") == []
    assert answer("timer failed") == []
    (fired,) = answer("timer failed --all")
    assert fired["status"] == "done"
    assert "is done" in error(f"timer redrive '{fired['key']}'", 2)
    assert answer(f"timer discard '{fired['key']}' --reason no")["done"] is False


def test_reactors_are_listed() -> None:
    """Catches a reactor whose lag nobody can see."""
    (found,) = answer("reactor list")
    assert (found["reactor"], found["started_at_position"], found["lag"]) == ("welcome", 0, 1)


def test_the_worker_runs_until_it_is_told_to_end(tmp_path: Path) -> None:
    """Catches a worker that does not work, cannot be wired from outside, or does not end."""
    (tmp_path / "my_wiring.py").write_text(WIRING)
    with orderledger.open() as made:
        made.enqueue(place("o9"), key="k9")
    program = [str(Path(sys.executable).parent / "orderledger"), "work", "--with", "my_wiring:shop"]
    worker = subprocess.Popen(program, stderr=subprocess.PIPE, text=True, env=dict(os.environ))
    try:
        with orderledger.open() as made:
            until = time.monotonic() + 30
            while not made.ticket("k9").is_over or not made.machinery.work.heartbeats():
                assert worker.poll() is None
                assert time.monotonic() < until
                time.sleep(0.02)
    finally:
        worker.send_signal(signal.SIGTERM)
        told = worker.communicate(timeout=30)[1]
    assert worker.returncode == 0, told
    parts: Any = json.loads(run("status --json").stdout)["parts"]
    states = {one["part"]: one["state"] for one in parts}
    assert states["queue"] == states["projections"] == states["reactor:confirmation"] == "ok"
    assert "names nothing" in run("work --with nothing:here").stderr
    assert "no Wiring" in run("work --with math:pi").stderr
