"""
Which of the reports about one operation stand: a success counts unless a failure undoes it.

The rule decides by what the reports say, not by which came first, wherever they say enough:

1. Where both give the provider's own sequence, or their attempts differ, the later one holds.
2. Where both name the same reference, they contradict each other: the success does not count. Money
   that may not be there would be paid out; money that may be there is found in the settlement.
3. A failure under another reference is of another try: it undoes nothing.
4. A reversal under a reference of its own undoes the success before it, or else the next one.
5. A failure or a success without a reference is the host's own word, in the order it says it.

A success that is told again, once with the provider's sequence and once without, is one success and
has that place in the sequence.

Source: domain.md, section 0 ("do not decide by arrival"), and its row for late successes.
"""

from collections.abc import Sequence

import msgspec


class Report(msgspec.Struct, frozen=True, gc=False):
    """
    A success (``amount`` > 0), a failure or a reversal that was reported of an operation.

    ``sequence`` is the provider's own, -1 if it gave none.
    """

    provider_ref: str
    sequence: int
    attempt: int
    amount: int = 0
    is_reversal: bool = False

    @property
    def is_success(self) -> bool:
        return self.amount > 0


def standing(reports: Sequence[Report]) -> list[Report]:
    """Return the successes that no failure undoes; ``reports`` in the order of arrival."""
    return [success for success, undoing in _undone(reports) if not undoing]


def counted(reports: Sequence[Report]) -> int:
    """
    Return the amount that counts: of the last success by sequence and attempt, or the largest.

    Successes that were undone count only if all were: it is what was taken back.
    """
    found = standing(reports) or [one for one in reports if one.is_success]
    ranked = [(one.sequence, one.attempt, one.amount) for one in found]
    return max(ranked)[2] if ranked else 0


def is_contradicted(reports: Sequence[Report]) -> bool:
    """Tell whether a success is undone by failures of which nothing says that they are later."""
    return any(
        undoing and all(_later(one, success) is None and not one.is_reversal for one in undoing)
        for success, undoing in _undone(reports)
    )


def is_contested(reports: Sequence[Report]) -> bool:
    """Tell whether a success and a failure of one reference say nothing of which is the later."""
    return any(
        one.provider_ref == other.provider_ref != "" and _later(one, other) is None
        for one in _placed(reports)
        if one.is_success
        for other in reports
        if not (other.is_success or other.is_reversal)
    )


def is_told(reports: Sequence[Report]) -> bool:
    """
    Tell whether the last report, a success, is one that was told before.

    One without a reference is the same as any other of its amount and try.
    """
    *before, last = reports
    return any(
        one.is_success
        and (one.amount, one.attempt) == (last.amount, last.attempt)
        and last.provider_ref in ("", one.provider_ref)
        and one.sequence >= last.sequence
        for one in before
    )


def is_of_another_try(failure: Report, reports: Sequence[Report]) -> bool:
    """Tell whether a failure undoes nothing only because it names another reference."""
    return any(
        one.is_success and _later(failure, one) is None and one.provider_ref != failure.provider_ref
        for one in _placed(reports)
    )


def _placed(reports: Sequence[Report]) -> list[Report]:
    """Return the reports, each success with the last sequence that a report of the same gives."""
    last: dict[tuple[str, int, int], int] = {}
    for one in reports:
        key = (one.provider_ref, one.attempt, one.amount)
        last[key] = max(one.sequence, last.get(key, -1))
    return [
        msgspec.structs.replace(one, sequence=last[one.provider_ref, one.attempt, one.amount])
        if one.is_success and one.sequence < 0
        else one
        for one in reports
    ]


def _later(one: Report, other: Report) -> bool | None:
    """Return whether ``one`` is later than ``other`` by what they say; None if they do not."""
    if one.sequence >= 0 and other.sequence >= 0 and one.sequence != other.sequence:
        return one.sequence > other.sequence
    if one.attempt != other.attempt:
        return one.attempt > other.attempt
    return None


def _undone(reports: Sequence[Report]) -> list[tuple[Report, list[Report]]]:
    """Return each success with the failures that undo it. Cost: successes × failures."""
    successes = [(index, one) for index, one in enumerate(_placed(reports)) if one.is_success]
    failures = [(index, one) for index, one in enumerate(reports) if not one.is_success]
    known = {one.provider_ref for _, one in successes} - {""}
    first = successes[0][0] if successes else -1
    return [
        (
            success,
            [
                failure
                for failed, failure in failures
                if _undoes(failure, success, known, is_next=failed > at or at == first)
                or _is_word(failure, success, is_last=failed > at)
            ],
        )
        for at, success in successes
    ]


def _undoes(failure: Report, success: Report, known: set[str], *, is_next: bool) -> bool:
    """``known``: the references of successes; ``is_next``: a reversal of its own is of this one."""
    is_later = _later(failure, success)
    if is_later is not None:
        return is_later
    if failure.provider_ref == success.provider_ref != "":
        return True
    return failure.is_reversal and failure.provider_ref not in known and is_next


def _is_word(failure: Report, success: Report, *, is_last: bool) -> bool:
    """Tell whether a failure holds as the host's own word: without a reference, and the last."""
    is_unnamed = not (failure.provider_ref and success.provider_ref)
    is_plain = is_unnamed and not failure.is_reversal
    return is_plain and is_last and _later(failure, success) is None
