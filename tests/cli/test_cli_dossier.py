"""Dossiers at the command line: exported, published, exported again, verified by the other side."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from orderledger.ledger.stores.sqlite import SqliteStore
from tests.cli.running import answer, run
from tests.projections.market_book import MarketBook
from tests.seeding import ticking


@pytest.fixture
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give the operator's public key, beside the book of a market."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORDERLEDGER_URL", "sqlite:///book.db")
    store = SqliteStore(tmp_path / "book.db", "main", clock=ticking())
    MarketBook(store)
    store.close()
    return str(answer("checkpoint", "key", "ledger.shop.example", "book.key")["operator_key"])


def _verified(*words: str) -> tuple[int, list[str]]:
    found = run("dossier", "verify", *words, "--json")
    rows = json.loads(found.stdout)
    return found.exit_code, [f"{one['status']} {one['check']}" for one in rows]


def test_a_dossier_is_signed_at_once_and_verified(key: str) -> None:
    """Catches a dossier that its reader cannot verify, or only with the book."""
    made = answer("dossier", "export", "dispute", "d1", "d1.json", "--key", "book.key")
    assert made["subject"] == "dispute-d1"
    assert made["signed_by"] == ["ledger.shop.example"]
    assert made["withheld"] == []
    Path("book.db").unlink()
    for trust in (key, "book.key.pub"):
        status, rows = _verified("d1.json", "--trust", trust)
        assert status == 0
        assert "ok signatures" in rows
    assert run("dossier", "verifier", "verify.py").exit_code == 0
    done = subprocess.run(
        [sys.executable, "verify.py", "d1.json", "--trust", "book.key.pub"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "SOUND")
    assert run("dossier", "verifier", "-").stdout == Path("verify.py").read_text("utf-8")


def test_a_dossier_is_cosigned_before_it_goes_out(key: str) -> None:
    """Catches a way by which no counterparty can ever sign what a dossier shows."""
    auditor = answer("checkpoint", "key", "auditor.example", "auditor.key")["cosigner_key"]
    first = run("dossier", "export", "order", "o2", "o2.json")
    assert first.exit_code == 0
    assert "nobody has signed it" in first.stderr
    answer("checkpoint", "publish", "--key", "book.key", "--to", "vault")
    answer("checkpoint", "cosign", "vault", "--key", "auditor.key", "--operator", key)
    made = answer("dossier", "export", "order", "o2", "o2.json", "--checkpoint", "vault")
    assert made["signed_by"] == ["ledger.shop.example", "auditor.example"]
    assert made["position"] == made["checkpoint"]
    assert _verified("o2.json", "--trust", key, "--trust", auditor)[0] == 0


def test_a_page_is_compared_with_its_data(key: str) -> None:
    """Catches a page whose data are sound and whose text was changed."""
    words = ("dossier", "export", "dispute", "d1", "d1.html", "--html", "--key", "book.key")
    withheld = answer(*words, "--withhold", "dispute.evidence_submitted.v1")["withheld"]
    assert withheld == ["dispute-d1:13"]
    status, rows = _verified("d1.html", "--trust", key)
    assert (status, rows[-1]) == (0, "ok page")
    page = Path("d1.html").read_text("utf-8")
    Path("lie.html").write_text(page.replace("buyer 6.00 USD", "buyer 60.00 USD"), "utf-8")
    found = run("dossier", "verify", "lie.html", "--trust", key, "--json")
    assert found.exit_code == 1
    assert json.loads(found.stdout)[-1] == {
        "status": "FAILED",
        "check": "page",
        "text": "it does not show what its data say: it was altered",
    }
    Path("old.html").write_text(page.replace("dossier-page/1", "dossier-page/0"), "utf-8")
    assert _verified("old.html", "--trust", key) == (0, [*rows[:-1], "NOT CHECKED page"])


@pytest.mark.parametrize(
    ("line", "status", "said"),
    [
        ("dossier export order o9 x.json", 1, "book main has no order o9"),
        ("dossier export payment p1 x.json", 2, "'payment' is not one of 'order', 'dispute'"),
        ("dossier export order o1 x.json --key absent", 1, "there is no key at absent"),
        ("dossier export order o1 x.json --withhold x", 2, "nothing of the dossier is 'x'"),
        ("dossier export order o1 no/x.json", 2, "cannot be written"),
        ("dossier verify absent.json", 2, "does not exist"),
        ("dossier verify book.db", 2, "is no dossier: it is not UTF-8"),
        ("dossier verify book.key.pub --trust x", 2, "is no public key"),
        ("dossier verify book.key.pub", 1, "NOT SOUND"),
    ],
)
@pytest.mark.usefixtures("key")
def test_errors_say_what_and_what_to_do(line: str, status: int, said: str) -> None:
    """Catches a traceback, and a file that is left half written."""
    found = run(*line.split())
    assert found.exit_code == status, found.stderr
    assert said in found.stderr
    assert not Path("x.json").exists()
