"""Run the suite on the built wheel with the source folders out of reach.

python -m tools.test_wheel [arguments of pytest]

Tests of the repository itself (style, packaging, documentation) read the sources, so they stay out.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Final

from tests.built_wheel import build_wheel
from tests.source_tree import ROOT

COPIED: Final = ("tests", "tools", "examples", "bench")
ABOUT_THE_SOURCES: Final = ("tests/test_tidy.py", "tests/test_packaging.py", "tests/docs")


def main(arguments: list[str]) -> int:
    """Return pytest's exit code."""
    with tempfile.TemporaryDirectory(prefix="orderledger-wheel-") as name:
        work = Path(name)
        build = work / "build"
        build.mkdir()
        installed = work / "installed"
        with zipfile.ZipFile(build_wheel(build)) as archive:
            archive.extractall(installed)
        run = work / "run"
        run.mkdir()
        for folder in COPIED:
            if (ROOT / folder).is_dir():
                shutil.copytree(ROOT / folder, run / folder)
        shutil.copy(ROOT / "pyproject.toml", run)
        check = "import orderledger.ledger, sys; sys.exit(sys.argv[1] not in orderledger.__file__)"
        # PYTHONPATH comes before the editable install, so the wheel's modules are found first.
        environment = {**os.environ, "PYTHONPATH": str(installed)}
        subprocess.run(
            [sys.executable, "-c", check, str(installed)], cwd=run, env=environment, check=True
        )
        ignored = [f"--ignore={path}" for path in ABOUT_THE_SOURCES]
        command = [sys.executable, "-m", "pytest", "-q", "--color=no", *ignored, *arguments]
        return subprocess.run(command, cwd=run, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
