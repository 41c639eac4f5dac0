"""
Where checkpoints are published: a directory, or whatever fsspec reaches by URL.

It must be out of reach of whoever could rewrite the database; what it holds is only ever added to,
but for the newest checkpoint.
"""

import os
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import unquote, urlsplit

from orderledger.ledger.errors import InvalidInput, Unavailable

NEWEST: Final = "checkpoint"


class CheckpointTarget(Protocol):
    """Small texts by name. Raises Unavailable where the target cannot be reached or written."""

    @property
    def where(self) -> str:
        """The path or URL, for messages."""
        ...

    def read(self, name: str) -> str | None:
        """Return a text, or None where there is none of this name."""
        ...

    def write(self, name: str, text: str) -> None:
        """Write a text whole or not at all, in place of one of the same name."""
        ...

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder, sorted; none where there is no such folder."""
        ...


class DirectoryTarget:
    """A directory; made when something is first written."""

    def __init__(self, path: Path) -> None:
        self._path: Final = path

    @property
    def where(self) -> str:
        return str(self._path)

    def read(self, name: str) -> str | None:
        try:
            return (self._path / name).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unreachable(self.where, error) from error

    def write(self, name: str, text: str) -> None:
        path = self._path / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
            try:
                with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                    file.write(text)
                    file.flush()
                    os.fsync(file.fileno())
                Path(temporary).chmod(0o644)
                Path(temporary).replace(path)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
            _sync_directory(path.parent)
        except OSError as error:
            raise _unreachable(self.where, error) from error

    def names(self, folder: str) -> list[str]:
        try:
            found = [one.name for one in (self._path / folder).iterdir()]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _unreachable(self.where, error) from error
        return sorted([name for name in found if not name.startswith(".")])


class FsspecTarget:
    """A folder of any file system that fsspec knows (s3://, gs://, sftp://, memory://)."""

    def __init__(self, url: str) -> None:
        try:
            core: Any = import_module("fsspec.core")
        except ModuleNotFoundError as error:
            raise InvalidInput(
                f"publishing to {url} needs fsspec: install orderledger[archive]", url=url
            ) from error
        try:
            filesystem, path = core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise InvalidInput(f"{url} cannot be reached: {error}", url=url) from error
        self._files: Final[Any] = filesystem
        self._path: Final[str] = path
        self._url: Final = url

    @property
    def where(self) -> str:
        return self._url

    def read(self, name: str) -> str | None:
        try:
            data: bytes = self._files.cat_file(f"{self._path}/{name}")
        except FileNotFoundError:
            return None
        except Exception as error:  # a file system may raise anything
            raise _unreachable(self.where, error) from error
        return data.decode("utf-8", errors="replace")

    def write(self, name: str, text: str) -> None:
        path = f"{self._path}/{name}"
        try:
            self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
            self._files.pipe_file(path, text.encode())
        except Exception as error:  # as above
            raise _unreachable(self.where, error) from error

    def names(self, folder: str) -> list[str]:
        try:
            found: list[str] = self._files.ls(f"{self._path}/{folder}", detail=False)
        except FileNotFoundError:
            return []
        except Exception as error:  # as above
            raise _unreachable(self.where, error) from error
        return sorted([path.rstrip("/").rpartition("/")[2] for path in found])


def target_of(where: str) -> CheckpointTarget:
    """
    Return the target of a directory's path, a ``file:`` URL, or a URL that fsspec knows.

    Raises InvalidInput.
    """
    parts = urlsplit(where)
    if parts.scheme == "file":
        return DirectoryTarget(Path(unquote(parts.path)))
    if "://" in where:
        return FsspecTarget(where)
    if not where:
        raise InvalidInput("a target is a directory or a URL, not nothing")
    return DirectoryTarget(Path(where))


def _unreachable(where: str, error: Exception) -> Unavailable:
    return Unavailable(
        f"the target {where} cannot be read or written: {error}; nothing was signed in vain, run "
        "it again",
        target=where,
    )


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
