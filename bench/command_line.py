"""
Runs of the command line in a process of their own, with what they took.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from typing import Any, Final

import msgspec

_PROGRAM: Final = "from orderledger.cli import main; main()"


class Ran(msgspec.Struct, frozen=True):
    """What a command answered, and the time and memory that it took."""

    answer: dict[str, Any]
    seconds: float
    rss_mb: float


def ran(*arguments: str, target: str) -> Ran:
    """Run a command on the book at a URL; raises CalledProcessError where it fails."""
    command = [sys.executable, "-c", _PROGRAM, *arguments, "--url", target, "--json", "--quiet"]
    with tempfile.TemporaryFile() as output:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=output)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command)
        output.seek(0)
        # Linux counts in KiB.
        return Ran(json.load(output), seconds, usage.ru_maxrss / 1024)
