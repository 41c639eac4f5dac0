"""
Text that anybody may have written, put safely into HTML and SVG.

Every text of a book is hostile until it went through here: markup is escaped, and characters that
steer what a reader sees (controls, changes of direction, invisible ones) are shown by their number.
"""

import re
import unicodedata
from html import escape
from typing import Final

_STEERING: Final = re.compile(
    "[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f\\u00ad\\u061c\\u180e\\u200b-\\u200f\\u2028-\\u202e"
    "\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb\\ud800-\\udfff\\U000e0000-\\U000e007f]"
)
_BREAKS: Final = re.compile(r"(?<=[:/.@_-])(?=[^:/.@_-])")
CELL: Final = 6
"""Pixels of one cell of the fixed-width type of pictures, of 9 px: never less than it takes."""


def visible(text: str) -> str:
    """Return a text in which what would steer the reader's eye is shown as ``⟨U+202E⟩``."""
    return _STEERING.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", text)


def markup(text: str) -> str:
    """Return a text as HTML or SVG content or attribute."""
    return escape(visible(text), quote=True)


def words(text: str) -> str:
    """Return somebody's words as HTML: their direction stays their own."""
    return f"<bdi>{markup(text)}</bdi>"


def name(text: str) -> str:
    """Return an account, a stream or an id as HTML that breaks between its parts."""
    parts = _BREAKS.split(text)
    return f"<bdi>{'<wbr>'.join([markup(part) for part in parts])}</bdi>"


def cells(text: str) -> int:
    """Return how many cells a text takes at most in fixed-width type."""
    return sum(2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text)


def cut(text: str, most: int) -> str:
    """Return a text of at most so many cells; what is left out in its middle is an ellipsis."""
    shown = visible(text)
    if cells(shown) <= most:
        return shown
    head, tail = "", ""
    while True:
        longer = shown[: len(head) + 1]
        if cells(longer) + cells(tail) + 1 > most:
            break
        head = longer
        longer = shown[len(shown) - len(tail) - 1 :]
        if cells(head) + cells(longer) + 1 > most:
            break
        tail = longer
    return f"{head}…{tail}"


def svg_text(at: tuple[int, int], text: str, anchor: str = "start", css: str = "") -> str:
    """Return SVG text at a point, on its baseline; it isolates its own direction."""
    style = f' class="{css}"' if css else ""
    place = f'x="{at[0]}" y="{at[1]}" text-anchor="{anchor}"'
    return f"<text {place}{style}>{markup(text)}</text>"
