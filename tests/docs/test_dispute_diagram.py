"""The diagram of a dispute's stages is that of the table which the guards read."""

from orderledger.ledger.dispute_stages import TRANSITIONS, Stage
from tools.generate_dispute_diagram import BEGIN, END, TARGET, diagram, document


def test_the_diagram_is_current() -> None:
    """Catches a transition that the documentation does not show, or shows otherwise."""
    text = TARGET.read_text("utf-8")
    assert BEGIN in text
    assert END in text
    assert document(text) == text, "run python -m tools.generate_dispute_diagram"


def test_the_diagram_shows_every_stage_and_move() -> None:
    """Catches a generator that drops what it cannot draw."""
    drawn = diagram()
    for stage in Stage:
        assert stage is Stage.NONE or f" {stage.value}" in drawn
    moves = sum(
        source is not transition.target
        for transition in TRANSITIONS.values()
        if transition.target is not None
        for source in transition.sources
    )
    assert drawn.count(",") + drawn.count("-->") == moves
