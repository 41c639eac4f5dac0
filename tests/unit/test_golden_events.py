"""Bytes of every event version ever written still decode, to what they said (E8)."""

import pytest

from orderledger.ledger.codec import decode_event, encode_event
from orderledger.ledger.events import topics
from tests.golden_events import recorded, shipped


def test_every_topic_has_its_bytes() -> None:
    """Catches a topic added without bytes to hold it to: run python -m tests.golden_events."""
    assert [topic for topic in shipped() if topic not in recorded()] == []


@pytest.mark.parametrize("topic", sorted(recorded()))
def test_recorded_bytes_decode(topic: str) -> None:
    """Catches a change of a struct that stored history does not survive."""
    payload = recorded()[topic]
    event = decode_event(topic, payload)
    if topic in topics():
        assert encode_event(event) == (topic, payload)
