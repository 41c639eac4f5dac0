"""
Kinds of tampering with the work of a book, and what must be found of each.
"""

from collections.abc import Callable
from typing import Final

from orderledger.replay.findings import Check
from tests.replay.forger import Forger
from tests.replay.tampering import Kind, at

_NOTE: Final = "note"
_NOTIFY: Final = "notify"
_TIMER: Final = "timer"
_QUEUED: Final = "queued"
_WHERE: Final[dict[str, dict[str, object]]] = {
    _NOTE: {"lane": "outbox", "status": "waiting", "kind": "command:AddNote"},
    _NOTIFY: {"lane": "outbox", "status": "waiting", "kind": "call:Notify"},
    _TIMER: {"lane": "timer", "key": "timer/dispute-d2/response/1"},
    _QUEUED: {"lane": "queue", "key": "queued-o7"},
}
O9: Final = 602
_EFFECT: Final = at(Check.EFFECT_UNTRACED, O9, "order-o9")
_DEADLINE: Final = at(Check.DEADLINE_UNTRACED, stream="dispute-d2")


def _work(which: str, **changes: object) -> Callable[[Forger], object]:
    return lambda forger: forger.update("orderledger.work", changes, _WHERE[which])


def _work_text(which: str, column: str, old: str, new: str) -> Callable[[Forger], object]:
    def forge(forger: Forger) -> None:
        text = str(forger.row("orderledger.work", _WHERE[which])[column])
        assert old in text, text
        forger.update("orderledger.work", {column: text.replace(old, new)}, _WHERE[which])

    return forge


def _streams(which: str, stream: str) -> Callable[[Forger], object]:
    def forge(forger: Forger) -> None:
        given: object = [stream] if forger.is_postgres else f'["{stream}"]'
        forger.update("orderledger.work", {"streams": given}, _WHERE[which])

    return forge


def _invented(forger: Forger) -> None:
    row = forger.row("orderledger.work", _WHERE[_NOTIFY])
    forger.insert("orderledger.work", {**row, "number": 9_999, "key": "f" * 64})


WORK: Final = (
    Kind("an effect is invented", _invented, (_EFFECT,)),
    Kind("an effect notifies another", _work_text(_NOTIFY, "payload", '"b1"', '"b2"'), (_EFFECT,)),
    Kind(
        "an effect gives another command",
        _work_text(_NOTE, "payload", "at 602", "at 1"),
        (_EFFECT,),
    ),
    Kind(
        "an effect is of another kind",
        _work(_NOTIFY, kind="command:AddNote"),
        (at(Check.WORK_UNREADABLE),),
    ),
    Kind("an effect is of a kind that there is not", _work(_NOTIFY, kind="gift:Money"), (_EFFECT,)),
    Kind(
        "an effect is of another position",
        _work_text(_NOTIFY, "origin", "602", "603"),
        (at(Check.EFFECT_UNTRACED, 603),),
    ),
    Kind(
        "an effect is of an event that is not there",
        _work_text(_NOTIFY, "origin", "602", "9602"),
        (at(Check.EFFECT_UNTRACED, 9602),),
    ),
    Kind(
        "an effect is of another stream",
        _work_text(_NOTIFY, "origin", "order-o9", "order-o1"),
        (at(Check.EFFECT_UNTRACED, O9),),
    ),
    Kind(
        "an effect is of a reactor that there is not",
        _work_text(_NOTIFY, "origin", "welcome", "farewell"),
        (_EFFECT,),
    ),
    Kind(
        "an effect is in the name of another",
        _work_text(_NOTE, "payload", '"id":"welcome"', '"id":"boss"'),
        (_EFFECT,),
    ),
    Kind("an effect has another key", _work(_NOTE, key="e" * 64), (_EFFECT,)),
    Kind("an effect cannot be read", _work(_NOTE, payload="{"), (at(Check.WORK_UNREADABLE),)),
    Kind(
        "an effect waits for another stream",
        _streams(_NOTE, "order-o1"),
        (_EFFECT, at(Check.WORK_ORDER_WRONG)),
    ),
    Kind(
        "a command is said to be done and was not",
        _work(_QUEUED, status="done"),
        (at(Check.EFFECT_UNTRACED, stream="order-o7"), at(Check.WORK_ORDER_WRONG)),
    ),
    Kind(
        "work is said to be given up, and nobody did",
        _work(_NOTIFY, status="discarded"),
        (at(Check.EFFECT_UNTRACED, stream="order-o9"),),
    ),
    Kind(
        "a deadline is of another time",
        _work_text(_TIMER, "origin", "2026-01-18", "2026-01-08"),
        (_DEADLINE,),
    ),
    Kind(
        "a deadline has another key", _work(_TIMER, key="timer/dispute-d2/response/9"), (_DEADLINE,)
    ),
    Kind("a deadline is of another kind", _work(_TIMER, kind="deadline:appeal"), (_DEADLINE,)),
    Kind(
        "a queued command is another, of other streams",
        _work_text(_QUEUED, "payload", '"o7"', '"o1"'),
        (at(Check.WORK_UNREADABLE, stream="order-o7"),),
    ),
    Kind(
        "the order of work is forgotten",
        lambda forger: forger.run("DELETE FROM orderledger.work_streams"),
        (at(Check.WORK_ORDER_WRONG),),
    ),
    Kind(
        "a row of work of a book that there is not",
        lambda forger: forger.insert(
            "orderledger.work",
            {
                **forger.row("orderledger.work", _WHERE[_QUEUED]),
                "number": 9_999,
                "book_id": 77,
            },
        ),
        (at(Check.ROWS_OF_NO_BOOK),),
    ),
)
