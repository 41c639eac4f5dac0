"""
Every benchmark in turn, each in a process of its own: ``python -m bench.run_all``.

Takes the options of a single benchmark and passes them on. Where commits decide, the price of an
fsync is set twice: as on a local NVMe and as on a cloud volume.
"""

import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from bench.fsync_floor import CLOUD_US, NVME_US

BY_FSYNC: Final = ("concurrent_callers", "futures_in_flight", "lone_caller", "sqlite_callers")
NAMES: Final = tuple(
    sorted(path.stem.removeprefix("bench_") for path in Path(__file__).parent.glob("bench_*.py"))
)


def main() -> None:
    """Run them all; the exit status is 1 if one of them failed to run."""
    options = sys.argv[1:]
    is_chosen = any(option.startswith("--fsync-us") for option in options)
    failed: list[str] = []
    started = time.monotonic()
    for name in NAMES:
        floors = (NVME_US, CLOUD_US) if name in BY_FSYNC and not is_chosen else (None,)
        for floor in floors:
            extra = [] if floor is None else ["--fsync-us", str(floor)]
            print(f"== {name} {' '.join(extra)}", file=sys.stderr, flush=True)
            command = [sys.executable, "-m", f"bench.bench_{name}", *options, *extra]
            if subprocess.run(command, check=False).returncode:
                failed.append(name)
    print(f"== {time.monotonic() - started:,.0f} s in all", file=sys.stderr)
    if failed:
        raise SystemExit(f"failed to run: {', '.join(failed)}")


if __name__ == "__main__":
    main()
