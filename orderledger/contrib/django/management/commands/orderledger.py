"""``manage.py orderledger …``: the whole command line, on the project's book."""

import argparse
import os
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from orderledger.cli import main
from orderledger.contrib import django as integration


class Command(BaseCommand):  # type: ignore[misc]  # Django has no types
    """Hands its arguments to the ``orderledger`` command; --url and --book still win."""

    help = "Run the orderledger command line on the project's book."
    requires_system_checks: list[str] = []  # noqa: RUF012 - as Django declares it

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Take everything from the first noun on as it is."""
        parser.add_argument("arguments", nargs=argparse.REMAINDER)

    def handle(self, *, arguments: list[str], **options: Any) -> None:
        """Run a command line; raises SystemExit with its status."""
        os.environ["ORDERLEDGER_URL"] = integration.url()
        os.environ["ORDERLEDGER_BOOK"] = str(getattr(settings, "ORDERLEDGER_BOOK", "main"))
        try:
            main.main(args=arguments, prog_name="manage.py orderledger")
        except SystemExit as ended:
            if arguments[:1] == ["migrate"] and not ended.code:
                # A book is created with a connection of its own, which would wait for a request
                # that is the first to open it inside its own transaction.
                integration.book()
            raise
