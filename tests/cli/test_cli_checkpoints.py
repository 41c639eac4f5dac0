"""Checkpoints at the command line: made, published, cosigned, shown, and held against a book."""

import json
import shutil
import sqlite3
from pathlib import Path

import pytest

from tests.cli.running import answer, run
from tests.cli.seeded_book import hold, seed
from tests.seeding import sqlite_store


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Give the public keys of an operator and an auditor, beside the seeded book."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORDERLEDGER_URL", "sqlite:///book.db")
    store = sqlite_store(tmp_path / "book.db")
    seed(store)
    hold(store)
    store.close()
    operator = answer("checkpoint", "key", "ledger.shop.example", "book.key")
    auditor = answer("checkpoint", "key", "auditor.example", "auditor.key")
    return {"operator": operator["operator_key"], "auditor": auditor["cosigner_key"]}


def test_a_checkpoint_goes_out_and_comes_back_cosigned(keys: dict[str, str]) -> None:
    """Catches a way from the operator to the auditor and back that has a gap."""
    published = answer("checkpoint", "publish", "--key", "book.key", "--to", "a", "--to", "b")
    assert published["is_new"] is True
    assert published["targets"] == ["a", "b"]
    own = answer("checkpoint", "show")
    assert (own["size"], own["root"]) == (published["size"], published["root"])
    assert own["signed_by"] == []
    assert answer("checkpoint", "show", "--at", "3")["size"] == 3
    cosigned = answer(
        "checkpoint", "cosign", "a", "--key", "auditor.key", "--operator", "book.key.pub"
    )
    assert cosigned["signed_by"] == ["ledger.shop.example", "auditor.example"]
    trust = ["--trust", keys["operator"], "--trust", keys["auditor"]]
    shown = answer("checkpoint", "show", "a", *trust)
    assert shown["signature of ledger.shop.example"] == "right"
    assert shown["signature of auditor.example"].startswith("right, seen 20")
    at_b = answer("checkpoint", "show", "b", *trust)
    assert at_b["signature of auditor.example"] == "missing or wrong"
    for place in ("a", "b", "a/checkpoint"):
        for key in (keys["operator"], "book.key.pub"):
            sound = run("verify", "--checkpoint", place, "--trust", key)
            assert sound.exit_code == 0, sound.stderr
    # The auditor's word is enough for whoever does not trust the operator.
    assert run("verify", "--checkpoint", "a", "--trust", keys["auditor"]).exit_code == 0
    assert run("verify", "--checkpoint", "b", "--trust", keys["auditor"]).exit_code == 1


def test_a_log_that_lost_its_end_is_found(keys: dict[str, str], tmp_path: Path) -> None:
    """Catches a restored backup that looks sound by itself."""
    answer("checkpoint", "publish", "--key", "book.key", "--to", "a")
    with sqlite3.connect("book.db") as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'"):
            connection.execute(f"DROP TRIGGER {name}")
        last = "(SELECT max(row_id) FROM orderledger_log)"
        connection.execute(f"DELETE FROM orderledger_events WHERE row_id = {last}")
        connection.execute(f"DELETE FROM orderledger_log WHERE row_id = {last}")
    connection.close()
    found = run("verify", "--checkpoint", "a", "--trust", keys["operator"], "--json")
    assert found.exit_code == 1
    assert "log_cut_off" in [one.get("code") for one in json.loads(found.stdout)]
    refused = run("checkpoint", "publish", "--key", "book.key", "--to", "a")
    assert refused.exit_code == 1
    assert "it lost its end. Nothing was signed" in refused.stderr
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("words", "status", "why"),
    [
        ("checkpoint key shop book.key", 2, "book.key exists; a key is never overwritten"),
        ("checkpoint key a+b other.key", 2, "cannot name a key"),
        ("checkpoint publish --key absent --to a", 1, "there is no key at absent"),
        ("checkpoint publish --key book.db --to a", 2, "holds no private key"),
        ("checkpoint publish --key book.key", 2, "Missing option '--to'"),
        ("checkpoint publish --key book.key --to book.db", 4, "cannot be read or written"),
        ("checkpoint show nowhere", 1, "no checkpoint is published at nowhere"),
        ("checkpoint show nowhere --at 3", 2, "give a TARGET or --at, not both"),
        ("checkpoint show --at 999", 2, "there is no checkpoint at 999"),
        ("checkpoint cosign nowhere --key auditor.key --operator x", 2, "is no public key"),
        ("checkpoint cosign a --key auditor.key --operator book.key", 2, "is no public key"),
        ("verify --checkpoint a", 2, "--checkpoint needs the public keys"),
    ],
)
@pytest.mark.usefixtures("keys")
def test_bad_input_is_told(words: str, status: int, why: str) -> None:
    """Catches a traceback, or a wrong input that is passed over."""
    found = run(*words.split())
    assert (found.exit_code, found.stdout) == (status, "")
    assert why in found.stderr
    assert len(found.stderr.strip().splitlines()) <= 2


def test_checkpoints_that_are_not_there_are_no_sound_answer(keys: dict[str, str]) -> None:
    """Catches a verification that finds nothing because it was given nothing."""
    found = run("verify", "--checkpoint", "nowhere", "--trust", keys["operator"])
    assert found.exit_code == 2
    assert "there is no checkpoint at nowhere" in found.stderr
    shutil.copy("book.db", "note")
    found = run("verify", "--checkpoint", "note", "--trust", keys["operator"])
    assert found.exit_code == 2
    assert "checkpoint" in found.stderr
