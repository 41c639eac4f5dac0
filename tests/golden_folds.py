"""
The golden file of folds: what each kind of stream folds to, under which version and fingerprint.

A state that differs from the file while its fingerprint does not means that a function of the fold
has changed unseen by snapshots: raise ``Fold.version`` of that kind in ``ledger/folds.py``. Then
``python -m tests.golden_folds`` writes the file anew.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from orderledger import Book
from orderledger.ledger.codec import decode_event, encode_json
from orderledger.ledger.events import current
from orderledger.ledger.folds import FOLDS, fold_of, folded
from orderledger.ledger.stores.memory import MemoryStore
from orderledger.ledger.streams import kind_of
from orderledger.snapshots.fingerprints import fold_fingerprint
from tests.golden_events import recorded
from tests.projections.books import day
from tests.seeding import START

FILE = Path(__file__).parent / "golden" / "folds.json"


def kept() -> Mapping[str, Mapping[str, str]]:
    """Return what the file has: kind → fingerprint and states."""
    found: dict[str, dict[str, str]] = json.loads(FILE.read_text("utf-8"))
    return found


def found_now() -> dict[str, dict[str, str]]:
    """Return the same of the code as it is."""
    hashes = {kind: sha256() for kind in FOLDS}
    of_events = [(kind, state) for kind in FOLDS for state in golden_states(kind)]
    for kind, state in (*of_events, *_of_a_day()):
        hashes[kind].update(encode_json(plain(state)).encode())
    return {
        kind: {
            "fingerprint": fold_fingerprint(kind).hex(),
            "states": one.hexdigest(),
        }
        for kind, one in sorted(hashes.items())
    }


def golden_states(kind: str) -> Iterator[Any]:
    """Fold every golden event that belongs to a kind, whatever sense they make together."""
    fold = FOLDS[kind]
    state = fold.initial
    for topic, payload in sorted(recorded().items()):
        if folded().get(current(topic)) in fold.evolve:
            # Some golden events have an instant without a zone, which no command lets through.
            with suppress(TypeError):
                state = fold.apply(state, decode_event(topic, payload))
                yield state


def _of_a_day() -> Iterator[tuple[str, Any]]:
    store = MemoryStore(clock=lambda: START)
    Book(store, clock=lambda: START).execute_many(day())
    states: dict[str, Any] = {}
    for row in store.read(0, limit=store.head().size):
        before = states.get(row.stream, fold_of(row.stream).initial)
        event = decode_event(row.topic, row.payload)
        states[row.stream] = fold_of(row.stream).apply(before, event)
    for stream in sorted(states):
        yield kind_of(stream), states[stream]


def plain(value: Any) -> Any:
    """Return a state as JSON can hold it, its mappings in their order, its sets sorted."""
    if isinstance(value, msgspec.Struct):
        return [
            type(value).__name__,
            *[plain(getattr(value, name)) for name in value.__struct_fields__],
        ]
    if isinstance(value, Mapping):
        return [[plain(key), plain(one)] for key, one in value.items()]
    if isinstance(value, frozenset):
        return sorted(encode_json(plain(one)) for one in value)
    if isinstance(value, tuple | list):
        return [plain(one) for one in value]
    return value


if __name__ == "__main__":
    FILE.write_text(f"{json.dumps(found_now(), indent=1)}\n", "utf-8")
