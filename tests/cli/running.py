"""The command line as a test gives it."""

import json
from typing import Any

from click.testing import CliRunner, Result

from orderledger import cli


def run(*words: str) -> Result:
    """Run a command."""
    return CliRunner().invoke(cli.main, [*words], prog_name="orderledger")


def answer(*words: str, status: int = 0) -> Any:
    """Run a command and return what it answers as JSON; it must end with the status."""
    found = run(*words, "--json")
    assert found.exit_code == status, found.stderr
    return json.loads(found.stdout)
