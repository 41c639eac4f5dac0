"""House style as a unit test, with a ratchet: the lists of exceptions may only shrink."""

import ast
import re
from collections.abc import Mapping
from typing import Final

import pytest

from tests.source_tree import COMPONENTS, Source, python_files, shipped_files, text_files

FILE_LINES_MAX: Final = 600
FUNCTION_LINES_MAX: Final = 70
PARAMETERS_MAX: Final = 5

# Ratchets: "path" or "path::function" -> what it measures today. Lower a number when the code
# shrinks, remove the entry at the limit, add none.
LONG_FILES: Final[Mapping[str, int]] = {}
LONG_FUNCTIONS: Final[Mapping[str, int]] = {}
MANY_PARAMETERS: Final[Mapping[str, int]] = {}

BANNED_NAMES: Final = {"utils.py", "helpers.py", "common.py", "manager.py"}

PURE: Final = (
    re.compile(r"ledger/(?!migrate\.py|ids\.py|forks\.py)\w+\.py"),
    re.compile(
        r"commands/(model|values|decision|deciders|decide_\w+|\w+_commands|\w+_guards|order_\w+|escrow_follow|refund_funding|dispute_\w+|freezing|chargeback_\w+|payment_record|process_\w+|timers|reactors|effects|requests|gateway_requests|port_answers|ruling_\w+)\.py"
    ),
    re.compile(r"snapshots/policy\.py"),
    re.compile(r"replay/upcasters\.py"),
)
VALUE_MODULES: Final = {
    *("__future__", "abc", "base64", "binascii", "bisect", "collections", "contextlib", "copy"),
    *("dataclasses", "datetime", "decimal", "enum", "fractions", "functools", "graphlib"),
    *("hashlib", "heapq", "hmac", "html", "itertools", "json", "math", "operator", "re", "shlex"),
    *("string", "struct", "textwrap", "types", "typing", "unicodedata", "uuid", "zlib"),
    *("msgspec", "typing_extensions"),
}
# Time, ids and randomness come in as arguments; money never passes through a float.
IMPURE_NAMES: Final = {"open", "float", "print", "input", "eval", "exec"}
IMPURE_ATTRIBUTES: Final = {"now", "utcnow", "today", "uuid1", "uuid4", "uuid6", "uuid7"}

REPLAYED: Final = re.compile(r"(?:replay|projections|snapshots)/\w+\.py")
# Whoever drives projectors, keeps keys or writes files: what each may import beyond values. What is
# not listed answers from events alone; tests/replay/test_purity.py runs it with the world sealed.
DRIVERS: Final[Mapping[str, frozenset[str]]] = {
    "projections/ahead.py": frozenset({"concurrent"}),
    "projections/follow.py": frozenset({"concurrent", "orderledger.ledger.ids"}),
    "projections/read_models.py": frozenset({"time", "orderledger.ledger.ids"}),
    "projections/watchdog.py": frozenset({"faulthandler", "io", "os", "sys", "threading", "time"}),
    "projections/worker.py": frozenset({"logging", "threading", "time", "orderledger.ledger.ids"}),
    "replay/building.py": frozenset({"time", "orderledger.ledger.ids"}),
    "replay/checkpoint_targets.py": frozenset({"importlib", "os", "pathlib", "tempfile", "urllib"}),
    "replay/checkpoints.py": frozenset({"fcntl", "os", "pathlib"}),
    "replay/course.py": frozenset({"orderledger.ledger.ids"}),
    "replay/filling.py": frozenset({"concurrent", "gc"}),
    "replay/resuming.py": frozenset({"pathlib"}),
    "replay/signing.py": frozenset({"cryptography", "os", "pathlib"}),
    "replay/verify.py": frozenset({"pathlib"}),
    "replay/verify_dossier.py": frozenset({"argparse", "cryptography", "pathlib", "sys"}),
    "snapshots/rejections.py": frozenset({"logging", "threading"}),
    "snapshots/streams.py": frozenset({"logging", "threading"}),
}

# This file spells what it forbids.
ITSELF: Final = "tests/test_tidy.py"
MACHINE_PATH: Final = re.compile(r"(?<![\w.~-])/(?:work|root|tmp|home|Users)/\w")
REGISTRY_HOST: Final = re.compile(
    r"\b(?:pypi\.org|pythonhosted\.org|npmjs\.(?:org|com)|artifactory|jfrog\.io|devpi)\b"
)
UNFINISHED: Final = re.compile(r"\b(?:TODO|FIXME|XXX)\b")
# XXX is also the ISO 4217 code for "no currency".
CURRENCY_XXX: Final = re.compile(r"[\"'`]XXX[\"'`]|and XXX are")


def _ratchet(measured: dict[str, int], limit: int, allowed: Mapping[str, int]) -> list[str]:
    findings = [
        f"{name}: {size} is over {allowed.get(name, limit)}"
        for name, size in measured.items()
        if size > allowed.get(name, limit)
    ]
    for name, size in allowed.items():
        now = measured.get(name, 0)
        if now <= limit:
            findings.append(f"{name}: keeps the limit now, remove its exception")
        elif now < size:
            findings.append(f"{name}: lower its exception to {now}")
    return findings


def _expect_none(findings: list[str]) -> None:
    # pytest would show the first of them only.
    assert not findings, "\n" + "\n".join(findings)


def test_files_are_short() -> None:
    """Catches the 2,000-line module that mixes rules, locks and logs."""
    measured = {source.path: len(source.lines) for source in python_files()}
    _expect_none(_ratchet(measured, FILE_LINES_MAX, LONG_FILES))


def test_functions_are_short() -> None:
    """Catches a function that no reader can hold in the head."""
    measured = {
        f"{source.path}::{name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for source in python_files()
        for name, node in source.functions()
    }
    _expect_none(_ratchet(measured, FUNCTION_LINES_MAX, LONG_FUNCTIONS))


def test_parameters_are_few() -> None:
    """Catches calls whose arguments can be swapped unnoticed; a struct names its fields."""
    measured = {
        f"{source.path}::{name}": _parameter_count(node)
        for source in python_files()
        if not source.is_under("tests/")
        for name, node in source.functions()
    }
    _expect_none(_ratchet(measured, PARAMETERS_MAX, MANY_PARAMETERS))


def _parameter_count(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return sum(argument.arg not in {"self", "cls"} for argument in arguments)


def test_the_ratchet_only_shrinks() -> None:
    """Catches a ratchet that lets an exception grow, linger or cover what has become short."""
    assert _ratchet({"a": 8}, 5, {}) == ["a: 8 is over 5"]
    assert _ratchet({"a": 8}, 5, {"a": 7}) == ["a: 8 is over 7"]
    assert _ratchet({"a": 6}, 5, {"a": 7}) == ["a: lower its exception to 6"]
    assert _ratchet({"a": 5}, 5, {"a": 7}) == ["a: keeps the limit now, remove its exception"]
    assert _ratchet({}, 5, {"a": 7}) == ["a: keeps the limit now, remove its exception"]
    assert _ratchet({"a": 7}, 5, {"a": 7}) == []


def test_file_names_say_something() -> None:
    """Catches a drawer that collects whatever fits nowhere."""
    names = [source.path for source in text_files()]
    _expect_none([name for name in names if name.rpartition("/")[2] in BANNED_NAMES])


def test_nothing_is_left_unfinished() -> None:
    """Catches a note to oneself that ships."""
    _expect_none(
        [
            f"{source.path}:{number}: {line.strip()}"
            for source in python_files()
            if source.path != ITSELF
            for number, line in enumerate(source.lines, 1)
            if UNFINISHED.search(CURRENCY_XXX.sub("", line))
        ]
    )


def test_ignored_types_name_their_code_and_reason() -> None:
    """Catches an ignore that hides every present and future type error of its line."""
    ignore = re.compile(r"#\s*(?:type|pyright):\s*ignore")
    reasoned = re.compile(r"#\s*(?:type|pyright):\s*ignore\[[\w, -]+\]\s+#\s*\w")
    findings = []
    for source in python_files():
        for number, line in enumerate(source.lines, 1):
            is_fine = reasoned.search(line) and not source.is_under("ledger/")
            if ignore.search(line) and not is_fine and source.path != ITSELF:
                findings.append(f"{source.path}:{number}: {line.strip()}")
    _expect_none(findings)


def test_components_are_imported_under_one_name() -> None:
    """Catches `import ledger`, which makes a second identity of every class."""
    _expect_none(
        [
            f"{source.path}:{line}: {name}"
            for source in python_files()
            for line, name in source.imports()
            if name.partition(".")[0] in COMPONENTS
        ]
    )


def test_no_relative_import_leaves_its_component() -> None:
    """Catches `from ..ledger import`, which works on one of the two layouts only."""
    findings = []
    for source in shipped_files():
        depth = source.path.count("/")
        for node in ast.walk(source.tree):
            if isinstance(node, ast.ImportFrom) and node.level > depth:
                findings.append(f"{source.path}:{node.lineno}")
    _expect_none(findings)


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("eventsourcing", ("ledger/stores/", "projections/runner.py")),
        ("sqlite3", ("ledger/stores/", "ledger/migrate.py")),
        ("psycopg", ("ledger/stores/", "ledger/migrate.py")),
        ("psycopg_pool", ("ledger/stores/",)),
        ("opentelemetry", ("orderledger/",)),
        ("click", ("orderledger/",)),
        ("rich", ("orderledger/",)),
    ],
)
def test_libraries_stay_where_they_belong(module: str, allowed: tuple[str, ...]) -> None:
    """Catches a driver or framework leaking into the rules, where it could not be replaced."""
    _expect_none(
        [
            f"{source.path}:{line}: {name}"
            for source in shipped_files()
            if not source.is_under(*allowed)
            for line, name in source.imports()
            if name.partition(".")[0] == module
        ]
    )


def _pure_files() -> list[Source]:
    return [
        source
        for source in shipped_files()
        if any(pattern.fullmatch(source.path) for pattern in PURE)
    ]


def test_pure_files_import_values_only() -> None:
    """Catches a rule that reads a clock, a file, a random number or a database."""
    pure = {_module_name(source) for source in _pure_files()}
    findings = []
    for source in _pure_files():
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = _imported_modules(source, node)
            else:
                continue
            findings += [
                f"{source.path}:{node.lineno}: {name}"
                for name in names
                if name not in pure and name.partition(".")[0] not in VALUE_MODULES
            ]
    _expect_none(findings)


def _module_name(source: Source) -> str:
    name = source.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    return name if name.startswith("orderledger") else f"orderledger.{name}"


def _imported_modules(source: Source, node: ast.ImportFrom) -> list[str]:
    module = node.module or ""
    if node.level:
        parts = ["orderledger", *source.path.split("/")[: -node.level]]
        module = ".".join([*parts, module] if module else parts)
    if module in {"orderledger", *(f"orderledger.{name}" for name in COMPONENTS)}:
        # `from . import money` imports modules, not what the package itself defines.
        return [f"{module}.{alias.name}" for alias in node.names]
    return [module]


def test_pure_files_use_no_clock_file_or_float() -> None:
    """Catches a fold that gives another state tomorrow, or money that went through a float."""
    findings = []
    for source in _pure_files():
        for node in ast.walk(source.tree):
            is_impure = (
                (isinstance(node, ast.Name) and node.id in IMPURE_NAMES)
                or (isinstance(node, ast.Attribute) and node.attr in IMPURE_ATTRIBUTES)
                or (isinstance(node, ast.Constant) and isinstance(node.value, float))
            )
            if is_impure and isinstance(node, ast.expr):
                findings.append(f"{source.path}:{node.lineno}: {ast.unparse(node)}")
    _expect_none(findings)


def test_replay_imports_values_only() -> None:
    """Catches a projector or an answer about the past that can reach clock, file or socket."""
    found: dict[str, set[str]] = {}
    for source in shipped_files():
        if REPLAYED.fullmatch(source.path):
            found[source.path] = {
                name
                for _, name in source.imports()
                if name.partition(".")[0] not in VALUE_MODULES
                and (name == "orderledger.ledger.ids" or not name.startswith("orderledger"))
            }
    reached = {path: {_outermost(name) for name in names} for path, names in found.items()}
    _expect_none(
        [
            f"{path}: {name}"
            for path, names in reached.items()
            for name in sorted(names - DRIVERS.get(path, frozenset()))
        ]
    )
    _expect_none(
        [
            f"{path}: {name} is imported no more, take it out"
            for path, names in DRIVERS.items()
            for name in sorted(names - reached.get(path, set()))
        ]
    )


def _outermost(name: str) -> str:
    return name if name.startswith("orderledger") else name.partition(".")[0]


def test_replay_reads_no_clock() -> None:
    """Catches an instant of the machine in an answer about the past, which differs tomorrow."""
    findings = []
    for source in shipped_files():
        if not REPLAYED.fullmatch(source.path) or source.path in DRIVERS:
            continue
        for node in ast.walk(source.tree):
            is_impure = (
                isinstance(node, ast.Attribute)
                and node.attr in IMPURE_ATTRIBUTES
                and ast.unparse(node.value).rpartition(".")[2] in {"date", "datetime", "uuid"}
            ) or (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in {"open", "input", "eval", "exec"}
            )
            if is_impure and isinstance(node, ast.expr):
                findings.append(f"{source.path}:{node.lineno}: {ast.unparse(node)}")
    _expect_none(findings)


def test_nothing_names_a_machine() -> None:
    """Catches a path or an index of the machine it was written on, which no other machine has."""
    _expect_none(
        [
            f"{source.path}:{number}: {line.strip()}"
            for source in text_files()
            if source.path != ITSELF
            for number, line in enumerate(source.lines, 1)
            if MACHINE_PATH.search(line) or REGISTRY_HOST.search(line)
        ]
    )


def test_every_test_says_what_it_catches() -> None:
    """Catches a test whose purpose nobody knows, so that nobody dares to change it."""
    _expect_none(
        [
            f"{source.path}::{name}"
            for source in python_files()
            if source.is_under("tests/") and source.path.rpartition("/")[2].startswith("test_")
            for name, node in source.functions()
            if name.rpartition(".")[2].startswith("test_") and not ast.get_docstring(node)
        ]
    )


def test_every_shipped_module_has_a_docstring() -> None:
    """Catches a file that does not say what it is for."""
    _expect_none([source.path for source in shipped_files() if not ast.get_docstring(source.tree)])
