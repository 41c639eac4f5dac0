"""The report of an audit: safe, whole, the same bytes each time, and its pictures well drawn."""

import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from itertools import combinations
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderledger.book import Book
from orderledger.commands import model as m
from orderledger.commands.requests import Actor
from orderledger.ledger.as_of import AsOf
from orderledger.ledger.errors import LimitExceeded, Rejected
from orderledger.ledger.journal import EMPTY, Entry, Layer, Posting, entry
from orderledger.ledger.ports import EventStore
from orderledger.reading import Reading
from orderledger.replay import audit_flow, audit_report, audit_timeline
from orderledger.replay.audit_flow import ARROWS_MAX, flows, picture, shown
from orderledger.replay.audit_markup import CELL, cells, cut, visible
from orderledger.replay.audit_report import report
from orderledger.replay.audit_timeline import COLUMNS, Clocks, Dater, Mark, timeline
from orderledger.replay.checkpoints import tree_of
from tests.model.shop import item
from tests.projections.market_book import MarketBook
from tests.seeding import START, memory_store, ticking

SVG = "{http://www.w3.org/2000/svg}"
VOID = {"meta", "br", "wbr"}
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'; DROP TABLE events; --",
    "</style></svg></table>",
    "&lt;b&gt; &amp; <b>",
    "\u202eevil\u202c \u2066x\u2069",
    "\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627 \u6771\u4eac \U0001f389",
    "W" * 250,
    "\x1b[2J\x07",
    "a\nb\tc",
)


class _Page(HTMLParser):
    """Reads a page and complains about a tag that is not closed where it must be."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, key, value or "") for key, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, key, value or "") for key, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture(scope="module")
def market() -> EventStore:
    """Give a marketplace's trouble, in memory."""
    store = memory_store()
    MarketBook(store)
    return store


def _hostile_book() -> Book:
    clock = ticking()
    book = Book(memory_store(), clock=clock)
    for number, text in enumerate(HOSTILE):
        actor = Actor("staff", text, on_behalf_of=text)
        order = m.PlaceOrder(
            order_id="o1", buyer_ref=text, currency="USD", lines=(item("a", "10"),), channel=text
        )
        if number:
            with pytest.raises(Rejected):
                book.execute(order, key=f"{number} {text}", actor=actor)
        else:
            book.execute(order, key=text, actor=actor)
        book.execute(m.HoldOrder(order_id="o1", rule_id=f"r{number}", reason=text, by=text))
    return book


def test_hostile_text_is_only_text() -> None:
    """Catches a buyer's name that runs, loads or hides something on an auditor's screen."""
    with _hostile_book() as book:
        text = report(book.read.audit("order", "o1"))
        for kind, subject in (("actor", f"staff:{HOSTILE[0]}"), ("command", HOSTILE[0])):
            _Page(report(book.read.audit(kind, subject)))
    page = _Page(text)
    assert set(page.tags) <= {
        *("html", "head", "meta", "title", "style", "body", "h1", "h2", "h3", "p", "table"),
        *("thead", "tbody", "tr", "th", "td", "div", "span", "strong", "bdi", "wbr", "br", "pre"),
        *("figure", "figcaption", "svg", "text", "line", "circle", "path", "g", "rect"),
    }
    assert not [one for one in page.attributes if one[1].startswith("on")]
    shown = "".join(page.text)
    for one in HOSTILE:
        assert visible(one) in shown
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x1b\x07]", text)
    assert "⟨U+202E⟩evil" in shown


def test_a_report_needs_nothing_else(market: EventStore) -> None:
    """Catches a font, a picture or a script that is not there where the report is opened."""
    text = report(Reading(market).audit("order", "o1"))
    page = _Page(text)
    assert not {"script", "link", "img", "iframe", "a", "object"} & set(page.tags)
    assert not {one[1] for one in page.attributes} & {"src", "href", "srcset", "data", "style"}
    rest = text.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert not re.search(r"https?:|url\(|@import", rest)
    assert "default-src 'none'" in text
    assert "@page" in text
    assert "break-inside: avoid" in text


def test_a_report_tells_every_event(market: EventStore) -> None:
    """Catches an event, a posting or a reason that the page leaves out."""
    reading = Reading(market)
    page = _Page(report(reading.audit("order", "o1")))
    text = "".join(page.text)
    for one in reading.order_history("o1"):
        assert f"position{one.position}" in text
        assert one.topic in text
        for leg in one.entry.postings:
            assert leg.account in text
    for wanted in ("forged", "rule book house, version 3", "orderledger verify --book main"):
        assert wanted in text
    assert tree_of(market).root(market.head().size).hex() in text


def test_a_report_of_a_position_stays_the_same(market: EventStore) -> None:
    """Catches a report that cannot be made again once the book went on."""
    reading = Reading(market)
    audit = reading.audit("order", "o4", AsOf(position=150))
    before = report(audit)
    assert "--at 150 --html -" in before
    assert report(reading.audit("order", "o4", AsOf(position=150))) == before
    assert report(reading.audit("order", "o4")) != before


def test_a_report_with_a_late_refusal_tells_how_to_make_it_again() -> None:
    """Catches a report whose own command line gives another page."""
    clock = ticking()
    with Book(memory_store(), clock=clock) as book:
        place = m.PlaceOrder(order_id="o1", buyer_ref="b", currency="USD", lines=(item("a", "10"),))
        book.execute(place)
        for _ in range(5):
            clock()
        other = m.PlaceOrder(order_id="o1", buyer_ref="b", currency="USD", lines=(item("a", "11"),))
        with pytest.raises(Rejected):
            book.execute(other, key="late")
        made = report(book.read.audit("order", "o1"))
        found = re.search(r"--at (\S+)Z --html", made)
        assert found is not None
        at = datetime.fromisoformat(f"{found[1]}+00:00")
        assert report(book.read.audit("order", "o1", AsOf(recorded_to=at))) == made


def test_a_report_has_a_limit(market: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a page of a million events that no browser opens."""
    monkeypatch.setattr(audit_report, "ENTRIES_MAX", 44)
    with pytest.raises(LimitExceeded, match="order o1 has more than 44 entries"):
        report(Reading(market).audit("order", "o1"))
    monkeypatch.setattr(audit_report, "ENTRIES_MAX", 45)
    report(Reading(market).audit("order", "o1"))


# -- the pictures --------------------------------------------------------------------------------

Box = tuple[int, int, int, int]


def _boxes(drawn: ElementTree.Element) -> list[Box]:
    """Return the box of every text: left, top, right, bottom."""
    found = []
    for one in drawn.iter(f"{SVG}text"):
        x, y = int(one.attrib["x"]), int(one.attrib["y"])
        width = cells(one.text or "") * CELL
        left = {"start": x, "middle": x - width // 2, "end": x - width}[one.attrib["text-anchor"]]
        found.append((left, y - 8, left + width, y + 2))
    return found


def _check(text: str) -> ElementTree.Element:
    """Parse a picture; no text leaves it and no two texts touch."""
    drawn = ElementTree.fromstring(text)
    _, _, width, height = map(int, drawn.attrib["viewBox"].split())
    boxes = _boxes(drawn)
    for left, top, right, bottom in boxes:
        assert 0 <= left <= right <= width
        assert 0 <= top <= bottom <= height
    for a, b in combinations(boxes, 2):
        assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1], (a, b)
    for one in drawn.iter(f"{SVG}line"):
        assert all(0 <= int(one.attrib[name]) <= width for name in ("x1", "x2"))
        assert all(0 <= int(one.attrib[name]) <= height for name in ("y1", "y2"))
    return drawn


@st.composite
def _marks(draw: st.DrawFn) -> list[Mark]:
    recorded = START
    dater = Dater()
    marks = []
    for number in range(1, draw(st.integers(1, 90)) + 1):
        recorded += timedelta(microseconds=draw(st.sampled_from((1, 900_000, 10**7, 10**12))))
        offset = draw(st.sampled_from((0, 0, -5, -3_600, -(10**5), -(10**8), 10**6)))
        if draw(st.integers(0, 9)) == 0:
            marks.append(Mark(number, recorded, None))
            continue
        effective = recorded + timedelta(seconds=offset)
        marks.append(Mark(number, recorded, effective, dater.clocks(recorded, effective)))
    return marks


@given(_marks())
def test_the_clocks_are_drawn_within_and_apart(marks: list[Mark]) -> None:
    """Catches a label over another, or an instant outside of the picture."""
    drawn = _check(timeline(marks))
    dots = list(drawn.iter(f"{SVG}circle"))
    columns = {one.attrib["cx"] for one in dots}
    assert len(columns) <= COLUMNS
    classes = {word for one in drawn.iter(f"{SVG}line") for word in one.attrib["class"].split()}
    wanted = {mark.clocks.value for mark in marks if mark.effective_at is not None}
    assert wanted <= classes
    crosses = sum(one.attrib["class"] == "refused" for one in drawn.iter(f"{SVG}path"))
    assert (crosses > 1) == any(mark.effective_at is None for mark in marks), "one is the legend's"


def test_no_marks_no_picture() -> None:
    """Catches a picture of nothing."""
    assert timeline([]) == ""


def test_each_event_is_joined_to_its_own_instants() -> None:
    """Catches a line that ends at another event's instant."""
    third, fifth = (datetime(2026, 3, day, tzinfo=UTC) for day in (3, 5))
    marks = [
        Mark(1, third, third),
        Mark(2, fifth, fifth),
        Mark(3, fifth + timedelta(hours=1), third + timedelta(hours=1), Clocks.BACK_DATED),
    ]
    drawn = _check(timeline(marks))
    lines = [one for one in drawn.iter(f"{SVG}line") if one.attrib["y1"] != one.attrib["y2"]]
    spans = {one.attrib["class"]: int(one.attrib["x2"]) - int(one.attrib["x1"]) for one in lines}
    assert spans["together"] == 0
    assert spans["back-dated"] < 0
    text = {one.text for one in drawn.iter(f"{SVG}text")}
    assert {"1", "2", "3", "2026-03-03", "2026-03-05", "00:00:00", "01:00:00"} <= text


def test_what_is_back_dated_is_what_came_before_what_was_known() -> None:
    """Catches an import that is all back-dated, or a correction of the past that is not."""
    dater, day = Dater(), timedelta(days=1)
    assert dater.clocks(START, START - 365 * day) is Clocks.LATE
    assert dater.clocks(START + day, START - 364 * day) is Clocks.LATE
    assert dater.clocks(START + 2 * day, START - 365 * day) is Clocks.BACK_DATED
    assert dater.clocks(START + 3 * day, START + 3 * day) is Clocks.TOGETHER
    assert dater.clocks(START + 4 * day, START + 9 * day) is Clocks.AHEAD
    assert dater.clocks(START + 10 * day, START + 10 * day - timedelta(hours=1)) is Clocks.TOGETHER


ACCOUNTS = (
    "assets:psp:adyen",
    "liabilities:escrow:o1",
    "liabilities:seller:" + "very-long-name-" * 6,
    "expenses:gateway_fees",
    "assets:bank:" + "W" * 110,
    "income:commission",
)


@st.composite
def _entries(draw: st.DrawFn) -> list[Entry]:
    made = []
    for _ in range(draw(st.integers(1, 25))):
        currency = draw(st.sampled_from(("USD", "JPY")))
        layer = draw(st.sampled_from((Layer.POSTED, Layer.POSTED, Layer.HELD)))
        count = draw(st.integers(1, 5))
        amounts = draw(
            st.lists(
                st.integers(-(10**12), 10**12).filter(bool), min_size=count, max_size=count
            ).filter(sum)
        )
        names = draw(st.permutations(ACCOUNTS))
        legs = [*amounts, -sum(amounts)]
        made.append(
            entry(
                *[
                    Posting(name, currency, minor, layer)
                    for name, minor in zip(names, legs, strict=False)
                ]
            )
        )
    return made


@given(_entries())
def test_arrows_sum_to_what_was_posted(made: list[Entry]) -> None:
    """Catches a cent that the picture of the money loses, and a picture that cannot be read."""
    credited: Counter[tuple[str, str, str]] = Counter()
    debited: Counter[tuple[str, str, str]] = Counter()
    for one in made:
        for leg in one.postings:
            side = debited if leg.minor > 0 else credited
            side[leg.layer.value, leg.currency, leg.account] += abs(leg.minor)
    for flow in flows(made):
        key = flow.layer.value, flow.currency
        for side, field in ((credited, "credited"), (debited, "debited")):
            sums: Counter[tuple[str, str, str]] = Counter()
            for arrow in flow.arrows:
                assert arrow.minor > 0
                sums[*key, getattr(arrow, field)] += arrow.minor
            assert sums == {name: minor for name, minor in side.items() if name[:2] == key}
        drawn = _check(picture(flow))
        boxes = [
            tuple(int(one.attrib[name]) for name in ("x", "y", "width", "height"))
            for one in drawn.iter(f"{SVG}rect")
        ]
        for a, b in combinations(boxes, 2):
            assert a[0] != b[0] or a[1] + a[3] <= b[1] or b[1] + b[3] <= a[1]
        assert len(list(drawn.iter(f"{SVG}path"))) == 2 * len(shown(flow))


def test_an_amount_of_any_size_is_written_whole() -> None:
    """Catches a sum whose middle digits give way to an ellipsis."""
    most = 10**30 - 1
    made = entry(Posting("assets:bank:main", "USD", most), Posting("equity:opening", "USD", -most))
    drawn = _check(picture(flows([made, EMPTY])[0]))
    assert "9999999999999999999999999999.99" in {one.text for one in drawn.iter(f"{SVG}text")}


def test_of_many_arrows_the_largest_are_drawn() -> None:
    """Catches a picture as long as a book."""
    made = [
        entry(
            Posting("assets:psp:adyen", "USD", number),
            Posting(f"liabilities:escrow:o{number}", "USD", -number),
        )
        for number in range(1, 61)
    ]
    (flow,) = flows(made)
    assert len(flow.arrows) == 60
    assert [one.minor for one in shown(flow)] == list(range(61 - ARROWS_MAX, 61))
    _check(picture(flow))


@given(st.text(max_size=80), st.integers(3, 40))
def test_a_text_is_cut_in_its_middle(text: str, most: int) -> None:
    """Catches a label that leaves its box, or loses its end though there was room."""
    found = cut(text, most)
    assert cells(found) <= most
    if cells(visible(text)) <= most:
        assert found == visible(text)
    else:
        head, _, tail = found.rpartition("…")
        assert visible(text).startswith(head)
        assert visible(text).endswith(tail)


def test_pictures_have_one_width() -> None:
    """Catches pictures that do not fit beside each other on the page."""
    assert audit_flow.WIDTH == audit_timeline.WIDTH
