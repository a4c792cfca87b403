"""The data directory as a whole: who holds it, which version wrote it, the token kept in it.

lock          held with flock by the supervisor; holds its process number
format.json   {"format": 1, "written_by": "0.1.0"}
admin_token   mode 0600
instance.json addresses of the running instance, for the other commands
"""

import fcntl
import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from hitstream import __version__

FORMAT = 1


class DataDirectoryError(Exception):
    """The directory can't be used; the message says why and the way out."""


@dataclass(frozen=True)
class Instance:
    """Where the running instance answers."""

    url: str
    sql_url: str
    pid: int


def open_data_directory(path: Path) -> IO[str]:
    """Create the directory when missing, check its format, take its lock.

    The lock lasts as long as the returned file is open. Raises DataDirectoryError."""
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o750)
        lock = (path / "lock").open("a+")
    except OSError as error:
        raise DataDirectoryError(
            f"can't write to the data directory {path}: {error.strerror};"
            " make it writable or set HITSTREAM_DATA_DIR"
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.seek(0)
        holder = lock.read().strip() or "unknown"
        lock.close()
        raise DataDirectoryError(
            f"another process holds {path}: hitstream up, pid {holder}; stop it or set HITSTREAM_DATA_DIR"
        ) from None
    try:
        check_format(path)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
    except OSError as error:
        lock.close()
        raise DataDirectoryError(
            f"can't write to the data directory {path}: {error.strerror};"
            " free some space or set HITSTREAM_DATA_DIR"
        ) from None
    except DataDirectoryError:
        lock.close()
        raise
    return lock


def check_format(path: Path) -> None:
    """Write the format of a new directory, refuse one of a newer program."""
    file = path / "format.json"
    if not file.exists():
        write_atomically(file, json.dumps({"format": FORMAT, "written_by": __version__}))
        return
    try:
        found = json.loads(file.read_text())
        number, writer = int(found["format"]), str(found.get("written_by", "?"))
    except (ValueError, KeyError, TypeError):
        raise DataDirectoryError(
            f"{file} is not readable: expected the format of the data;"
            " restore it or use another HITSTREAM_DATA_DIR"
        ) from None
    if number > FORMAT:
        raise DataDirectoryError(
            f"{path} was written by the newer Hitstream {writer} (data format {number}, this one knows"
            f" {FORMAT}): start that version, or set HITSTREAM_DATA_DIR to another directory"
        )


def write_atomically(file: Path, text: str, mode: int = 0o644) -> None:
    """Readers see the old text or the new one, also after a crash."""
    temporary = file.with_name(file.name + ".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    temporary.replace(file)


def stored_token(path: Path) -> str:
    """The token kept in the directory, or empty."""
    try:
        return (path / "admin_token").read_text().strip()
    except OSError:
        return ""


def admin_token(path: Path, configured: str) -> str:
    """The configured token, else the one kept in the directory, made on first use.

    A configured token is kept too, so that the other commands find it."""
    token = configured or stored_token(path) or secrets.token_hex(16)
    if token != stored_token(path):
        write_atomically(path / "admin_token", token + "\n", mode=0o600)
    return token


def announce(path: Path, instance: Instance) -> None:
    """Write down where the instance answers."""
    write_atomically(path / "instance.json", json.dumps(asdict(instance)))


def withdraw(path: Path) -> None:
    """Nobody answers any more."""
    (path / "instance.json").unlink(missing_ok=True)


def running_instance(path: Path) -> Instance | None:
    """Where the instance on this directory answers; None when none was announced."""
    try:
        return Instance(**json.loads((path / "instance.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None
