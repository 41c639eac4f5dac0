"""Changing the set of constrained accounts while nobody writes."""

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

from orderledger.ledger.ports import AppendConflict, Batch, EventStore, LockTimeout
from tests.contract.batches import batch, command, event, everything, one, settle

SELLER = "liabilities:seller:s1"


def credit(minor: int, currency: str = "EUR", layer: str = "posted") -> str:
    return f"{layer} liabilities:escrow:o1 {currency} {minor}\n{layer} {SELLER} {currency} {-minor}"


def test_builds_from_the_balance_and_raises_the_generation(store: EventStore) -> None:
    """A constraint that starts from a wrong balance, or of another account with a longer name."""
    entries = [
        credit(500),
        credit(10**24),
        credit(3, "JPY"),
        credit(-7, layer="held"),
        f"posted {SELLER}0 EUR 99\nposted {SELLER} EUR 1\nposted equity:opening EUR -100",
    ]
    for number, postings in enumerate(entries):
        store.append(one(f"k{number}", event(f"s/{number}", 1, postings=postings)))
    seen: list[tuple[Mapping[tuple[str, str], int], int]] = []

    def build(balance: Mapping[tuple[str, str], int], generation: int) -> Batch:
        seen.append((dict(balance), generation))
        return batch(command("constrain", event("account/1", 1)), generation=generation)

    store.constrain(SELLER, build)
    assert seen == [
        (
            {
                ("posted", "EUR"): -500 - 10**24 + 1,
                ("posted", "JPY"): -3,
                ("held", "EUR"): 7,
            },
            0,
        )
    ]
    assert store.constraints().generation == 1
    assert store.constraints().accounts == {SELLER}
    with pytest.raises(AppendConflict) as caught:
        store.append(batch(command("late", event("s/9", 1)), generation=0))
    assert caught.value.stale_constraints
    settle(store)
    assert store.head().size == 6


def test_a_second_change_keeps_the_first(store: EventStore) -> None:
    """A set that forgets an account, or a generation that is used twice."""
    for number, account in enumerate((SELLER, "assets:bank:x", SELLER)):
        store.constrain(
            account,
            lambda _, generation, number=number: one(  # type: ignore[misc]  # bound default
                f"constrain/{number}", event("account/1", generation + 1)
            ),
        )
    assert store.constraints().generation == 3
    assert store.constraints().accounts == {SELLER, "assets:bank:x"}


def test_a_refused_change_changes_nothing(store: EventStore) -> None:
    """An account that is constrained although its command was refused."""

    def fail(balance: Mapping[tuple[str, str], int], generation: int) -> Batch:
        raise LookupError("the decider refused")

    with pytest.raises(LookupError):
        store.constrain(SELLER, fail)
    store.append(one("k", event("s/1", 1)))
    with pytest.raises(AppendConflict):
        store.constrain(SELLER, lambda _, __: one("c", event("s/1", 1)))
    with pytest.raises(AppendConflict):
        store.constrain(SELLER, lambda _, __: one("k", event("s/1", 2)))
    assert store.constraints().generation == 0
    assert store.constraints().accounts == frozenset()
    store.append(batch(command("k2", event("s/1", 2)), generation=0))
    assert len(everything(store)) == 2


def test_no_append_is_missed_by_a_change(store: EventStore) -> None:
    """A posting that commits between the reading of the balance and the change of the set."""
    stop = threading.Event()
    written: list[int] = []

    def write(writer: int) -> None:
        number = 0
        while not stop.is_set() and number < 200:
            number += 1
            postings = credit(1)
            try:
                store.append(
                    batch(
                        command(
                            f"{writer}/{number}",
                            event(f"w/{writer}/{number}", 1, postings=postings),
                        ),
                        generation=0,
                    )
                )
            except AppendConflict:
                return
            except LockTimeout:
                # A slow change excludes appends for longer than they wait; nothing is written.
                continue
            written.append(1)

    balances: list[int] = []

    def build(balance: Mapping[tuple[str, str], int], generation: int) -> Batch:
        balances.append(balance.get(("posted", "EUR"), 0))
        return one("constrain", event("account/1", 1))

    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(write, writer) for writer in range(4)]
        while len(written) < 20:
            stop.wait(0.001)
        store.constrain(SELLER, build)
        stop.set()
        for writer in writers:
            writer.result(timeout=30)
    assert balances == [-len(written)]
