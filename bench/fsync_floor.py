"""
A floor under the price of an fsync, so that a benchmark says for which disk it speaks.

The disks of virtual machines swing tenfold within minutes. With a floor (150 µs: a local NVMe;
1,000 µs: a cloud volume) every fsync still happens, and takes at least that long, in the server
and in this process alike. Needs a C compiler and Linux; without them the disk is what it is.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

VARIABLE: Final = "ORDERLEDGER_BENCH_FSYNC_US"
NVME_US: Final = 150
CLOUD_US: Final = 1000
_SOURCE: Final = Path(__file__).with_suffix(".c")


def run_with_floor(floor_us: int) -> None:
    """
    Start this program again with the floor preloaded, and end when it ends.

    Returns where the floor is in place already, is 0, or cannot be had (then it says so).
    """
    if floor_us <= 0 or current() is not None:
        return
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        print("no floor under fsync: it needs Linux and a C compiler", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory() as directory:
        # The server's own user loads it too.
        Path(directory).chmod(0o755)
        library = Path(directory) / "fsync_floor.so"
        options = ("-O2", "-shared", "-fPIC", "-o", str(library), str(_SOURCE), "-ldl")
        subprocess.run([compiler, *options], check=True)
        environment = {**os.environ, "LD_PRELOAD": str(library), VARIABLE: str(floor_us)}
        ended = subprocess.run([*sys.orig_argv], env=environment, check=False)
    raise SystemExit(ended.returncode)


def current() -> int | None:
    """Return the floor that is in place in this process, in microseconds."""
    given = os.environ.get(VARIABLE)
    return int(given) if given else None


def inherited() -> Mapping[str, str]:
    """Return the variables that carry the floor into a server that we start."""
    if current() is None:
        return {}
    return {name: os.environ[name] for name in ("LD_PRELOAD", VARIABLE)}
