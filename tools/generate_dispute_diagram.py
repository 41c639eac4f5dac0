"""
Write the diagram of a dispute's stages into docs/disputes.md.

python -m tools.generate_dispute_diagram [--check]. The diagram is made from the table that the
guards read, so it cannot say anything else.
"""

import re
import sys
from pathlib import Path
from typing import Final

from orderledger.ledger.dispute_stages import TRANSITIONS, Stage

TARGET: Final = Path(__file__).resolve().parent.parent / "docs" / "disputes.md"
BEGIN: Final = "<!-- diagram: python -m tools.generate_dispute_diagram -->\n"
END: Final = "<!-- end of diagram -->\n"
WORDS: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")


def diagram() -> str:
    """Return the state diagram in Mermaid's language, events in words, one line per pair."""
    labels: dict[tuple[Stage, Stage], list[str]] = {}
    for event, transition in TRANSITIONS.items():
        if transition.target is None:
            continue
        for source in Stage:
            if source in transition.sources and source is not transition.target:
                labels.setdefault((source, transition.target), []).append(_said(event.__name__))
    order = list(Stage)
    lines = ["```mermaid", "stateDiagram-v2"]
    for source, target in sorted(
        labels, key=lambda pair: (order.index(pair[0]), order.index(pair[1]))
    ):
        text = ", ".join(labels[source, target])
        lines.append(f"    {_node(source)} --> {_node(target)}: {text}")
    return "\n".join([*lines, "```"]) + "\n"


def _node(stage: Stage) -> str:
    return "[*]" if stage is Stage.NONE else stage.value


def _said(name: str) -> str:
    words = WORDS.sub(" ", name).lower()
    return words.removeprefix("dispute ")


def document(text: str) -> str:
    """Return the document with the diagram in its place."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}{diagram()}{END}{tail}"


def run(arguments: list[str]) -> int:
    """Write the file, or with --check compare; return the exit status."""
    before = TARGET.read_text("utf-8")
    if BEGIN not in before or END not in before:
        print("docs/disputes.md has no place for the diagram", file=sys.stderr)
        return 1
    after = document(before)
    if "--check" in arguments:
        print(f"docs/disputes.md is {'current' if after == before else 'stale'}", file=sys.stderr)
        return 0 if after == before else 1
    TARGET.write_text(after, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
