"""
The committed results: one JSON file per day and kind of machine, one entry per benchmark and
fsync floor.
"""

import datetime
import json
from pathlib import Path
from typing import Any, Final

DIRECTORY: Final = Path(__file__).parent / "results"


def save(report: dict[str, Any]) -> Path:
    """Add a report to today's file for this kind of machine, replacing an earlier run of it."""
    machine = report["machine"]
    label = f"{machine['cpu_count']}cpu-{machine['memory_gib']}gib-{machine['system'].lower()}"
    day = datetime.datetime.now(datetime.UTC).date().isoformat()
    path = DIRECTORY / f"{day}-{label}.json"
    found = load(path) if path.exists() else {}
    floor = report["facts"].get("fsync floor (us)", 0)
    # The same question under another price of fsync is another result.
    found[f"{report['benchmark']}@{floor}us"] = report
    DIRECTORY.mkdir(exist_ok=True)
    # Written beside and moved, so that an interrupted run leaves no half file.
    beside = path.with_suffix(".tmp")
    beside.write_text(json.dumps(dict(sorted(found.items())), indent=1) + "\n")
    beside.replace(path)
    return path


def load(path: Path) -> dict[str, Any]:
    """Return the reports of a file by benchmark."""
    found: dict[str, Any] = json.loads(path.read_text())
    return found
