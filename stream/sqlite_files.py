"""SQLite files as the embedded log uses them: opening, durable creation, locks, checkpoints, errors."""

import contextlib
import fcntl
import itertools
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from stream.protocol import LogError, LogInUseError

BUSY_TIMEOUT_S = 10.0
READ_THROUGH_S = 10.0


@contextlib.contextmanager
def translate_errors(path: Path, doing: str) -> Iterator[None]:
    """Turns what SQLite and the file system raise into LogError, with the file and what was tried."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise LogError(f"{doing} {path} failed: {error}") from error


def open_writer(path: Path, cache_bytes: int, journal_size_limit: int) -> sqlite3.Connection:
    """The one writing connection of an existing file. Checkpoints are ours to start, never a commit's."""
    connection = _connect(path)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute(f"PRAGMA journal_size_limit = {journal_size_limit}")
    connection.execute(f"PRAGMA cache_size = {-max(64, cache_bytes // 1024)}")
    # Some builds overwrite deleted content with zeros by default, which writes every deleted page again.
    connection.execute("PRAGMA secure_delete = OFF")
    return connection


def open_reader(path: Path) -> sqlite3.Connection:
    """A reading connection. Statements must be run to their end or closed: an open one pins the WAL."""
    connection = _connect(path)
    connection.execute("PRAGMA query_only = ON")
    return connection


def open_finished(path: Path) -> sqlite3.Connection:
    """A reading connection to a file that nobody will ever change and that has nothing in a WAL: it takes no
    locks and creates no files, so it also opens on a full disk."""
    return _connect(path, "mode=ro&immutable=1")


def _connect(path: Path, options: str = "mode=rw") -> sqlite3.Connection:
    # mode=rw: a file that retention or a reset removed must not be created again, empty.
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?{options}",
        uri=True,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=512,
    )


def create_file(path: Path, page_size: int, schema: Callable[[sqlite3.Connection], object]) -> None:
    """Creates a file that appears under its name only when its schema is durable."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    unlink_database(draft)
    connection = sqlite3.connect(draft, isolation_level=None)
    try:
        connection.execute(f"PRAGMA page_size = {page_size}")
        connection.execute("PRAGMA auto_vacuum = NONE")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("BEGIN IMMEDIATE")
        schema(connection)
        connection.execute("COMMIT")
    except BaseException:
        connection.close()
        unlink_database(draft)
        raise
    connection.close()  # the last connection checkpoints and removes the WAL
    os.rename(draft, path)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(path: Path) -> None:
    """Creates a directory whose parent exists, durably."""
    if not path.is_dir():
        path.mkdir(exist_ok=True)
        sync_directory(path.parent)


def write_small_file(path: Path, content: bytes, *, durable: bool) -> None:
    """Replaces a file at once: readers see the old or the new content."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    with open(draft, "wb") as file:
        file.write(content)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    os.replace(draft, path)
    if durable:
        sync_directory(path.parent)


def unlink_database(path: Path) -> None:
    """Removes a file with its WAL; connections that have it open keep reading what they have."""
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def wal_bytes(path: Path) -> int:
    try:
        return os.stat(f"{path}-wal").st_size
    except FileNotFoundError:
        return 0


class FileLock:
    """An exclusive lock on a file, held until closed or until the process ends, however it ends."""

    def __init__(self, path: Path, what: str) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(self._descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(self._descriptor)
            raise LogInUseError(
                f"{what} is in use by process {holder} ({path}); stop that process first, or use another"
                " data directory"
            ) from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, str(os.getpid()).encode(), 0)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def lock_appender(path: Path, topic: str, number: int) -> FileLock:
    """The lock of a topic's appender with this number; `path` is that of number 0. Raises LogInUseError."""
    if number == 0:
        return FileLock(path, f"Topic {topic} of the log")
    return FileLock(path.with_name(f"{path.name}{number}"), f"Appender {number} of topic {topic} of the log")


class Turn:
    """Held by one thread of one process at a time, for the length of a `with`; a process that ends gives it
    up. `as` tells whether another process had it since it was held here: nothing that it may have changed is
    known then."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._mutex = threading.Lock()
        self._mine = os.urandom(8)

    def __enter__(self) -> bool:
        self._mutex.acquire()
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            had_others = os.pread(self._descriptor, 8, 0) != self._mine
            if had_others:
                # Before anything is done: who dies in its turn has had it.
                os.pwrite(self._descriptor, self._mine, 0)
            return had_others
        except BaseException:
            self._mutex.release()
            raise

    def __exit__(self, *_error: object) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        self._mutex.release()

    def close(self) -> None:
        os.close(self._descriptor)


class Bell:
    """Tells other processes that something was committed: 16 bytes in a file, new ones at every ring.

    Looking costs a microsecond, where asking every SQLite file for its version costs two hundred. It is
    only a hint: a process may die between its commit and its ring, so look at the files themselves
    now and then."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "a+b", buffering=0)  # noqa: SIM115 - closed by close
        self._file.close()
        self._file = open(path, "r+b", buffering=0)  # noqa: SIM115
        self._mine = os.urandom(8)
        self._rings = itertools.count()

    def ring(self) -> None:
        # A full disk or a closed log: those who listen find out a little later.
        with contextlib.suppress(OSError, ValueError):
            os.pwrite(self._file.fileno(), self._mine + next(self._rings).to_bytes(8, "big"), 0)

    def look(self) -> bytes:
        """What the last ring left; empty when nobody has rung."""
        try:
            return os.pread(self._file.fileno(), 16, 0)
        except (OSError, ValueError):
            return b""

    def close(self) -> None:
        self._file.close()


class Background:
    """One thread that runs maintenance (checkpoints, retention) out of the way of commits."""

    def __init__(self, name: str) -> None:
        self._wanted: dict[object, Callable[[], object]] = {}
        self._condition = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, key: object, task: Callable[[], object]) -> None:
        """Runs `task` soon; nothing when one with the same key is still waiting. Tasks report their own
        failures: an error of the file system here comes again at the next commit."""
        with self._condition:
            self._wanted.setdefault(key, task)
            self._condition.notify()

    def close(self) -> None:
        """Finishes what waits."""
        with self._condition:
            self._closed = True
            self._condition.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._condition:
                while not self._wanted and not self._closed:
                    self._condition.wait()
                if not self._wanted:
                    return
                key = next(iter(self._wanted))
                task = self._wanted.pop(key)
            with contextlib.suppress(sqlite3.Error, OSError, LogError):
                task()


def checkpoint_finished(path: Path) -> None:
    """Copies the WAL of a file that nobody writes to any more, and empties it, also when readers have it open
    (they are short). Raises OSError when one is in its middle for long."""
    if not wal_bytes(path):
        return
    connection = _connect(path)
    deadline = time.monotonic() + READ_THROUGH_S
    try:
        connection.execute("PRAGMA synchronous = FULL")
        while wal_bytes(path):
            # At once without success while another process does the same.
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            if time.monotonic() > deadline:
                raise OSError(f"the WAL of {path} is being read for {READ_THROUGH_S:.0f} s")
    finally:
        connection.close()


def checkpoint_passive(path: Path, attempts: int = 4) -> bool:
    """Copies the WAL into the file beside a running writer; True when nothing was left to copy, so that the
    writer's next commit starts the WAL anew.

    The first pass does the work; the short ones after it catch up with what was committed meanwhile."""
    if not path.exists():
        return True
    connection = _connect(path)
    try:
        connection.execute("PRAGMA synchronous = FULL")
        for _ in range(attempts):
            _, frames, copied = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if frames == copied:
                return True
        return False
    finally:
        connection.close()
