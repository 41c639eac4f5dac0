"""What reads the exported journals in tests: bean-check, hledger, and a small reader of our own."""

import re
import shutil
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from orderledger.ledger.currencies import exponent
from orderledger.replay.beancount_names import account_of_beancount

Sums = dict[tuple[str, str], int]
"""Signed minor units per account and currency, zeros left out."""

_LEG = re.compile(r"\s+(\S+)  (-?[\d.]+) ([A-Z]+)")
_BALANCE = re.compile(r"\d{4}-\d\d-\d\d balance (\S+)  (-?[\d.]+) ~ 0 ([A-Z]+)")
_ASSERTED = re.compile(r"\s+(\S+)  0 [A-Z]+ = (-?[\d.]+) ([A-Z]+)")


def bean_check(path: Path) -> str:
    """Return what bean-check has against a file; "" if it passes."""
    program = Path(sys.executable).parent / "bean-check"
    return _complaint([str(program), "--no-cache", str(path)])


def hledger_check(path: Path) -> str:
    """Return what hledger has against a journal; "" if it passes. Skips where it is not there."""
    program = shutil.which("hledger")
    if program is None:
        pytest.skip("HLEDGER IS NOT TESTED: the program is not installed")
    return _complaint([program, "--file", str(path), "check", "--strict"])


def _complaint(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    return f"{done.stdout}{done.stderr}" or ("" if done.returncode == 0 else "status not 0")


def legs_of(text: str, *, is_beancount: bool) -> Sums:
    """Add up the legs of every entry in a text."""
    return _sums(_LEG, text, is_beancount=is_beancount)


def assertions_of(text: str, *, is_beancount: bool) -> Sums:
    """Return the balances that a text asserts, those of zero too."""
    pattern = _BALANCE if is_beancount else _ASSERTED
    return _sums(pattern, text, is_beancount=is_beancount)


def _sums(pattern: re.Pattern[str], text: str, *, is_beancount: bool) -> Sums:
    sums: Sums = {}
    for line in text.splitlines():
        found = pattern.fullmatch(line)
        if found is None:
            continue
        account, amount, currency = found.groups()
        name = account_of_beancount(account) if is_beancount else account
        minor = int(Decimal(amount).scaleb(exponent(currency)))
        sums[name, currency] = sums.get((name, currency), 0) + minor
    return sums


def without_zeros(sums: Sums) -> Sums:
    return {key: minor for key, minor in sums.items() if minor}
