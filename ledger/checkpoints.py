"""
Checkpoints: a signed statement of how long a book's log is and what its root is.

The text is that of C2SP: signed notes (c2sp.org/signed-note) whose body is a tlog-checkpoint
(c2sp.org/tlog-checkpoint), signed with Ed25519 by the book's operator and with cosignature/v1
(c2sp.org/tlog-cosignature) by counterparties. Nothing here signs or checks a signature; see
``replay.signing``.
"""

import binascii
import re
from base64 import b64decode, b64encode
from hashlib import sha256
from typing import Final

import msgspec

from .errors import InvalidInput

ED25519: Final = 0x01
"""Kind of a key that signs the note's text."""
COSIGNATURE: Final = 0x04
"""Kind of a key that signs the note's text and the time at which it did."""
PRIVATE_PREFIX: Final = "PRIVATE+KEY+"
_NAME: Final = re.compile(r"[^\s+\x00-\x1f\x7f]{1,128}")
_LINE: Final = re.compile(r"[^\x00-\x1f\x7f]{1,512}")
_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,17}")
_MARK: Final = "— "
NOTE_BYTES_MAX: Final = 64 * 1024


class Checkpoint(msgspec.Struct, frozen=True):
    """
    How long a log is, and the RFC 6962 root over it.

    ``origin`` names the log; see ``origin_of``.
    """

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """The text that is signed: origin, size and root in base64, a line each."""
        return f"{self.origin}\n{self.size}\n{b64encode(self.root).decode()}\n"


class NoteSignature(msgspec.Struct, frozen=True):
    """A signature line: the name of its key, the key's id of four bytes, and what was signed."""

    name: str
    key_id: bytes
    signature: bytes

    @property
    def line(self) -> str:
        """The line as it stands in a note."""
        return f"{_MARK}{self.name} {b64encode(self.key_id + self.signature).decode()}\n"


class SignedCheckpoint(msgspec.Struct, frozen=True):
    """A checkpoint with the signatures that stand under it; whether they hold is not said."""

    checkpoint: Checkpoint
    signatures: tuple[NoteSignature, ...]

    @property
    def note(self) -> str:
        """The whole note."""
        return self.checkpoint.text + "\n" + "".join([one.line for one in self.signatures])

    def with_signature(self, added: NoteSignature) -> "SignedCheckpoint":
        """Return it with one more signature, in place of an older one by the same key."""
        kept = [
            one for one in self.signatures if (one.name, one.key_id) != (added.name, added.key_id)
        ]
        return SignedCheckpoint(self.checkpoint, (*kept, added))


class VerifierKey(msgspec.Struct, frozen=True):
    """The public half of a key: its holder's name, what it signs, 32 bytes of Ed25519."""

    name: str
    kind: int
    public_key: bytes

    @property
    def key_id(self) -> bytes:
        """The first four bytes of SHA-256(name ‖ newline ‖ kind ‖ public key)."""
        return sha256(f"{self.name}\n".encode() + bytes([self.kind]) + self.public_key).digest()[:4]

    @property
    def text(self) -> str:
        """The key as it is handed out: name+id+base64, in one line."""
        encoded = b64encode(bytes([self.kind]) + self.public_key).decode()
        return f"{self.name}+{self.key_id.hex()}+{encoded}"

    def of(self, signed: SignedCheckpoint) -> NoteSignature | None:
        """Return the signature that names this key, whether it holds or not."""
        for one in signed.signatures:
            if (one.name, one.key_id) == (self.name, self.key_id):
                return one
        return None


def origin_of(book: str, first_leaf: bytes) -> str:
    """
    Return the name of a book's log: ``orderledger/{book}/{16 hex digits of its first leaf}``.

    Two books of one name, in two databases, begin with different events and so differ.
    """
    return f"orderledger/{book}/{first_leaf[:8].hex()}"


def parse_checkpoint(note: str) -> SignedCheckpoint:
    """Read a note; raises InvalidInput that says which line is wrong. Checks no signature."""
    if len(note) > NOTE_BYTES_MAX:
        raise InvalidInput(f"a checkpoint has at most {NOTE_BYTES_MAX} bytes, not {len(note)}")
    text, blank, rest = note.partition("\n\n")
    lines = text.split("\n")
    if not blank or len(lines) < 3:
        raise InvalidInput(
            "this is no checkpoint: it has lines for origin, size and root, an empty line, and "
            f"signatures; it begins {note[:40]!r}"
        )
    if len(lines) > 3:
        # Allowed by the format, discouraged by it, and written by nobody here: signed and unread
        # it could say anything.
        raise InvalidInput(f"a checkpoint has three lines, this one has {len(lines)}")
    origin, size, root = lines
    if _LINE.fullmatch(origin) is None:
        raise InvalidInput(f"line 1 of the checkpoint, {origin[:60]!r}, is no origin")
    if _SIZE.fullmatch(size) is None:
        raise InvalidInput(f"line 2 of the checkpoint, {size[:60]!r}, is no size")
    checkpoint = Checkpoint(origin, int(size), _decoded(root, 3, 32))
    if not rest.endswith("\n"):
        raise InvalidInput("the checkpoint is cut off: its last line has no end")
    signatures = tuple(
        [_signature(line, number) for number, line in enumerate(rest[:-1].split("\n"), 5)]
    )
    return SignedCheckpoint(checkpoint, signatures)


def _signature(line: str, number: int) -> NoteSignature:
    name, _, encoded = line.removeprefix(_MARK).partition(" ")
    if not line.startswith(_MARK) or _NAME.fullmatch(name) is None:
        raise InvalidInput(f"line {number} of the checkpoint, {line[:60]!r}, is no signature")
    value = _decoded(encoded, number)
    if len(value) < 5:
        raise InvalidInput(f"the signature in line {number} of the checkpoint is cut off")
    return NoteSignature(name, value[:4], value[4:])


def _decoded(text: str, number: int, length: int | None = None) -> bytes:
    try:
        value = b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        value = None
    # Base64 that decodes to the same bytes in two spellings would give one checkpoint two texts.
    if value is None or b64encode(value).decode() != text or length not in (None, len(value)):
        raise InvalidInput(f"line {number} of the checkpoint, {text[:60]!r}, is not as it must be")
    return value


def check_key_name(name: str) -> None:
    """Raise InvalidInput unless a text can name a key: no space, no plus, 1 to 128 characters."""
    if _NAME.fullmatch(name) is None:
        raise InvalidInput(
            f"{name!r} cannot name a key: 1 to 128 characters without spaces and plus signs, such "
            "as ledger.shop.example",
            name=name,
        )


def parse_key(text: str) -> VerifierKey:
    """Read a public key as ``VerifierKey.text`` writes it; raises InvalidInput."""
    words = text.strip().split("+", 2)
    try:
        name, key_id, encoded = words
        value = b64decode(encoded, validate=True)
        key = VerifierKey(name, value[0], value[1:])
    except (ValueError, IndexError) as error:
        raise InvalidInput(f"{text[:60]!r} is no public key: name+id+base64") from error
    if key.kind not in (ED25519, COSIGNATURE) or len(key.public_key) != 32:
        raise InvalidInput(f"the key of {name} is of a kind that this version does not know")
    if key.text != text.strip():
        raise InvalidInput(
            f"the public key of {name} was mistyped: its id is {key.key_id.hex()}, not {key_id}"
        )
    check_key_name(name)
    return key
