"""What a verification reports: findings, never exceptions, and which checks were made."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

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
    UPCAST_FAILED = "upcast_failed"
    ENTRY_UNBALANCED = "entry_unbalanced"
    ENTRY_NOT_OF_EVENT = "entry_not_of_event"
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
    DUPLICATE_ID = "duplicate_id"
    INVARIANT_BROKEN = "invariant_broken"
    STREAM_OF_ANOTHER = "stream_of_another"
    BALANCE_DISAGREES = "balance_disagrees"
    COMMAND_MISSING = "command_missing"
    COMMAND_WRONG = "command_wrong"
    CHECKPOINT_DIVERGED = "checkpoint_diverged"
    JOURNAL_LINES_WRONG = "journal_lines_wrong"
    MODEL_ROWS_WRONG = "model_rows_wrong"
    MODEL_CATALOGUE_WRONG = "model_catalogue_wrong"
    PERIOD_ENTRY_INSIDE = "period_entry_inside"
    PERIOD_MOVE_WRONG = "period_move_wrong"
    PERIOD_TOTALS_WRONG = "period_totals_wrong"
    PERIOD_GAP = "period_gap"
    PERIOD_GUARD_WRONG = "period_guard_wrong"
    CONSTRAINTS_WRONG = "constraints_wrong"
    GUARD_MISSING = "guard_missing"
    GUARD_ALTERED = "guard_altered"
    ROWS_OF_NO_BOOK = "rows_of_no_book"
    EFFECT_UNTRACED = "effect_untraced"
    DEADLINE_UNTRACED = "deadline_untraced"
    WORK_UNREADABLE = "work_unreadable"
    WORK_ORDER_WRONG = "work_order_wrong"
    SNAPSHOT_OTHER_LOG = "snapshot_other_log"
    SNAPSHOT_MISPLACED = "snapshot_misplaced"
    SNAPSHOT_DAMAGED = "snapshot_damaged"
    SNAPSHOT_DIFFERS = "snapshot_differs"
    SNAPSHOT_UNAVAILABLE = "snapshot_unavailable"
    CHECKPOINT_UNSIGNED = "checkpoint_unsigned"
    CHECKPOINT_FOREIGN = "checkpoint_foreign"
    LOG_CUT_OFF = "log_cut_off"
    LOG_REWRITTEN = "log_rewritten"
    EVENT_NOT_PROJECTED = "event_not_projected"


class Area(StrEnum):
    """A check as it is reported: one line each, in this order. Stable, as the codes are."""

    HELD = "held checkpoints"
    ROWS = "rows decode"
    UPCASTERS = "upcasters reach current"
    POSITIONS = "positions and log"
    LEAVES = "leaf hashes"
    TREE = "tree hashes"
    ENTRIES = "double entry"
    VERSIONS = "versions"
    FOLDS = "folds accept events"
    INVARIANTS = "domain invariants"
    BALANCES = "ledger equals domain"
    COMMANDS = "command records"
    UNIQUE = "uniqueness"
    BOOKS = "rows belong to books"
    GUARDS = "database guards"
    CONSTRAINTS = "constrained accounts"
    PERIODS = "closed periods"
    JOURNAL = "journal lines"
    MODELS = "read models"
    REBUILDS = "read models equal a rebuild"
    EFFECTS = "effects trace to events"
    SNAPSHOTS = "snapshots equal their events"


_CODES: Final[Mapping[Area, tuple[Check, ...]]] = {
    Area.HELD: (
        Check.CHECKPOINT_UNSIGNED,
        Check.CHECKPOINT_FOREIGN,
        Check.LOG_CUT_OFF,
        Check.LOG_REWRITTEN,
    ),
    Area.ROWS: (Check.ROW_UNREADABLE, Check.EVENT_UNDECODABLE, Check.CONTEXT_UNDECODABLE),
    Area.UPCASTERS: (Check.UPCAST_FAILED,),
    Area.POSITIONS: (
        Check.POSITION_GAP,
        Check.RECORDED_NOT_INCREASING,
        Check.ORDER_DISAGREES,
        Check.EVENT_OUTSIDE_LOG,
        Check.LOG_EVENT_MISMATCH,
    ),
    Area.LEAVES: (Check.LEAF_HASH_WRONG,),
    Area.TREE: (Check.TILE_WRONG, Check.TILE_COUNT_WRONG),
    Area.ENTRIES: (Check.ENTRY_UNBALANCED, Check.ENTRY_NOT_OF_EVENT, Check.TOTALS_NOT_ZERO),
    Area.VERSIONS: (Check.VERSION_GAP,),
    Area.FOLDS: (Check.EVENT_NOT_FOLDED,),
    Area.INVARIANTS: (Check.INVARIANT_BROKEN, Check.STREAM_OF_ANOTHER),
    Area.BALANCES: (Check.BALANCE_DISAGREES,),
    Area.COMMANDS: (Check.COMMAND_MISSING, Check.COMMAND_WRONG),
    Area.UNIQUE: (Check.DUPLICATE_ID,),
    Area.BOOKS: (Check.ROWS_OF_NO_BOOK,),
    Area.GUARDS: (Check.GUARD_MISSING, Check.GUARD_ALTERED),
    Area.CONSTRAINTS: (Check.CONSTRAINTS_WRONG,),
    Area.PERIODS: (
        Check.PERIOD_ENTRY_INSIDE,
        Check.PERIOD_MOVE_WRONG,
        Check.PERIOD_TOTALS_WRONG,
        Check.PERIOD_GAP,
        Check.PERIOD_GUARD_WRONG,
    ),
    Area.JOURNAL: (Check.JOURNAL_LINES_WRONG,),
    Area.MODELS: (
        Check.CHECKPOINT_DIVERGED,
        Check.MODEL_CATALOGUE_WRONG,
        Check.EVENT_NOT_PROJECTED,
    ),
    Area.REBUILDS: (Check.MODEL_ROWS_WRONG,),
    Area.EFFECTS: (
        Check.EFFECT_UNTRACED,
        Check.DEADLINE_UNTRACED,
        Check.WORK_UNREADABLE,
        Check.WORK_ORDER_WRONG,
    ),
    Area.SNAPSHOTS: (
        Check.SNAPSHOT_OTHER_LOG,
        Check.SNAPSHOT_MISPLACED,
        Check.SNAPSHOT_DAMAGED,
        Check.SNAPSHOT_DIFFERS,
        Check.SNAPSHOT_UNAVAILABLE,
    ),
}
AREA_OF: Final[Mapping[Check, Area]] = MappingProxyType(
    {code: area for area, codes in _CODES.items() for code in codes}
)
"""The line under which a finding is counted."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is not as it must be, and where. ``stream`` and ``position`` may not apply."""

    code: Check
    severity: Severity
    text: str
    stream: str | None = None
    position: int | None = None


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """
    A check that was made: at how many of what it looked, and how much it found.

    ``skipped`` says why it was not made; empty if it was.
    """

    area: Area
    looked_at: int
    of: str
    found: int
    skipped: str = ""


def error(
    code: Check, text: str, *, stream: str | None = None, position: int | None = None
) -> Finding:
    """Return a finding that something is wrong."""
    return Finding(code=code, severity=Severity.ERROR, text=text, stream=stream, position=position)
