"""
Ed25519 signatures under checkpoints, and the files that hold the keys.

Needs the package ``cryptography`` (``orderledger[crypto]``), which is imported at the first use.
"""

import os
from base64 import b64decode, b64encode
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from orderledger.ledger.checkpoints import (
    COSIGNATURE,
    ED25519,
    PRIVATE_PREFIX,
    Checkpoint,
    NoteSignature,
    SignedCheckpoint,
    VerifierKey,
    check_key_name,
)
from orderledger.ledger.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_SEED_BYTES: Final = 32
_TIME_BYTES: Final = 8


class SigningKey(msgspec.Struct, frozen=True):
    """
    A private key and the name of its holder.

    One seed serves both kinds of signature: as the operator's, and as a counterparty's with the
    time. The two have different ids, so that neither passes for the other.
    """

    name: str
    seed: bytes

    def __repr__(self) -> str:
        return f"SigningKey({self.name!r}, …)"

    @property
    def verifier(self) -> VerifierKey:
        """The public key of signatures by ``sign``."""
        return VerifierKey(self.name, ED25519, self._public())

    @property
    def cosigner(self) -> VerifierKey:
        """The public key of signatures by ``cosign``."""
        return VerifierKey(self.name, COSIGNATURE, self._public())

    def sign(self, checkpoint: Checkpoint) -> NoteSignature:
        """Return the signature over a checkpoint's text."""
        signature = self._private().sign(checkpoint.text.encode())
        return NoteSignature(self.name, self.verifier.key_id, signature)

    def cosign(self, checkpoint: Checkpoint, at: datetime) -> NoteSignature:
        """Return the signature that says that the key's holder saw a checkpoint at a time."""
        seconds = int(at.timestamp())
        signature = self._private().sign(_witnessed(checkpoint, seconds))
        stamped = seconds.to_bytes(_TIME_BYTES, "big") + signature
        return NoteSignature(self.name, self.cosigner.key_id, stamped)

    def _private(self) -> "Ed25519PrivateKey":
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return Ed25519PrivateKey.from_private_bytes(self.seed)

    def _public(self) -> bytes:
        return self._private().public_key().public_bytes_raw()


def holds(key: VerifierKey, signed: SignedCheckpoint) -> bool:
    """Tell whether a checkpoint has a signature by this key that is right."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    found = key.of(signed)
    if found is None:
        return False
    message, signature = signed.checkpoint.text.encode(), found.signature
    if key.kind == COSIGNATURE:
        seconds = int.from_bytes(signature[:_TIME_BYTES], "big")
        message, signature = _witnessed(signed.checkpoint, seconds), signature[_TIME_BYTES:]
    try:
        Ed25519PublicKey.from_public_bytes(key.public_key).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def cosigned_at(key: VerifierKey, signed: SignedCheckpoint) -> datetime | None:
    """Return when a counterparty says that it saw the checkpoint; None without its signature."""
    found = key.of(signed)
    if found is None or key.kind != COSIGNATURE:
        return None
    return datetime.fromtimestamp(int.from_bytes(found.signature[:_TIME_BYTES], "big"), UTC)


def _witnessed(checkpoint: Checkpoint, seconds: int) -> bytes:
    return f"cosignature/v1\ntime {seconds}\n{checkpoint.text}".encode()


def new_key(name: str) -> SigningKey:
    """Make a key; raises InvalidInput for a name with a space or a plus sign."""
    check_key_name(name)
    return SigningKey(name, os.urandom(_SEED_BYTES))


def write_key(key: SigningKey, path: Path) -> None:
    """
    Write a private key to a new file that only its owner can read.

    Raises InvalidInput where the file exists: a key is never overwritten.
    """
    encoded = b64encode(bytes([ED25519]) + key.seed).decode()
    text = f"{PRIVATE_PREFIX}{key.name}+{key.verifier.key_id.hex()}+{encoded}\n"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise InvalidInput(f"{path} exists; a key is never overwritten", path=str(path)) from error
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def read_key(path: Path) -> SigningKey:
    """
    Read a private key as ``write_key`` writes it.

    Raises NotFound, and InvalidInput where the file holds something else, whose content is not
    quoted.
    """
    try:
        text = path.read_text(encoding="ascii").strip()
    except FileNotFoundError as error:
        raise NotFound(f"there is no key at {path}", path=str(path)) from error
    except UnicodeDecodeError:
        text = ""
    key = _parsed(text)
    if key is None:
        raise InvalidInput(f"{path} holds no private key of `checkpoint key`", path=str(path))
    return key


def _parsed(text: str) -> SigningKey | None:
    try:
        name, key_id, encoded = text.removeprefix(PRIVATE_PREFIX).split("+", 2)
        value = b64decode(encoded, validate=True)
    except ValueError:
        return None
    is_ours = text.startswith(PRIVATE_PREFIX) and value[:1] == bytes([ED25519])
    if not is_ours or len(value) != 1 + _SEED_BYTES:
        return None
    key = SigningKey(name, value[1:])
    return key if key.verifier.key_id.hex() == key_id else None
