"""Write docs/cli.md from the commands: python -m tools.generate_cli_reference [--check]."""

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from orderledger.cli import Lazy, main

TARGET = Path(__file__).resolve().parent.parent / "docs" / "cli.md"
COMMON = {"url", "book", "is_json", "is_quiet", "help"}
HEAD = """\
# Command line

Generated from the commands by `python -m tools.generate_cli_reference`; a test compares.

The book is named by `--url` and `--book`, or by `ORDERLEDGER_URL` and `ORDERLEDGER_BOOK`. Answers
go to stdout: JSON with `--json` or where stdout is no terminal, tables otherwise or with `--table`.
Talk and progress go to stderr and are silenced by `--quiet`. These options come after any command.
An error is one line on stderr.

| Exit status | Meaning |
|--|--|
| 0 | done |
| 1 | findings, rejected by the domain, not found, history is wrong |
| 2 | wrong usage or malformed input; the answer cannot be written; `verify`: could not run |
| 3 | conflict with another writer, or with another command of the same key |
| 4 | the database is unavailable, or its schema is of another version |
"""


def document() -> str:
    """Return the whole text of docs/cli.md."""
    return "\n".join([HEAD, *_commands(main, ("orderledger",))])


def _commands(group: click.Group, path: tuple[str, ...]) -> Iterator[str]:
    for name, command in sorted(group.commands.items()):
        here = (*path, name)
        loaded = _loaded(command)
        if loaded is not command or not isinstance(loaded, click.Group):
            yield _section(loaded, here)
        if isinstance(loaded, click.Group):
            yield from _commands(loaded, here)


def _loaded(command: click.Command) -> click.Command:
    if not isinstance(command, Lazy):
        return command
    try:
        return command.load()
    except (click.ClickException, AttributeError):
        # Named by its summary alone while the module that brings it is not there.
        return click.Command(command.name, help=command.short_help, add_help_option=False)


def _section(command: click.Command, path: tuple[str, ...]) -> str:
    context = click.Context(command, info_name=" ".join(path))
    arguments = [one for one in command.params if isinstance(one, click.Argument)]
    options = [
        one for one in command.params if isinstance(one, click.Option) and one.name not in COMMON
    ]
    usage = " ".join([*path, *(one.make_metavar(ctx=context) for one in arguments)])
    lines = [f"## {' '.join(path[1:])}", "", f"    {usage}{' [OPTIONS]' if options else ''}", ""]
    lines += [_prose(command.help or ""), ""]
    if options:
        lines += ["| Option | Meaning |", "|--|--|"]
        lines += [_option(one, context) for one in options]
        lines.append("")
    return "\n".join(lines)


def _prose(text: str) -> str:
    paragraphs = [" ".join(part.split()) for part in text.strip().split("\n\n")]
    return "\n\n".join(paragraphs)


def _option(option: click.Option, context: click.Context) -> str:
    record = option.get_help_record(context)
    if record is None:
        return f"| `{'/'.join(option.opts)}` | |"
    names, meaning = record
    # A bar ends a cell even inside code.
    return f"| `{names.replace('|', chr(92) + '|')}` | {meaning} |"


def run(arguments: list[str]) -> int:
    """Write the file, or with --check compare; return the exit status."""
    text = document()
    if "--check" in arguments:
        is_current = TARGET.exists() and TARGET.read_text("utf-8") == text
        print("docs/cli.md is current" if is_current else "docs/cli.md is stale", file=sys.stderr)
        return 0 if is_current else 1
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
