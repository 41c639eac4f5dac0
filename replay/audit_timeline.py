"""
The two clocks of a subject as a picture: recorded above, effective below, a line for each event.

Instants stand in order and not to scale: what lies years apart and what lies seconds apart is to be
seen in one picture. Whatever the subject, it is of one size: where there are more instants than
columns, neighbours share one.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

import msgspec

from .audit_markup import CELL, svg_text

WIDTH: Final = 720
HEIGHT: Final = 270
COLUMNS: Final = 34
_LEFT: Final = 104
_RIGHT: Final = WIDTH - 34
_WIDEST_STEP: Final = 140
_TIER: Final = 24
"""A date and a time below each other; labels that would collide go to a second tier."""
_NUMBERS: Final = 68
_RECORDED: Final = 80
_EFFECTIVE: Final = 178
_LEGEND: Final = 262
_RADIUS: Final = 4
_AT_ONCE: Final = timedelta(seconds=1)
_SOON: Final = timedelta(minutes=1)
_LATE: Final = timedelta(days=1)


class Clocks(StrEnum):
    """How the two instants of an event lie to each other and to those recorded before it."""

    TOGETHER = "together"
    LATE = "late"
    BACK_DATED = "back-dated"
    AHEAD = "ahead"


LEGEND: Final = {
    Clocks.TOGETHER: "within a day",
    Clocks.LATE: "told over a day later",
    Clocks.BACK_DATED: "back-dated",
    Clocks.AHEAD: "dated ahead",
}


class Mark(msgspec.Struct, frozen=True):
    """An entry of the audit by its number; a refusal has no effective instant."""

    number: int
    recorded_at: datetime
    effective_at: datetime | None
    clocks: Clocks = Clocks.TOGETHER


class Dater:
    """Tells of events, given in the order of recording, how their instants lie."""

    def __init__(self) -> None:
        self._latest: datetime | None = None

    def clocks(self, recorded_at: datetime, effective_at: datetime) -> Clocks:
        """
        Return how an event's instants lie.

        It is back-dated if something that was recorded before it was effective over a minute after
        it; ahead if it is effective over a minute after it was recorded.
        """
        latest = self._latest
        self._latest = effective_at if latest is None else max(latest, effective_at)
        if latest is not None and latest - effective_at > _SOON:
            return Clocks.BACK_DATED
        if effective_at - recorded_at > _SOON:
            return Clocks.AHEAD
        return Clocks.LATE if recorded_at - effective_at > _LATE else Clocks.TOGETHER


class _Columns:
    """The columns of the picture and where each stands."""

    def __init__(self, instants: set[datetime]) -> None:
        starts: list[datetime] = []
        for one in sorted(instants):
            if not starts or one - starts[-1] > _AT_ONCE:
                starts.append(one)
        self._starts: Final = starts
        self._count: Final = min(len(starts), COLUMNS)
        self.step: Final = min(_WIDEST_STEP, (_RIGHT - _LEFT) // max(self._count - 1, 1))

    def of(self, instant: datetime) -> int:
        rank = bisect_right(self._starts, instant) - 1
        return rank * self._count // len(self._starts)

    def x(self, column: int) -> int:
        return _LEFT + column * self.step


def timeline(marks: Sequence[Mark]) -> str:
    """Return the picture as SVG; for no marks, nothing."""
    if not marks:
        return ""
    columns = _Columns(
        {one.recorded_at for one in marks}
        | {one.effective_at for one in marks if one.effective_at is not None}
    )
    parts = [
        (
            f'<svg class="timeline" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
            'xmlns="http://www.w3.org/2000/svg"><title>The two clocks</title>'
        ),
        *_lanes(),
        *_lines(marks, columns),
        *_dots(marks, columns),
        *_numbers(marks, columns),
        *_labels([one.recorded_at for one in marks], columns, (38, 38 - _TIER)),
        *_labels(
            [one.effective_at for one in marks if one.effective_at is not None],
            columns,
            (_EFFECTIVE + 20, _EFFECTIVE + 20 + _TIER),
        ),
        *_legend(),
        "</svg>",
    ]
    return "\n".join(parts)


def _lanes() -> list[str]:
    parts: list[str] = []
    for title, y in (("recorded", _RECORDED), ("effective", _EFFECTIVE)):
        parts.append(svg_text((4, y + 3), title, css="lane"))
        parts.append(f'<line class="lane" x1="{_LEFT - 28}" y1="{y}" x2="{WIDTH - 6}" y2="{y}"/>')
    return parts


def _lines(marks: Sequence[Mark], columns: _Columns) -> list[str]:
    joined: Counter[tuple[Clocks, int, int]] = Counter()
    for one in marks:
        if one.effective_at is not None:
            ends = columns.of(one.recorded_at), columns.of(one.effective_at)
            joined[one.clocks, *ends] += 1
    # What stands out is drawn last, above the rest.
    order = list(Clocks)
    return [
        f'<line class="{clocks}{" many" if count > 1 else ""}" x1="{columns.x(above)}" '
        f'y1="{_RECORDED}" x2="{columns.x(below)}" y2="{_EFFECTIVE}"/>'
        for (clocks, above, below), count in sorted(
            joined.items(), key=lambda item: (order.index(item[0][0]), item[0][1:])
        )
    ]


def _dots(marks: Sequence[Mark], columns: _Columns) -> list[str]:
    above = {columns.of(one.recorded_at) for one in marks if one.effective_at is not None}
    below = {columns.of(one.effective_at) for one in marks if one.effective_at is not None}
    refused = {columns.of(one.recorded_at) for one in marks if one.effective_at is None}
    dots = [
        f'<circle class="dot" cx="{columns.x(column)}" cy="{y}" r="{_RADIUS}"/>'
        for found, y in ((above, _RECORDED), (below, _EFFECTIVE))
        for column in sorted(found)
    ]
    return dots + [_cross(columns.x(column), _RECORDED) for column in sorted(refused)]


def _cross(x: int, y: int) -> str:
    a, b = x - _RADIUS, x + _RADIUS
    up, down = y - _RADIUS, y + _RADIUS
    return f'<path class="refused" d="M{a} {up}L{b} {down}M{a} {down}L{b} {up}"/>'


def _numbers(marks: Sequence[Mark], columns: _Columns) -> list[str]:
    """Write above each column which entries it stands for, where there is room."""
    spans: dict[int, list[int]] = {}
    for one in marks:
        spans.setdefault(columns.of(one.recorded_at), []).append(one.number)
    texts = {
        column: str(found[0]) if len(found) == 1 else f"{found[0]}-{found[-1]}"
        for column, found in spans.items()
    }
    placed = _without_collision(texts, columns)
    return [
        svg_text((columns.x(column), _NUMBERS), texts[column], "middle", "number")
        for column in placed
    ]


def _labels(instants: Sequence[datetime], columns: _Columns, tiers: tuple[int, int]) -> list[str]:
    """Write under or over a lane when its columns begin: date and time, where there is room."""
    first: dict[int, datetime] = {}
    for instant in instants:
        column = columns.of(instant)
        first[column] = min(instant, first.get(column, instant))
    texts = {column: f"{instant.astimezone(UTC):%Y-%m-%d}" for column, instant in first.items()}
    parts: list[str] = []
    for y in tiers:
        for column in _without_collision(texts, columns):
            time = f"{first[column].astimezone(UTC):%H:%M:%S}"
            parts.append(svg_text((columns.x(column), y), texts.pop(column), "middle"))
            parts.append(svg_text((columns.x(column), y + 11), time, "middle"))
    return parts


def _without_collision(texts: dict[int, str], columns: _Columns) -> list[int]:
    """Return the columns whose texts are written: the first, the last, and what fits between."""
    taken: list[tuple[int, int]] = []
    placed: list[int] = []
    ordered = sorted(texts)
    for column in dict.fromkeys([*ordered[:1], *ordered[-1:], *ordered]):
        half = (len(texts[column]) * CELL + 1) // 2
        left, right = columns.x(column) - half, columns.x(column) + half
        if all(right + CELL <= other[0] or other[1] + CELL <= left for other in taken):
            taken.append((left, right))
            placed.append(column)
    return sorted(placed)


def _legend() -> list[str]:
    parts: list[str] = []
    x = _LEFT - 28
    for clocks, text in LEGEND.items():
        parts.append(
            f'<line class="{clocks}" x1="{x}" y1="{_LEGEND - 3}" x2="{x + 20}" y2="{_LEGEND - 3}"/>'
        )
        parts.append(svg_text((x + 25, _LEGEND), text))
        x += 25 + len(text) * CELL + 18
    parts.append(_cross(x + _RADIUS, _LEGEND - 3))
    parts.append(svg_text((x + 14, _LEGEND), "refused"))
    return parts
