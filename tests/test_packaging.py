"""The wheel that users install: complete, under one name, and importable without the sources."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.built_wheel import build_wheel
from tests.source_tree import ROOT, SHIPPED, python_files, text_files


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel once, outside the source tree."""
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpack the wheel into an empty directory."""
    directory = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(directory)
    return directory


def _run(command: list[str], directory: Path) -> str:
    # PYTHONPATH or the current directory could supply the sources in place of the wheel.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command,
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout.strip()


def _in_the_wheel(path: str) -> str:
    return path if path.startswith("orderledger/") else f"orderledger/{path}"


def test_wheel_holds_every_module_and_sql_file(wheel: Path) -> None:
    """Catches a folder or data file that works from the sources and is missing once installed."""
    shipped = tuple(f"{name}/" for name in SHIPPED)
    expected = {_in_the_wheel(each.path) for each in python_files() if each.is_under(*shipped)}
    expected |= {
        _in_the_wheel(each.path)
        for each in text_files()
        if each.path.endswith((".sql", "guards.json", "py.typed")) and each.is_under(*shipped)
    }
    names = set(zipfile.ZipFile(wheel).namelist())
    assert sorted(expected - names) == []
    surplus = {name for name in names - expected if not name.startswith("orderledger-")}
    assert sorted(surplus) == []


def test_wheel_installs_one_name(wheel: Path) -> None:
    """Catches a top-level `ledger` or `replay`, which overwrites another distribution's files."""
    roots = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {root for root in roots if not root.endswith(".dist-info")} == {"orderledger"}


def test_wheel_brings_the_command_and_its_licence(wheel: Path) -> None:
    """Catches a console script or licence lost from the metadata."""
    archive = zipfile.ZipFile(wheel)
    (entry_points,) = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
    assert "orderledger = orderledger.cli:main" in archive.read(entry_points).decode()
    assert [name for name in archive.namelist() if name.endswith("licenses/LICENSE")]


def test_every_module_imports_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    """Catches an import that only the source folders satisfy, or one in a circle."""
    program = """
import importlib, pkgutil, sys
sys.meta_path[:] = [each for each in sys.meta_path if "editable" not in repr(each).lower()]
sys.path[:] = [path for path in sys.path if path and not path.startswith(sys.argv[2])]
sys.path.insert(0, sys.argv[1])
import orderledger
needs_a_framework = ("orderledger.contrib",)
for found in pkgutil.walk_packages(orderledger.__path__, "orderledger."):
    if found.name.startswith(needs_a_framework) or found.name.endswith("__main__"):
        continue
    module = importlib.import_module(found.name)
    assert module.__file__.startswith(sys.argv[1]), module.__file__
assert "ledger" not in sys.modules
print(orderledger.__file__)
"""
    # The virtual environment may lie inside the source tree; only the folders beside it are hidden.
    hidden = f"{ROOT}{os.sep}orderledger"
    command = [sys.executable, "-I", "-c", program, str(installed), hidden]
    assert _run(command, tmp_path) == str(installed / "orderledger" / "__init__.py")


def test_sql_files_are_found_in_the_wheel(installed: Path, tmp_path: Path) -> None:
    """Catches migrations looked up by a path of the source tree."""
    program = """
import importlib.resources, sys
sys.meta_path[:] = [each for each in sys.meta_path if "editable" not in repr(each).lower()]
sys.path.insert(0, sys.argv[1])
root = importlib.resources.files("orderledger.ledger").joinpath("sql")
print(sum(1 for engine in root.iterdir() for each in engine.iterdir()) if root.is_dir() else 0)
"""
    sources = [
        each
        for each in text_files()
        if each.is_under("ledger/sql/") and each.path.endswith((".sql", ".json"))
    ]
    counted = _run([sys.executable, "-I", "-c", program, str(installed)], tmp_path)
    assert int(counted) == len(sources)
