"""
Decisions on constraints of accounts and on manual journal entries.

``constrain`` stands apart: it needs the account's balance over every committed event, which only
the store can tell while no append is in flight (``EventStore.constrain``).
"""

from datetime import datetime
from fractions import Fraction
from typing import Final

import msgspec

from orderledger.ledger import accounts, recipes_journal, streams
from orderledger.ledger.account_events import (
    AccountBalance,
    AccountClosed,
    AccountConstrained,
    AccountFrozen,
    ConstraintKind,
    ConstraintLifted,
    Direction,
    JournalEntryPosted,
    JournalEntryReversed,
    JournalKind,
    JournalLeg,
)
from orderledger.ledger.accounts_state import (
    JOURNAL_EVOLVE,
    AccountState,
    Constraint,
    JournalState,
    Net,
    breach,
    distribute,
    signed,
)
from orderledger.ledger.anomalies import AnomalyKind, AnomalyRaised
from orderledger.ledger.currencies import exponent
from orderledger.ledger.errors import (
    IntegrityViolation,
    InvalidAccount,
    InvalidCommand,
    InvalidMoney,
    NotFound,
    Reason,
    Rejected,
)
from orderledger.ledger.events import Event
from orderledger.ledger.journal import Entry, Layer, Posting, entry
from orderledger.ledger.money import Money, allocate
from orderledger.ledger.seller_events import DebtWrittenOff

from .account_commands import (
    CloseAccount,
    ConstrainAccount,
    Constraining,
    ConvertCurrency,
    FreezeAccount,
    LiftConstraint,
    NewEntry,
    PostEntry,
    PostingInput,
    RealiseFxResult,
    RecordSettlement,
    RemitTax,
    ReverseEntry,
    WriteOffDebt,
)
from .decision import Change, Changes, States, decides

_LIMITED: Final = frozenset({ConstraintKind.FLOOR, ConstraintKind.CEILING})
_OF_ORDERS: Final = "liabilities:escrow:"
"""Accounts that always equal the state of an order (invariant 19)."""
_SPECIAL: Final = frozenset({ConstraintKind.FROZEN, ConstraintKind.CLOSED})


def constrain(command: Constraining, state: AccountState, opening: Net) -> Changes:
    """
    Decide a constraint, a freeze or a closure.

    ``opening`` is the account's net balance per (layer, currency), debit positive, over every
    committed event. Raises Rejected where the balance already breaks the constraint, where the
    account is closed, or, for a closure, where a balance is not zero; IntegrityViolation where a
    constrained account's own stream tells another balance than its postings.
    """
    accounts.check(command.account)
    _check_constraint(command)
    constraint = _constraint_of(command)
    if constraint in state.constraints:
        return ()
    if state.is_closed:
        raise Rejected(
            Reason.ACCOUNT_CLOSED, f"account {command.account} is closed", account=command.account
        )
    _check_opening(command.account, state, opening)
    _check_balances(command.account, constraint, opening)
    balances = () if state.exists else _balances(opening)
    return (Change(streams.account(command.account), _constraint_event(command, balances)),)


@decides(LiftConstraint)
def lift(command: LiftConstraint, states: States, now: datetime) -> Changes:
    """End a constraint; raises if it is not in force, or for a closure, which is final."""
    accounts.check(command.account)
    state = states.account(command.account)
    if not state.exists:
        raise NotFound(f"account {command.account} has no constraints", account=command.account)
    if command.kind is ConstraintKind.CLOSED:
        raise Rejected(
            Reason.ACCOUNT_CLOSED,
            f"account {command.account} is closed for good; open another account",
            account=command.account,
        )
    if state.constraint(command.kind, command.currency) is None:
        return ()
    event = ConstraintLifted(
        account=command.account,
        kind=command.kind,
        currency=command.currency,
        reason=command.reason,
    )
    return (Change(streams.account(command.account), event),)


def _constraint_of(command: Constraining) -> Constraint:
    if isinstance(command, ConstrainAccount):
        return Constraint(command.kind, command.currency, command.limit)
    frozen = isinstance(command, FreezeAccount)
    return Constraint(ConstraintKind.FROZEN if frozen else ConstraintKind.CLOSED)


def _constraint_event(command: Constraining, opening: tuple[AccountBalance, ...]) -> Event:
    if isinstance(command, FreezeAccount):
        return AccountFrozen(account=command.account, reason=command.reason, opening=opening)
    if isinstance(command, CloseAccount):
        return AccountClosed(account=command.account, reason=command.reason, opening=opening)
    return AccountConstrained(
        account=command.account,
        kind=command.kind,
        currency=command.currency,
        limit=command.limit,
        opening=opening,
    )


def _check_constraint(command: Constraining) -> None:
    if not isinstance(command, ConstrainAccount):
        return
    if command.kind in _SPECIAL:
        raise InvalidCommand(
            f"{command.kind.value} is not a limit: use FreezeAccount or CloseAccount",
            kind=command.kind.value,
        )
    if command.currency is not None:
        exponent(command.currency)
    if (command.limit is not None) != (command.kind in _LIMITED):
        raise InvalidCommand(
            f"a constraint {command.kind.value} has a limit exactly if it is a floor or a ceiling",
            kind=command.kind.value,
            limit=command.limit,
        )
    if command.kind in _LIMITED and command.currency is None:
        raise InvalidCommand(
            f"a {command.kind.value} is an amount and needs a currency", kind=command.kind.value
        )


def _check_opening(account: str, state: AccountState, opening: Net) -> None:
    """Pair assertion: the account's own stream and the sum of all postings must agree."""
    if not state.exists:
        return
    own = {
        (layer, currency): minor
        for layer, of_layer in state.balances.items()
        for currency, minor in of_layer.items()
        if minor
    }
    summed = {
        (layer.value, currency): minor for (layer, currency), minor in opening.items() if minor
    }
    if own != summed:
        raise IntegrityViolation(
            f"the stream of account {account} tells {own}, its postings sum to {summed}",
            account=account,
        )


def _check_balances(account: str, constraint: Constraint, opening: Net) -> None:
    for (layer, currency), minor in opening.items():
        if constraint.kind is ConstraintKind.CLOSED:
            reason = Reason.ACCOUNT_LIMIT if minor else None
        elif (
            constraint.kind is ConstraintKind.FROZEN
            or layer is not Layer.POSTED
            or constraint.currency not in (None, currency)
        ):
            reason = None
        else:
            # Seen as one movement from the farthest allowed side, so that "heals" never applies.
            reason = _already_broken(account, constraint, minor)
        if reason is not None:
            raise Rejected(
                reason,
                f"account {account} has {minor} {currency} minor units (debit positive, "
                f"{layer.value}), which the constraint {constraint.kind.value} forbids",
                account=account,
                constraint=constraint.kind.value,
                currency=currency,
                balance=minor,
                limit=constraint.limit,
            )


def _already_broken(account: str, constraint: Constraint, minor: int) -> Reason | None:
    # A breach is a movement away from the limit: it is approached from both sides.
    return breach(account, constraint, minor - 1, minor) or breach(
        account, constraint, minor + 1, minor
    )


def _balances(opening: Net) -> tuple[AccountBalance, ...]:
    return tuple(
        AccountBalance(
            layer, currency, abs(minor), Direction.CREDIT if minor < 0 else Direction.DEBIT
        )
        for (layer, currency), minor in sorted(
            opening.items(), key=lambda item: (item[0][0].value, item[0][1])
        )
        if minor
    )


@decides(PostEntry)
def post_entry(command: PostEntry, states: States, now: datetime) -> Changes:
    """Post a free entry; raises UnbalancedEntry if it does not sum to zero."""
    _check_postings(command.postings)
    posted = entry(
        *[Posting(one.account, one.currency, one.minor, one.layer) for one in command.postings]
    )
    return _post(command, states, JournalKind.MANUAL, command.description, posted)


@decides(ReverseEntry)
def reverse_entry(command: ReverseEntry, states: States, now: datetime) -> Changes:
    """Undo an entry in whole or part; raises ALREADY_REVERSED where more is asked than is left."""
    _check_reversal(command)
    state = states.journal(command.entry_id)
    if not state.exists:
        raise NotFound(f"there is no entry {command.entry_id}", entry_id=command.entry_id)
    known = state.reversals.get(command.reversal_id)
    if known is not None:
        return _repeated(command, state, known)
    legs = _reversing_legs(command, state)
    event = JournalEntryReversed(
        entry_id=command.entry_id,
        reversal_id=command.reversal_id,
        reason=command.reason,
        legs=legs,
    )
    posted = entry(*(_posting(leg) for leg in legs))
    return (Change(streams.journal(command.entry_id), event, posted),)


@decides(RecordSettlement)
def record_settlement(command: RecordSettlement, states: States, now: datetime) -> Changes:
    """Record a settlement (recipe 7)."""
    gross = _positive(command.gross, command.currency)
    if command.fee < 0:
        raise InvalidMoney(
            f"the fee {command.fee} of settlement {command.entry_id} is negative",
            entry_id=command.entry_id,
            fee=command.fee,
        )
    posted = recipes_journal.settlement(command.provider, command.bank, gross, command.fee)
    text = f"settlement by {command.provider}: gross {gross}, fee {command.fee}"
    try:
        _check_no_batch(command, states)
        return _post(command, states, JournalKind.SETTLEMENT, text, posted)
    except Rejected as contradiction:
        # A report is kept whatever it contradicts; what to post is for a person to decide.
        anomaly = AnomalyRaised(
            kind=AnomalyKind.CONFLICTING_SETTLEMENT,
            refs=(command.entry_id, command.provider, str(command.gross), str(command.fee)),
            severity="critical",
            detail=f"{text}; {contradiction.message}",
        )
        if anomaly.key in states.journal(command.entry_id).anomalies:
            return ()
        return (Change(streams.journal(command.entry_id), anomaly),)


def _check_no_batch(command: RecordSettlement, states: States) -> None:
    """The lines of an imported batch post the same fees and payouts as its totals would."""
    provider, _, batch = command.entry_id.partition("/")
    if provider == command.provider and batch and states.settlement(provider, batch).exists:
        raise Rejected(
            Reason.ALREADY_EXISTS,
            f"settlement {command.entry_id} was imported line by line",
            entry_id=command.entry_id,
        )


@decides(ConvertCurrency)
def convert_currency(command: ConvertCurrency, states: States, now: datetime) -> Changes:
    """Book a conversion by the bank (recipe 29, first half)."""
    sold = _positive(command.sold, command.sold_currency)
    bought = _positive(command.bought, command.bought_currency)
    if sold.currency == bought.currency:
        raise InvalidCommand(
            f"entry {command.entry_id} converts {sold.currency} into itself",
            entry_id=command.entry_id,
            currency=sold.currency,
        )
    posted = recipes_journal.currency_converted(command.bank, sold, bought)
    return _post(command, states, JournalKind.CURRENCY_CONVERSION, f"{sold} to {bought}", posted)


@decides(RealiseFxResult)
def realise_fx_result(command: RealiseFxResult, states: States, now: datetime) -> Changes:
    """Book the gain or loss of a conversion (recipe 29, second half)."""
    booked = _positive(command.booked, command.currency)
    received = _positive(command.received, command.currency)
    posted = recipes_journal.fx_result_realised(booked, received)
    text = f"booked {booked}, received {received}"
    return _post(command, states, JournalKind.FX_RESULT, text, posted)


@decides(RemitTax)
def remit_tax(command: RemitTax, states: States, now: datetime) -> Changes:
    """Pay collected tax to its authority (recipe 30)."""
    amount = _positive(command.amount, command.currency)
    posted = recipes_journal.tax_remitted(command.jurisdiction, command.bank, amount)
    text = f"tax of {command.jurisdiction}: {amount}"
    return _post(command, states, JournalKind.TAX_REMITTANCE, text, posted)


@decides(WriteOffDebt)
def write_off_debt(command: WriteOffDebt, states: States, now: datetime) -> Changes:
    """Give up a seller's debt (recipe 26); raises if it is more than the debt that was seen."""
    amount = _positive(command.amount, command.currency)
    posted = recipes_journal.debt_written_off(command.seller, amount)
    if not states.journal(command.entry_id).exists and command.amount > command.debt:
        raise Rejected(
            Reason.AMOUNT_EXCEEDS_AVAILABLE,
            f"seller {command.seller} owes {command.debt} {command.currency} minor units, of "
            f"which {command.amount} cannot be written off",
            seller=command.seller,
            available=command.debt,
            amount=command.amount,
        )
    changes = _post(command, states, JournalKind.DEBT_WRITE_OFF, command.reason, posted)
    if not changes:
        return ()
    noted = DebtWrittenOff(
        seller=command.seller,
        currency=command.currency,
        entry_id=command.entry_id,
        amount=command.amount,
        debt=command.debt,
        cause_event=command.cause_event,
        reason=command.reason,
    )
    return (*changes, Change(streams.seller(command.seller, command.currency), noted))


def _post(
    command: NewEntry, states: States, kind: JournalKind, description: str, posted: Entry
) -> Changes:
    event = JournalEntryPosted(
        entry_id=command.entry_id,
        kind=kind,
        description=description,
        legs=tuple([_leg(posting) for posting in posted.postings]),
        adjusts=command.adjusts,
    )
    state = states.journal(command.entry_id)
    if state.exists:
        same = (state.kind, state.description, state.legs, state.adjusts)
        if same == (kind, description, event.legs, command.adjusts):
            return ()
        raise Rejected(
            Reason.ALREADY_EXISTS,
            f"entry {command.entry_id} exists with other content; use a new entry id",
            entry_id=command.entry_id,
        )
    if command.adjusts is not None and not states.journal(command.adjusts).exists:
        raise Rejected(
            Reason.NOT_FOUND,
            f"there is no entry {command.adjusts} to adjust",
            entry_id=command.entry_id,
            adjusts=command.adjusts,
        )
    return (Change(streams.journal(command.entry_id), event, posted),)


def _posting(leg: JournalLeg) -> Posting:
    return Posting(leg.account, leg.currency, signed(leg.amount, leg.direction), leg.layer)


def _leg(posting: Posting) -> JournalLeg:
    side = Direction.DEBIT if posting.minor > 0 else Direction.CREDIT
    return JournalLeg(posting.account, posting.currency, abs(posting.minor), side, posting.layer)


def _positive(minor: int, currency: str) -> Money:
    money = Money(minor, currency)
    if minor <= 0:
        raise InvalidMoney(
            f"amount {minor} {currency} must be positive", amount=minor, currency=currency
        )
    return money


def _check_postings(postings: tuple[PostingInput, ...]) -> None:
    if len(postings) < 2:
        raise InvalidCommand(f"an entry needs two legs, not {len(postings)}", legs=len(postings))
    for one in postings:
        accounts.check(one.account)
        if one.account.startswith(_OF_ORDERS):
            raise InvalidAccount(
                f"account {one.account} follows the slices of its order; a manual entry would part "
                "them. Use the order's own commands",
                account=one.account,
            )
        Money(one.minor, one.currency)
        if one.minor == 0:
            raise InvalidMoney(f"the leg {one.account} is zero", account=one.account)


def _check_reversal(command: ReverseEntry) -> None:
    numerator, denominator = command.numerator, command.denominator
    if command.postings and (numerator is not None or denominator is not None):
        raise InvalidCommand("a reversal has a fraction or legs, not both", field="postings")
    if command.postings:
        _check_postings(command.postings)
        entry(*(_posting(one.leg()) for one in command.postings))
    if numerator is None and denominator is None:
        return
    if numerator is None or denominator is None or not 0 < numerator <= denominator:
        raise InvalidCommand(
            f"the fraction {numerator}/{denominator} is not above 0 and at most 1",
            numerator=numerator,
            denominator=denominator,
        )


def _reversing_legs(command: ReverseEntry, state: JournalState) -> tuple[JournalLeg, ...]:
    if command.postings:
        legs = tuple(one.leg() for one in command.postings)
        if distribute(state.legs, state.remaining, legs) is None:
            raise _too_much(command, state)
        return legs
    if not any(state.remaining):
        raise _too_much(command, state)
    if command.numerator is None or command.denominator is None:
        return _negated(state, state.remaining)
    return _share(command, state, Fraction(command.numerator, command.denominator))


def _share(command: ReverseEntry, state: JournalState, share: Fraction) -> tuple[JournalLeg, ...]:
    """
    Divide a share of the entry over its legs so that it balances and no leg exceeds what is left.

    The total per layer, currency and side is rounded once, half-even, and allocated by what is
    left of each leg, which can never give a leg more than that.
    """
    amounts = [0] * len(state.legs)
    groups: dict[tuple[Layer, str, Direction], list[int]] = {}
    for index, leg in enumerate(state.legs):
        groups.setdefault((leg.layer, leg.currency, leg.direction), []).append(index)
    for indexes in groups.values():
        left = [state.remaining[index] for index in indexes]
        exact = share * sum(state.legs[index].amount for index in indexes)
        # A last third must not fail because the first two were rounded up.
        wanted = min(round(exact), sum(left)) if exact < sum(left) + 1 else round(exact)
        if wanted > sum(left):
            raise _too_much(command, state)
        if wanted == 0:
            continue
        for index, amount in zip(indexes, allocate(wanted, left), strict=True):
            amounts[index] = amount
    if not any(amounts):
        raise Rejected(
            Reason.AMOUNT_NOT_POSITIVE,
            f"{share} of entry {command.entry_id} rounds to nothing",
            entry_id=command.entry_id,
            reversal_id=command.reversal_id,
        )
    return _negated(state, tuple(amounts))


def _negated(state: JournalState, amounts: tuple[int, ...]) -> tuple[JournalLeg, ...]:
    flipped = {Direction.DEBIT: Direction.CREDIT, Direction.CREDIT: Direction.DEBIT}
    return tuple(
        JournalLeg(leg.account, leg.currency, amount, flipped[leg.direction], leg.layer)
        for leg, amount in zip(state.legs, amounts, strict=True)
        if amount
    )


def _repeated(command: ReverseEntry, state: JournalState, known: JournalEntryReversed) -> Changes:
    """Accept the same reversal again as done; refuse its id for another one."""
    try:
        wanted = _reversing_legs(command, _before(state, known))
    except Rejected:
        wanted = ()
    if (wanted, command.reason) == (known.legs, known.reason):
        return ()
    raise Rejected(
        Reason.OPERATION_ALREADY_USED,
        f"reversal {command.reversal_id} of entry {command.entry_id} exists with other content",
        entry_id=command.entry_id,
        reversal_id=command.reversal_id,
    )


def _before(state: JournalState, known: JournalEntryReversed) -> JournalState:
    """Return the entry as it was when a reversal of it was decided."""
    before = msgspec.structs.replace(state, reversed_amounts=(0,) * len(state.legs), reversals={})
    for reversal in state.reversals.values():
        if reversal.reversal_id == known.reversal_id:
            break
        before = JOURNAL_EVOLVE[JournalEntryReversed](before, reversal)
    return before


def _too_much(command: ReverseEntry, state: JournalState) -> Rejected:
    return Rejected(
        Reason.ALREADY_REVERSED,
        f"reversal {command.reversal_id} asks for more of entry {command.entry_id} than is left "
        f"of its legs: {list(state.remaining)} minor units",
        entry_id=command.entry_id,
        reversal_id=command.reversal_id,
        remaining=list(state.remaining),
    )
