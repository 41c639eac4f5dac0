"""
Where a benchmark ran, without naming the machine: cores, memory, versions, the price of an fsync.
"""

import importlib.metadata
import os
import platform
import sqlite3
import statistics
import tempfile
import time
from typing import Final

import msgspec
import psycopg

from tests import postgres_server

PACKAGES: Final = ("eventsourcing", "msgspec", "psycopg")
FSYNCS: Final = 200
PAGE: Final = 8192


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """The facts that a figure depends on."""

    cpu_count: int
    memory_gib: int
    system: str
    python: str
    sqlite: str
    postgres: str
    packages: dict[str, str]
    psycopg_implementation: str
    """``binary`` or ``c``; ``python`` is several times slower and not what a host would run."""


def machine() -> Machine:
    """Describe this machine anonymously."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Machine(
        cpu_count=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0,
        memory_gib=round(pages / 2**30),
        system=f"{platform.system()}-{platform.machine()}",
        python=platform.python_version(),
        sqlite=sqlite3.sqlite_version,
        postgres=postgres_server.describe(),
        packages={name: importlib.metadata.version(name) for name in PACKAGES},
        psycopg_implementation=psycopg.pq.__impl__,
    )


def fsync_us() -> float:
    """Return the median microseconds of writing a page and forcing it to disk, where the
    databases of the benchmarks are."""
    with tempfile.TemporaryFile() as file:
        descriptor = file.fileno()
        os.pwrite(descriptor, b"\0" * PAGE * FSYNCS, 0)
        os.fsync(descriptor)
        taken: list[float] = []
        for number in range(FSYNCS):
            started = time.perf_counter()
            os.pwrite(descriptor, b"\1" * PAGE, number * PAGE)
            os.fdatasync(descriptor)
            taken.append(time.perf_counter() - started)
    return round(statistics.median(taken) * 1e6, 1)
