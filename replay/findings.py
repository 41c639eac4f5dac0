"""What a verification reports: findings, never exceptions."""

from enum import StrEnum

import msgspec


class Severity(StrEnum):
    """An error means that stored history or a model made from it is wrong."""

    ERROR = "error"
    WARNING = "warning"


class Check(StrEnum):
    """
    What was checked; the code of a finding. Stable: programs and runbooks depend on the values.
    """

    ROW_UNREADABLE = "row_unreadable"
    EVENT_UNDECODABLE = "event_undecodable"
    CONTEXT_UNDECODABLE = "context_undecodable"
    ENTRY_UNBALANCED = "entry_unbalanced"
    TOTALS_NOT_ZERO = "totals_not_zero"
    POSITION_GAP = "position_gap"
    RECORDED_NOT_INCREASING = "recorded_not_increasing"
    LEAF_HASH_WRONG = "leaf_hash_wrong"
    TILE_WRONG = "tile_wrong"
    TILE_COUNT_WRONG = "tile_count_wrong"
    VERSION_GAP = "version_gap"
    ORDER_DISAGREES = "order_disagrees"
    EVENT_NOT_FOLDED = "event_not_folded"
    EVENT_OUTSIDE_LOG = "event_outside_log"
    LOG_EVENT_MISMATCH = "log_event_mismatch"
    CHECKPOINT_DIVERGED = "checkpoint_diverged"
    JOURNAL_LINES_WRONG = "journal_lines_wrong"
    PERIOD_ENTRY_INSIDE = "period_entry_inside"
    PERIOD_MOVE_WRONG = "period_move_wrong"
    PERIOD_TOTALS_WRONG = "period_totals_wrong"
    PERIOD_GAP = "period_gap"
    PERIOD_GUARD_WRONG = "period_guard_wrong"
    CHECKPOINT_UNSIGNED = "checkpoint_unsigned"
    CHECKPOINT_FOREIGN = "checkpoint_foreign"
    LOG_CUT_OFF = "log_cut_off"
    LOG_REWRITTEN = "log_rewritten"
    ESCROW_DISAGREES = "escrow_disagrees"
    EVENT_NOT_PROJECTED = "event_not_projected"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is not as it must be, and where. ``stream`` and ``position`` may not apply."""

    code: Check
    severity: Severity
    text: str
    stream: str | None = None
    position: int | None = None
