"""
Random instances of any command, made from the declared types of its fields.

Ids come from small pools, so that commands meet the same orders and payments; numbers and texts are
mostly sensible and sometimes not (negative, zero, beyond every limit, empty, outside a grammar).
"""

import random
import types
import typing
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Final

import msgspec

from orderledger.commands.model import COMMANDS
from orderledger.ledger import accounts
from tests.model.shop import NOW

_TEXTS: Final = ("", "x", "bad id!", "a" * 600, "ß\u0000\n", "o:", "ok")
_INTS: Final = (1, 1, 2, 3, 100, 3_333, 5_000, 10_000, 10_000, 12_000, 0, -1, 10**24, 10**31, 2**63)
_DECIMALS: Final = ("0", "0.12", "1", "10", "33.33", "0.001", "-1", "1E+24", "1E-20", "NaN", "2")
_POOLS: Final[dict[str, tuple[str, ...]]] = {
    "order_id": ("o1", "o1", "o1", "o2", "o3"),
    "new_order_id": ("o2", "o3"),
    "exchange_order_id": ("o2",),
    "payment_id": ("p1", "p1", "p2", "p3", "z1"),
    "op_id": ("op1", "op2", "op3", "op4", "auth1", "cap1", ""),
    "auth_op": ("", "", "auth1", "ghost"),
    "parent_op": ("", "", "auth1", "ghost"),
    "refund_id": ("r1", "r1", "r2", ""),
    "fulfilment_id": ("f1", "f2"),
    "return_id": ("t1", "t2"),
    "reception_id": ("c1", "c2"),
    "dispute_id": ("d1", "d1", "d1", "d2"),
    "into_dispute_id": ("d1", "d2"),
    "offer_id": ("f1", "f2"),
    "proposal_id": ("m1", "m2"),
    "evidence_id": ("e1", "e2", "e3"),
    "ruling_id": ("r1", "r2"),
    "supersedes": ("r1", "default/1", ""),
    "award_id": ("w1", "w2"),
    "appeal_id": ("x1", "x2"),
    "arbitrator": ("ann", "bob"),
    "arbitrators": ("ann", "bob", "cid", "dan"),
    "mediator": ("max", "ann"),
    "deadline_id": ("response/1", "negotiation/2", "evidence/3", "evidence/4", "appeal/7"),
    "sha256": ("0" * 64, "1" * 64, "a" * 64, "x"),
    "commitment": ("0" * 64,),
    "body": ("court",),
    "case_ref": ("c1", "c2"),
    "rule_book_id": ("house",),
    "line_id": ("a", "a", "b", "x"),
    "seller": ("s1", "s1", "s2"),
    "slice_id": ("s1", "s2"),
    "account_id": ("v1", "v2"),
    "redemption_id": ("z1", "z2", "p1"),
    "restore_id": ("x1", "x2"),
    "lot_id": ("l1", "l2"),
    "holder": ("b1", "b2"),
    "change_id": ("c1", "c2"),
    "entry_id": ("e1", "e2"),
    "reversal_id": ("v1", "v2"),
    "release_id": ("rel1", "rel2", "rel-s1"),
    "payout_id": ("y1", "y1", "y2"),
    "reserve_id": ("k1", "payout/y1"),
    "penalty_id": ("n1", "n2"),
    "rule_ref": ("rules/1",),
    "bank_ref": ("", "ref1", "ref2"),
    "freeze_id": ("d1", "d1", "d2"),
    "chargeback_id": ("cb1", "cb1", "cb2"),
    "goodwill_id": ("g1", "g2"),
    "rule_id": ("h1", "h2"),
    "reservation_id": ("w1", "w2"),
    "provider": ("psp", "psp", "other"),
    "provider_ref": ("", "ref1", "ref2", "ref3"),
    "notification_id": ("n1", "n2"),
    "bank": ("main",),
    "batch": ("b1", "b1", "b2"),
    "statement": ("s1", "s2"),
    "candidates": ("p1", "p1", "p2"),
    "merchant_ref": ("o1", "p1", ""),
    "modification_ref": ("ref1", "ref2", ""),
    "break_id": ("unknown_reference/1", "unbooked_adjustment/1", "missing_in_file/p1/cap1"),
    "currency": ("USD", "USD", "USD", "EUR", "JPY", "KWD", "PTS", "", "usd"),
    "order_currency": ("USD", "EUR", "JPY"),
    "sold_currency": ("USD", "EUR"),
    "bought_currency": ("USD", "EUR"),
    "quote_id": ("", "", "q1"),
    "old_quote_id": ("", "q1"),
    "new_quote_id": ("q1", "q2"),
    "actor": ("ann", "bob", ""),
    "by": ("ann", "bob", ""),
    "approver": ("bob", "ann", ""),
    "approval_id": ("ab" * 16, "cd" * 16),
    "fingerprint": ("ab" * 32, "cd" * 32),
    "requested_by": ("ann", "bob"),
    "granted_by": ("bob", "ann"),
    "denied_by": ("bob", "ann"),
    "alert_id": ("a1", "a2"),
    "subject": ("b1", "s1", "order-o1"),
    "of": ("order-o1", "payment-p1", "dispute-d1", "s1"),
    "command": ("Capture",),
    "account": (
        accounts.escrow("o1"),
        accounts.seller("s1"),
        accounts.psp("psp"),
        accounts.GOODWILL,
        accounts.COMMISSION_REFUNDED,
        "nonsense",
    ),
    "kind": ("", "capture", "refund", "void", "authorise", "adjust", "credit", "purchase"),
    "commission_tax_jurisdiction": ("us", ""),
    "jurisdiction": ("us", "ca"),
}


class Maker:
    """Makes commands from a random source; the same source makes the same commands."""

    def __init__(self, source: random.Random) -> None:
        self._random: Final = source

    def command(self) -> Any:
        """Return an instance of a random command."""
        return self.struct(self._random.choice(COMMANDS))

    def struct(self, kind: type) -> Any:
        """Return an instance of a struct, leaving most optional fields at their default."""
        hints = typing.get_type_hints(kind, include_extras=True)
        fields: dict[str, Any] = {}
        for field in msgspec.structs.fields(kind):
            is_optional = not field.required
            if is_optional and self._random.random() < 0.55:
                continue
            fields[field.name] = self.value(hints[field.name], field.name)
        return kind(**fields)

    def value(self, kind: Any, name: str) -> Any:
        """Return a value of a declared type, by the field's name where that has a pool."""
        if typing.get_origin(kind) is typing.Annotated:
            kind = typing.get_args(kind)[0]
        origin = typing.get_origin(kind)
        if origin in (typing.Union, types.UnionType):
            return self.value(self._random.choice(typing.get_args(kind)), name)
        if origin is tuple:
            inner = typing.get_args(kind)[0]
            count = self._random.choice((0, 1, 1, 2))
            return tuple([self.value(inner, name) for _ in range(count)])
        if kind is type(None):
            return None
        if isinstance(kind, type) and issubclass(kind, Enum):
            return self._random.choice(list(kind))
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            return self.struct(kind)
        return self._plain(kind, name)

    def _plain(self, kind: Any, name: str) -> Any:
        made: dict[Any, Callable[[], Any]] = {
            str: lambda: self._text(name),
            int: lambda: self._int(name),
            bool: lambda: self._random.random() < 0.5,
            Decimal: lambda: Decimal(self._random.choice(_DECIMALS)),
            datetime: self._instant,
            object: lambda: "x",
        }
        return made[kind]()

    def _text(self, name: str) -> str:
        pool = _POOLS.get(name)
        if pool is None or self._random.random() < 0.02:
            return self._random.choice(_TEXTS)
        return self._random.choice(pool)

    def _int(self, name: str) -> int:
        if name in ("quantity", "ok", "damaged", "missing", "base_version", "order_version"):
            return self._random.choice((1, 1, 1, 2, 0, -1, 10**10))
        if name == "seller_version":
            return self._random.choice((0, 0, 1, 2, 3, 4, 5))
        if name in ("line_no", "line_count", "bank_line"):
            return self._random.choice((1, 1, 2, 2, 3, 0))
        if name.endswith("_hours") or name in ("panel_size", "quorum", "appeals_per_party"):
            return self._random.choice((1, 1, 1, 2, 0, 24, -1))
        if name in ("sequence", "attempt", "captures_max", "over_capture_basis_points"):
            return self._random.choice((1, 1, 2, -1, 0, 7))
        return self._random.choice(_INTS)

    def _instant(self) -> datetime:
        days = self._random.choice((-400, -1, 0, 0, 1, 400))
        if self._random.random() < 0.02:
            return (NOW + timedelta(days=days)).replace(tzinfo=None)
        return (NOW + timedelta(days=days)).astimezone(UTC)
