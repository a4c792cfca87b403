"""Keeps what user agents say, in memory and in a file that outlives the process.

A new agent costs about a millisecond, a known one a look-up."""

import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from rules.prepared import Agent
from rules.user_agents import DETECTOR_VERSION, detect

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Agent).decode

Key = tuple[str, str]


class AgentCache:
    """Answers of `detect`; the file holds those of one version of the detector and is only an aid: without
    it, or when it can't be read or written, answers are the same and slower."""

    def __init__(
        self,
        path: Path | None,
        *,
        max_in_memory: int = 20_000,
        max_in_file: int = 1_000_000,
        detect: Callable[[str, str], Agent] = detect,
        version: str = DETECTOR_VERSION,
    ) -> None:
        self._max_in_memory = max_in_memory
        self._max_in_file = max_in_file
        self._detect = detect
        # Two generations: the old one is dropped when the new one is half full. A hit in the new one is one
        # look-up in a dict, without the bookkeeping of a list of recent uses.
        self._recent: dict[Key, Agent] = {}
        self._older: dict[Key, Agent] = {}
        self._unwritten: dict[Key, Agent] = {}
        self._file = None if path is None else _open(path, version)
        self.detected = 0
        """How many agents had to be detected."""

    def get(self, user_agent: str, client_hints: str) -> Agent:
        key = (user_agent, client_hints)
        agent = self._recent.get(key)
        return agent if agent is not None else self._get_slowly(key)

    def _get_slowly(self, key: Key) -> Agent:
        agent = self._older.get(key) or self._stored(key)
        if agent is None:
            self.detected += 1
            agent = self._detect(*key)
            if self._file is not None:
                self._unwritten[key] = agent
        if len(self._recent) >= self._max_in_memory // 2:
            self._older = self._recent
            self._recent = {}
        self._recent[key] = agent
        return agent

    def _stored(self, key: Key) -> Agent | None:
        if agent := self._unwritten.get(key):
            return agent
        if self._file is None:
            return None
        try:
            row = self._file.execute(
                "SELECT agent FROM agents WHERE user_agent = ? AND client_hints = ?", key
            ).fetchone()
            return None if row is None else _decode(row[0])
        except (sqlite3.Error, UnicodeEncodeError, msgspec.MsgspecError):
            return None

    def flush(self) -> None:
        """Writes the new answers to the file, in one transaction."""
        unwritten, self._unwritten = self._unwritten, {}
        if self._file is None or not unwritten:
            return
        rows = [(*key, _encode(agent)) for key, agent in unwritten.items() if _is_storable(key)]
        try:
            with self._file:
                self._file.executemany("INSERT OR REPLACE INTO agents VALUES (?, ?, ?)", rows)
                # The oldest rows go first.
                self._file.execute(
                    "DELETE FROM agents WHERE rowid <= (SELECT max(rowid) FROM agents) - ?",
                    (self._max_in_file,),
                )
        except sqlite3.Error:
            return

    def forget(self, agents: Iterable[Key]) -> None:
        """Take agents out of memory and file: a user agent may name a device. Whoever has the same one costs
        a detection again."""
        keys = set(agents)
        for key in keys:
            for known in (self._recent, self._older, self._unwritten):
                known.pop(key, None)
        if self._file is None or not keys:
            return
        try:
            with self._file:
                self._file.executemany(
                    "DELETE FROM agents WHERE user_agent = ? AND client_hints = ?",
                    [key for key in keys if _is_storable(key)],
                )
            self._file.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.Error:
            return

    def close(self) -> None:
        self.flush()
        if self._file is not None:
            self._file.close()
            self._file = None


def _is_storable(key: Key) -> bool:
    try:
        "".join(key).encode()
    except UnicodeEncodeError:
        return False
    return True


def _open(path: Path, version: str) -> sqlite3.Connection | None:
    """The file's connection, its table emptied when another version's answers are in it; None when it can't
    be used. A damaged file is replaced."""
    for attempt in range(2):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = sqlite3.connect(path, timeout=5, check_same_thread=False)
            try:
                file.execute("PRAGMA journal_mode = WAL")
                # A lost answer is detected again.
                file.execute("PRAGMA synchronous = OFF")
                # What is forgotten is overwritten.
                file.execute("PRAGMA secure_delete = ON")
                with file:
                    file.execute("CREATE TABLE IF NOT EXISTS detector (version TEXT NOT NULL)")
                    file.execute(
                        "CREATE TABLE IF NOT EXISTS agents (user_agent TEXT NOT NULL, client_hints TEXT "
                        "NOT NULL, agent BLOB NOT NULL, PRIMARY KEY (user_agent, client_hints))"
                    )
                    if file.execute("SELECT version FROM detector").fetchall() != [(version,)]:
                        file.execute("DELETE FROM agents")
                        file.execute("DELETE FROM detector")
                        file.execute("INSERT INTO detector VALUES (?)", (version,))
            except sqlite3.Error:
                file.close()
                raise
            return file
        except sqlite3.DatabaseError as error:
            if attempt or isinstance(error, sqlite3.OperationalError):
                return None
            path.unlink(missing_ok=True)
        except OSError:
            return None
    return None
