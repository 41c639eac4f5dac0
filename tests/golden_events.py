"""
The golden file of event bytes: one line per topic version, made once and never changed.

``python -m tests.golden_events`` appends a line for each topic that has none yet. A line that no
longer decodes means that stored history would no longer decode: add a version and an upcaster.
"""

import json
import random
from collections.abc import Mapping
from pathlib import Path

from orderledger.ledger import folds
from orderledger.ledger.codec import encode_event
from orderledger.ledger.events import topics
from tests.model.random_commands import Maker

FILE = Path(__file__).parent / "golden" / "events.jsonl"


def recorded() -> Mapping[str, str]:
    """Return topic → payload of every line."""
    lines = FILE.read_text("utf-8").splitlines() if FILE.exists() else []
    return {line["topic"]: line["payload"] for line in map(json.loads, lines)}


def shipped() -> list[str]:
    """Return the current topics of the library itself; other tests register some of their own."""
    assert folds.FOLDS, "importing the folds registers every event"
    return [
        name for name, struct in topics().items() if struct.__module__.startswith("orderledger.")
    ]


def append_missing() -> list[str]:
    """Write a line for each current topic that has none; return those topics."""
    known = recorded()
    missing = [topic for topic in shipped() if topic not in known]
    with FILE.open("a", encoding="utf-8") as lines:
        for topic in missing:
            event = Maker(random.Random(topic)).struct(topics()[topic])
            _, payload = encode_event(event)
            lines.write(json.dumps({"topic": topic, "payload": payload}) + "\n")
    return missing


if __name__ == "__main__":
    print("\n".join(append_missing()))
