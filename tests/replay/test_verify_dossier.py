"""What the offline verifier finds: every change of a dossier, and nothing in a sound one."""

import json
import random
import re
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from orderledger.ledger.checkpoints import Checkpoint, SignedCheckpoint
from orderledger.replay import dossier, verify_dossier
from orderledger.replay.checkpoints import checkpoint_of, tree_of
from orderledger.replay.dossier_page import page_of
from orderledger.replay.verify_dossier import canonical, parse, verify
from tests.dossiers import AUDITOR, KEY, STRANGER, Document, changed, failures, market
from tests.projections.market_book import MarketBook

NONSENSE: tuple[Any, ...] = (
    7,
    [],
    {},
    "",
    "\ud800",
    "9" * 5_000,
    "0001-01-01T00:00:00.000000Z",
    "2026-99-99",
)
VERIFIER = Path(verify_dossier.__file__)


def signed(shop: MarketBook, size: int | None = None) -> SignedCheckpoint:
    one = checkpoint_of(shop.store, size)
    return SignedCheckpoint(one, ()).with_signature(KEY.sign(one))


def made(shop: MarketBook, kind: str = "dispute", entity_id: str = "d1", *withhold: str) -> str:
    """Return a dossier with the checkpoints of 10 and 35 events and that of the head."""
    shop.book.proving.dossier(kind, entity_id)
    subject = dossier.subject_of(shop.store, kind, entity_id)
    ends = dossier.closed(shop.store, subject)
    assert ends is not None
    held = [signed(shop), signed(shop, 10), signed(shop, 35)]
    return dossier.make(shop.store, subject, ends, held, withhold).text


@pytest.fixture(scope="module")
def sound() -> str:
    return made(market())


@pytest.fixture(scope="module")
def other() -> str:
    """Give the dossier of a dispute of the same name in another book."""
    return made(market("branch"))


def lines(text: str, status: str) -> list[str]:
    return [f"{one.check}: {one.text}" for one in verify(text) if one.status == status]


def test_a_sound_dossier_is_sound(sound: str) -> None:
    """Catches a false alarm, and a check that was forgotten in the answer."""
    found = verify(sound, [KEY.verifier.text])
    assert [one.check for one in found if one.status != "note"] == [
        *("form", "log", "complete", "links", "checkpoints"),
        *("signatures", "signatures", "signatures", "money"),
    ]
    assert {one.status for one in found} == {"ok", "note"}
    sealed = [one.text for one in found if one.check == "sealed"]
    assert [re.sub(r" at .* under", " under", text) for text in sealed] == [
        "dispute.filed.v1 under the checkpoint of 10 events",
        "dispute.ruling_issued.v1 under the checkpoint of 35 events",
    ]


def _values(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path to every text of a document."""
    if isinstance(value, dict):
        for name, one in value.items():
            yield from _values(one, (*path, name))
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from _values(one, (*path, number))
    elif value is not None:
        yield path


def _at(document: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        document = document[step]
    return document


def test_every_value_that_is_changed_is_found(sound: str) -> None:
    """Catches a value that the dossier states and nothing proves."""
    chance = random.Random(1)
    document = json.loads(sound)
    missed = []
    for path in _values(document):
        *before, last = path
        holder, value = _at(document, tuple(before)), _at(document, path)
        at = chance.randrange(len(value)) if value else 0
        other = chance.choice([one for one in "0123456789abcdefZ" if one != value[at : at + 1]])
        holder[last] = value[:at] + other + value[at + 1 :]
        if not failures(canonical(document)):
            missed.append(path)
        holder[last] = value
    assert canonical(document) == sound
    assert missed == []


def test_every_byte_that_is_changed_is_found(sound: str) -> None:
    """Catches two files that say the same, of which one was not made by an export."""
    chance = random.Random(2)
    for _ in range(300):
        at = chance.randrange(len(sound))
        other = chance.choice([one for one in ' "{}0a\\\n,' if one != sound[at]])
        assert failures(sound[:at] + other + sound[at + 1 :]), (at, other)


def test_a_file_that_is_cut_off_is_no_dossier(sound: str) -> None:
    """Catches a download that ended early and verifies all the same."""
    for length in (0, 1, 100, *range(1_000, len(sound), 1_999), len(sound) - 2, len(sound) - 1):
        (found,) = failures(sound[:length])
        assert found.startswith("form: "), found


def _event(document: Document, stream: str, version: int) -> dict[str, Any]:
    for one in document["events"]:
        if (one["stream"], one["version"]) == (stream, str(version)):
            found: dict[str, Any] = one
            return found
    raise AssertionError(f"no version {version} of {stream}")


def _without(document: Document, stream: str, version: int) -> None:
    document["events"].remove(_event(document, stream, version))


def _without_last(document: Document) -> None:
    last = max(int(one["version"]) for one in document["events"] if one["stream"] == "dispute-d1")
    _without(document, "dispute-d1", last)


def _without_stream(document: Document) -> None:
    document["events"] = [one for one in document["events"] if one["stream"] != "payment-p1"]
    document["streams"] = [one for one in document["streams"] if one["stream"] != "payment-p1"]


def _moved(document: Document) -> None:
    document["events"].insert(3, document["events"].pop(7))


def _renumbered(document: Document) -> None:
    event = _event(document, "dispute-d1", 5)
    event["position"] = str(int(event["position"]) + 1)


def _duplicated(document: Document) -> None:
    document["events"].insert(3, dict(document["events"][2]))


def _proofs_swapped(document: Document) -> None:
    one, two = document["events"][4], document["events"][5]
    one["proof"], two["proof"] = two["proof"], one["proof"]


def _other_payload(document: Document) -> None:
    event = _event(document, "dispute-d1", 1)
    event["payload"] = event["payload"].replace("not as described", "as described")


def _other_payload_with_its_hash(document: Document) -> None:
    _other_payload(document)
    event = _event(document, "dispute-d1", 1)
    event["payload_sha256"] = sha256(event["payload"].encode()).hexdigest()


def _other_money(document: Document) -> None:
    document["money"][0]["minor"] = "1"


def _unsigned(document: Document) -> None:
    note = document["checkpoints"][-1]["note"]
    document["checkpoints"][-1]["note"] = note[: note.index("\n\n") + 2]


def _one_checkpoint_less(document: Document) -> None:
    del document["checkpoints"][1]


def _another_state(document: Document) -> None:
    document["streams"][0]["state"] = document["streams"][0]["state"].replace("b1", "b2")


def _another_subject(document: Document) -> None:
    document["subject"] = "order-o1"


def _closed_apart(document: Document) -> None:
    document["events"][-1]["command_id"] = document["events"][0]["command_id"]


def _unbalanced(document: Document) -> None:
    event = next(one for one in document["events"] if one["postings"])
    event["postings"] = event["postings"].split("\n")[0]


CHANGES: dict[str, tuple[Callable[[Document], object], str]] = {
    "first left out": (
        lambda found: _without(found, "order-o1", 1),
        "complete: position 2 (order-o1, version 2) stands where version 1 ",
    ),
    "middle left out": (
        lambda found: _without(found, "dispute-d1", 5),
        "(dispute-d1, version 6) stands where version 5 of a stream of this file must be",
    ),
    "end left out": (_without_last, "is the last of its stream here, and does not close it"),
    "stream left out": (
        _without_stream,
        "links: position 4 (order-o1, version 3) names payment-p1",
    ),
    "moved": (_moved, "stands after one of position"),
    "renumbered": (_renumbered, "(dispute-d1, version 5) is not in the log"),
    "duplicated": (_duplicated, "stands after one of position"),
    "proofs swapped": (_proofs_swapped, "is not in the log of the newest checkpoint"),
    "other payload": (_other_payload, "the payload is not the one that was recorded"),
    "other payload and hash": (
        _other_payload_with_its_hash,
        "log: position 8 (dispute-d1, version 1) is not in the log",
    ),
    "other money": (_other_money, "money: the statement of money is not the sum of the legs"),
    "other state": (_another_state, "complete: the state of order-o1 is not the one"),
    "other subject": (_another_subject, "closes other streams, or for another subject"),
    "closed apart": (_closed_apart, "complete: the streams were not closed at one place"),
    "unbalanced": (_unbalanced, "its legs do not sum to zero"),
    "unsigned": (_unsigned, "signatures: the checkpoint of 160 events has no signature of ledger"),
    "checkpoint left out": (
        _one_checkpoint_less,
        "checkpoints: the log of 160 events does not continue that of 10: it forked",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_somebody_would_change_is_found_and_named(sound: str, name: str) -> None:
    """Catches a lie that passes, and one that is found without saying what and where."""
    change, expected = CHANGES[name]
    found = failures(changed(sound, change))
    assert any(expected in one for one in found), found


def test_an_event_of_another_book_is_found(sound: str, other: str) -> None:
    """Catches an event that is in a log, only not in this one."""
    foreign = json.loads(other)["events"][6]

    def change(document: Document) -> None:
        document["events"][6] = foreign

    (found,) = failures(changed(sound, change))
    assert found.startswith(f"log: position {foreign['position']} (")


def test_a_checkpoint_of_another_book_is_found(sound: str, other: str) -> None:
    """Catches a signature that is right, under another log."""
    foreign = json.loads(other)["checkpoints"]

    def change(document: Document) -> None:
        document["checkpoints"] = foreign

    found = failures(changed(sound, change))
    assert any("is of orderledger/branch/" in one and "another book" in one for one in found)
    assert any("is not in the log of the newest checkpoint" in one for one in found)


def test_a_log_that_forked_is_found(sound: str) -> None:
    """Catches a history that was rewritten after a checkpoint of it was signed, by its signer."""
    shop = market()
    head = signed(shop)
    forged = Checkpoint(head.checkpoint.origin, 12, sha256(b"another").digest())
    note = SignedCheckpoint(forged, ()).with_signature(KEY.sign(forged)).note

    def change(document: Document) -> None:
        document["checkpoints"][0]["note"] = note
        proof = tree_of(shop.store).consistency(12, 35)
        document["checkpoints"][1]["proof"] = [one.hex() for one in proof]

    (found,) = failures(changed(sound, change))
    assert found == "checkpoints: the log of 35 events does not continue that of 12: it forked"


def test_a_wrong_key_is_found(sound: str) -> None:
    """Catches a signature by somebody else of the same name, or of nobody who is trusted."""
    for key in (STRANGER.verifier, AUDITOR.cosigner, KEY.cosigner):
        found = [one for one in verify(sound, [key.text]) if one.status == "FAILED"]
        assert [one.check for one in found] == ["signatures"] * 3
        assert found[-1].text.endswith(f"has no signature of {key.name}")
    both = verify(sound, [KEY.verifier.text, AUDITOR.cosigner.text])
    (lacks,) = [one.text for one in both if one.status == "FAILED"]
    assert lacks == "the checkpoint of 160 events has no signature of auditor.example"


def test_without_a_key_it_is_said_that_nobody_was_asked(sound: str) -> None:
    """Catches a dossier that somebody made up whole and that passes for a signed one."""
    found = verify(sound)
    assert lines(sound, "NOT CHECKED") == [
        "signatures: no key was given; ledger.shop.example stands under the newest"
    ]
    assert verify_dossier.verdict_of(found, is_trusting=False) == (
        0,
        "it agrees with itself; give --trust with a key that you hold from elsewhere",
    )


def test_what_is_withheld_is_listed_and_everything_else_is_proved() -> None:
    """Catches a payload that shows through, or that can be put back with other content."""
    withhold = ("dispute.evidence_submitted.v1", "dispute-d1:1")
    shop = market()
    full, text = made(shop), made(shop, "dispute", "d1", *withhold)
    assert not failures(text)
    assert "not as described" in full
    assert "not as described" not in text
    hidden = [one for one in lines(text, "note") if one.startswith("withheld")]
    assert hidden == [
        "withheld: position 8 (dispute-d1, version 1): what dispute.filed.v1 says",
        "withheld: position 22 (dispute-d1, version 13): what dispute.evidence_submitted.v1 says",
        "withheld: the state of dispute-d1",
    ]
    payload = _event(json.loads(full), "dispute-d1", 1)["payload"]

    def restore(document: Document, content: str) -> None:
        _event(document, "dispute-d1", 1)["payload"] = content

    assert not failures(changed(text, lambda document: restore(document, payload)))
    lie = payload.replace("not as", "just as")
    (found,) = failures(changed(text, lambda document: restore(document, lie)))
    assert found.endswith("the payload is not the one that was recorded")


def test_what_names_a_stream_cannot_be_withheld(sound: str) -> None:
    """Catches a payment that is left out by withholding the event that names it."""

    def change(document: Document) -> None:
        _without_stream(document)
        _event(document, "order-o1", 3)["payload"] = None

    found = failures(changed(sound, change))
    assert any(
        one.startswith("links: position 4 (order-o1, version 3) is withheld, and names something")
        for one in found
    )


def test_what_is_no_text_or_nothing_is_refused(sound: str) -> None:
    """Catches a file that ends the verifier with a traceback instead of an answer."""
    for path in list(_values(json.loads(sound)))[:60]:
        for value in (None, *NONSENSE):
            is_withheld = value is None and path[-1] in ("state", "payload")
            if is_withheld or value == _at(json.loads(sound), path):
                continue

            def change(document: Document, path: Any = path, value: Any = value) -> None:
                _at(document, path[:-1])[path[-1]] = value

            assert failures(changed(sound, change)), (path, value)
    for text in ("", "[]", "null", "{}", "[" * 100_000, "<!doctype html>", '{"format": NaN}'):
        assert failures(text)
    for payload in ("[]", "{", '{"payment_id":[{}]}', '{"a":' * 50_000):

        def lie(document: Document, payload: str = payload) -> None:
            _event(document, "order-o1", 3)["payload"] = payload

        assert failures(changed(sound, lie))


def test_an_export_does_not_write_what_the_verifier_would_refuse(sound: str) -> None:
    """Catches a second form of the file."""
    assert canonical(parse(sound)) == sound


# -- alone -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with the verifier, and packages: nothing but cryptography and what it needs."""
    folder = tmp_path_factory.mktemp("alone")
    (folder / "verify.py").write_text(VERIFIER.read_text("utf-8"), "utf-8")
    packages = folder / "packages"
    packages.mkdir()
    site = Path(sysconfig.get_paths()["platlib"])
    for pattern in ("cryptography", "cffi", "_cffi_backend*", "pycparser"):
        for found in site.glob(pattern):
            (packages / found.name).symlink_to(found)
    return folder


def _run(folder: Path, *words: str, has_cryptography: bool = True) -> tuple[int, str]:
    """Run the verifier by an interpreter that has the standard library alone."""
    start = (
        f"import sys; sys.path[1:1] = {[str(folder / 'packages')] * has_cryptography}\n"
        "for name in ('msgspec', 'orderledger', 'click'):\n"
        "    try: __import__(name)\n"
        "    except ImportError: continue\n"
        "    sys.exit(name)\n"
        f"import runpy; sys.argv = {['verify.py', *words]}\n"
        "runpy.run_path('verify.py', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", start],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_it_runs_alone(alone: Path, sound: str) -> None:
    """Catches a verifier that needs what an arbitrator does not have."""
    (alone / "d1.json").write_text(sound, "utf-8")
    (alone / "key.pub").write_text(f"{KEY.verifier.text}\n{KEY.cosigner.text}\n", "utf-8")
    for trust in ("key.pub", KEY.verifier.text):
        status, said = _run(alone, "d1.json", "--trust", trust)
        assert (status, said.splitlines()[-1]) == (0, "SOUND"), said
    (alone / "lie.json").write_text(changed(sound, _other_payload), "utf-8")
    status, said = _run(alone, "lie.json", "--trust", "key.pub")
    assert status == 1
    assert "FAILED       log          position 8 (dispute-d1, version 1): the payload " in said
    assert said.splitlines()[-1] == "NOT SOUND"
    (alone / "cut.json").write_text(sound[:5_000], "utf-8")
    assert _run(alone, "cut.json", "--trust", "key.pub")[0] == 1


def test_what_it_cannot_do_it_says(alone: Path, sound: str) -> None:
    """Catches a signature that was not checked and passes for right; and a silent end."""
    (alone / "d1.json").write_text(sound, "utf-8")
    status, said = _run(alone, "d1.json", "--trust", KEY.verifier.text, has_cryptography=False)
    assert status == 2
    assert "NOT CHECKED  signatures   the package `cryptography` is not installed" in said
    assert "ok           log          48 events are in the log" in said
    assert said.splitlines()[-1] == "NOT VERIFIED"
    assert _run(alone, "d1.json", has_cryptography=False)[0] == 0
    assert _run(alone, "absent.json")[0] == 2
    status, said = _run(alone, "d1.json", "--trust", "nonsense")
    assert (status, said) == (2, "cannot verify: 'nonsense' is no public key: NAME+ID+BASE64\n")


def test_it_stands_alone_in_its_source() -> None:
    """Catches an import that only a development environment has."""
    imported = re.findall(r"^ *(?:from|import) (\w+)", VERIFIER.read_text("utf-8"), re.MULTILINE)
    assert set(imported) - {"cryptography"} <= set(sys.stdlib_module_names)


def test_a_page_is_verified_by_the_data_in_it(alone: Path, sound: str) -> None:
    """Catches a page that an arbitrator cannot hand to the verifier as it is."""
    (alone / "d1.html").write_text(page_of(sound), "utf-8")
    status, said = _run(alone, "d1.html", "--trust", KEY.verifier.text)
    assert status == 0, said
    assert "NOT CHECKED  page         only the data in it was checked, not what it shows" in said
    lie = changed(sound, _other_payload)
    (alone / "lie.html").write_text(page_of(sound).replace(sound, lie), "utf-8")
    assert _run(alone, "lie.html", "--trust", KEY.verifier.text)[0] == 1
