"""
Decisions about dossiers: streams that are closed at one place of the log.
"""

from datetime import datetime

from orderledger.ledger.attestation_events import StreamAttested, state_hash
from orderledger.ledger.errors import InvalidCommand, Reason, Rejected
from orderledger.ledger.folds import FOLDS
from orderledger.ledger.limits import ATTESTED_STREAMS_MAX, TEXT_LENGTH_MAX, check_count
from orderledger.ledger.streams import kind_of

from .attestation_commands import AttestStreams
from .decision import Change, Changes, States, decides


@decides(AttestStreams)
def attest(command: AttestStreams, states: States, now: datetime) -> Changes:
    """Close every stream in one append; one that has no events is refused."""
    _check(command)
    states.gather(command.of)
    changes: list[Change] = []
    for stream in command.of:
        state = states.any_kind(stream)
        if state == FOLDS[kind_of(stream)].initial:
            raise Rejected(
                Reason.NOT_FOUND,
                f"stream {stream} has no events: there is nothing to attest",
                stream=stream,
            )
        event = StreamAttested(
            subject=command.subject,
            streams=command.of,
            state=state_hash(state),
            reason=command.reason,
        )
        changes.append(Change(stream, event))
    return tuple(changes)


def _check(command: AttestStreams) -> None:
    check_count("streams of one dossier", len(command.of), ATTESTED_STREAMS_MAX)
    check_count("characters of reason", len(command.reason), TEXT_LENGTH_MAX)
    if not command.reason.strip():
        raise InvalidCommand("reason is empty: an attestation must say it", field="reason")
    if len(set(command.of)) != len(command.of):
        raise InvalidCommand("a stream is named twice", field="of")
    if command.subject not in command.of:
        raise InvalidCommand(
            f"the subject {command.subject!r:.130} is none of the streams", field="subject"
        )
