"""Checkpoints of a real book: published, cosigned, and held against a log that was changed."""

import shutil
from base64 import b64encode
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

import orderledger
from orderledger.book import Book
from orderledger.commands.account_commands import PostEntry, PostingInput
from orderledger.ledger.errors import InvalidInput, LogForked, NotFound, Unavailable
from orderledger.replay.checkpoint_targets import DirectoryTarget, target_of
from orderledger.replay.checkpoints import (
    SignerMemory,
    checkpoint_of,
    cosign,
    held_at,
    newest_at,
    publish,
    verify_checkpoints,
)
from orderledger.replay.findings import Check
from orderledger.replay.signing import SigningKey, holds

KEY = SigningKey("ledger.shop.example", bytes(range(32)))
AUDITOR = SigningKey("auditor.example", bytes(range(1, 33)))
AT = datetime(2026, 11, 30, 12, tzinfo=UTC)


class Place:
    """A book in a file, a key with its memory, an auditor with theirs, and a target."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "book.db"
        self.url = f"sqlite:///{self.file}"
        self.memory = SignerMemory(folder / "book.key")
        self.auditors = SignerMemory(folder / "auditor.key")
        self.target = DirectoryTarget(folder / "published")
        self.folder = folder

    def post(self, count: int, start: int = 1) -> None:
        with orderledger.open(self.url) as book:
            book.execute_many([_entry(number) for number in range(start, start + count)])

    def publish(self, key: SigningKey = KEY) -> int:
        with orderledger.open(self.url) as book:
            return publish(book.store, key, self.memory, [self.target]).signed.checkpoint.size

    def cosign(self) -> int:
        signed = cosign(self.target, KEY.verifier, AUDITOR, self.auditors, AT)
        return signed.checkpoint.size

    def keep(self) -> Path:
        """Keep a copy of the book as it is, as a backup would."""
        return Path(shutil.copy(self.file, self.folder / "backup.db"))

    def restore(self, backup: Path) -> None:
        for path in self.folder.glob("book.db*"):
            path.unlink()
        shutil.copy(backup, self.file)

    def findings(self, trusted: SigningKey = KEY) -> list[tuple[Check, int | None]]:
        with orderledger.open(self.url) as book:
            found = verify_checkpoints(book.store, held_at(self.target), [trusted.verifier])
            return [(one.code, one.position) for one in found]


def _entry(number: int) -> PostEntry:
    postings = (
        PostingInput("assets:bank:main", "EUR", number),
        PostingInput("equity:opening", "EUR", -number),
    )
    return PostEntry(
        entry_id=f"e{number}", description="opening", postings=postings, occurred_at=AT
    )


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Give a book of five events."""
    made = Place(tmp_path)
    made.post(5)
    return made


@pytest.fixture
def book(place: Place) -> Iterator[Book]:
    """Give the book, open."""
    with orderledger.open(place.url) as opened:
        yield opened


def test_a_head_is_signed_and_continued(place: Place) -> None:
    """Catches a target on which the steps from one checkpoint to the next cannot be followed."""
    assert place.publish() == 5
    assert place.cosign() == 5
    place.post(300, start=6)
    assert place.publish() == 305
    place.post(1, start=400)
    assert place.publish() == 306
    assert [one.checkpoint.size for one in held_at(place.target)] == [5, 305, 306]
    # Two steps behind: it follows both.
    assert place.cosign() == 306
    newest = newest_at(place.target)
    assert newest is not None
    assert holds(KEY.verifier, newest)
    assert holds(AUDITOR.cosigner, newest)
    assert place.findings() == []
    assert place.findings(AUDITOR) != []


def test_publishing_again_changes_nothing(place: Place, book: Book) -> None:
    """Catches a second note of one size, which would not have the auditor's signature."""
    place.publish()
    place.cosign()
    note = place.target.read("checkpoint")
    again = publish(book.store, KEY, place.memory, [place.target])
    assert not again.is_new
    assert place.target.read("checkpoint") == note


def test_every_target_is_brought_up_by_itself(place: Place, book: Book, tmp_path: Path) -> None:
    """Catches a target that failed once and has no proof from where it stood."""
    place.publish()
    place.post(3, start=6)
    other = target_of(f"file://{tmp_path}/other place")
    published = publish(book.store, KEY, place.memory, [other, place.target])
    assert published.is_new
    place.post(3, start=9)
    publish(book.store, KEY, place.memory, [other, place.target])
    assert [one.checkpoint.size for one in held_at(other)] == [8, 11]
    assert [one.checkpoint.size for one in held_at(place.target)] == [5, 8, 11]


def test_what_was_signed_outlives_the_targets(place: Place, tmp_path: Path) -> None:
    """Catches a signer that signs a fork because the target was emptied."""
    backup = place.keep()
    place.post(2, start=6)
    assert place.publish() == 7
    shutil.rmtree(tmp_path / "published")
    place.restore(backup)
    with pytest.raises(LogForked, match="5 events, but a checkpoint of 7 was signed"):
        place.publish()
    place.post(2, start=66)
    with pytest.raises(LogForked, match="history was rewritten"):
        place.publish()
    place.post(50, start=70)
    with pytest.raises(LogForked, match="the first 7 events"):
        place.publish()
    assert newest_at(place.target) is None


def test_a_fork_is_not_cosigned(place: Place, tmp_path: Path) -> None:
    """Catches an auditor who signs a history in which what they signed before is not."""
    backup = place.keep()
    place.post(2, start=6)
    place.publish()
    place.cosign()
    # The operator forgets everything that it signed, and publishes another history.
    shutil.rmtree(tmp_path / "published")
    shutil.rmtree(tmp_path / "book.key.signed")
    place.restore(backup)
    place.publish()
    place.post(9, start=66)
    place.publish()
    with pytest.raises(LogForked, match="does not continue that of 7"):
        place.cosign()
    newest = newest_at(place.target)
    assert newest is not None
    assert not holds(AUDITOR.cosigner, newest)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("old 5", "old 4"),
        lambda text: text.partition("\n")[0] + "\n",
        lambda text: text + b64encode(bytes(32)).decode() + "\n",
        lambda _: "old 5\n" + b64encode(bytes(32)).decode() + "\n",
    ],
)
def test_a_wrong_proof_is_not_followed(place: Place, change: Callable[[str], str]) -> None:
    """Catches a counterparty that takes a published proof for granted."""
    place.publish()
    place.cosign()
    place.post(4, start=6)
    place.publish()
    name = f"proofs/{9:012}"
    place.target.write(name, change(place.target.read(name) or ""))
    with pytest.raises(LogForked, match="does not continue"):
        place.cosign()


def test_a_lost_step_is_told(place: Place, tmp_path: Path) -> None:
    """Catches a gap in the published steps that is jumped over."""
    place.publish()
    place.cosign()
    for number in (6, 7):
        place.post(1, start=number)
        place.publish()
    (tmp_path / "published" / "checkpoints" / f"{6:012}").unlink()
    with pytest.raises(LogForked, match="does not continue that of 5"):
        place.cosign()
    (tmp_path / "published" / "checkpoints" / f"{7:012}").unlink()
    with pytest.raises(LogForked, match="lead to 5 events"):
        place.cosign()
    place.target.write(f"proofs/{6:012}", "gone")
    place.target.write(f"checkpoints/{6:012}", place.target.read("checkpoint") or "")
    with pytest.raises(InvalidInput, match="no checkpoint of that size"):
        place.cosign()


def test_targets_of_others_are_left_alone(place: Place, book: Book, tmp_path: Path) -> None:
    """Catches checkpoints of two books, or of two keys, mixed at one target."""
    place.publish()
    with pytest.raises(InvalidInput, match="was not signed by"):
        publish(book.store, AUDITOR, SignerMemory(tmp_path / "x"), [place.target])
    other = Place(tmp_path / "other")
    other.folder.mkdir()
    other.post(3, start=100)
    other.target = place.target
    with pytest.raises(InvalidInput, match="give each book a target of its own"):
        other.publish()
    assert [one[0] for one in other.findings()] == [Check.LOG_CUT_OFF]
    other.post(10, start=200)
    assert [one[0] for one in other.findings()] == [Check.CHECKPOINT_FOREIGN]
    place.target.write("checkpoint", "hello\n")
    with pytest.raises(InvalidInput, match="published/checkpoint: this is no checkpoint"):
        place.publish()


def test_a_cosigner_wants_the_operators_word(place: Place, tmp_path: Path) -> None:
    """Catches a signature under a checkpoint that somebody else made up."""
    with pytest.raises(NotFound, match="no checkpoint is published"):
        place.cosign()
    place.publish()
    with pytest.raises(InvalidInput, match="no right signature of auditor"):
        cosign(place.target, AUDITOR.verifier, AUDITOR, place.auditors, AT)
    assert not (tmp_path / "auditor.key.signed").exists()


def test_a_book_without_events_has_no_checkpoint(tmp_path: Path) -> None:
    """Catches a signature over nothing, which any book continues."""
    with (
        orderledger.open(f"sqlite:///{tmp_path}/empty.db") as book,
        pytest.raises(NotFound, match="has no events"),
    ):
        publish(book.store, KEY, SignerMemory(tmp_path / "k"), [])


def test_sizes_beyond_the_head_are_refused(book: Book) -> None:
    """Catches a checkpoint of events that do not exist."""
    assert checkpoint_of(book.store).size == 5
    assert checkpoint_of(book.store, 3).size == 3
    for size in (0, 6, -1):
        with pytest.raises(InvalidInput, match=f"no checkpoint at {size}"):
            checkpoint_of(book.store, size)


def test_a_rewritten_log_is_located(place: Place) -> None:
    """Catches a history that was rewritten so well that its own hashes agree."""
    place.publish()
    backup = place.keep()
    place.post(5, start=6)
    place.publish()
    place.restore(backup)
    assert place.findings() == [(Check.LOG_CUT_OFF, 6)]
    place.post(9, start=66)
    assert place.findings() == [(Check.LOG_REWRITTEN, 6)]


def test_unsigned_checkpoints_prove_nothing(place: Place) -> None:
    """Catches a verification that trusts whatever lies at the target."""
    place.publish()
    assert place.findings(AUDITOR) == [(Check.CHECKPOINT_UNSIGNED, None)]


def test_a_target_that_cannot_be_written_is_told(place: Place, tmp_path: Path) -> None:
    """Catches a failure of the target that looks like one of the log, or is passed over."""
    (tmp_path / "file").write_text("")
    with (
        orderledger.open(place.url) as book,
        pytest.raises(Unavailable, match="cannot be read or written"),
    ):
        publish(book.store, KEY, place.memory, [target_of(f"{tmp_path}/file")])
    # It was signed, and is published when the target is there again.
    assert place.publish() == 5


def test_urls_are_reached_through_fsspec(place: Place, book: Book) -> None:
    """Catches a target by URL that is read and written otherwise than a directory."""
    pytest.importorskip("fsspec")
    target = target_of("memory://published/shop")
    publish(book.store, KEY, place.memory, [target])
    place.post(2, start=6)
    publish(book.store, KEY, place.memory, [target])
    assert [one.checkpoint.size for one in held_at(target)] == [5, 7]
    assert cosign(target, KEY.verifier, AUDITOR, place.auditors, AT).checkpoint.size == 7
    with pytest.raises(InvalidInput, match="cannot be reached"):
        target_of("nowhere://x")
    with pytest.raises(InvalidInput, match="not nothing"):
        target_of("")
