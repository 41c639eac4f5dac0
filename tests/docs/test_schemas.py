"""The committed JSON Schemas are those of the events and commands."""

import subprocess
import sys
from pathlib import Path

from tests.source_tree import ROOT


def test_the_schemas_are_current() -> None:
    """Catches a change of what is stored or accepted that no reviewer saw in the diff."""
    # A process of its own: tests register topics that are not part of the library.
    program = Path(sys.executable).parent / "orderledger"
    done = subprocess.run(
        [program, "schema", "export", "--check", "--json", ROOT / "docs" / "schemas"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, (
        f"run `orderledger schema export docs/schemas` and commit it\n{done.stdout}{done.stderr}"
    )
