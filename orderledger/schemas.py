"""
JSON Schema (2020-12) of every event and command: committed, so that a diff shows a contract change.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from orderledger.commands import model
from orderledger.ledger import folds
from orderledger.ledger.events import topics

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def schemas() -> Mapping[str, str]:
    """Return relative path → file text: ``events/<topic>.json`` and ``commands/<name>.json``."""
    if not folds.FOLDS:
        raise AssertionError("importing the folds registers every event")
    found = {f"events/{topic}.json": _text(topic, struct) for topic, struct in topics().items()}
    for command in model.COMMANDS:
        found[f"commands/{command.__name__}.json"] = _text(command.__name__, command)
    return dict(sorted(found.items()))


def _text(title: str, struct: type[Any]) -> str:
    schema = {"$schema": DIALECT, "title": title, **msgspec.json.schema(struct)}
    encoded = msgspec.json.encode(schema, order="sorted")
    return msgspec.json.format(encoded, indent=2).decode() + "\n"


def differences(directory: Path) -> list[str]:
    """Return one line per file that is missing, stale or of no event or command any more."""
    wanted = schemas()
    found = {
        path.relative_to(directory).as_posix(): path.read_text("utf-8")
        for path in sorted(directory.glob("*/*.json"))
    }
    return [
        *(f"{name} is missing" for name in wanted if name not in found),
        *(f"{name} differs" for name, text in wanted.items() if found.get(name, text) != text),
        *(f"{name} belongs to no event or command" for name in found if name not in wanted),
    ]


def export(directory: Path) -> list[str]:
    """Write every schema and delete those that belong to nothing; return the paths changed."""
    wanted = schemas()
    changed: list[str] = []
    for name, text in wanted.items():
        path = directory / name
        if not path.exists() or path.read_text("utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
            changed.append(name)
    for path in sorted(directory.glob("*/*.json")):
        name = path.relative_to(directory).as_posix()
        if name not in wanted and name.partition("/")[0] in {"events", "commands"}:
            path.unlink()
            changed.append(name)
    return changed
