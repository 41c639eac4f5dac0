"""Build the wheel from a copy of what git would ship."""

import importlib.metadata
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.source_tree import SHIPPED, text_files

SETUPTOOLS_MAJOR_MIN: Final = 77


def build_wheel(directory: Path) -> Path:
    """Return the wheel, built in the directory, which must be empty.

    From a copy, so that neither ignored files nor a stale build/ get in, and nothing is left in the
    source tree. Raises CalledProcessError with pip's output on its streams.
    """
    source = directory / "source"
    for each in text_files():
        if each.is_under(*(f"{name}/" for name in SHIPPED)) or "/" not in each.path:
            target = source / each.path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(each.text, encoding="utf-8")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    if _has_build_backend():
        command.append("--no-build-isolation")
    subprocess.run(
        [*command, "--wheel-dir", str(directory), str(source)],
        cwd=directory,
        stdin=subprocess.DEVNULL,
        check=True,
    )
    (wheel,) = directory.glob("*.whl")
    return wheel


def _has_build_backend() -> bool:
    try:
        version = importlib.metadata.version("setuptools")
    except importlib.metadata.PackageNotFoundError:
        return False
    return int(version.partition(".")[0]) >= SETUPTOOLS_MAJOR_MIN
