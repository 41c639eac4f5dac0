"""
Account names in the grammar of beancount: one to one, and back.

Beancount knows five roots with a capital, and below them components of ASCII letters, digits and
hyphens that start with a capital or a digit. Names of ours have other characters and mean
something else in the other case, so that a component is written by these rules:

- Between letters and digits one ``_`` becomes ``-`` and one ``-`` becomes ``--``; every other run
  of signs becomes ``---``, a letter for each sign (``_SIGNS``) and ``-``.
- The first letter becomes a capital. Usually it was none: ``seller`` is ``Seller``. Where the
  second character is a capital it usually was one: ``US`` stays ``US``. What is not as usual is
  marked by the letter ``c`` in a run at the end: ``Anna`` is ``Anna---c-``, ``uS`` is ``US---c-``.

Source of the grammar: the lexer of beancount 3 (``beancount/parser/lexer.l``).
"""

import re
from functools import lru_cache
from typing import Final

_SIGNS: Final = {".": "d", "_": "u", "@": "a", "/": "s", "+": "p", "-": "h"}
_LETTERS: Final = {letter: sign for sign, letter in _SIGNS.items()}
_ALL_SIGNS: Final = "".join(_SIGNS)
_CASE_MARK: Final = "c"
_MARK: Final = re.compile(rf"---([a-z]*){_CASE_MARK}-\Z")
_RUN: Final = re.compile(r"[._@/+-]+")
_WRITTEN_RUN: Final = re.compile(r"---([a-z]+)-|-{1,2}")


@lru_cache(maxsize=8192)
def beancount_account(name: str) -> str:
    """Return an account's name in beancount's grammar; no two names share one."""
    root, *segments = name.split(":")
    return ":".join([root.capitalize(), *(_component(segment) for segment in segments)])


def account_of_beancount(written: str) -> str:
    """Return the account's name that ``beancount_account`` wrote."""
    root, *components = written.split(":")
    return ":".join([root.lower(), *(_segment(component) for component in components)])


def _component(segment: str) -> str:
    # The second character decides: it is the same in what is written, or no capital in both.
    is_marked = segment[0].isalpha() and segment[0].isupper() != segment[1:2].isupper()
    if not is_marked:
        return _capital(_RUN.sub(_written_run, segment))
    body = segment.rstrip(_ALL_SIGNS)
    letters = _letters(segment[len(body) :]) + _CASE_MARK
    return f"{_capital(_RUN.sub(_written_run, body))}---{letters}-"


def _segment(component: str) -> str:
    mark = _MARK.search(component)
    if mark is not None:
        component = component[: mark.start()] + (f"---{mark[1]}-" if mark[1] else "")
    text = _WRITTEN_RUN.sub(_read_run, component)
    is_capital = text[1:2].isupper() != (mark is not None)
    return text if is_capital else text[0].lower() + text[1:]


def _written_run(found: re.Match[str]) -> str:
    run = found[0]
    if run == "_":
        return "-"
    if run == "-":
        return "--"
    return f"---{_letters(run)}-"


def _letters(run: str) -> str:
    return "".join(_SIGNS[sign] for sign in run)


def _read_run(found: re.Match[str]) -> str:
    if found[1] is not None:
        return "".join(_LETTERS[letter] for letter in found[1])
    return "_" if found[0] == "-" else "-"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
