"""Every block of the documentation runs: README.md, docs/*.md and the docstrings.

In Markdown, ```python blocks of one document run in order in one namespace, and ```console blocks
run every line that starts with `$ `. Output lines under a command are compared, `...` matches
anything; so is a ```text block with what the ```python block before it printed. Both run in an
empty directory of the document. A URL that starts with `postgresql://` is replaced by one of a
real, fresh database. A ```python block that begins with a comment like `# shop.py` is written to
that file instead. `<!-- skip: next -->` before a block leaves it out.
"""

import contextlib
import doctest
import importlib
import io
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sybil import Document, Example
from sybil.parsers.markdown import CodeBlockParser, SkipParser

from tests.source_tree import ROOT, Source, shipped_files

POSTGRES_URL = re.compile(r"postgresql://[^\s\"'`<>)]*")
# What an installation does is tested by the installation; here it would only repeat it.
NOT_RUN = re.compile(r"(?:pip|uv|make|git|cd|source|\.ci/run)\b")
COMMAND_TIMEOUT_S = 120
FILE = re.compile(r"# (?P<name>\w+\.py)\n")
PRINTED = "__printed__"
DOCUMENTS = [
    pytest.param(
        path,
        id=path.relative_to(ROOT).as_posix(),
        marks=[pytest.mark.pg] if POSTGRES_URL.search(path.read_text("utf-8")) else [],
    )
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md")))
]
INSTANT = re.compile(r"20\d\d-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d{6})?Z?")

UrlSource = Callable[[], str]


@pytest.fixture
def postgres_url(request: pytest.FixtureRequest) -> UrlSource:
    """Give a function that starts PostgreSQL only for a document that names it."""

    def url() -> str:
        return str(request.getfixturevalue("pg_url"))

    return url


def _with_database(text: str, postgres_url: UrlSource) -> str:
    return POSTGRES_URL.sub(lambda _: postgres_url(), text) if POSTGRES_URL.search(text) else text


def _python_runner(postgres_url: UrlSource) -> Callable[[Example], None]:
    def run(example: Example) -> None:
        source = _with_database(example.parsed, postgres_url)
        if file := FILE.match(source):
            Path(file["name"]).write_text(source, "utf-8")
            return
        # Blank lines in front, so that a traceback names the line of the document.
        padding = "\n" * (example.line + example.parsed.line_offset)
        code = compile(padding + source, example.path, "exec", dont_inherit=True)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, example.namespace)
        example.namespace[PRINTED] = printed.getvalue()

    return run


def _compare_printed(example: Example) -> None:
    printed = example.namespace.pop(PRINTED, "")
    if printed:
        _compare(example, "print", example.parsed, printed)


def _compare(example: Example, command: str, expected: str, output: str) -> None:
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    # A reader sees an instant as it is printed; it differs in every run.
    want, got = (INSTANT.sub("<instant>", text) for text in (expected, output))
    assert doctest.OutputChecker().check_output(want, got, options), (
        f"{example.path}:{example.line}: $ {command}\nexpected:\n{expected}\ngot:\n{output}"
    )


def _console_runner(postgres_url: UrlSource) -> Callable[[Example], None]:
    def run(example: Example) -> None:
        for command, expected in _commands(example.parsed):
            if NOT_RUN.match(command):
                continue
            output = _run_command(_with_database(command, postgres_url))
            if expected:
                _compare(example, command, expected, output)

    return run


def _commands(block: str) -> Iterator[tuple[str, str]]:
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        # A backslash continues a command on the next line.
        command = re.match(r"(?:[^\n]*\\\n)*[^\n]*", part)
        assert command is not None
        yield command.group(), part[command.end() :].lstrip("\n")


def _run_command(command: str) -> str:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": "",
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, f"$ {command}\n{done.stdout}{done.stderr}"
    return done.stdout


def _check_document(path: Path, postgres_url: UrlSource) -> int:
    runners = {"python": _python_runner(postgres_url), "console": _console_runner(postgres_url)}
    blocks = [CodeBlockParser(language, run) for language, run in runners.items()]
    blocks.append(CodeBlockParser("text", _compare_printed))
    document = Document.parse(str(path), SkipParser(), *blocks)
    document.namespace["__name__"] = "__main__"
    count = 0
    for example in document.examples():
        example.evaluate()
        count += 1
    return count


@pytest.mark.parametrize("path", DOCUMENTS)
def test_document(
    path: Path,
    postgres_url: UrlSource,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Catches documentation that no longer works when a reader copies it."""
    monkeypatch.chdir(tmp_path)
    _check_document(path, postgres_url)


def _with_examples() -> list[Source]:
    return [source for source in shipped_files() if ">>> " in source.text]


@pytest.mark.parametrize("source", _with_examples(), ids=lambda source: source.path)
def test_docstrings(source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches an example in a docstring that shows what the code no longer does."""
    name = source.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    if not name.startswith("orderledger"):
        name = f"orderledger.{name}"
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.attempted > 0
    assert result.failed == 0


def test_the_runner_fails_on_a_broken_block(tmp_path: Path) -> None:
    """Catches a runner that collects nothing and passes everything."""

    def no_database() -> str:
        raise AssertionError("no block here names a database")

    document = tmp_path / "broken.md"
    document.write_text("```python\nvalue = 1\n```\n\n```python\nassert value == 2\n```\n")
    with pytest.raises(AssertionError):
        _check_document(document, no_database)
    document.write_text("```console\n$ echo one\ntwo\n```\n")
    with pytest.raises(AssertionError, match="expected"):
        _check_document(document, no_database)
    document.write_text("```console\n$ false\n```\n")
    with pytest.raises(AssertionError, match="false"):
        _check_document(document, no_database)
    document.write_text("```python\nprint(1)\n```\n\n```text\n2\n```\n")
    with pytest.raises(AssertionError, match="expected"):
        _check_document(document, no_database)
    document.write_text(
        "```python\nimport os\n```\n<!-- skip: next -->\n```python\n1 / 0\n```\n"
        "```console\n$ echo one \\\n  two\none ...\n$ make demo\n```\n"
    )
    assert _check_document(document, no_database) == 4
