"""
Write diagram and table of docs/chargebacks.md: python -m tools.generate_chargeback_table [--check].
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from orderledger.ledger.chargeback_stages import (
    START,
    TRANSITIONS,
    ChargebackFact,
    Move,
    Node,
)

TARGET: Final = Path(__file__).resolve().parent.parent / "docs" / "chargebacks.md"
BEGIN: Final = "<!-- transitions:begin -->"
END: Final = "<!-- transitions:end -->"


def block() -> str:
    """Return what stands between the two marks."""
    return "\n".join([BEGIN, "", *_diagram(), "", *_rows(), "", END])


def _diagram() -> Iterator[str]:
    """Yield the statuses with what leads from one to another, over all stages together."""
    edges: dict[tuple[str, str], list[str]] = {}
    for node, moves in TRANSITIONS.items():
        for move, after in moves.items():
            known = edges.setdefault((node[1].value, after[1].value), [])
            label = _label(node, move)
            if label not in known:
                known.append(label)
    yield "```mermaid"
    yield "stateDiagram-v2"
    for (source, target), labels in sorted(edges.items()):
        begun = "[*]" if source == "none" else source
        yield f"    {begun} --> {target}: {', '.join(labels)}"
    yield "```"


def _label(node: Node, move: Move) -> str:
    stage, fact = move
    if node is START:
        return f"{stage.value} {fact.value}"
    if stage is node[0]:
        return fact.value
    if fact is ChargebackFact.OPENED:
        return "later stage opened"
    return f"{stage.value} {fact.value}"


def _rows() -> Iterator[str]:
    yield "| Stage | Status | What may follow |"
    yield "|--|--|--|"
    for (stage, status), moves in TRANSITIONS.items():
        found: dict[str, list[str]] = {}
        for (of, fact), after in moves.items():
            what = fact.value if of is stage else f"{of.value} {fact.value}"
            found.setdefault(after[1].value, []).append(what)
        listed = "; ".join(f"{', '.join(what)} → {after}" for after, what in found.items())
        name = "" if status.value == "none" else stage.value
        yield f"| {name} | {status.value} | {listed or 'nothing: final'} |"


def document() -> str:
    """Return the whole page with a current block."""
    text = TARGET.read_text("utf-8")
    head, rest = text.split(BEGIN)
    return f"{head}{block()}{rest.split(END)[1]}"


def run(arguments: list[str]) -> int:
    """Write the page, or with --check compare; return the exit status."""
    text = document()
    if "--check" in arguments:
        is_current = TARGET.read_text("utf-8") == text
        print(f"docs/chargebacks.md is {'current' if is_current else 'stale'}", file=sys.stderr)
        return 0 if is_current else 1
    TARGET.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
