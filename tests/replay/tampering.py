"""
Kinds of tampering with events, log, tiles and command records, and what must be found of each.

Positions are those of ``tampered_book``, which is the same on every engine.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from msgspec.structs import replace

from orderledger.ledger.codec import key_hash
from orderledger.replay.findings import Check
from tests.replay.forger import Forger

PLACED: Final = 1
CAPTURED: Final = 6
NOTED: Final = 166
ALERTED: Final = 152
PETTY: Final = 300
MOVED: Final = 301
LAST: Final = 603
PETTY_STREAM: Final = "journal-petty-55"
LIMITED_STREAM: Final = "account-assets:bank:petty"
LONG_AGO: Final = datetime.fromisoformat("2025-01-01T00:00:00+00:00")
OTHER_ID: Final = UUID(int=7)


class Expected(NamedTuple):
    """A finding that there must be: its code and its place, as far as it has one."""

    code: Check
    position: int | None = None
    stream: str | None = None


class Kind(NamedTuple):
    """
    A kind of tampering. ``is_deep``: only a deep verification can find it. ``is_of_guards``: it is
    about the guards, which are left as it leaves them.
    """

    name: str
    forge: Callable[[Forger], object]
    expected: tuple[Expected, ...]
    is_deep: bool = False
    is_of_guards: bool = False


def at(code: Check, position: int | None = None, stream: str | None = None) -> Expected:
    return Expected(code, position, stream)


def changed(**changes: object) -> Callable[[Forger], object]:
    """Return what changes columns of the event at PETTY."""
    return lambda forger: forger.change(PETTY, **changes)


def replaced(column: str, old: str, new: str) -> Callable[[Forger], object]:
    return lambda forger: forger.replace(PETTY, column, old, new)


_LEAF: Final = at(Check.LEAF_HASH_WRONG, PETTY, PETTY_STREAM)


EVENTS: Final = (
    Kind("a payload is replaced", replaced("payload", "petty", "other"), (_LEAF,)),
    Kind(
        "a payload is cut off",
        changed(payload='{"entry_id"'),
        (
            _LEAF,
            at(Check.EVENT_UNDECODABLE, PETTY, PETTY_STREAM),
            at(Check.EVENT_NOT_FOLDED, PETTY, PETTY_STREAM),
        ),
    ),
    Kind(
        "a field is of another type",
        replaced("payload", '"petty-55"', "55"),
        (_LEAF, at(Check.EVENT_UNDECODABLE, PETTY)),
    ),
    Kind(
        "a topic that nobody knows",
        changed(topic="journal.invented.v1"),
        (_LEAF, at(Check.EVENT_UNDECODABLE, PETTY)),
    ),
    Kind(
        "a topic of another kind of stream",
        changed(topic="order.noted.v1", payload='{"note_ref":"n","by":"b"}'),
        (_LEAF, at(Check.EVENT_NOT_FOLDED, PETTY)),
    ),
    Kind("the actor is another", replaced("context", '"orderledger"', '"somebody"'), (_LEAF,)),
    Kind(
        "a context is cut off", changed(context="{"), (_LEAF, at(Check.CONTEXT_UNDECODABLE, PETTY))
    ),
    Kind(
        "the key in a context is another",
        lambda forger: forger.rewrite(
            PETTY, context='{"actor":{"type":"system","id":"orderledger"},"key":"other"}'
        ),
        (at(Check.COMMAND_WRONG, PETTY),),
    ),
    Kind(
        "an event occurred at another time",
        changed(occurred_at=LONG_AGO + timedelta(days=500)),
        (_LEAF, at(Check.JOURNAL_LINES_WRONG, PETTY)),
    ),
    Kind(
        "an event was appended at another time",
        changed(appended_at=LONG_AGO),
        (_LEAF, at(Check.COMMAND_WRONG, PETTY)),
    ),
    Kind(
        "an event id is another",
        lambda forger: _other_event_id(forger),
        (_LEAF, at(Check.COMMAND_WRONG, PETTY)),
    ),
    Kind(
        "a command id is another",
        changed(command_id=OTHER_ID),
        (_LEAF, at(Check.COMMAND_MISSING, PETTY, PETTY_STREAM)),
    ),
    Kind(
        "an event stands in another stream",
        changed(stream="journal-other"),
        (
            at(Check.LEAF_HASH_WRONG, PETTY, "journal-other"),
            at(Check.COMMAND_WRONG, PETTY, "journal-other"),
        ),
    ),
    Kind(
        "an event stands in a stream of no known kind",
        changed(stream="nonsense-1"),
        (at(Check.EVENT_NOT_FOLDED, stream="nonsense-1"),),
    ),
    Kind(
        "a version is renumbered",
        lambda forger: forger.change(MOVED, version=9_999),
        (
            at(Check.LEAF_HASH_WRONG, MOVED),
            at(Check.VERSION_GAP, MOVED, LIMITED_STREAM),
            at(Check.COMMAND_WRONG, PETTY),
        ),
    ),
    Kind(
        "two versions of a stream are swapped",
        lambda forger: _swap_versions(forger, MOVED, MOVED + 2),
        (at(Check.LEAF_HASH_WRONG, MOVED), at(Check.ORDER_DISAGREES, MOVED, LIMITED_STREAM)),
    ),
    Kind(
        "one leg is changed",
        replaced("postings", " -55", " -56"),
        (_LEAF, at(Check.ENTRY_UNBALANCED, PETTY), at(Check.TOTALS_NOT_ZERO)),
    ),
    Kind(
        "both legs are changed",
        replaced("postings", "55", "56"),
        (_LEAF, at(Check.ENTRY_NOT_OF_EVENT, PETTY), at(Check.JOURNAL_LINES_WRONG, PETTY)),
    ),
    Kind(
        "a leg is on another account",
        replaced("postings", "equity:opening", "income:penalties"),
        (_LEAF, at(Check.ENTRY_NOT_OF_EVENT, PETTY), at(Check.JOURNAL_LINES_WRONG, PETTY)),
    ),
    Kind(
        "a leg is in another currency",
        replaced("postings", "USD", "EUR"),
        (_LEAF, at(Check.ENTRY_NOT_OF_EVENT, PETTY)),
    ),
    Kind(
        "a leg is in another layer",
        replaced("postings", "posted", "held"),
        (_LEAF, at(Check.ENTRY_NOT_OF_EVENT, PETTY)),
    ),
    Kind(
        "postings are removed",
        changed(postings=""),
        (_LEAF, at(Check.ENTRY_NOT_OF_EVENT, PETTY), at(Check.JOURNAL_LINES_WRONG, PETTY)),
    ),
    Kind(
        "postings are none", changed(postings="all my money"), (at(Check.ENTRY_UNBALANCED, PETTY),)
    ),
    Kind(
        "an instant cannot be read",
        lambda forger: forger.change(
            PETTY, occurred_at="infinity" if forger.is_postgres else "yesterday"
        ),
        (at(Check.ROW_UNREADABLE, PETTY), at(Check.ROW_UNREADABLE, stream=PETTY_STREAM)),
    ),
    Kind(
        "an event of an old form is not what its upcaster takes",
        lambda forger: forger.rewrite(
            5, topic="payment.operation_requested.v1", payload='{"amount":"much"}'
        ),
        (at(Check.UPCAST_FAILED, 5, "payment-p1"),),
    ),
    Kind(
        "an event is deleted",
        lambda forger: forger.delete(
            "orderledger.events", {"event_id": forger.event(PETTY).event_id}
        ),
        (at(Check.POSITION_GAP, PETTY),),
    ),
    Kind(
        "an event is given to another book",
        lambda forger: forger.change(PETTY, book_id=99),
        (at(Check.LOG_EVENT_MISMATCH), at(Check.ROWS_OF_NO_BOOK)),
    ),
    Kind(
        "an event is inserted outside the log",
        lambda forger: _insert(forger, None),
        (at(Check.EVENT_OUTSIDE_LOG, stream=PETTY_STREAM),),
    ),
    Kind(
        "an event is added at the end, with right hashes",
        lambda forger: _insert(forger, LAST + 1),
        (at(Check.COMMAND_MISSING, LAST + 1, PETTY_STREAM),),
    ),
    Kind(
        "an event is there twice, as of the same command",
        lambda forger: _insert(forger, LAST + 1, command_id=forger.event(PETTY).command_id),
        (at(Check.COMMAND_WRONG, LAST + 1, PETTY_STREAM),),
    ),
)


def _other_event_id(forger: Forger) -> None:
    """Rename an event in both tables: the log of PostgreSQL names it."""
    before = forger.event(PETTY).event_id
    forger.update("orderledger.events", {"event_id": OTHER_ID}, {"event_id": before})
    if forger.is_postgres:
        forger.update("orderledger.log", {"event_id": OTHER_ID}, {"event_id": before})


def _swap_versions(forger: Forger, first: int, second: int) -> None:
    one, other = forger.event(first).version, forger.event(second).version
    forger.change(first, version=100_000)
    forger.change(second, version=one)
    forger.change(first, version=other)


def _insert(forger: Forger, position: int | None, **changes: Any) -> None:
    row = forger.event(PETTY)
    forged = replace(row, event_id=OTHER_ID, version=2, command_id=OTHER_ID, postings="")
    last = forger.event(LAST).recorded_at
    assert last is not None
    later = last + timedelta(seconds=1)
    forger.add(replace(forged, recorded_at=later, position=position, **changes), position)


def _cut_consistently(forger: Forger) -> None:
    forger.cut(590, with_tiles=True)
    _forget_models(forger, 590)


def _swapped(forger: Forger) -> None:
    forger.swap(PETTY, MOVED)
    forger.agree(PETTY, MOVED)


def _recorded_early(forger: Forger) -> None:
    forger.place(PETTY, recorded_at=LONG_AGO)
    forger.agree(PETTY)


def _unplaced(forger: Forger) -> None:
    for position in range(LAST, LAST - 10, -1):
        forger.delete("orderledger.log", {"position": position})


def _retiled(forger: Forger) -> None:
    forger.place(PETTY, leaf_hash=bytes(32))
    forger.retile()
    forger.heal()


def _rehashed(forger: Forger) -> None:
    forger.replace(PETTY, "payload", "petty", "other")
    forger.rehash(PETTY)


def _forget_models(forger: Forger, position: int) -> None:
    """Let every read model and reactor say that it is at a position, as if it had never gone on."""
    found = forger.run("SELECT leaf_hash FROM orderledger.log WHERE position = %s", (position,))
    leaf = bytes(found[0][0])
    forger.update("orderledger.generations", {"position": position, "leaf_hash": leaf}, {})
    forger.update("orderledger.reactors", {"position": position, "leaf_hash": leaf}, {})


LOG: Final = (
    Kind(
        "a place is moved behind the end",
        lambda forger: forger.place(PETTY, position=LAST + 10),
        (at(Check.POSITION_GAP, PETTY), at(Check.TILE_WRONG, 257)),
    ),
    Kind(
        "an event was recorded at another time",
        lambda forger: forger.place(PETTY, recorded_at=LONG_AGO),
        (_LEAF, at(Check.RECORDED_NOT_INCREASING, PETTY)),
    ),
    Kind(
        "two events were recorded at one time",
        lambda forger: forger.place(PETTY, recorded_at=forger.event(PETTY - 1).recorded_at),
        (_LEAF, at(Check.RECORDED_NOT_INCREASING, PETTY)),
    ),
    Kind(
        "the time of recording is out of order, with right hashes",
        _recorded_early,
        (at(Check.RECORDED_NOT_INCREASING, PETTY),),
    ),
    Kind(
        "a leaf hash is another",
        lambda forger: forger.place(PETTY, leaf_hash=bytes(32)),
        (_LEAF, at(Check.TILE_WRONG, 257)),
    ),
    Kind(
        "the last leaf hash is another",
        lambda forger: forger.place(LAST, leaf_hash=bytes(32)),
        (at(Check.LEAF_HASH_WRONG, LAST), at(Check.CHECKPOINT_DIVERGED, LAST)),
    ),
    Kind(
        "two events change places",
        lambda forger: forger.swap(PETTY, MOVED),
        (at(Check.LEAF_HASH_WRONG, PETTY), at(Check.LEAF_HASH_WRONG, MOVED)),
    ),
    Kind(
        "two events change places, with right hashes",
        _swapped,
        (at(Check.RECORDED_NOT_INCREASING, MOVED), at(Check.COMMAND_WRONG, PETTY)),
    ),
    Kind(
        "a place is deleted",
        lambda forger: forger.delete("orderledger.log", {"position": PETTY}),
        (at(Check.POSITION_GAP, PETTY), at(Check.EVENT_OUTSIDE_LOG, stream=PETTY_STREAM)),
    ),
    Kind(
        "the last places are deleted",
        _unplaced,
        (at(Check.EVENT_OUTSIDE_LOG), at(Check.LOG_CUT_OFF, LAST - 9)),
    ),
    Kind(
        "the log lost its end, its tiles are left",
        lambda forger: forger.cut(500, with_tiles=False),
        (at(Check.TILE_COUNT_WRONG, 500), at(Check.LOG_CUT_OFF, 501)),
    ),
    Kind(
        "the log lost its end, and all the rest agrees",
        _cut_consistently,
        (at(Check.LOG_CUT_OFF, 591),),
    ),
    Kind(
        "the log lost its end and went on with another",
        lambda forger: _other_end(forger),
        (at(Check.LOG_CUT_OFF, 592),),
    ),
    Kind(
        "a tile is another",
        lambda forger: forger.update("orderledger.tiles", {"root": bytes(32)}, {"index": 1}),
        (at(Check.TILE_WRONG, 257),),
    ),
    Kind(
        "a tile is deleted",
        lambda forger: forger.delete("orderledger.tiles", {"index": 1}),
        (at(Check.TILE_WRONG, 257),),
    ),
    Kind(
        "a tile is invented",
        lambda forger: _tile(forger, level=1, index=2),
        (at(Check.TILE_COUNT_WRONG, LAST),),
    ),
    Kind(
        "a tile of a level too high",
        lambda forger: _tile(forger, level=2, index=0),
        (at(Check.TILE_COUNT_WRONG, LAST),),
    ),
    Kind(
        "tiles are those of another leaf",
        _retiled,
        (_LEAF,),
    ),
    Kind(
        "an event is rewritten with its leaf, its tile is not",
        _rehashed,
        (at(Check.TILE_WRONG, 257),),
    ),
    Kind(
        "an event is rewritten with everything",
        lambda forger: _rewritten(forger, ALERTED, "called twice", "called once"),
        (at(Check.LOG_REWRITTEN, 1),),
    ),
    Kind(
        "the last event is rewritten with everything",
        lambda forger: _rewritten(forger, LAST, '"required":1200', '"required":1100'),
        (at(Check.LOG_REWRITTEN, 1),),
    ),
    Kind(
        "the tail is rewritten with everything",
        lambda forger: _rewritten_tail(forger),
        (at(Check.LOG_REWRITTEN, 1),),
    ),
    Kind(
        "the first event is rewritten with everything",
        lambda forger: _rewritten(forger, PLACED, '"buyer_ref":"b1"', '"buyer_ref":"b2"'),
        (at(Check.CHECKPOINT_FOREIGN),),
    ),
)


def _tile(forger: Forger, **place: int) -> None:
    forger.insert("orderledger.tiles", {"book_id": forger.book_id, **place, "root": bytes(32)})


def _rewritten(forger: Forger, position: int, old: str, new: str) -> None:
    forger.replace(position, "payload", old, new)
    forger.agree(position)


def _rewritten_tail(forger: Forger) -> None:
    for position in range(580, 600, 2):
        forger.replace(position, "payload", '"petty","legs"', '"other","legs"')
    forger.agree(*range(580, 600))


def _other_end(forger: Forger) -> None:
    _cut_consistently(forger)
    row = forger.event(590)
    assert row.recorded_at is not None
    later = row.recorded_at + timedelta(seconds=1)
    forger.add(
        replace(
            row,
            event_id=OTHER_ID,
            stream="journal-else",
            version=1,
            postings="",
            recorded_at=later,
        ),
        591,
    )


def _record(**changes: object) -> Callable[[Forger], object]:
    """Return what changes the record of the command that wrote the event at PETTY."""

    def change(forger: Forger) -> None:
        where = {"command_id": forger.event(PETTY).command_id}
        forger.update("orderledger.commands", changes, where)

    return change


def _reply(old: str, new: str) -> Callable[[Forger], object]:
    def change(forger: Forger) -> None:
        where = {"command_id": forger.event(PETTY).command_id}
        text = str(forger.row("orderledger.commands", where)["reply"])
        assert old in text, text
        forger.update("orderledger.commands", {"reply": text.replace(old, new)}, where)

    return change


def _hash(forger: Forger, key: str) -> object:
    found = key_hash("main", key)
    return UUID(bytes=found) if forger.is_postgres else found


def _rekey(forger: Forger) -> None:
    changes = {"key": "other", "key_hash": _hash(forger, "other")}
    _record(**changes)(forger)


def _record_for(forger: Forger, **changes: object) -> None:
    """Write a record beside that of the command at PETTY."""
    row = forger.row("orderledger.commands", {"command_id": forger.event(PETTY).command_id})
    row.pop("row_id", None)
    forger.insert(
        "orderledger.commands",
        {**row, "key": "forged", "key_hash": _hash(forger, "forged"), **changes},
    )


_WRONG: Final = at(Check.COMMAND_WRONG, PETTY, PETTY_STREAM)

COMMANDS: Final = (
    Kind(
        "a record is deleted",
        lambda forger: forger.delete(
            "orderledger.commands", {"command_id": forger.event(PETTY).command_id}
        ),
        (at(Check.COMMAND_MISSING, PETTY, PETTY_STREAM),),
    ),
    Kind(
        "a key is another",
        _record(key="other"),
        (at(Check.COMMAND_WRONG), at(Check.COMMAND_MISSING, PETTY, PETTY_STREAM)),
    ),
    Kind("a key and its hash are another's", _rekey, (_WRONG,)),
    Kind(
        "a record is of another command",
        _record(command_id=OTHER_ID),
        (at(Check.COMMAND_MISSING, PETTY), at(Check.COMMAND_WRONG, stream=PETTY_STREAM)),
    ),
    Kind(
        "a reply names another event",
        _reply('"event_ids":["', '"event_ids":["0'),
        (at(Check.COMMAND_WRONG),),
    ),
    Kind("a reply names another version", _reply('-55":1', '-55":2'), (_WRONG,)),
    Kind("a reply names another stream", _reply("journal-petty-55", "journal-petty-56"), (_WRONG,)),
    Kind(
        "a reply is none",
        _record(reply="{"),
        (at(Check.COMMAND_WRONG), at(Check.COMMAND_MISSING, PETTY)),
    ),
    Kind(
        "an accepted command is said to be refused",
        _record(refused=True),
        (at(Check.COMMAND_WRONG), at(Check.COMMAND_MISSING, PETTY)),
    ),
    Kind(
        "a refused command is said to be accepted",
        lambda forger: forger.update("orderledger.commands", {"refused": False}, {"refused": True}),
        (at(Check.COMMAND_WRONG),),
    ),
    Kind("a record is of another time", _record(appended_at=LONG_AGO), (_WRONG,)),
    Kind(
        "a fingerprint is cut off",
        _record(fingerprint=bytes(31)),
        (at(Check.COMMAND_WRONG), at(Check.COMMAND_MISSING, PETTY)),
    ),
    Kind(
        "two records are of one command",
        lambda forger: _record_for(forger),
        (at(Check.DUPLICATE_ID),),
    ),
    Kind(
        "a record claims events that there are not",
        lambda forger: _record_for(
            forger,
            command_id=OTHER_ID,
            reply='{"streams":{"journal-x":1},"event_ids":["00000000-0000-0000-0000-000000000009"]}',
        ),
        (at(Check.COMMAND_WRONG, stream="journal-x"),),
    ),
    Kind(
        "a record of a book that there is not",
        lambda forger: _record_for(forger, command_id=OTHER_ID, book_id=99),
        (at(Check.ROWS_OF_NO_BOOK),),
    ),
)
