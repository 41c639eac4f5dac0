"""Every example prints what is committed beside it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.source_tree import ROOT

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_example_prints_its_golden_output(path: Path, tmp_path: Path) -> None:
    """Catches an example that fails, or whose money is no longer what it was."""
    done = subprocess.run(
        [sys.executable, path],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": "", "PYTHONIOENCODING": "utf-8"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == path.with_suffix(".out").read_text("utf-8")


def test_there_are_examples() -> None:
    """Catches a folder that moved, so that nothing is tested."""
    assert len(EXAMPLES) >= 2
