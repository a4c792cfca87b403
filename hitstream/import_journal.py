"""What was imported of which log file: so that a file imported twice, grown or rotated counts once.

A file is known by its content, not its name: the digest of its first line finds the record, the digest of
all lines up to the committed one proves that it is the same file. Before hits are sent their line numbers are
written down, after the answer they are committed; lines in between (the importer or the instance was killed)
are looked up in the raw hits, where each carries its file and line.
"""

import hashlib
import json
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from hitstream.data_directory import write_atomically


@dataclass(frozen=True)
class ImportRecord:
    """One file imported into one site choice. Line numbers count from 1."""

    file_id: str
    """First 16 hex digits of the digest of the first line."""
    scope: str
    """The site, or "hosts" where the host name of a line decides."""
    lines: int = 0
    """Lines up to here are imported or were left out by choice."""
    digest: str = ""
    """Of the lines up to `lines`."""
    sending_to: int = 0
    """Lines after `lines` up to here may have arrived; 0: none are under way."""
    since: float = 0.0
    """Unix seconds before which none of those was sent."""
    generation: int = 0
    """Tells files with equal first lines apart, and repeated imports of one file."""


def file_id_of(first_line: bytes) -> str:
    """16 hex digits."""
    return hashlib.sha256(first_line).hexdigest()[:16]


class ImportJournal:
    """The records of one instance, one small JSON file each. One importer per file at a time."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def _file(self, record: ImportRecord) -> Path:
        return self._directory / f"{record.file_id}-{record.scope}-{record.generation}.json"

    def find(self, file_id: str, scope: str) -> list[ImportRecord]:
        """Records of files with this first line, by generation."""
        found = []
        for path in sorted(self._directory.glob(f"{file_id}-{scope}-*.json")):
            found.append(ImportRecord(**json.loads(path.read_text())))
        return sorted(found, key=lambda record: record.generation)

    def save(self, record: ImportRecord, now: float) -> None:
        """Durable when it returns.

        `since` is set here: at the first save with these lines under way, and kept when the same lines are
        sent anew after an interruption."""
        self._directory.mkdir(parents=True, exist_ok=True)
        file, since = self._file(record), 0.0
        if record.sending_to:
            before = ImportRecord(**json.loads(file.read_text())) if file.exists() else None
            resumed = before is not None and before.lines == record.lines and before.since > 0
            since = before.since if before is not None and resumed else now
        write_atomically(file, json.dumps(asdict(replace(record, since=since))))


def journal_directory(data_dir: Path, epoch: int) -> Path:
    """An emptied instance has imported nothing, so each epoch has a journal of its own."""
    return data_dir / "imports" / str(epoch)


def forget_old_epochs(directory: Path, epoch: int) -> None:
    """Removes the journals of epochs before `epoch`."""
    if directory.is_dir():
        for path in directory.iterdir():
            if path.name.isdigit() and int(path.name) < epoch:
                shutil.rmtree(path, ignore_errors=True)


def begun(record: ImportRecord, up_to: int) -> ImportRecord:
    """Before sending lines up to `up_to`."""
    return replace(record, sending_to=up_to)


def committed(record: ImportRecord, up_to: int, digest: str) -> ImportRecord:
    """After the answer."""
    return replace(record, lines=up_to, digest=digest, sending_to=0, since=0.0)
