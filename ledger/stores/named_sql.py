"""Named SQL statements, read from one file per engine: ``-- name: x`` starts statement x."""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Final

_MARK: Final = "-- name: "


@cache
def statements(engine: str, file: str = "queries") -> Mapping[str, str]:
    """Return the statements of ``sql/<engine>/<file>.sql`` by name, without their comments."""
    text = (files("orderledger.ledger") / "sql" / engine / f"{file}.sql").read_text("utf-8")
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith(_MARK):
            lines = found[line.removeprefix(_MARK).strip()] = []
        elif not line.startswith("--"):
            lines.append(line)
    return {name: "\n".join(body).strip().rstrip(";") for name, body in found.items()}
