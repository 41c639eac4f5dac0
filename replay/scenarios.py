"""
What a what-if supposes, as a file says it: events left out, replaced or put in, policies swapped,
commands given; and what of the outcome is wanted.

Every error names the field, as ``inject[0].payload`` does, and what is wrong with it.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any, Final, TypeVar, cast
from uuid import UUID

import msgspec
from msgspec.structs import replace

from orderledger.commands.decision import Command
from orderledger.commands.model import COMMANDS
from orderledger.commands.requests import Actor, Context
from orderledger.ledger import accounts
from orderledger.ledger.as_of import LogAsOf
from orderledger.ledger.codec import decode_event, encode_event, encode_json
from orderledger.ledger.currencies import exponent
from orderledger.ledger.dispute_events import DisputeFiled
from orderledger.ledger.errors import InvalidInput, OrderLedgerError
from orderledger.ledger.events import Event, struct_of
from orderledger.ledger.folds import fold_of
from orderledger.ledger.hypothetical import Edits
from orderledger.ledger.instants import EARLIEST, Instant
from orderledger.ledger.journal import Layer
from orderledger.ledger.ports import StoredEvent
from orderledger.ledger.risk_rules import RiskPolicy
from orderledger.ledger.rule_books import check_rule_book, hash_of
from orderledger.ledger.standing_policy import StandingPolicy, problem_of

WHO: Final = Actor("hypothetical", "what-if")
"""Who did what was put in, and who gives a command unless it says."""
_KEY: Final = "what-if"


class Place(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An event of the book: its ``position``, or its ``stream`` and ``version``."""

    position: int | None = None
    stream: str = ""
    version: int | None = None


class Leg(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A posting: ``minor`` is in signed minor units, debit positive."""

    account: str
    currency: str
    minor: int
    layer: Layer = Layer.POSTED


class Replacement(Place, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    An event and what stands in its place; what is left out stays as it was.

    ``payload`` is whole. The accounting of an event is its postings: they do not follow from a
    payload, and are given with it where they differ.
    """

    topic: str = ""
    payload: msgspec.Raw = msgspec.Raw()
    postings: tuple[Leg, ...] | None = None
    occurred_at: Instant | None = None


class Injection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    An event that is put in behind the position ``after``, by default at the end.

    ``occurred_at`` is by default when the event before it was recorded.
    """

    stream: str
    topic: str
    payload: msgspec.Raw
    postings: tuple[Leg, ...] = ()
    after: int | None = None
    occurred_at: Instant | None = None


class Swap(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    Another value of a field in the events of a stream that have it.

    ``field`` is a path such as ``rule_book.appeal_hours``. Deadlines and entries that were made
    under the old value stay: commands that come behind see the new one.
    """

    stream: str
    field: str
    value: msgspec.Raw


class Step(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    A command that is given, by name and with its fields; ``at`` is the time by the clock.

    By default it is that of the step before, or of the last event.
    """

    command: str
    fields: msgspec.Raw
    at: Instant | None = None
    actor: Actor = WHO


class Scenario(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    What is supposed, on the book as of the position ``at`` (by default its head).

    Edits first, all at once; then the commands in order, held to the policy ``risk`` if there is
    one. ``models`` are the read models whose rows are compared, ``streams`` those whose states are,
    besides the ones that it touches. Sellers are scored by the policy ``standing``, if there is
    one, and their rows are compared too.
    """

    title: str = ""
    at: int | None = None
    omit: tuple[Place, ...] = ()
    replace: tuple[Replacement, ...] = ()
    inject: tuple[Injection, ...] = ()
    swap: tuple[Swap, ...] = ()
    commands: tuple[Step, ...] = ()
    risk: msgspec.Raw = msgspec.Raw()
    standing: msgspec.Raw = msgspec.Raw()
    models: tuple[str, ...] = ()
    streams: tuple[str, ...] = ()


class Given(msgspec.Struct, frozen=True):
    """A command of a scenario, read, with the time by the clock if it says one."""

    command: Command
    at: datetime | None
    actor: Actor


_decoder: Final = msgspec.json.Decoder(Scenario)


def read_scenario(text: bytes | str) -> Scenario:
    """Read a scenario as JSON; raises InvalidInput naming the field that cannot be read."""
    try:
        return _decoder.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidInput(f"the scenario cannot be read: {error}") from error


def steps_of(scenario: Scenario) -> list[Given]:
    """Read the commands of a scenario; raises InvalidInput for one that there is not."""
    kinds = {kind.__name__: kind for kind in COMMANDS}
    found: list[Given] = []
    for where, step in _listed("commands", scenario.commands):
        kind = kinds.get(step.command)
        if kind is None:
            raise InvalidInput(f"{where}.command: there is no command {step.command!r}")
        try:
            command = msgspec.json.decode(step.fields, type=kind)
        except msgspec.MsgspecError as error:
            raise InvalidInput(f"{where}.fields: {error}") from error
        found.append(Given(command, step.at, step.actor))
    return found


P = TypeVar("P", RiskPolicy, StandingPolicy)


def policy_of(scenario: Scenario) -> RiskPolicy | None:
    """Read the risk policy of a scenario; raises InvalidInput for a rule that could never apply."""
    return _policy("risk", scenario.risk, RiskPolicy)


def standing_policy_of(scenario: Scenario) -> StandingPolicy | None:
    """Read the standing policy of a scenario; raises InvalidInput for one that scores nothing."""
    policy = _policy("standing", scenario.standing, StandingPolicy)
    problem = "" if policy is None else problem_of(policy)
    if problem:
        raise InvalidInput(f"standing: {problem}")
    return policy


def _policy(name: str, raw: msgspec.Raw, kind: type[P]) -> P | None:
    """Read a policy, None where the scenario has none; raises InvalidInput naming the field."""
    if not bytes(raw):
        return None
    try:
        policy = msgspec.json.decode(raw, type=kind)
    except msgspec.MsgspecError as error:
        raise InvalidInput(f"{name}: {error}") from error
    _require_known(name, msgspec.json.decode(raw), policy)
    return policy


def edits_of(log: LogAsOf, scenario: Scenario) -> Edits:
    """
    Return what a scenario edits in a log.

    Raises InvalidInput naming the field for an event that is not in the log, one edited twice, a
    payload that its topic does not allow and an account or currency that cannot be.
    """
    omitted: set[int] = set()
    for where, place in _listed("omit", scenario.omit):
        row = _row_at(log, where, place)
        _require_new(where, row, omitted, {})
        omitted.add(row.position or 0)
    replaced: dict[int, StoredEvent] = {}
    for where, one in _listed("replace", scenario.replace):
        row = _row_at(log, where, one)
        _require_new(where, row, omitted, replaced)
        replaced[row.position or 0] = _replaced(where, one, row)
    for where, swap in _listed("swap", scenario.swap):
        replaced.update(_swapped(log, where, swap, omitted, replaced))
    injected = [_injected(log, where, one) for where, one in _listed("inject", scenario.inject)]
    return Edits(frozenset(omitted), replaced, tuple(injected))


def _listed(name: str, items: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    for number, one in enumerate(items):
        yield f"{name}[{number}]", one


def _require_new(
    where: str, row: StoredEvent, omitted: set[int], replaced: Mapping[int, StoredEvent]
) -> None:
    if row.position in omitted or row.position in replaced:
        raise InvalidInput(
            f"{where}: the event at position {row.position} is edited twice", position=row.position
        )


def _row_at(log: LogAsOf, where: str, place: Place) -> StoredEvent:
    is_named = bool(place.stream) and place.version is not None
    if (place.position is None) != is_named or is_named != bool(place.stream):
        raise InvalidInput(f"{where}: name a position, or a stream and a version")
    size = log.head().size
    if place.position is not None:
        if not 1 <= place.position <= size:
            raise InvalidInput(
                f"{where}.position is {place.position}: book {log.book} is forked at {size}",
                position=place.position,
                head=size,
            )
        return log.read(place.position - 1, until=place.position, limit=1)[0]
    version = place.version or 0
    for row in log.stream(place.stream, after=version - 1, until=version):
        return row
    raise InvalidInput(
        f"{where}: stream {place.stream} has no version {version} by position {size}",
        stream=place.stream,
        version=version,
    )


def _replaced(where: str, one: Replacement, row: StoredEvent) -> StoredEvent:
    topic = one.topic or row.topic
    payload = row.payload
    if one.topic and not bytes(one.payload):
        raise InvalidInput(f"{where}.payload is missing: another topic has another payload")
    if bytes(one.payload):
        topic, payload = _payload(where, topic, one.payload)
    return replace(
        row,
        topic=topic,
        payload=payload,
        postings=row.postings if one.postings is None else _postings(where, one.postings),
        occurred_at=one.occurred_at or row.occurred_at,
    )


def _injected(log: LogAsOf, where: str, one: Injection) -> StoredEvent:
    size = log.head().size
    after = size if one.after is None else one.after
    if not 0 <= after <= size:
        raise InvalidInput(f"{where}.after is {after}: book {log.book} is forked at {size}")
    try:
        fold_of(one.stream)
    except OrderLedgerError as error:
        raise InvalidInput(f"{where}.stream: {error.message}", stream=one.stream) from error
    near = log.read(max(0, after - 1), limit=1)
    recorded_at = near[0].recorded_at if near else None
    topic, payload = _payload(where, one.topic, one.payload)
    made = UUID(bytes=sha256(f"{where} of {log.book}".encode()).digest()[:16])
    return StoredEvent(
        after,
        recorded_at or EARLIEST,
        made,
        one.stream,
        0,
        topic,
        one.occurred_at or recorded_at or EARLIEST,
        recorded_at or EARLIEST,
        made,
        encode_json(Context(actor=WHO, key=_KEY)),
        _postings(where, one.postings),
        payload,
    )


def _payload(where: str, topic: str, payload: msgspec.Raw) -> tuple[str, str]:
    try:
        struct_of(topic)
        event = decode_event(topic, bytes(payload))
    except OrderLedgerError as error:
        raise InvalidInput(f"{where}: {error.message}", topic=topic) from error
    _require_known(f"{where}.payload", msgspec.json.decode(payload), event)
    return encode_event(event)


def _require_known(where: str, given: Any, read: object) -> None:
    """Refuse a field that reading passed over: misspelt, it would not be what was supposed."""
    if isinstance(read, msgspec.Struct) and isinstance(given, dict):
        fields = cast("dict[str, Any]", given)
        unknown = [name for name in fields if name not in read.__struct_fields__]
        if unknown:
            raise InvalidInput(f"{where}: {type(read).__name__} has no field {unknown[0]!r}")
        for name, value in fields.items():
            _require_known(f"{where}.{name}", value, getattr(read, name))
    elif isinstance(read, Mapping) and isinstance(given, dict):
        values = list(cast("Mapping[Any, object]", read).values())
        pairs = zip(cast("dict[str, Any]", given).items(), values, strict=False)
        for (name, value), one in pairs:
            _require_known(f"{where}.{name}", value, one)
    elif isinstance(read, tuple) and isinstance(given, list):
        items, found = cast("Sequence[Any]", given), cast("tuple[object, ...]", read)
        for number, (value, one) in enumerate(zip(items, found, strict=False)):
            _require_known(f"{where}[{number}]", value, one)


def _postings(where: str, legs: Sequence[Leg]) -> str:
    lines: list[str] = []
    for number, leg in enumerate(legs):
        try:
            accounts.check(leg.account)
            exponent(leg.currency)
        except OrderLedgerError as error:
            raise InvalidInput(f"{where}.postings[{number}]: {error.message}") from error
        lines.append(f"{leg.layer} {leg.account} {leg.currency} {leg.minor}")
    return "\n".join(lines)


def _swapped(
    log: LogAsOf,
    where: str,
    swap: Swap,
    omitted: set[int],
    replaced: Mapping[int, StoredEvent],
) -> dict[int, StoredEvent]:
    name, *rest = swap.field.split(".")
    found: dict[int, StoredEvent] = {}
    for row in log.stream(swap.stream):
        position = row.position or 0
        event = decode_event(row.topic, row.payload)
        if position in omitted or name not in event.__struct_fields__:
            continue
        if position in replaced:
            row = replaced[position]  # noqa: PLW2901  # swapped again
            event = decode_event(row.topic, row.payload)
        found[position] = _with_value(where, swap, row, event, [name, *rest])
    if not found:
        raise InvalidInput(
            f"{where}: no event of {swap.stream} by position {log.head().size} has a field "
            f"{name!r}",
            stream=swap.stream,
            field=name,
        )
    return found


def _with_value(
    where: str, swap: Swap, row: StoredEvent, event: Event, path: Sequence[str]
) -> StoredEvent:
    topic, text = encode_event(event)
    payload = msgspec.json.decode(text)
    inner: object = payload
    for name in path[:-1]:
        if isinstance(inner, dict):
            inner = cast("dict[str, object]", inner).setdefault(name, {})
    if not isinstance(inner, dict):
        raise InvalidInput(f"{where}.field: {swap.field!r} leads to nothing that has fields")
    cast("dict[str, object]", inner)[path[-1]] = msgspec.json.decode(swap.value)
    topic, changed = _payload(where, topic, msgspec.Raw(msgspec.json.encode(payload)))
    if isinstance(event, DisputeFiled):
        changed = _with_rules(where, changed)
    return replace(row, topic=topic, payload=changed)


def _with_rules(where: str, payload: str) -> str:
    """Check the rule book of a filing, whose hash stands beside it."""
    filed = msgspec.json.decode(payload, type=DisputeFiled)
    try:
        check_rule_book(filed.rule_book)
    except OrderLedgerError as error:
        raise InvalidInput(f"{where}.value: {error.message}") from error
    return encode_event(replace(filed, rule_book_hash=hash_of(filed.rule_book)))[1]
