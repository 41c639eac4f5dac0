"""
The command line: nouns, then verbs.

The commands stand in the modules ``cli_*`` beside this one; nothing but click is imported before
one of them runs, so that ``--help`` is quick.
"""

import errno
import os
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

try:
    import click
except ModuleNotFoundError:  # pragma: no cover
    sys.exit("error: the command line needs click and rich: install orderledger[cli]")

from orderledger import (
    cli_accounts,
    cli_admin,
    cli_audit,
    cli_backup,
    cli_bank,
    cli_chargebacks,
    cli_checkpoints,
    cli_disputes,
    cli_dossier,
    cli_export,
    cli_machinery,
    cli_models,
    cli_periods,
    cli_read,
    cli_replay,
    cli_risk,
    cli_sellers,
    cli_settlement,
    cli_snapshots,
    cli_what_if,
)
from orderledger.cli_output import say

_HELP_WANTED: Final = getattr(click.exceptions, "NoArgsIsHelpError", ())
"""What a group without a verb raises since click 8.2; before, click shows the help by itself."""


class Lazy(click.Command):
    """A command that another module brings; it is imported when its help or its run needs it."""

    def __init__(self, name: str, *, target: tuple[str, str], help_text: str) -> None:
        super().__init__(name, short_help=help_text, add_help_option=False)
        self._target: Final = target

    def load(self) -> click.Command:
        """Import and return the command itself."""
        module, attribute = self._target
        try:
            command: click.Command = getattr(import_module(module), attribute)
        except ModuleNotFoundError as error:
            raise click.ClickException(
                f"{self.name} needs {error.name}, which is missing"
            ) from error
        return command

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """Make the context of the command itself."""
        return self.load().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command itself."""
        return self.load().invoke(ctx)


class Root(click.Group):
    """The top of the tree: errors become one line on stderr and an exit status."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run a command line and exit with its status."""
        kwargs["standalone_mode"] = False
        try:
            status = super().main(*args, **kwargs)
        except click.ClickException as error:
            if isinstance(error, _HELP_WANTED):
                error.show()
                sys.exit(error.exit_code)
            message = " ".join(error.format_message().split())
            say(f"error: {message}")
            if isinstance(error, click.UsageError) and error.ctx is not None:
                say(f"Try '{error.ctx.command_path} --help'.")
            sys.exit(error.exit_code)
        except click.Abort:
            say("error: interrupted")
            sys.exit(130)
        sys.exit(status if isinstance(status, int) else 0)

    def invoke(self, ctx: click.Context) -> Any:
        """
        Run the command, and see to it that its answer is written.

        Not in ``main``: click itself ends a closed pipe with status 1, which means findings here.
        """
        try:
            status = super().invoke(ctx)
            if sys.stdout is not None:
                sys.stdout.flush()
        except OSError as error:
            if sys.stdout is not None:
                # What is left in the buffer goes nowhere, or the interpreter complains at its end.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if error.errno == errno.EPIPE:
                return 0  # the reader of the pipe has seen enough (`| head`)
            where = error.filename or "the answer cannot be written"
            say(f"error: {where}: {error.strerror}")
            return 2
        return status


@click.group(cls=Root, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """
    Orders, payments and their double-entry ledger.

    Every command takes --url and --book (or ORDERLEDGER_URL and ORDERLEDGER_BOOK), --json or
    --table, and --quiet. Answers go to stdout, everything else to stderr.

    Exit status: 0 done; 1 findings, rejected or not found; 2 wrong usage or input; 3 conflict;
    4 database unavailable.
    """


@main.group("import")
def import_() -> None:
    """Bring data from elsewhere into a book."""


_GROUPS: Final[Mapping[str, click.Command]] = {
    "status": cli_read.status,
    "order": cli_read.order,
    "payment": cli_read.payment,
    "seller": cli_sellers.seller,
    "payout": cli_sellers.payout,
    "dispute": cli_disputes.dispute,
    "chargeback": cli_chargebacks.chargeback,
    "account": cli_accounts.account,
    "trial-balance": cli_accounts.trial_balance,
    "journal": cli_accounts.journal,
    "approval": cli_risk.approval,
    "alert": cli_risk.alert,
    "export": cli_export.export,
    "period": cli_periods.period,
    "verify": cli_admin.verify,
    "backup": cli_backup.backup,
    "checkpoint": cli_checkpoints.checkpoint,
    "replay": cli_replay.replay,
    "diff": cli_replay.diff,
    "explain": cli_replay.explain,
    "snapshot": cli_snapshots.snapshot,
    "what-if": cli_what_if.what_if,
    "dossier": cli_dossier.dossier,
    "audit": cli_audit.audit,
    "settlement": cli_settlement.settlement,
    "bank": cli_bank.bank,
    "projection": cli_models.projection,
    "timer": cli_machinery.timer,
    "outbox": cli_machinery.outbox,
    "queue": cli_machinery.queue,
    "reactor": cli_machinery.reactor,
    "work": cli_machinery.work,
    "migrate": cli_admin.migrate,
    "config": cli_admin.config,
    "schema": cli_admin.schema,
    "version": cli_admin.version,
    "demo": Lazy(
        "demo",
        target=("orderledger.demo", "demo"),
        help_text="Run a shop's day and show what it left.",
    ),
}
for _name, _command in _GROUPS.items():
    main.add_command(_command, _name)
import_.add_command(
    Lazy(
        "online-retail",
        target=("orderledger.importers.online_retail", "online_retail"),
        help_text="Import the Online Retail data set.",
    )
)
