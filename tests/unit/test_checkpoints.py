"""The text of checkpoints and keys: what is read is what was written, and nothing else is read."""

import json
from base64 import b64decode, b64encode
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from orderledger.ledger.checkpoints import (
    Checkpoint,
    SignedCheckpoint,
    origin_of,
    parse_checkpoint,
    parse_key,
)
from orderledger.ledger.errors import InvalidInput, NotFound
from orderledger.replay.signing import (
    SigningKey,
    cosigned_at,
    holds,
    new_key,
    read_key,
    write_key,
)

KEY = SigningKey("ledger.shop.example", bytes(range(32)))
OTHER = SigningKey("auditor.example", bytes(range(1, 33)))
AT = datetime(2026, 11, 30, 12, tzinfo=UTC)
CHECKPOINT = Checkpoint("orderledger/main/0123456789abcdef", 42, bytes(range(32)))
SIGNED = SignedCheckpoint(CHECKPOINT, (KEY.sign(CHECKPOINT),)).with_signature(
    OTHER.cosign(CHECKPOINT, AT)
)


def test_the_text_is_that_of_the_standard() -> None:
    """Catches a line that another reader of signed notes would not understand."""
    lines = SIGNED.note.split("\n")
    assert lines[:4] == [
        "orderledger/main/0123456789abcdef",
        "42",
        b64encode(bytes(range(32))).decode(),
        "",
    ]
    assert [line.split(" ")[:2] for line in lines[4:-1]] == [
        ["—", "ledger.shop.example"],
        ["—", "auditor.example"],
    ]
    assert lines[-1] == ""
    assert parse_checkpoint(SIGNED.note) == SIGNED


def test_the_example_of_the_standard_is_read() -> None:
    """Catches a key id or a signature that is computed otherwise than in the specification."""
    # The example of the specification of signed notes, and of Go's package `note`.
    key = parse_key("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
    text = (
        "If you think cryptography is the answer to your problem,\n"
        "then you don't know what your problem is.\n"
    )
    signature = (
        "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6K"
        "E6RyyBwJnAM="
    )
    value = b64decode(signature)
    assert value[:4] == key.key_id
    Ed25519PublicKey.from_public_bytes(key.public_key).verify(value[4:], text.encode())


def test_signatures_hold_for_their_key_alone() -> None:
    """Catches a signature that passes for another's, or for another checkpoint."""
    assert holds(KEY.verifier, SIGNED)
    assert holds(OTHER.cosigner, SIGNED)
    assert cosigned_at(OTHER.cosigner, SIGNED) == AT
    for key in (KEY.cosigner, OTHER.verifier, new_key("ledger.shop.example").verifier):
        assert not holds(key, SIGNED)
    for changed in (
        Checkpoint(CHECKPOINT.origin, 43, CHECKPOINT.root),
        Checkpoint("orderledger/main/0123456789abcdee", 42, CHECKPOINT.root),
        Checkpoint(CHECKPOINT.origin, 42, bytes(32)),
    ):
        moved = SignedCheckpoint(changed, SIGNED.signatures)
        assert not holds(KEY.verifier, moved)
        assert not holds(OTHER.cosigner, moved)


def test_every_bit_of_a_note_counts() -> None:
    """Catches a change of a checkpoint that nobody notices."""
    data = SIGNED.note.encode()
    for at in range(len(data)):
        for bit in range(8):
            changed = data[:at] + bytes([data[at] ^ (1 << bit)]) + data[at + 1 :]
            try:
                found = parse_checkpoint(changed.decode())
            except (InvalidInput, UnicodeDecodeError):
                continue
            assert not (holds(KEY.verifier, found) and holds(OTHER.cosigner, found))


@pytest.mark.parametrize(
    ("note", "why"),
    [
        ("", "no checkpoint"),
        (json.dumps({"size": 1}), "no checkpoint"),
        (SIGNED.note[:-1], "cut off"),
        (SIGNED.note[:-40] + "\n", "line 6"),
        (SIGNED.note.replace("\n42\n", "\n042\n"), "line 2"),
        (SIGNED.note.replace("\n42\n", "\n-42\n"), "line 2"),
        (SIGNED.note.replace("\n42\n", "\n42.0\n"), "line 2"),
        (SIGNED.note.replace("orderledger/", "\x1b[31m"), "line 1"),
        (SIGNED.note.replace("\n\n", "\nmore\n\n"), "three lines"),
        (SIGNED.note.replace("— ledger", "- ledger"), "line 5"),
        (CHECKPOINT.text + "\n", "cut off"),
        (SIGNED.note * 1000, "at most"),
    ],
)
def test_what_is_no_checkpoint_is_refused(note: str, why: str) -> None:
    """Catches a file that is taken for a checkpoint and means something else to another reader."""
    with pytest.raises(InvalidInput, match=why):
        parse_checkpoint(note)


def test_a_second_signature_of_one_key_replaces_the_first() -> None:
    """Catches a note that grows with each retry."""
    again = SIGNED.with_signature(KEY.sign(CHECKPOINT))
    assert sorted(one.name for one in again.signatures) == ["auditor.example", KEY.name]


def test_public_keys_are_read_as_they_are_written() -> None:
    """Catches a key that was mistyped and verifies nothing ever after."""
    for key in (KEY.verifier, OTHER.cosigner):
        assert parse_key(key.text + "\n") == key
    text = KEY.verifier.text
    for wrong in ("", "name", text[:-4], text.replace("ledger", "1edger"), "a b+" + text):
        with pytest.raises(InvalidInput):
            parse_key(wrong)


def test_private_keys_are_kept_to_their_owner(tmp_path: Path) -> None:
    """Catches a key that others can read, that is overwritten, or whose content is shown."""
    path = tmp_path / "book.key"
    write_key(KEY, path)
    assert read_key(path) == KEY
    assert path.stat().st_mode & 0o077 == 0
    assert KEY.seed.hex() not in repr(KEY)
    with pytest.raises(InvalidInput, match="never overwritten"):
        write_key(OTHER, path)
    assert read_key(path) == KEY
    with pytest.raises(NotFound, match="no key"):
        read_key(tmp_path / "absent")
    text = path.read_text()
    for wrong in ("", "x", text[9:], text.replace("shop", "shap"), text[:-8], text + "é"):
        path.write_text(wrong)
        with pytest.raises(InvalidInput) as caught:
            read_key(path)
        assert text[-30:-2] not in str(caught.value)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb", "x" * 129])
def test_names_of_keys_cannot_break_a_note(name: str) -> None:
    """Catches a name that would end its line, or its field."""
    with pytest.raises(InvalidInput, match="cannot name a key"):
        new_key(name)


def test_books_of_one_name_have_other_origins() -> None:
    """Catches a checkpoint that fits the log of another database."""
    assert origin_of("main", bytes(32)) == "orderledger/main/0000000000000000"
    assert origin_of("main", bytes(range(32))) != origin_of("main", bytes(32))
