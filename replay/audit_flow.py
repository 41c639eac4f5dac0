"""
Where money went, as a picture: credited accounts to the left, debited ones to the right.

An entry with several legs on both sides says nothing of which belongs to which; they are paired in
their order. Sums are exact in any case: what leaves an account on the left is what was credited to
it, and what reaches one on the right is what was debited.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from orderledger.ledger.journal import Entry, Layer, Posting
from orderledger.ledger.money import format_minor

from .audit_markup import CELL, cut, markup, svg_text

WIDTH: Final = 720
ARROWS_MAX: Final = 40
_SLOT: Final = 26
_GAP: Final = 10
_TOP: Final = 22
_BOX: Final = 232
_EDGE: Final = 1
_LABEL: Final = 118
_THICKEST: Final = 12
_NAME_CELLS: Final = (_BOX - 12) // CELL
_LINE: Final = 11


class Arrow(msgspec.Struct, frozen=True):
    """What went from one account to another in all: minor units, above zero."""

    credited: str
    debited: str
    minor: int
    entries: int


class Flow(msgspec.Struct, frozen=True):
    """The arrows of one layer and currency, in the order in which money first went that way."""

    layer: Layer
    currency: str
    arrows: tuple[Arrow, ...]


def flows(entries: Iterable[Entry]) -> list[Flow]:
    """Sum entries into arrows, by layer and currency in the order of their first use."""
    sums: dict[tuple[Layer, str], dict[tuple[str, str], tuple[int, int]]] = {}
    for entry in entries:
        sides: dict[tuple[Layer, str], list[Posting]] = {}
        for leg in entry.postings:
            sides.setdefault((leg.layer, leg.currency), []).append(leg)
        for key, legs in sides.items():
            found = sums.setdefault(key, {})
            for credited, debited, minor in _paired(legs):
                before = found.get((credited, debited), (0, 0))
                found[credited, debited] = (before[0] + minor, before[1] + 1)
    return [
        Flow(layer, currency, tuple([Arrow(*ends, *sum_) for ends, sum_ in found.items()]))
        for (layer, currency), found in sums.items()
    ]


def _paired(legs: Sequence[Posting]) -> Iterator[tuple[str, str, int]]:
    from_ = iter([(leg.account, -leg.minor) for leg in legs if leg.minor < 0])
    account, rest = "", 0
    for leg in legs:
        wanted = max(leg.minor, 0)
        while wanted:
            if not rest:
                account, rest = next(from_)
            part = min(rest, wanted)
            yield account, leg.account, part
            wanted -= part
            rest -= part


class _Side:
    """The boxes of one side: where each account stands and which of its slots is free."""

    def __init__(self, names: Sequence[str]) -> None:
        counts: dict[str, int] = {}
        for one in names:
            counts[one] = counts.get(one, 0) + 1
        self.boxes: Final[dict[str, tuple[int, int]]] = {}
        self._next: Final[dict[str, int]] = {}
        y = _TOP
        for account, count in counts.items():
            height = max(count * _SLOT, 2 * _SLOT)
            self.boxes[account] = (y, height)
            self._next[account] = y + (height - count * _SLOT) // 2
            y += height + _GAP
        self.end: Final = y - _GAP

    def slot(self, account: str) -> int:
        """Return the upper end of the next slot of an account."""
        y = self._next[account]
        self._next[account] = y + _SLOT
        return y


def picture(flow: Flow) -> str:
    """Return a flow as SVG: its largest arrows, as thick as what went that way."""
    arrows = shown(flow)
    left = _Side([one.credited for one in arrows])
    right = _Side([one.debited for one in arrows])
    height = max(left.end, right.end) + 4
    largest = max(one.minor for one in arrows)
    starts = {one: left.slot(one.credited) for one in arrows}
    # On the right an account takes its arrows in the order of where they come from.
    ends = {one: right.slot(one.debited) for one in sorted(arrows, key=starts.__getitem__)}
    title = f"{flow.currency}, {flow.layer.value}"
    parts = [
        (
            f'<svg class="flow" viewBox="0 0 {WIDTH} {height}" role="img" '
            f'xmlns="http://www.w3.org/2000/svg"><title>Money flow in {markup(title)}</title>'
        ),
        svg_text((0, 12), "from (credited)", css="lane"),
        svg_text((WIDTH, 12), "to (debited)", "end", "lane"),
        *[_band(one, starts[one], ends[one], largest) for one in arrows],
        *[_boxed(account, _EDGE, box) for account, box in left.boxes.items()],
        *[_boxed(account, WIDTH - _BOX - _EDGE, box) for account, box in right.boxes.items()],
        *[_amount(one, starts[one], flow.currency) for one in arrows],
        "</svg>",
    ]
    return "\n".join(parts)


def shown(flow: Flow) -> list[Arrow]:
    """Return the arrows that are drawn: the largest, in their order."""
    kept = sorted(flow.arrows, key=lambda one: (-one.minor, one.credited, one.debited))
    largest = set(kept[:ARROWS_MAX])
    return [one for one in flow.arrows if one in largest]


def _band(one: Arrow, start: int, end: int, largest: int) -> str:
    thick = max(1, one.minor * _THICKEST // largest)
    y1, y2 = start + _SLOT - 9, end + _SLOT - 9
    x1, x2 = _EDGE + _BOX, WIDTH - _EDGE - _BOX - 7
    bend = x1 + _LABEL
    middle = (bend + x2) // 2
    path = f"M{x1} {y1}H{bend}C{middle} {y1} {middle} {y2} {x2} {y2}"
    tip = x2 + 7
    half = max(4, thick // 2 + 2)
    return (
        f'<path class="band" stroke-width="{thick}" d="{path}"/>'
        f'<path class="tip" d="M{tip} {y2}L{x2 - 2} {y2 - half}V{y2 + half}Z"/>'
    )


def _boxed(account: str, x: int, box: tuple[int, int]) -> str:
    y, height = box
    lines = _name_lines(account)
    top = y + (height - (len(lines) - 1) * _LINE) // 2 + 3
    texts = [
        svg_text((x + 6, top + number * _LINE), line, css="account")
        for number, line in enumerate(lines)
    ]
    return (
        f'<g><title>{markup(account)}</title><rect class="account" x="{x}" y="{y}" '
        f'width="{_BOX}" height="{height}" rx="2"/>{"".join(texts)}</g>'
    )


def _name_lines(account: str) -> list[str]:
    """Return an account's name in at most three lines, broken after colons where it can be."""
    lines = [""]
    for part in account.replace(":", ":\n").split("\n"):
        if lines[-1] and len(lines[-1]) + len(part) > _NAME_CELLS:
            lines.append("")
        lines[-1] += part
    kept = lines if len(lines) <= 3 else [*lines[:2], "".join(lines[2:])]
    return [cut(line, _NAME_CELLS) for line in kept]


def _amount(one: Arrow, start: int, currency: str) -> str:
    # An amount is never cut: one of thirty digits stands over the bands, which it can.
    text = format_minor(one.minor, currency) + (f" ×{one.entries}" if one.entries > 1 else "")
    return svg_text((_EDGE + _BOX + 6, start + 10), text, css="amount")
